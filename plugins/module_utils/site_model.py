# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""An inventory folder as it is written: its files with line numbers, its groups and hosts, and its variables.

Ansible's own inventory answers what a variable is; this model answers where it was written, also when the
folder is too broken for Ansible to load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import url_logins, yaml_lines
from .yaml_lines import Document

VAULT_HEADER = "$ANSIBLE_VAULT;"
Decrypt = Callable[[bytes, str], bytes]
"""Takes the content and the name of a vault file; raises ValueError, with a reason, when that fails."""


@dataclass(frozen=True, order=True)
class Violation:
    """One thing wrong: where (file, line, key path), what was there, why it is refused, what to do.

    The logins of URLs are not kept in it, whichever rule it is from.
    """

    file: str
    line: int
    path: str
    value: str
    reason: str
    remedy: str
    severity: str = "error"
    """``error`` refuses the inventory; ``warning`` is shown and the run goes on."""

    def __post_init__(self) -> None:
        for name in ("value", "reason", "remedy"):
            object.__setattr__(self, name, url_logins.shown(getattr(self, name)))

    def __str__(self) -> str:
        key = f"  {self.path}" + (f" = {self.value}" if self.value else "") if self.path else ""
        return f"{self.file}:{self.line}{key}: {self.reason}; {self.remedy}"


@dataclass
class Source:
    """One YAML file; `base` is the path within it under which its variables stand."""

    file: str
    document: Document
    scope: str = ""
    """The group or host that the variables are for."""
    base: yaml_lines.Path = ()
    secret: bool = False

    @property
    def variables(self) -> dict[str, Any]:
        data = self.document.data
        for key in self.base:
            data = data.get(key) if isinstance(data, dict) else None
        return data if isinstance(data, dict) else {}

    def violation(self, path: yaml_lines.Path, value: Any, reason: str, remedy: str) -> Violation:
        """A violation at `path` below `base`; what a secret file holds is never shown."""
        shown = "" if self.secret or value is None else brief(value)
        return Violation(
            self.file, self.document.line((*self.base, *path)), dotted(path), shown, reason, remedy
        )


@dataclass
class Inventory:
    """All sources of a site, least specific first, and which groups each host is in."""

    folder: Path
    label: str
    """The folder as violations name it."""
    listing: Source
    """hosts.yml"""
    ledger: Source
    """allocations.yml"""
    sources: list[Source] = field(default_factory=list)
    groups: dict[str, set[str]] = field(default_factory=dict)
    hosts: dict[str, set[str]] = field(default_factory=dict)
    faults: list[Violation] = field(default_factory=list)

    def find(self, name: str, host: str = "") -> tuple[Source, Any] | None:
        """The most specific source that sets variable `name` (for `host`, or for all), and the value."""
        scopes = {"all", host, *self.hosts.get(host, ())}
        for source in reversed(self.sources):
            if source.scope in scopes and name in source.variables:
                return source, source.variables[name]
        return None

    def value(self, name: str, host: str = "") -> Any:
        found = self.find(name, host)
        return found[1] if found else None

    def members(self, group: str) -> list[str]:
        """Hosts of a group, those of its children included, by name."""
        return sorted(host for host, groups in self.hosts.items() if group in groups)


def load(folder: Path, decrypt: Decrypt, relative_to: Path) -> Inventory:
    """Read the inventory in `folder`. File names in violations are relative to `relative_to`."""

    def named(path: Path) -> str:
        return str(path.relative_to(relative_to)) if path.is_relative_to(relative_to) else str(path)

    listing, ledger = (Source(named(folder / name), Document()) for name in ("hosts.yml", "allocations.yml"))
    inventory = Inventory(folder, named(folder), listing, ledger)

    def read(path: Path) -> Source:
        name = named(path)
        source = Source(name, Document())
        try:
            content = path.read_bytes()
            if content.startswith(VAULT_HEADER.encode()):
                source.secret = True
                content = decrypt(content, name)
            source.document = yaml_lines.parse(content.decode())
        except UnicodeDecodeError:
            inventory.faults.append(Violation(name, 1, "", "", "is not UTF-8 text", "save it as UTF-8"))
        except FileNotFoundError:
            inventory.faults.append(Violation(name, 1, "", "", "does not exist", "write it"))
        except OSError as error:
            inventory.faults.append(
                Violation(name, 1, "", "", error.strerror or "cannot be read", "make it readable")
            )
        except ValueError as error:
            remedy = "restore the vault password, or make secrets anew with `socle secrets init`"
            inventory.faults.append(Violation(name, 1, "", "", str(error), remedy))
        for fault in source.document.faults:
            inventory.faults.append(Violation(name, fault.line, "", "", fault.reason, fault.remedy))
        if source.document.data is not None and not isinstance(source.document.data, dict):
            inventory.faults.append(
                source.violation((), None, "is not a mapping", "write `key: value` lines")
            )
        return source

    inventory.listing = read(folder / "hosts.yml")
    _groups(inventory.listing, inventory)
    if (folder / "allocations.yml").is_file():
        inventory.ledger = read(folder / "allocations.yml")
    variable_files = [
        *_files(folder / "group_vars", "all", read),
        *[
            source
            for group in inventory.groups
            if group != "all"
            for source in _files(folder / "group_vars", group, read)
        ],
        *[source for host in inventory.hosts for source in _files(folder / "host_vars", host, read)],
    ]
    inline = sorted(
        inventory.sources, key=lambda source: (source.scope in inventory.hosts, source.scope != "all")
    )
    rank = {scope: number for number, scope in enumerate(["all", *inventory.groups, *inventory.hosts])}
    inventory.sources = sorted([*inline, *variable_files], key=lambda source: rank.get(source.scope, 0))
    for kind, known in (("group_vars", {"all", *inventory.groups}), ("host_vars", set(inventory.hosts))):
        for path in sorted((folder / kind).glob("*")):
            if path.stem not in known and path.name not in known:
                reason = f"{path.stem} is no {kind.removesuffix('_vars')} of hosts.yml"
                inventory.faults.append(Violation(named(path), 1, "", "", reason, "rename or remove it"))
    return inventory


def _files(folder: Path, name: str, read: Callable[[Path], Source]) -> Iterator[Source]:
    """The files that Ansible reads for a group or host: NAME, NAME.yml, or everything in NAME/."""
    for path in [
        folder / name,
        folder / f"{name}.yml",
        folder / f"{name}.yaml",
        *sorted((folder / name).glob("**/*")),
    ]:
        if path.is_file() and path.suffix in ("", ".yml", ".yaml") and not path.name.startswith("."):
            source = read(path)
            source.scope = name
            yield source


def _groups(source: Source, inventory: Inventory) -> None:
    """Walk hosts.yml: groups, their children and hosts, and variables written in it."""

    def walk(name: str, node: Any, path: yaml_lines.Path, above: frozenset[str]) -> None:
        inventory.groups.setdefault(name, set()).update(above)
        if node is None:
            return
        if not isinstance(node, dict):
            inventory.faults.append(
                source.violation(path, node, "is not a group", "give it hosts, children or vars")
            )
            return
        for key in node.keys() - {"hosts", "children", "vars"}:
            remedy = "a group holds hosts, children and vars"
            inventory.faults.append(source.violation((*path, key), None, "unknown key of a group", remedy))
        within = above | {name}
        for host, variables in _entries(node, "hosts", path):
            inventory.hosts.setdefault(host, set()).update(within)
            if isinstance(variables, dict):
                base = (*path, "hosts", host)
                inventory.sources.append(Source(source.file, source.document, scope=host, base=base))
        if isinstance(node.get("vars"), dict):
            inventory.sources.append(Source(source.file, source.document, scope=name, base=(*path, "vars")))
        for child, content in _entries(node, "children", path):
            walk(child, content, (*path, "children", child), within)

    def _entries(node: dict[str, Any], key: str, path: yaml_lines.Path) -> list[tuple[str, Any]]:
        entries = node.get(key) or {}
        if isinstance(entries, dict):
            return [(str(name), value) for name, value in entries.items()]
        inventory.faults.append(
            source.violation((*path, key), entries, "is not a mapping", "write `name:` lines")
        )
        return []

    for name, node in (source.document.data if isinstance(source.document.data, dict) else {}).items():
        walk(str(name), node, (name,), frozenset() if name == "all" else frozenset({"all"}))


def dotted(path: yaml_lines.Path) -> str:
    """("a", 0, "b") as a[0].b"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def undotted(path: str) -> yaml_lines.Path:
    """a[0].b as ("a", 0, "b")"""
    return tuple(
        int(part[1:-1]) if part.startswith("[") else part for part in re.findall(r"\[\d+\]|[^.\[\]]+", path)
    )


def brief(value: Any) -> str:
    """A value on one short line."""
    text = url_logins.shown(" ".join(str(value).split()))  # before it is cut, which could part a login from its @
    return text if len(text) <= 60 else f"{text[:57]}..."
