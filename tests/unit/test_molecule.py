# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The scenarios' inventory is the lab on other networks, and every role is tested by some scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

# What tells the scenarios' machines from the lab's: networks, bridges, folders and the name.
DIFFERENCES = [
    (r"\b10\.98\.", "10.99."),
    (r"\bmol-", "sol-"),
    (r"\.socle/molecule/", ".socle/lab/"),
    (r"lab_name: molecule", "lab_name: lab"),
]

# What spares the lab cycles. The scenarios keep a site's own values: what they run is then nearer to it.
SPARED = {"site_workers", "neutron_workers", "keystone_config_overrides"}


@pytest.mark.parametrize("name", ["hosts.yml", "group_vars/all/site.yml", "group_vars/all/lab.yml"])
def test_the_scenarios_use_the_lab_on_other_networks(root: Path, name: str) -> None:
    ours = (root / "molecule" / "shared" / "inventory" / name).read_text()
    for pattern, replacement in DIFFERENCES:
        ours = re.sub(pattern, replacement, ours)
    lab = yaml.safe_load((root / "inventories" / "lab" / name).read_text())
    if name.endswith("/site.yml"):
        assert lab.keys() >= SPARED
        lab = {key: value for key, value in lab.items() if key not in SPARED}
    assert yaml.safe_load(ours) == lab


def test_everything_else_is_the_labs_own_file(root: Path) -> None:
    shared, lab = root / "molecule" / "shared" / "inventory", root / "inventories" / "lab"
    own = {"hosts.yml", "group_vars/all/site.yml", "group_vars/all/lab.yml", "group_vars/all/secrets.yml"}
    for file in [*lab.glob("*.yml"), *lab.glob("group_vars/**/*.yml")]:
        name = str(file.relative_to(lab))
        if name not in own:
            assert (shared / name).resolve() == file.resolve(), f"{name} is not linked"


def test_every_role_has_a_test_in_a_scenario(root: Path) -> None:
    tested = {file.stem.removeprefix("test_") for file in root.glob("molecule/*/tests/test_*.py")}
    # Facts that other roles read: it has no tasks.
    roles = {folder.name for folder in (root / "roles").iterdir() if (folder / "tasks").is_dir()} - {"site"}
    assert roles <= tested, f"without a test: {sorted(roles - tested)}"


def test_every_scenario_has_its_difference_only(root: Path) -> None:
    for scenario in root.glob("molecule/*/molecule.yml"):
        assert {file.name for file in scenario.parent.iterdir()} >= {"converge.yml", "vars.yml", "tests"}
        assert list(scenario.parent.glob("tests/test_*.py"))
        own = yaml.safe_load(scenario.read_text())
        assert own is None or own.keys() <= {"ansible", "verifier"}, "which inventory it uses, and nothing else"
