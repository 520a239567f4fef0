# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The documentation of every module matches its options, its support of check mode and diff, and its result."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
import yaml
from returned_keys import ReturnedKeys

from ansible_collections.cloudwatt.socle.plugins import action, modules

FACTS = {"required": False, "default": None, "choices": None, "elements": None, "type": "str", "aliases": None}
"""Attributes of an option in documentation and specification, and their defaults."""
SUPPORTED = {"full", "partial", "none"}
ANSIBLES = {"changed", "diff", "failed", "invocation", "msg", "warnings", "_ansible_no_log"}
"""Keys that any result may have and that no module documents."""
NOT_IN_THE_SOURCE = {
    "node_service": {"key", "super().run(tmp, task_vars)", "self._execute_module(module_args=arguments, "
                     "task_vars=task_vars)"},
    "rie_plan": {"super().run(tmp, task_vars)"},
    "site_validate": {"super().run(tmp, task_vars)"},
}  # fmt: skip
"""Expressions with keys that the source does not name: an existing key, and the results of Ansible itself."""


def imported(package: ModuleType) -> dict[str, ModuleType]:
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    return {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}


MODULES = imported(modules)
ACTIONS = imported(action)
DOCUMENTATION = {name: yaml.safe_load(module.DOCUMENTATION) for name, module in MODULES.items()}
every_module = pytest.mark.parametrize("name", MODULES)


class Made(Exception):
    """Raised instead of the creation of an ``AnsibleModule``, with the same arguments."""

    def __init__(self, argument_spec: dict[str, Any], **options: Any) -> None:
        super().__init__()
        self.argument_spec, self.options = argument_spec, options


def made(name: str, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return the arguments of a module's ``AnsibleModule``, or those of the action that replaces the module."""
    module = MODULES[name]
    if not hasattr(module, "AnsibleModule"):
        plugin = ACTIONS[name].ActionModule
        return Made(ACTIONS[name].ARGUMENTS, supports_check_mode=plugin._supports_check_mode)

    def stop(*arguments: Any, **options: Any) -> None:
        raise Made(*arguments, **options)

    monkeypatch.setattr(module, "AnsibleModule", stop)
    with pytest.raises(Made) as told:
        module.main()
    return told.value


def differences(where: str, documented: Mapping[str, Any], taken: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{where}{name}: documented only" for name in documented.keys() - taken.keys())
    yield from (f"{where}{name}: not documented" for name in taken.keys() - documented.keys())
    for name in documented.keys() & taken.keys():
        left, right = documented[name], taken[name]
        for fact, default in FACTS.items():
            if left.get(fact, default) != right.get(fact, default):
                yield f"{where}{name}.{fact}: {left.get(fact)!r} documented, {right.get(fact)!r} taken"
        yield from differences(f"{where}{name}.", left.get("suboptions") or {}, right.get("options") or {})


@every_module
def test_the_documented_options_are_those_that_the_module_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = made(name, monkeypatch).argument_spec
    assert list(differences("", DOCUMENTATION[name]["options"], taken)) == []


def test_differences_are_found_at_every_depth():
    documented = {"a": {"type": "int"}, "b": {"suboptions": {"c": {"default": 1}}}, "d": {}}
    taken = {"a": {}, "b": {"options": {"c": {"default": 2}, "e": {}}}}
    assert sorted(differences("", documented, taken)) == [
        "a.type: 'int' documented, None taken",
        "b.c.default: 1 documented, 2 taken",
        "b.e: not documented",
        "d: documented only",
    ]


@every_module
def test_check_mode_is_what_the_documentation_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = DOCUMENTATION[name]["attributes"]["check_mode"]
    assert said["support"] in SUPPORTED
    assert said["description"]
    supports = made(name, monkeypatch).options.get("supports_check_mode", False)
    assert supports is (said["support"] != "none")


def returned(name: str) -> tuple[set[str], set[str]]:
    """Return the keys of a module's result, and the expressions whose keys are unknown."""
    sources = [ReturnedKeys(MODULES[name])] if hasattr(MODULES[name], "AnsibleModule") else []
    keys = {key for source in sources for key in source.of_exit_json()}
    if name in ACTIONS:
        sources.append(ReturnedKeys(ACTIONS[name]))
        keys |= sources[-1].of_function("run")
    return keys, {text for source in sources for text in source.unknown}


@every_module
def test_the_documented_values_are_those_that_the_module_returns(name: str) -> None:
    documented = yaml.safe_load(MODULES[name].RETURN)
    keys, unknown = returned(name)
    assert keys - ANSIBLES == documented.keys()
    assert unknown == NOT_IN_THE_SOURCE.get(name, set())
    assert [key for key, value in documented.items() if not value.get("description")] == []
    assert [key for key, value in documented.items() if not value.get("returned") or not value.get("type")] == []


@every_module
def test_a_diff_is_returned_exactly_if_the_documentation_says_so(name: str) -> None:
    said = DOCUMENTATION[name]["attributes"]["diff_mode"]
    assert said["support"] in SUPPORTED
    assert said["description"]
    assert ("diff" in returned(name)[0]) == (said["support"] != "none")


def test_keys_of_a_result_are_found_in_all_its_forms():
    source = """
def main():
    result: dict = {"first": 1, **more(), "changed": True} | {"second": 2}
    result["third"] = 3
    result |= {name: 0 for name in names}
    names = ("fourth", "fifth")
    module.exit_json(sixth=6, **result, **{k: v for k, v in rest.items() if v}, **other(), **third_party.value)
def more():
    def inner(): return {"no": 0}
    return {"seventh": 7} if inner() else {"eighth": 8}
rest = {"ninth": 9}
"""
    keys = ReturnedKeys(pytest, ast.parse(source))
    words = "first changed second third fourth fifth sixth seventh eighth ninth"
    assert keys.of_exit_json() == set(words.split())
    assert keys.unknown == ["other()"]


def is_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def mistakes(where: str, options: Mapping[str, Any], given: Any) -> Iterator[str]:
    """Return the mistakes in the options of an example. The results of templates are not known here."""
    if is_template(given):
        return
    yield from (f"{where}{name}: not documented" for name in given.keys() - options.keys())
    yield from (f"{where}{name}: missing" for name in options if options[name].get("required") and name not in given)
    for name in given.keys() & options.keys():
        option, value = options[name], given[name]
        choices = option.get("choices")
        values = value if isinstance(value, list) else [value]
        if choices and not is_template(value):
            yield from (f"{where}{name}: {item!r} is no choice" for item in values if item not in choices)
        if option.get("suboptions"):
            for item in values:
                yield from mistakes(f"{where}{name}.", option["suboptions"], item)


@every_module
def test_examples_use_documented_options_as_documented(name: str) -> None:
    prefix = "cloudwatt.socle."
    tasks = yaml.safe_load(MODULES[name].EXAMPLES)
    calls = [(word, task[word] or {}) for task in tasks for word in task if word.startswith(prefix)]
    assert f"{prefix}{name}" in dict(calls)
    assert all(task.get("name") for task in tasks)
    found = [
        mistake
        for word, given in calls
        for mistake in mistakes(f"{word}: ", DOCUMENTATION[word.removeprefix(prefix)]["options"], given)
    ]
    assert found == []


def test_mistakes_of_an_example_are_found():
    options = {"a": {"required": True}, "b": {"choices": [1]}, "c": {"suboptions": {"d": {"required": True}}}}
    assert sorted(mistakes("", options, {"b": 2, "c": [{}], "e": 0})) == [
        "a: missing", "b: 2 is no choice", "c.d: missing", "e: not documented",
    ]  # fmt: skip
