# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Every role is applied in a scenario whose tests have a file for it."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from socle import cli

IMPORTS = ("import_role", "include_role")
WORDS = ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always")
"""Keys of a play or a block that contain tasks."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def applied(root: Path, playbook: Path) -> set[str]:
    """Return the roles that a playbook applies, also through imported playbooks."""
    found: set[str] = set()
    for play in read(playbook):
        found |= {role if isinstance(role, str) else role["role"] for role in play.get("roles") or []}
        found |= imported(play) | called(root, play)
        if other := argument(play, "import_playbook"):
            found |= applied(root, playbook.parent / other)
    return found


def tasks_of(play: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a play or a block, and of nested blocks."""
    for task in (task for word in WORDS for task in play.get(word) or []):
        yield task
        yield from tasks_of(task)


def imported(play: dict[str, Any]) -> set[str]:
    """Return the roles that a play imports with their main tasks."""
    given = [argument(task, word) for task in tasks_of(play) for word in IMPORTS]
    return {words["name"] for words in given if words and words.get("tasks_from", "main") == "main"}


def called(root: Path, play: dict[str, Any]) -> set[str]:
    """Return the roles whose variables a play loads, if it passes ``ROLE_service`` to the module node_service.

    The OpenStack services are passed together, as listed in ``site_services``.
    """
    given = [argument(task, word) for task in tasks_of(play) for word in IMPORTS]
    texts = [str(task) for task in tasks_of(play) if "cloudwatt.socle.node_service" in task]
    declared = {path.parents[1].name for path in root.glob("roles/*/meta/service.yml")}
    return {
        words["name"]
        for words in given
        for text in texts
        if words
        if f"{words['name']}_service" in text or ("site_services" in text and words["name"] in declared)
    }


def argument(task: dict[str, Any], action: str) -> Any:
    return task.get(f"ansible.builtin.{action}", task.get(action))


def of_sequence(root: Path, scenario: Path) -> set[str]:
    """Return the roles that Molecule applies in a scenario when it creates, prepares and converges the machines."""
    playbooks = {"prepare": "prepare.yml"}
    for config in (root / ".config/molecule/config.yml", scenario / "molecule.yml"):
        playbooks |= read(config).get("ansible", {}).get("playbooks", {})
    paths = [scenario / playbooks[step] for step in ("create", "prepare", "converge")]
    return {role for path in paths if path.is_file() for role in applied(root, path)}


def verbs(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Return each command of the command line as its words, with the playbook that it runs."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, verb in (item for group in groups for item in group.choices.items()):
        yield from verbs(verb, (*words, name))
    if not groups:
        yield words, parser.get_default("playbook") or f"{'_'.join(words)}.yml"


VERBS = dict(verbs(cli._parser()))


def of_tests(root: Path, source: str) -> set[str]:
    """Return the roles of the playbooks that a test file runs, by path or by a command of the command line."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(path)) if path.startswith("playbooks/") and path.endswith(".yml"):
                names.add(path)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                names |= by_verb([name, *constants(arguments)])
            case ast.List(elts=elements):
                names |= by_verb(constants(elements))
    return {role for name in names if (root / name).is_file() for role in applied(root, root / name)}


def constants(nodes: list[ast.expr]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def by_verb(words: list[str]) -> set[str]:
    """Return the playbook of a command, given by its words with or without the name of the program."""
    given = tuple(words[1:] if words[:1] == ["socle"] else words)
    return {f"playbooks/{playbook}" for verb, playbook in VERBS.items() if given[: len(verb)] == verb}


def has_a_test(source: str) -> bool:
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return any(function.name.startswith("test_") for function in functions)


def covered(root: Path) -> set[str]:
    """Return the roles that a scenario applies and tests in ``tests/test_ROLE.py``."""
    found = set()
    for file in root.glob("molecule/*/tests/test_*.py"):
        role, source = file.stem.removeprefix("test_"), file.read_text(encoding="utf-8")
        scenario = file.parents[1]
        shared = scenario / "tests" / "conftest.py"
        runs = of_tests(root, source) | (of_tests(root, shared.read_text()) if shared.is_file() else set())
        if role in of_sequence(root, scenario) | runs and has_a_test(source):
            found.add(role)
    return found


def test_every_role_is_applied_and_tested_by_a_scenario(root: Path) -> None:
    # The role `site` has no tasks. It contains facts for other roles.
    roles = {folder.name for folder in (root / "roles").iterdir() if (folder / "tasks").is_dir()} - {"site"}
    assert len(roles) > 20
    assert sorted(roles - covered(root)) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a scenario that applies one role by an imported playbook, and tests it."""
    files = {
        ".config/molecule/config.yml": "{ansible: {playbooks: {create: ../create.yml, converge: converge.yml}}}",
        "molecule/create.yml": "[{roles: [made]}]",
        "molecule/a/molecule.yml": "---\n",
        "molecule/a/converge.yml": "[{import_playbook: ../../playbooks/deploy.yml}]",
        "molecule/a/tests/test_keystone.py": "def test_it(): pass",
        "playbooks/deploy.yml": "[{tasks: [{block: [{ansible.builtin.import_role: {name: keystone}}]}]}]",
        "playbooks/verify.yml": "[{roles: [{role: verify}]}]",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_role_counts_when_it_is_applied_and_tested(project: Path) -> None:
    assert covered(project) == {"keystone"}
    (project / "molecule/a/tests/test_made.py").write_text("def test_it(): pass")
    assert covered(project) == {"keystone", "made"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("molecule/a/tests/test_keystone.py", "def helper(): pass"),
        ("playbooks/deploy.yml", "[{tasks: [{import_role: {name: keystone, tasks_from: images}}]}]"),
        ("molecule/a/converge.yml", "# keystone\n[]"),
    ],
    ids=["no test", "not its main tasks", "a name only"],
)
def test_a_name_in_a_file_is_no_test_of_a_role(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text)
    assert covered(project) == set()


SERVICES = "cloudwatt.socle.node_service: {calls: '{{ site_services }}'}"


@pytest.mark.parametrize(
    ("call", "declared", "expected"),
    [
        ("cloudwatt.socle.node_service: {calls: ['{{ keystone_service }}']}", False, {"keystone"}),
        (SERVICES, True, {"keystone"}),
        (SERVICES, False, set()),
        ("cloudwatt.socle.node_service: {calls: ['{{ glance_service }}']}", True, set()),
    ],
)
def test_a_role_that_is_loaded_counts_when_its_service_is_called(
    project: Path, call: str, declared: bool, expected: set[str]
) -> None:
    load = "import_role: {name: keystone, tasks_from: load}"
    (project / "playbooks/deploy.yml").write_text(f"[{{tasks: [{{{load}}}, {{{call}}}]}}]")
    if declared:
        (project / "roles/keystone/meta").mkdir(parents=True)
        (project / "roles/keystone/meta/service.yml").touch()
    assert covered(project) == expected


@pytest.mark.parametrize(
    "call", ['socle("verify", *QUICK)', '["socle", "verify", "-i", inventory]', '[RUN, "playbooks/verify.yml"]']
)
def test_a_role_counts_when_its_tests_apply_it(project: Path, call: str) -> None:
    file = project / "molecule/a/tests/test_verify.py"
    file.write_text("def test_it(): pass")
    assert "verify" not in covered(project)
    file.write_text(f"def test_it(): {call}")
    assert "verify" in covered(project)
