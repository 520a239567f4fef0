# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Shapes of structured input: what values must look like, checked in one walk that never stops at a fault.

A shape is a function ``(value, path, faults) -> parsed``. It appends what is wrong to ``faults`` and returns
the parsed value, or ``BAD`` when there is nothing usable. Shapes compose: ``array(record({...}))``.
Only the standard library is used, so an engine built on them runs anywhere.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

BAD: Any = object()


@dataclass(frozen=True, order=True)
class Violation:
    """One thing wrong with the input: where (``a[0].b``), what was there, why it is refused, what to do."""

    path: str
    value: str
    reason: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.path} = {self.value}: {self.reason}; {self.remedy}"


Faults = list[Violation]
Shape = Callable[[Any, str, Faults], Any]


class Node(dict[str, Any]):
    """A parsed record that remembers its path, so that later rules can say where."""

    path: str = ""


def _refuse(faults: Faults, path: str, value: Any, reason: str, remedy: str) -> Any:
    faults.append(Violation(path, str(value), reason, remedy))
    return BAD


def record(required: dict[str, Shape], optional: dict[str, tuple[Shape, Any]] | None = None) -> Shape:
    """A mapping with known keys only. ``optional`` gives each key's shape and its default (unparsed)."""
    optional = optional or {}
    shapes = required | {key: shape for key, (shape, _default) in optional.items()}

    def check(value: Any, path: str, faults: Faults) -> Any:
        if not isinstance(value, dict):
            return _refuse(faults, path, value, "is not a mapping", f"give the keys {', '.join(required)}")
        node = Node()
        node.path = path
        prefix = f"{path}." if path else ""
        for key in value.keys() - shapes.keys():
            near = difflib.get_close_matches(str(key), shapes, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(shapes))}"
            _refuse(faults, f"{prefix}{key}", value[key], "unknown key", remedy)
        for key, shape in shapes.items():
            if key in value:
                raw = value[key]
            elif key in required:
                _refuse(faults, f"{prefix}{key}", "", "is missing", "add it")
                continue
            else:
                raw = optional[key][1]
                if raw is None:
                    continue
            parsed = shape(raw, f"{prefix}{key}", faults)
            if parsed is not BAD:
                node[key] = parsed
        return node

    return check


def array(shape: Shape) -> Shape:
    """A list; items that cannot be parsed are reported and left out."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        if not isinstance(value, list):
            return _refuse(faults, path, value, "is not a list", "write a list")
        parsed = [shape(item, f"{path}[{index}]", faults) for index, item in enumerate(value)]
        return [item for item in parsed if item is not BAD]

    return check


def mapping(shape: Shape) -> Shape:
    """A mapping with free keys and values of one shape."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        if not isinstance(value, dict):
            return _refuse(faults, path, value, "is not a mapping", "write a mapping")
        parsed = {str(key): shape(item, f"{path}.{key}", faults) for key, item in value.items()}
        return {key: item for key, item in parsed.items() if item is not BAD}

    return check


def text(pattern: str, what: str) -> Shape:
    """A string that matches ``pattern`` as a whole; ``what`` says it in words."""
    compiled = re.compile(pattern)

    def check(value: Any, path: str, faults: Faults) -> Any:
        if isinstance(value, str) and compiled.fullmatch(value):
            return str(value)
        return _refuse(faults, path, value, f"is not {what}", f"use {pattern}")

    return check


def integer(low: int, high: int) -> Shape:
    """A whole number, both ends included."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        if type(value) is not bool and isinstance(value, int) and low <= value <= high:
            return int(value)
        return _refuse(faults, path, value, "is out of range", f"use a number from {low} to {high}")

    return check


def span(low: int, high: int) -> Shape:
    """A range of numbers written ``first-last``; parsed to ``(first, last)``."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        match = re.fullmatch(r"(\d{1,10})-(\d{1,10})", str(value))
        if match and low <= int(match[1]) <= int(match[2]) <= high:
            return int(match[1]), int(match[2])
        return _refuse(faults, path, value, "is not a range", f"write first-last within {low}-{high}")

    return check


def _address(parse: Callable[[Any], Any], example: str) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> Any:
        if not isinstance(value, str):
            return _refuse(faults, path, value, "is not text", f"write it like {example}")
        try:
            return parse(value)
        except ValueError as error:
            return _refuse(faults, path, value, str(error), f"write it like {example}")

    return check


PREFIX: dict[int, Shape] = {
    4: _address(ipaddress.IPv4Network, "10.20.0.0/24"),
    6: _address(ipaddress.IPv6Network, "fd20:1::/64"),
}
INTERFACE: dict[int, Shape] = {
    4: _address(ipaddress.IPv4Interface, "100.66.1.2/30"),
    6: _address(ipaddress.IPv6Interface, "fd66:1::2/64"),
}
ADDRESS: dict[int, Shape] = {
    4: _address(ipaddress.IPv4Address, "100.66.1.1"),
    6: _address(ipaddress.IPv6Address, "fd66:1::1"),
}
