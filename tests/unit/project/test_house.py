# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules for every role, module and pinned version of the project."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import role_specs

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))


def read(path: Path):
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_defaults_and_argument_specs_have_the_same_keys(role):
    defaults = read(role / "defaults" / "main.yml") or {}
    options = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    assert sorted(defaults) == sorted(options)


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_defaults_are_what_their_specs_allow(role):
    """Ansible rejects a default with a key that the specification lacks at the start of the role."""
    options = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    defaults = read(role / "defaults" / "main.yml") or {}
    found = {name: list(role_specs.faults(options[name], value)) for name, value in defaults.items()}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_knob_belongs_to_its_role(role):
    defaults = read(role / "defaults" / "main.yml") or {}
    assert [name for name in defaults if not name.startswith(f"{role.name}_")] == []


def described(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield each option and suboption (``option.suboption``) with its description in one line."""
    for name, option in options.items():
        yield f"{above}{name}", " ".join(option.get("description", "").split())
        yield from described(option.get("options") or {}, f"{above}{name}.")


def descriptions() -> list[tuple[str, str]]:
    specs = [read(role / "meta" / "argument_specs.yml")["argument_specs"] for role in ROLES]
    return [pair for spec in specs for entry in spec.values() for pair in described(entry.get("options") or {})]


def test_every_option_has_a_description_of_its_own():
    names: dict[str, list[str]] = {}
    for name, description in descriptions():
        names.setdefault(description, []).append(name)
    assert "" not in names
    assert {description: found for description, found in names.items() if len(found) > 1} == {}


def test_no_description_needs_the_one_before_it():
    unclear = re.compile(r"(?:R\d[^:]*: )?(?:likewise|the same)\b", re.IGNORECASE)
    assert [name for name, description in descriptions() if unclear.match(description)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_variable_has_a_comment_of_its_own(role):
    """In the defaults, the line above each variable is a comment."""
    lines = (role / "defaults" / "main.yml").read_text().splitlines()
    assert [line for above, line in itertools.pairwise(lines) if line[:1].isalpha() and above[:1] != "#"] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_role_says_what_it_is(role):
    about = read(role / "meta" / "main.yml")["galaxy_info"]
    assert about["description"]
    assert about["license"] == "Apache-2.0"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_module_is_documented_and_knows_check_mode(module):
    text = module.read_text()
    blocks = dict(re.findall(r'^(DOCUMENTATION|EXAMPLES|RETURN) = r?"""(.*?)"""', text, re.MULTILINE | re.DOTALL))
    assert blocks.keys() == {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    documentation = yaml.safe_load(blocks["DOCUMENTATION"])
    assert documentation["module"] == module.stem
    assert documentation["attributes"]["check_mode"]["support"] == "full"
    assert yaml.safe_load(blocks["EXAMPLES"])
    assert isinstance(yaml.safe_load(blocks["RETURN"]), dict)
    assert list(without_check_mode(module)) == []


def without_check_mode(module: Path) -> Iterator[str]:
    """Yield the places where a module, or the action that replaces it, does not support check mode."""
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "AnsibleModule"]
    for call in made:
        if not any(word.arg == "supports_check_mode" and is_true(word.value) for word in call.keywords):
            yield f"{module.name}:{call.lineno}"
    if made:
        return
    action = ROOT / "plugins" / "action" / module.name
    settings = [node for node in ast.walk(ast.parse(action.read_text())) if isinstance(node, ast.Assign)]
    said = [node for node in settings if ast.unparse(node.targets[0]) == "_supports_check_mode"]
    if not said or not all(is_true(node.value) for node in said):
        yield f"action {action.name}"


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def test_a_comment_is_no_support_of_check_mode(tmp_path):
    module = tmp_path / "site_validate.py"
    module.write_text("# supports_check_mode=True\nAnsibleModule({})\nAnsibleModule({}, supports_check_mode=False)\n")
    assert list(without_check_mode(module)) == ["site_validate.py:2", "site_validate.py:3"]


#: These playbooks need root on the control node, because they create machines and images.
ROOT_HERE = {"image.yml", "lab.yml", "lab_down.yml"}


def test_nothing_becomes_root_on_the_machine_of_the_operator():
    """Inventories may set `ansible_become` for all hosts. It then applies to localhost too, which may have no sudo."""
    plays = [(path, play) for path in ROOT.glob("playbooks/*.yml") for play in read(path)]
    local = [(path, play) for path, play in plays if play.get("hosts") == "localhost" and path.name not in ROOT_HERE]
    local = [(path, play) for path, play in local if play.get("roles") != ["guest_image"]]
    tasks = [(path, task) for path in ROOT.glob("roles/*/tasks/*.yml") for task in read(path) or []]
    local += [(path, task) for path, task in tasks if task.get("delegate_to") == "localhost"]
    assert len(local) >= 8
    assert [
        (path.name, item["name"]) for path, item in local if (item.get("vars") or {}).get("ansible_become") is not False
    ] == []


def test_set_up_extracted_the_pinned_collections():
    folder = ROOT / ".ansible" / "collections" / "ansible_collections"
    pins = read(ROOT / "requirements.yml")["collections"]
    assert pins
    for pin in pins:
        manifest = json.loads((folder / pin["name"].replace(".", "/") / "MANIFEST.json").read_text())
        assert manifest["collection_info"]["version"] == str(pin["version"]), pin["name"]


def test_galaxy_depends_on_the_pinned_collections():
    pins = {pin["name"]: str(pin["version"]) for pin in read(ROOT / "requirements.yml")["collections"]}
    assert read(ROOT / "galaxy.yml")["dependencies"] == pins


def test_every_locked_package_has_hashes_and_no_index_is_named():
    for name in (
        "requirements.lock",
        "requirements-dev.lock",
        "requirements-docs.lock",
        "requirements-collections.lock",
    ):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^\S+==\S+.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        assert pins
        assert all("--hash=sha256:" in pin for pin in pins)
        assert "://" not in text


def test_tests_run_what_operators_run():
    ours, with_tests = (
        set(re.findall(r"^(\S+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert ours < with_tests


def test_changelog_fragments_use_known_sections():
    sections = {name for name, _title in read(ROOT / "changelogs" / "config.yaml")["sections"]}
    fragments = {path.name: set(read(path)) for path in (ROOT / "changelogs" / "fragments").glob("*.yml")}
    known = sections | {"release_summary", "trivial"}
    assert {name: found for name, found in fragments.items() if not found or not found <= known} == {}


def test_no_variable_of_a_role_is_taken_for_intent() -> None:
    """Role rie_plan passes every rie_* variable to the planner, which rejects unknown variables."""
    (task,) = yaml.safe_load((ROOT / "roles" / "rie_plan" / "tasks" / "main.yml").read_text())
    pattern = re.search(r"varnames', '(.*)'\)", task["vars"]["rie_plan_names"])
    assert pattern
    names = [name for path in ROOT.glob("roles/rie_*/defaults/main.yml") for name in yaml.safe_load(path.read_text())]
    assert any(name.startswith("rie_report_") for name in names)
    shared = {"rie_allocations_file"}
    assert {name for name in names if re.match(pattern[1], name)} - shared == set()


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    places = ("plugins", "roles", "playbooks", "inventories", "socle", "scripts", "molecule")
    files = [path for place in places for path in (ROOT / place).rglob("*") if path.suffix in (".py", ".yml")]
    assert len(files) > 200
    tests = [path for path in files if path.name.startswith(("test_", "conftest"))]
    longer = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files if path not in tests}
    assert {name: length for name, length in longer.items() if length > 500} == {}
