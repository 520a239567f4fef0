# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Inventory files in INI format, with the line of each host, group and variable.

The result has the shape of a YAML inventory. It only tells where something is written: Ansible's own plugin says what a
file means, and whether it is correct.
"""

from __future__ import annotations

import ast
import re
import shlex
from typing import Any

from ..common.yaml_lines import Document, Path

SECTION = re.compile(r"\[([^:\]]+)(?::(\w+))?\]")


def parse(text: str) -> Document:
    """Read an INI inventory. Invalid lines are skipped."""
    document = Document({}, {(): 1})
    group, kind = "ungrouped", "hosts"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if section := SECTION.match(line):
            group, kind = section[1].strip(), section[2] or "hosts"
            document.lines.setdefault((group,), number)
            document.data.setdefault(group, {})
            continue
        if kind not in ("hosts", "children", "vars"):
            continue
        entries = document.data.setdefault(group, {}).setdefault(kind, {})
        document.lines.setdefault((group,), number)
        document.lines.setdefault((group, kind), number)
        path: Path = (group, kind)
        if kind == "vars":
            _variable(document, entries, path, line, number)
            continue
        name, *assignments = _words(line)
        document.lines[(*path, name)] = number
        held = entries.setdefault(name, {})
        for assignment in assignments if kind == "hosts" else ():
            _variable(document, held, (*path, name), assignment, number)
    return document


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True) or [line]
    except ValueError:
        return line.split()


def _variable(document: Document, entries: dict[str, Any], path: Path, assignment: str, number: int) -> None:
    name, equals, value = assignment.partition("=")
    if equals:
        entries[name.strip()] = _value(value.strip())
        document.lines[(*path, name.strip())] = number


def _value(text: str) -> Any:
    """A Python literal as such, like Ansible; else text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
