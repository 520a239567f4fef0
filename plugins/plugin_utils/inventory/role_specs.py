# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The argument specifications of the roles (meta/argument_specs.yml), and the check of values against them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common.yaml_lines import Path as KeyPath
from .typed_values import typed

Spec = dict[str, Any]
Fault = tuple[KeyPath, Any, str, str]
"""Path below the variable, value, reason, remedy."""

TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
    "any": (object,),
}
TRUTHS = {"yes", "no", "on", "off", "true", "false", "1", "0", "y", "n", "t", "f"}
"""Texts that Ansible reads as a boolean."""
WORDS = {
    "str": "text, in quotes where YAML would read it otherwise",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


@dataclass
class Roles:
    """Every variable's spec; its default as written, with file and line; the role of what has none."""

    names: set[str] = field(default_factory=set)
    specs: dict[str, Spec] = field(default_factory=dict)
    defaults: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    mandatory: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    """Defaults as written in YAML, not rendered."""
    entry_points: dict[str, Spec] = field(default_factory=dict)
    """Specs of what other entry points than `main` take: variables of a command line, not of an inventory."""


def read(path: Path) -> Any:
    """The content of a YAML file of the project."""
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def load(project: Path) -> Roles:
    """Read roles/*/meta/argument_specs.yml and roles/*/defaults/main.yml of the project."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    known = Roles(names={path.name for path in project.glob("roles/*") if path.is_dir()})
    for path in sorted(project.glob("roles/*/meta/argument_specs.yml")):
        points = read(path)["argument_specs"]
        known.specs |= points["main"].get("options") or {}
        known.entry_points |= {
            name: spec for point in points.values() for name, spec in (point.get("options") or {}).items()
        }
    for path in sorted(project.glob("roles/*/defaults/main.yml")):
        text = path.read_text()
        known.values |= yaml.load(text, Loader=loader) or {}
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.match(r"(\w+):\s*(.*)", line):
                name, value = found.groups()
                known.specs.setdefault(name, {"type": "raw"})
                known.defaults[name] = str(path.relative_to(project)), number, value
                if "undef(" in value:
                    known.mandatory[name] = path.parts[-3]
    return known


def faults(spec: Spec, value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Everything in `value` that its spec refuses. Jinja expressions pass: only Ansible can render them."""
    if value is None or (isinstance(value, str) and ("{{" in value or "{%" in value)):
        return
    wanted = str(spec.get("type", "str"))
    value = typed(spec, value)
    wrong_bool = isinstance(value, bool) and wanted in ("int", "float", "str")
    if wrong_bool or not _is(wanted, value):
        yield path, value, f"is not {WORDS[wanted]}", f"write {WORDS[wanted]}"
        return
    choices = spec.get("choices")
    # The choices of a list are those of its elements, as Ansible takes them.
    if choices and wanted != "list" and value not in choices:
        yield path, value, "is not one of the choices", f"use {', '.join(map(str, choices))}"
    if wanted == "list" and "elements" in spec:
        item = {"type": spec["elements"], "options": spec.get("options"), "choices": choices}
        for index, element in enumerate(value):
            yield from faults(item, element, (*path, index))
    elif wanted == "dict" and spec.get("options"):
        yield from _suboptions(spec["options"], value, path)


def _is(wanted: str, value: Any) -> bool:
    return isinstance(value, TYPES.get(wanted, (object,)))


def _suboptions(options: dict[str, Spec], value: dict[Any, Any], path: KeyPath) -> Iterator[Fault]:
    for key, content in value.items():
        if key in options:
            yield from faults(options[key], content, (*path, key))
        else:
            yield (*path, key), None, "unknown key", f"known keys: {', '.join(sorted(options))}"
    for key, spec in options.items():
        if spec.get("required") and key not in value:
            yield path, None, f"{key} is missing", "add it"
