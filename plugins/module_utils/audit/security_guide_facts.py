# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The input of security_guide: a node's snapshot, files as services read them, listening sockets. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any


@dataclass(frozen=True)
class Stat:
    """Owner, group and permission bits of a path; symbolic links are followed."""

    owner: str
    group: str
    mode: int


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket: the negotiated version of TLS, or "" and the reason why there is none."""

    address: str
    port: int
    tls: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Snapshot:
    """The state of a node. ``units``: without suffix, enabled or running; ``faults``: unreadable files."""

    packages: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    stats: Mapping[str, Stat] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    listeners: Mapping[int, Sequence[Listener]] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """A value found in one place, and whether it is as wanted."""

    file: str
    what: str
    found: str
    wanted: str
    ok: bool

    def __str__(self) -> str:
        told = f"{self.file}: {self.what} {self.found}".replace("  ", " ")
        return told if self.ok else f"{told}; wanted: {self.wanted}"


class Unreadable(Exception):
    """A file that cannot be checked; the argument is the finding."""


# --- files ----------------------------------------------------------------------------------------------


def parse_ini(text: str) -> dict[str, dict[str, list[str]]]:
    """Return sections, options and all values of each, by the rules of oslo.config.

    Sections except DEFAULT are in lower case; a line that begins with a blank continues the previous one; a pair of
    quotes is removed.

    :raises ValueError: a line is no section, option or comment; the message has its number.
    """
    sections: dict[str, dict[str, list[str]]] = {}
    section, values = "", None
    for number, line in enumerate(map(str.rstrip, text.splitlines()), 1):
        if not line:
            values = None
        elif line[0] in " \t":
            if values is None:
                raise ValueError(f"line {number} goes on from nothing")
            values[-1] += f"\n{line.strip()}"
        elif line[0] == "[":
            if not line.endswith("]") or len(line) < 3:
                raise ValueError(f"line {number} is no section")
            section, values = _section(line[1:-1]), None
            sections.setdefault(section, {})
        elif line[0] in "#;":
            values = None
        else:
            key, separator, value = re.match(r"([^=:]*)([=:]?)(.*)", line).groups()  # type: ignore[union-attr]
            if not separator or not key.strip() or not section:
                raise ValueError(f"line {number} is no option of a section")
            value = value.strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            values = sections[section].setdefault(key.strip(), [])
            values.append(value)
    return sections


def _section(name: str) -> str:
    return name if name == "DEFAULT" else name.lower()


def matching(patterns: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the ``paths`` that match, in the order of the patterns, then by name."""
    known = sorted(paths)
    return list(dict.fromkeys(path for pattern in patterns for path in known if fnmatchcase(path, pattern)))


def files(snapshot: Snapshot, patterns: Sequence[str], required: str = "") -> list[str]:
    """Return the existing files of ``patterns``.

    :raises Unreadable: one cannot be read, or the ``required`` one does not exist.
    """
    for path in matching(patterns, snapshot.faults):
        raise Unreadable(Finding(path, "", f"cannot be read: {snapshot.faults[path]}", "a file to read", False))
    if required and required not in snapshot.texts:
        raise Unreadable(Finding(required, "", "is not there", "a file to read", False))
    return matching(patterns, snapshot.texts)


@dataclass(frozen=True)
class Value:
    """The value of an option, and the file that sets it; if ``given`` is false it is the default."""

    file: str
    name: str
    text: str
    given: bool = True

    def finding(self, ok: bool, wanted: str, shown: str | None = None) -> Finding:
        text = (self.text if shown is None else shown) or "empty"
        return Finding(self.file, f"{self.name} is", text if self.given else f"not set (by default {text})", wanted, ok)


class Options:
    """The options of a service, from all its files.

    :raises Unreadable: a file is missing, or no INI file.
    """

    def __init__(self, snapshot: Snapshot, patterns: Sequence[str], main: str) -> None:
        self.main = main
        self.parsed: list[tuple[str, dict[str, dict[str, list[str]]]]] = []
        for path in files(snapshot, patterns, main):
            try:
                self.parsed.append((path, parse_ini(snapshot.texts[path])))
            except ValueError as fault:
                raise Unreadable(Finding(path, "", f"is malformed: {fault}", "an INI file", False)) from None

    def get(self, section: str, name: str, default: str = "", *others: tuple[str, str]) -> Value:
        """Return an option; ``others`` are its former names."""
        for path, sections in reversed(self.parsed):
            for group, option in ((section, name), *others):
                if found := sections.get(_section(group), {}).get(option):
                    return Value(path, f"[{group}] {option}", found[-1])
        return Value(self.main, f"[{section}] {name}", default, given=False)

    def off(self, section: str, name: str, *others: tuple[str, str]) -> Finding:
        """Check an option that must be false, which is also its default."""
        value = self.get(section, name, "false", *others)
        return value.finding(value.text.lower() in ("false", "0", "off", "no"), "false")

    def https(self, section: str, name: str, *others: tuple[str, str]) -> Finding:
        """Check an option that must be set, to one or more https URLs."""
        value = self.get(section, name, "", *others)
        return value.finding(_https(value.text), "https://...")


def _https(text: str) -> bool:
    urls = [item.strip().strip("\"'") for item in text.strip("[]").split(",")]
    return all(url.startswith("https://") for url in urls)


def settings(snapshot: Snapshot, patterns: Sequence[str], main: str) -> dict[str, tuple[Any, str]]:
    """Return constants that Python files assign, each with the last file that assigns it. No code is executed.

    By name; settings in ``HORIZON_CONFIG`` by their key in upper case. A value that is no constant is :data:`COMPUTED`.

    :raises Unreadable: a file is missing, or not Python.
    """
    found: dict[str, tuple[Any, str]] = {}
    for path in files(snapshot, patterns, main):
        try:
            tree = ast.parse(snapshot.texts[path])
        except (SyntaxError, ValueError) as fault:
            raise Unreadable(Finding(path, "", f"is malformed: {fault}", "a file of Python", False)) from None
        for node in tree.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    found.update((name, (value, path)) for name, value in _assigned(target, node.value))
    return found


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Any]]:
    if isinstance(target, ast.Name):
        if target.id == "HORIZON_CONFIG" and isinstance(value, ast.Dict):
            for key, item in zip(value.keys, value.values, strict=True):
                yield str(_constant(key)).upper(), _constant(item)
        else:
            yield target.id, _constant(value)
    elif isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == "HORIZON_CONFIG":
        yield str(_constant(target.slice)).upper(), _constant(value)


COMPUTED = "<computed>"


def _constant(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Dict):  # its display texts are often translated, which is a call
        return {str(_constant(key)): _constant(value) for key, value in zip(node.keys, node.values, strict=True)}
    try:
        return ast.literal_eval(node)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return COMPUTED


# --- sockets --------------------------------------------------------------------------------------------


def listening(table: str) -> list[tuple[str, int]]:
    """Return address and port of the listening sockets of /proc/net/tcp or tcp6."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":
            address, port = fields[1].split(":")
            # Words of 32 bits, each in the byte order of the machine, which is little-endian on all architectures on
            # which Debian's OpenStack runs.
            words = [bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8)]
            found.append((str(ip_address(b"".join(words))), int(port, 16)))
    return found
