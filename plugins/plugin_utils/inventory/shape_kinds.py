# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Kinds of shapes: a single value, a list, a mapping, or either of several; and what each refuses."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common.yaml_lines import Path as KeyPath

Fault = tuple[KeyPath, Any, str, str]
"""Path below the variable, value (None: it is not shown), reason, remedy."""


@dataclass(frozen=True)
class Names:
    """The names that values may refer to."""

    hosts: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()


class Refused(ValueError):
    """A value that its shape refuses: ``reason``, and ``remedy`` where the shape's own does not help."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


Test = Callable[[Any, Names], None]
"""Raises :class:`Refused`."""


class Shape:
    """The form that a value must have."""

    what: str

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        raise NotImplementedError

    def takes(self, value: Any) -> bool:
        """Whether a value is of the kind that this shape is about, so that its faults say what to correct."""
        raise NotImplementedError


@dataclass(frozen=True)
class Leaf(Shape):
    """A single value, neither a list nor a mapping."""

    what: str
    example: str
    test: Test
    secret: bool = False

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        if is_template(value):
            return
        try:
            self.test(value, names)
        except Refused as refused:
            shown = None if self.secret else value
            remedy = refused.remedy or (f"write it like {self.example}" if self.example else "correct it")
            yield path, shown, refused.reason, remedy

    def takes(self, value: Any) -> bool:
        return not isinstance(value, list | dict)


@dataclass(frozen=True)
class ListOf(Shape):
    item: Shape
    what: str = "a list"

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        if is_template(value):
            return
        if not isinstance(value, list):
            yield path, value, "is not a list", "write a list"
            return
        for index, element in enumerate(value):
            yield from self.item.faults(element, names, (*path, index))

    def takes(self, value: Any) -> bool:
        return isinstance(value, list)


@dataclass(frozen=True)
class Record(Shape):
    """A mapping: ``fields`` by key, those in ``optional`` may be missing; other keys and values as in ``others``."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    others: tuple[Shape, Shape] | None = None
    what: str = "a mapping"

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        if is_template(value):
            return
        if not isinstance(value, dict):
            yield path, value, "is not a mapping", "write `key: value` lines"
            return
        for key, content in value.items():
            if key in self.fields:
                yield from self.fields[key].faults(content, names, (*path, key))
            elif self.others:
                for _path, shown, reason, remedy in self.others[0].faults(key, names):
                    yield (*path, key), None, f"the key {shown} {reason}", remedy
                yield from self.others[1].faults(content, names, (*path, key))
            else:
                known = f"known keys: {', '.join(sorted(self.fields))}"
                yield (*path, key), None, "unknown key", near(str(key), self.fields, known)
        for key in self.fields.keys() - self.optional - value.keys():
            yield path, None, f"{key} is missing", "add it"

    def takes(self, value: Any) -> bool:
        return isinstance(value, dict)


@dataclass(frozen=True)
class Either(Shape):
    """Any of several; the faults are those of the one that is meant."""

    shapes: tuple[Shape, ...]

    @property
    def what(self) -> str:  # type: ignore[override]
        return " or ".join(shape.what for shape in self.shapes)

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        tried = [(shape, list(shape.faults(value, names, path))) for shape in self.shapes]
        if all(found for _shape, found in tried):
            meant = [found for shape, found in tried if shape.takes(value)] or [tried[0][1]]
            if len(meant) > 1 and len(meant[0]) == 1:
                [(_path, shown, _reason, remedy)] = meant[0]
                yield path, shown, f"is neither {self.what.replace(' or ', ' nor ')}", remedy
            else:
                yield from meant[0]

    def takes(self, value: Any) -> bool:
        return any(shape.takes(value) for shape in self.shapes)


def is_template(value: Any) -> bool:
    """Whether only Ansible can compute the value."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the known one that it resembles, or what to do else."""
    found = difflib.get_close_matches(name, sorted(map(str, known)), 1, 0.6)
    return f"did you mean {found[0]}?" if found else otherwise
