# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""What the roles say about their variables (meta/argument_specs.yml), and values checked against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .yaml_lines import Path as KeyPath

Spec = dict[str, Any]
Fault = tuple[KeyPath, Any, str, str]
"""Path below the variable, value, reason, remedy."""

TYPES = {
    "str": (str, int, float, bool),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
    "any": (object,),
}
WORDS = {
    "str": "text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def load(roles: Path) -> tuple[dict[str, Spec], dict[str, str]]:
    """Return every role variable's spec, and the role of each variable whose default is undef()."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    specs: dict[str, Spec] = {}
    mandatory: dict[str, str] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        content = yaml.load(path.read_text(), Loader=loader)
        specs |= content["argument_specs"]["main"].get("options") or {}
    for path in sorted(roles.glob("*/defaults/main.yml")):
        for name, value in re.findall(r"^(\w+):(.*)", path.read_text(), re.MULTILINE):
            specs.setdefault(name, {"type": "raw"})
            if "undef(" in value:
                mandatory[name] = path.parts[-3]
    return specs, mandatory


def faults(spec: Spec, value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Everything in `value` that its spec refuses. Jinja expressions pass: only Ansible can render them."""
    if value is None or (isinstance(value, str) and ("{{" in value or "{%" in value)):
        return
    wanted = str(spec.get("type", "str"))
    wrong_bool = isinstance(value, bool) and wanted in ("int", "float")
    numeric = wanted == "int" and isinstance(value, str) and re.fullmatch(r"-?\d+", value)
    if wrong_bool or not (numeric or isinstance(value, TYPES.get(wanted, (object,)))):
        yield path, value, f"is not {WORDS[wanted]}", f"write {WORDS[wanted]}"
        return
    choices = spec.get("choices")
    if choices and value not in choices:
        yield path, value, "is not one of the choices", f"use {', '.join(map(str, choices))}"
    if wanted == "list" and "elements" in spec:
        item = {"type": spec["elements"], "options": spec.get("options"), "choices": None}
        for index, element in enumerate(value):
            yield from faults(item, element, (*path, index))
    elif wanted == "dict" and spec.get("options"):
        yield from _suboptions(spec["options"], value, path)


def _suboptions(options: dict[str, Spec], value: dict[Any, Any], path: KeyPath) -> Iterator[Fault]:
    for key, content in value.items():
        if key in options:
            yield from faults(options[key], content, (*path, key))
        else:
            yield (*path, key), None, "unknown key", f"known keys: {', '.join(sorted(options))}"
    for key, spec in options.items():
        if spec.get("required") and key not in value:
            yield path, None, f"{key} is missing", "add it"
