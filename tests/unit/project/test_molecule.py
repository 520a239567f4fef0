# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The inventories of scenarios are copies of shipped sites with other networks."""

from __future__ import annotations

import re
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
import yaml

# The differences between the inventory of a scenario and its site: networks, bridges, folders, names.
SHAPES = {
    "molecule/shared/inventory": (
        "inventories/lab",
        [
            (r"\b10\.98\.", "10.99."),
            (r"\bmol-", "sol-"),
            (r"\.socle/molecule/", ".socle/lab/"),
            (r"lab_name: molecule", "lab_name: lab"),
            (r"site_name: inventory", "site_name: lab"),
        ],
    ),
    "molecule/ha/inventory": (
        "inventories/ha",
        [
            (r"\b10\.95\.", "10.96."),
            (r"\bmha-", "ha-"),
            (r"\.socle/moleculeha/", ".socle/ha/"),
            (r"lab_name: moleculeha", "lab_name: ha"),
            (r"site_name: inventory", "site_name: ha"),
        ],
    ),
}

# Variables that save CPU time in the lab. The scenarios keep the defaults, which are closer to a production site.
SPARED = {"site_workers", "neutron_workers", "keystone_config_overrides"}
OWN = ("hosts.yml", "group_vars/all/site.yml", "group_vars/all/lab.yml")
COPIED = ("allocations.yml", "group_vars/all/rie.yml", "group_vars/backbone.yml", "group_vars/compute.yml",
          "group_vars/gateway.yml")  # fmt: skip


def versions(root: Path, path: str) -> list[str]:
    """Return a file from the checkout, and its committed version, because the operator of a lab may have changed it."""
    found = [(root / path).read_text()]
    for name in (path, f"inventories/lab/{path.split('/', 2)[2]}"):  # inventories/ha has links to the lab
        git = ["git", "-C", str(root)]
        known = subprocess.run([*git, "ls-tree", "HEAD", name], capture_output=True, text=True, check=False).stdout
        if known.startswith("100"):
            command = [*git, "show", f"HEAD:{name}"]
            found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            break
    return found


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("folder", SHAPES)
def test_the_scenarios_use_a_shipped_site_on_other_networks(root: Path, folder: str, name: str) -> None:
    site, differences = SHAPES[folder]
    ours = (root / folder / name).read_text()
    for pattern, replacement in differences:
        ours = re.sub(pattern, replacement, ours)

    def comparable(text: str):
        known = yaml.safe_load(text)
        if name.endswith("/site.yml") and site == "inventories/lab":
            assert known.keys() >= SPARED
            known = {key: value for key, value in known.items() if key not in SPARED}
        return known

    assert yaml.safe_load(ours) in [comparable(text) for text in versions(root, f"{site}/{name}")]


@pytest.mark.parametrize("name", COPIED)
@pytest.mark.parametrize("folder", SHAPES)
def test_everything_else_is_as_shipped(root: Path, folder: str, name: str) -> None:
    assert (root / folder / name).read_text() in versions(root, f"{SHAPES[folder][0]}/{name}")


@pytest.mark.parametrize("folder", SHAPES)
def test_a_scenario_has_nothing_in_common_with_a_site_of_the_operator(root: Path, folder: str) -> None:
    """They share no file, network, bridge, name or report. The tests neither read nor change a site of the operator."""
    ours = root / folder
    for path in ours.rglob("*"):
        assert (root / "molecule") in path.resolve().parents, f"{path} is the operator's"
    lab = yaml.safe_load((ours / "group_vars/all/lab.yml").read_text())
    site = yaml.safe_load((ours / "group_vars/all/site.yml").read_text())
    # The command line and the roles store the data of a site under this name.
    assert site["site_name"] == ours.name
    for other in sorted(root.glob("inventories/*/hosts.yml")):
        file = other.parent / "group_vars/all/lab.yml"
        assert other.parent.name != ours.name
        if not file.is_file():
            continue
        theirs = yaml.safe_load(file.read_text())
        for key in ("lab_name", "lab_management_cidr", "lab_management_bridge", "lab_ssh_dir"):
            assert lab[key] != theirs[key], key
        bridges = [{bridge["name"] for bridge in known["lab_bridges"]} for known in (lab, theirs)]
        assert not bridges[0] & bridges[1]


# Data of the operator: inventories, reports, keys and machines of a site, and the home directory.
OPERATORS = re.compile(
    r"inventories[/\"', ]+(?:lab|ha|fr\d)\b|reports[/\"', ]+(?:lab|ha|fr\d)\b|\.socle[/\"', ]+(?:lab|ha)\b"
    r"|/var/lib/socle/(?:lab|evidence|backup)|expanduser|Path\.home|~/\.|environ\[.HOME"
)
PROSE = re.compile(r"\s*(#|\"\"\")")
ALLOWED = {
    # These tests read or copy the inventories of the project, and write nothing there.
    "tests/unit/project/test_molecule.py",
    "tests/unit/project/test_inventories.py",
    "tests/unit/plugin_utils/inventory/test_site_rules.py",
    "tests/unit/command_line/test_cli.py",
    "tests/unit/plugin_utils/rie/test_bad_intents.py",
    "tests/unit/plugin_utils/inventory/test_ansible_inventory.py",
    "tests/unit/plugin_utils/inventory/test_host_rules.py",
    "tests/unit/plugin_utils/inventory/test_mirror_severity.py",
    "tests/unit/module_utils/openstack/test_image_store.py",
}


def test_no_test_names_what_is_the_operators(root: Path) -> None:
    found = []
    files = [path for folder in ("molecule", "tests/unit", ".config/molecule") for path in (root / folder).rglob("*")]
    for path in [*files, root / "scripts" / "test", root / "tests" / "conftest.py"]:
        name = str(path.relative_to(root))
        if path.suffix in ("", ".py", ".yml", ".sh", ".cfg") and path.is_file() and name not in ALLOWED:
            lines = path.read_text(errors="replace").splitlines()
            found += [f"{name}: {line.strip()}" for line in lines if OPERATORS.search(line) and not PROSE.match(line)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "- --inventory=${MOLECULE_PROJECT_DIRECTORY}/inventories/ha",
        'LAB = ROOT / "inventories" / "lab"',
        'report = ROOT / ".socle" / "reports" / "lab" / "audit.json"',
        "audit_report_directory: .socle/reports/lab",
        "lab_ssh_dir: .socle/lab/ssh",
        'Path.home() / ".ssh"',
        'os.path.expanduser("~/.ssh/config")',
        'Path("/var/lib/socle/lab/lab/machines")',
    ],
)
def test_the_search_finds_what_is_the_operators(line: str) -> None:
    assert OPERATORS.search(line)


def test_programs_find_nothing_of_the_operators_home(root: Path, tmp_path: Path, monkeypatch) -> None:
    """The test suites run with a temporary home directory."""
    loader = SourceFileLoader("socle_scripts_test", str(root / "scripts" / "test"))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setenv("HOME", str(tmp_path))
    seen = []

    def unit(_: list[str]) -> tuple[int, int]:
        seen.append(module.environment()["HOME"])
        return 1, 0

    module.SUITES["unit"] = unit
    assert module.main(["unit"]) == 0
    assert seen[0] != str(tmp_path)
    assert not Path(seen[0]).exists()


def test_every_scenario_has_its_difference_only(root: Path) -> None:
    scenarios = list(root.glob("molecule/*/molecule.yml"))
    assert len(scenarios) >= 7
    for scenario in scenarios:
        assert {file.name for file in scenario.parent.iterdir()} >= {"converge.yml", "vars.yml", "tests"}
        assert list(scenario.parent.glob("tests/test_*.py"))
        own = yaml.safe_load(scenario.read_text())
        assert own is None or own.keys() <= {"ansible", "verifier"}, "which inventory it uses, and nothing else"
