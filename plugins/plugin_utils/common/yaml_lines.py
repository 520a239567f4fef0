# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""YAML with line numbers: every value of a file, and the line of each key or item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """A fault of the file itself; `line` counts from 1."""

    line: int
    reason: str
    remedy: str


@dataclass
class Document:
    """`data` is plain Python, None if it cannot be parsed; `lines` maps a path, () the root, to its line."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that exists.

        A key with dots in it, as the full name of a host, may stand in `path` as several.
        """
        taken: Path = ()
        rest = list(path)
        while rest:
            keys = ((*taken, rest[0] if n == 1 else ".".join(map(str, rest[:n]))) for n in range(1, len(rest) + 1))
            taken, length = next(((key, n) for n, key in enumerate(keys, 1) if key in self.lines), (taken, 0))
            if not length:
                break
            rest = rest[length:]
        return self.lines.get(taken, 1)


# In C where this build of PyYAML has them, which is several times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Vaulted(str):
    """The cipher text of a value with the tag !vault."""


class _Loader(LOADER):  # type: ignore[misc,valid-type]
    """Ansible's own tags (!vault, !unsafe) are read as the scalar they carry."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    value = getattr(node, "value", None)
    return Vaulted(value) if suffix in ("vault", "vault-encrypted") and isinstance(value, str) else value


_Loader.add_multi_constructor("!", _tagged)


def parse(text: str) -> Document:
    """Read one document; a syntax error or a key given twice is a fault of the result, never an exception."""
    document = Document()
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is not None:
            document.data = _construct(loader, root, (), document)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        document.data = None
        document.faults.append(Fault(mark.line + 1 if mark else 1, f"is not YAML: {problem}", "correct the syntax"))
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _construct(loader: _Loader, node: yaml.Node, path: Path, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        return _mapping(loader, node, path, document)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_construct(loader, item, (*path, index), document) for index, item in enumerate(node.value)]
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:  # 2026-02-31, say
        raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def _mapping(loader: _Loader, node: yaml.MappingNode, path: Path, document: Document) -> dict[Any, Any]:
    written = [key.value for key, _value in node.value]
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        key = key if isinstance(key, str | int) else str(key)
        line = key_node.start_mark.line + 1
        if key in result and written.count(key_node.value) > 1:
            before = document.lines[(*path, key)]
            document.faults.append(Fault(line, f"{key} is given a second time (first in line {before})", "keep one"))
        document.lines[(*path, key)] = line
        result[key] = _construct(loader, value_node, (*path, key), document)
    return result
