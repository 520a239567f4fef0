# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Shapes of structured input: what values must look like, checked in one walk that never stops at a fault.

A shape is called as ``shape(value, path, faults) -> parsed``. It appends what is wrong to ``faults`` and returns
the parsed value, or ``BAD`` when there is nothing usable. Shapes compose: ``array(record({...}))``.
Each also has a ``schema``: what of it JSON Schema (draft 7) can say, for editors. A schema may let pass what the
shape refuses (host bits in a prefix, say), never the reverse.
Addresses and prefixes are parsed to objects of netaddr.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from netaddr import IPAddress, IPNetwork

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
Check = Callable[[Any, str, Faults], Any]


@dataclass(frozen=True)
class Shape:
    """How a value is checked and parsed, and the JSON Schema that describes it."""

    check: Check
    schema: dict[str, Any]

    def __call__(self, value: Any, path: str, faults: Faults) -> Any:
        return self.check(value, path, faults)


class Node(dict[str, Any]):
    """A parsed record that remembers its path, so that later rules can say where."""

    path: str = ""


class Items(list[Any]):
    """A parsed list that remembers the path of each item: bad ones are left out, so positions tell nothing."""

    def __init__(self, items: Iterable[Any] = (), paths: Iterable[str] = ()) -> None:
        super().__init__(items)
        self._paths = list(paths)

    def located(self) -> Iterator[tuple[str, Any]]:
        """``(path, item)`` of each."""
        return zip(self._paths, self, strict=True)


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

    properties = {key: shape.schema for key, shape in required.items()}
    for key, (shape, default) in optional.items():
        properties[key] = shape.schema if default is None else shape.schema | {"default": default}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return Shape(check, schema | ({"required": list(required)} if required else {}))


def array(shape: Shape) -> Shape:
    """A list; items that cannot be parsed are reported and left out."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        if not isinstance(value, list):
            return _refuse(faults, path, value, "is not a list", "write a list")
        tried = {f"{path}[{index}]": item for index, item in enumerate(value)}
        parsed = {where: shape(item, where, faults) for where, item in tried.items()}
        good = {where: item for where, item in parsed.items() if item is not BAD}
        return Items(good.values(), good)

    return Shape(check, {"type": "array", "items": shape.schema})


def mapping(shape: Shape) -> Shape:
    """A mapping with free keys and values of one shape."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        if not isinstance(value, dict):
            return _refuse(faults, path, value, "is not a mapping", "write a mapping")
        parsed = {str(key): shape(item, f"{path}.{key}", faults) for key, item in value.items()}
        return {key: item for key, item in parsed.items() if item is not BAD}

    return Shape(check, {"type": "object", "additionalProperties": shape.schema})


def text(pattern: str, what: str) -> Shape:
    """A string that matches ``pattern`` as a whole; ``what`` says it in words."""
    compiled = re.compile(pattern)

    def check(value: Any, path: str, faults: Faults) -> Any:
        if isinstance(value, str) and compiled.fullmatch(value):
            return str(value)
        # YAML reads 64900:10 and 1e3 as numbers, yes as a truth value.
        quotes = "" if isinstance(value, str) else ", in quotes"
        return _refuse(faults, path, value, f"is not {what}", f"use {pattern}{quotes}")

    return Shape(check, {"type": "string", "pattern": f"^({pattern})$", "description": what})


def numbers(count: int, highest: int, what: str) -> Shape:
    """``count`` whole numbers from 0 to ``highest`` with colons between them; parsed to the same text.

    Leading zeros are refused: two spellings of one value would not be found equal.
    """
    form = text(":".join([f"(0|[1-9][0-9]{{0,{len(str(highest)) - 1}}})"] * count), what)

    def check(value: Any, path: str, faults: Faults) -> Any:
        parsed = form(value, path, faults)
        if parsed is BAD or all(int(part) <= highest for part in parsed.split(":")):
            return parsed
        return _refuse(faults, path, value, "has a part that is out of range", f"use parts of at most {highest}")

    return Shape(check, form.schema)


def integer(low: int, high: int) -> Shape:
    """A whole number, both ends included."""

    def check(value: Any, path: str, faults: Faults) -> Any:
        if type(value) is not bool and isinstance(value, int) and low <= value <= high:
            return int(value)
        if isinstance(value, str) and re.fullmatch("-?[0-9]+", value) and low <= int(value) <= high:
            remedy = f"write it without quotes; on a command line, -e '{{\"{path}\": {value}}}'"
            return _refuse(faults, path, value, "is a text, not a number", remedy)
        return _refuse(faults, path, value, "is out of range", f"use a number from {low} to {high}")

    return Shape(check, {"type": "integer", "minimum": low, "maximum": high})


def _check_boolean(value: Any, path: str, faults: Faults) -> Any:
    if isinstance(value, bool):
        return value
    return _refuse(faults, path, value, "is neither true nor false", "write true or false, without quotes")


BOOLEAN = Shape(_check_boolean, {"type": "boolean"})


def span(low: int, high: int) -> Shape:
    """A range of numbers written ``first-last``; parsed to ``(first, last)``."""
    pattern = "[0-9]{1,10}-[0-9]{1,10}"

    def check(value: Any, path: str, faults: Faults) -> Any:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            first, last = map(int, value.split("-"))
            if low <= first <= last <= high:
                return first, last
        return _refuse(faults, path, value, "is not a range", f"write first-last within {low}-{high}")

    return Shape(check, {"type": "string", "pattern": f"^{pattern}$", "description": f"first-last within {low}-{high}"})


_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_V4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_V6 = r"[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_LENGTH = {_V4: f"(/(3[0-2]|[12]?[0-9]|{_V4}))?", _V6: "(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?"}


def _address(parse: Callable[[str], Any], form: str, example: str, with_length: bool = True) -> Shape:
    """Text that ``parse`` accepts and that has the given form.

    ``parse`` is of :mod:`ipaddress`, which is stricter than netaddr but accepts scopes (``fe80::1%eth0``).
    """
    build = IPNetwork if with_length else IPAddress
    pattern = form + (_LENGTH[form] if with_length else "")

    def check(value: Any, path: str, faults: Faults) -> Any:
        remedy = f"write it like {example}"
        if not isinstance(value, str):
            return _refuse(faults, path, value, "is not text", remedy)
        try:
            spelt = str(parse(value))
        except ValueError as error:
            return _refuse(faults, path, value, str(error), remedy)
        if re.fullmatch(pattern, value):
            return build(spelt)
        return _refuse(faults, path, value, "has more than an address and its length", remedy)

    return Shape(check, {"type": "string", "pattern": f"^({pattern})$", "description": f"like {example}"})


PREFIX: dict[int, Shape] = {
    4: _address(ipaddress.IPv4Network, _V4, "10.20.0.0/24"),
    6: _address(ipaddress.IPv6Network, _V6, "fd20:1::/64"),
}
INTERFACE: dict[int, Shape] = {
    4: _address(ipaddress.IPv4Interface, _V4, "100.66.1.2/30"),
    6: _address(ipaddress.IPv6Interface, _V6, "fd66:1::2/64"),
}
ADDRESS: dict[int, Shape] = {
    4: _address(ipaddress.IPv4Address, _V4, "100.66.1.1", with_length=False),
    6: _address(ipaddress.IPv6Address, _V6, "fd66:1::1", with_length=False),
}
