# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A site's inventory: which hosts, groups and variables there are, and in which file and line each is written.

Ansible decides what there is (:class:`View`); the files tell where it is written. Without Ansible, when an inventory
is too broken for it to load, the files alone answer both.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...module_utils.common import url_logins
from ..common import yaml_lines
from ..common.yaml_lines import Document
from . import ini_lines

VAULT_HEADER = "$ANSIBLE_VAULT;"
YAML_SUFFIXES = (".yml", ".yaml", ".json")
VARIABLE_SUFFIXES = ("", *YAML_SUFFIXES)
NO_INVENTORY = re.compile(
    r"^\.|^(group_vars|host_vars|vars_plugins|pki|allocations\.yml)$|~$|\.(bak|cfg|md|orig|retry|rst|txt)$"
)
"""Names in an inventory folder that are not inventory sources, besides those that Ansible is configured to ignore."""
Decrypt = Callable[[bytes, str], bytes]
"""Takes the content and the name of a vault file; raises ValueError, with a reason, when that fails."""


class View(Protocol):
    """An inventory as Ansible has loaded it; see plugin_utils/inventory/ansible_view.py."""

    groups: Mapping[str, list[str]]
    """Hosts of each group, those of its children included."""
    sources: list[Path]
    """Files and folders given by ``-i``."""
    folders: list[Path]
    """Folders in which group_vars and host_vars are looked for."""
    extra: Mapping[str, Any]
    """Variables of the command line."""

    def variables(self, host: str) -> Mapping[str, Any]:
        """Variables of a host, or of localhost, with Ansible's precedence, not templated; empty if not readable."""

    def same(self, written: Any, held: Any) -> bool:
        """Whether a value is the one that is written in a file."""

    def resolve(self, value: Any, host: str) -> Any:
        """Plain data of a value, its templates rendered for the host unless only the run can tell them."""

    def derived(self, name: str, host: str, defaults: Path) -> Any:
        """A variable with the defaults of a role in place of what the inventory does not set; None if unknown."""

    def files(self, folder: Path, name: str) -> list[Path]:
        """Files of variables in `folder` (group_vars, host_vars) that Ansible reads for a group or host."""

    def expand(self, pattern: str) -> list[str]:
        """Host names of a pattern such as ``gw[1:2]``."""

    def ignores(self, name: str) -> bool:
        """Whether Ansible ignores a name in an inventory folder."""

    def is_variable(self, name: str) -> bool:
        """Whether a variable belongs to the inventory, as opposed to Ansible itself."""

    def unparsed(self, path: Path) -> str:
        """The reason why no inventory plugin could read the file; empty if one could."""


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
    """``error`` refuses the inventory; ``warning`` is shown and the run continues."""

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
    extra: bool = False
    """The variables come from the command line."""
    generated: bool = False
    """The variables come from a plugin or a script, which may set others than ours."""

    @property
    def variables(self) -> dict[str, Any]:
        data = self.document.data
        for key in self.base:
            data = data.get(key) if isinstance(data, dict) else None
        return data if isinstance(data, dict) else {}

    def violation(self, path: yaml_lines.Path, value: Any, reason: str, remedy: str) -> Violation:
        """A violation at `path` below `base`; what was encrypted is never shown."""
        shown = "" if self.secret or value is None or self._vaulted(path) else brief(value)
        return Violation(self.file, self.document.line((*self.base, *path)), dotted(path), shown, reason, remedy)

    def _vaulted(self, path: yaml_lines.Path) -> bool:
        """Whether the value at `path` was written with !vault."""
        data: Any = self.variables
        for key in path:
            data = data.get(key) if isinstance(data, dict) else data[key] if _has(data, key) else None
        return isinstance(data, yaml_lines.Vaulted)


def _has(data: Any, key: Any) -> bool:
    return isinstance(data, list) and isinstance(key, int) and key < len(data)


Place = tuple[Source, yaml_lines.Path]


@dataclass
class Inventory:
    """All sources of a site, least specific first, and which groups each host is in."""

    folder: Path
    label: str
    """The folder as violations name it."""
    listing: Source
    """The inventory file that violations of the inventory as a whole are shown at: hosts.yml, or the first."""
    ledger: Source
    """allocations.yml"""
    sources: list[Source] = field(default_factory=list)
    groups: dict[str, set[str]] = field(default_factory=dict)
    """Each group with the groups above it, as far as files say so."""
    hosts: dict[str, set[str]] = field(default_factory=dict)
    host_places: dict[str, Place] = field(default_factory=dict)
    group_places: dict[str, Place] = field(default_factory=dict)
    """The file and line in which each host and each group is written."""
    faults: list[Violation] = field(default_factory=list)
    view: View | None = None
    _index: dict[Any, list[tuple[Source, Any]]] = field(default_factory=dict)
    _indexed: int = 0
    _found: dict[tuple[str, str], tuple[Source, Any] | None] = field(default_factory=dict)

    def find(self, name: str, host: str = "") -> tuple[Source, Any] | None:
        """Where variable `name` is set (for `host`, or for all), and its value as Ansible resolves it."""
        if (name, host) not in self._found:
            self._found[name, host] = self._find(name, host)
        return self._found[name, host]

    def _find(self, name: str, host: str) -> tuple[Source, Any] | None:
        written = list(self._written(name, host))
        view = self.view
        held = view.variables(host or "localhost") if view else {}
        if view is None or not held:
            return written[0] if written else None
        if name not in held:
            # Variables of all nodes need not be set for localhost as well.
            return self.find(name, controllers[0]) if not host and (controllers := self.members("control")) else None
        # If a variable is written in several places, the place of the effective value.
        extra = [(source, value) for source, value in written if source.extra]
        if extra and name not in view.extra:
            return extra[0]  # Ansible did not load this inventory for the command line
        counts = [source for source, value in written if view.same(value, held[name])]
        places = [source for source, _value in extra] or counts or [source for source, _value in written]
        if not places or (name in view.extra and not extra):
            places = [self._unwritten(name, host, held[name])]
        return places[0], view.resolve(held[name], host or "localhost")

    def _written(self, name: str, host: str) -> Iterator[tuple[Source, Any]]:
        """The places that set a variable for a host, the most specific first."""
        if len(self.sources) != self._indexed:
            self._index, self._indexed = defaultdict(list), len(self.sources)
            for source in reversed(self.sources):
                for key, value in source.variables.items():
                    self._index[key].append((source, value))
        scopes = {"all", host, *self.hosts.get(host, ())}
        return (found for found in self._index.get(name, ()) if found[0].scope in scopes)

    def _unwritten(self, name: str, host: str, value: Any) -> Source:
        place = self.host_places.get(host, (self.listing, ()))[0]
        file = "--extra-vars" if self.view and name in self.view.extra else place.file
        return Source(file, Document({name: value}), scope=host, generated=True)

    def value(self, name: str, host: str = "") -> Any:
        found = self.find(name, host)
        return found[1] if found else None

    def names(self) -> list[str]:
        """Names of all variables that apply to the whole site."""
        held = self.view.variables("localhost") if self.view else {}
        return sorted({str(key) for source in self.sources for key in source.variables} | held.keys())

    def members(self, group: str) -> list[str]:
        """Hosts of a group, those of its children included, by name."""
        return sorted(host for host, groups in self.hosts.items() if group in groups)

    def at_host(self, host: str, reason: str, remedy: str) -> Violation:
        """A violation where a host is written."""
        source, path = self.host_places.get(host, (self.listing, ()))
        return source.violation(path, None, reason, remedy)

    def at_group(self, group: str, reason: str, remedy: str) -> Violation:
        """A violation where a group is written."""
        source, path = self.group_places.get(group, (self.listing, ()))
        return source.violation(path, None, reason, remedy)


def load(folder: Path, decrypt: Decrypt, relative_to: Path, view: View | None = None) -> Inventory:
    """Read the inventory in `folder`. File names in violations are relative to `relative_to`."""

    def named(path: Path) -> str:
        if not path.is_relative_to(relative_to):
            path = path.parent.resolve() / path.name  # the checkout may be reached by a link
        return str(path.relative_to(relative_to)) if path.is_relative_to(relative_to) else str(path)

    listing, ledger = (Source(named(folder / name), Document()) for name in ("hosts.yml", "allocations.yml"))
    inventory = Inventory(folder, named(folder), listing, ledger, view=view)

    def read(path: Path, strict: bool = True) -> Source:
        """Parse a file of YAML or JSON; unless `strict`, one of another format is no fault."""
        name = named(path)
        source = Source(name, Document())
        try:
            content = path.read_bytes()
            if content.startswith(VAULT_HEADER.encode()):
                source.secret = True
                content = decrypt(content, name)
            text = content.decode()
            source.document = yaml_lines.parse(text)
            if not strict and not isinstance(source.document.data, dict):
                source.document = ini_lines.parse(text)
        except UnicodeDecodeError:
            inventory.faults.append(Violation(name, 1, "", "", "is not UTF-8 text", "save it as UTF-8"))
        except FileNotFoundError:
            inventory.faults.append(Violation(name, 1, "", "", "does not exist", "write it"))
        except OSError as error:
            inventory.faults.append(Violation(name, 1, "", "", error.strerror or "cannot be read", "make it readable"))
        except ValueError as error:
            remedy = "restore the vault password, or make secrets anew with `socle secrets init`"
            inventory.faults.append(Violation(name, 1, "", "", str(error), remedy))
        for fault in source.document.faults:
            inventory.faults.append(Violation(name, fault.line, "", "", fault.reason, fault.remedy))
        if source.document.data is not None and not isinstance(source.document.data, dict):
            inventory.faults.append(source.violation((), None, "is not a mapping", "write `key: value` lines"))
        return source

    files = [file for path in (view.sources if view else [folder]) for file in inventory_files(path, view)]
    _read_listings(files or [folder / "hosts.yml"], inventory, read, named)
    if view:
        inventory.groups = {group: inventory.groups.get(group, set()) for group in view.groups}
        inventory.hosts = {
            host: {"all", *(group for group, members in view.groups.items() if host in members)}
            for host in view.groups.get("all", ())
        }
    if (folder / "allocations.yml").is_file():
        inventory.ledger = read(folder / "allocations.yml")
    groups = ["all", *sorted(inventory.groups.keys() - {"all"})]
    variable_files = [
        source
        for base in (view.folders if view else [folder])
        for kind, names in (("group_vars", groups), ("host_vars", [*inventory.hosts]))
        for source in _variables(base / kind, names, inventory, read, named)
    ]
    # Of several groups, the one with the fewest hosts is considered the most specific.
    size = {group: len(inventory.members(group)) for group in inventory.groups}
    order = ["all", *sorted(groups[1:], key=lambda group: -size[group]), *inventory.hosts]
    rank = {scope: number for number, scope in enumerate(order)}
    inventory.sources = sorted([*inventory.sources, *variable_files], key=lambda source: rank.get(source.scope, 0))
    if view:
        inventory.sources += _generated(inventory, view, named)
    return inventory


def inventory_files(path: Path, view: View | None = None) -> Iterator[Path]:
    """The inventory sources in a folder, as Ansible walks it; or the file itself."""
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if not NO_INVENTORY.search(entry.name) and not (view and view.ignores(entry.name)):
            yield from inventory_files(entry, view)


def _read_listings(
    files: Iterable[Path], inventory: Inventory, read: Callable[..., Source], named: Callable[[Path], str]
) -> None:
    """Read the inventory files: hosts and groups with their lines, and the variables written beside them."""
    view = inventory.view
    for number, path in enumerate(files):
        before = len(inventory.faults)
        script = os.access(path, os.X_OK) and path.is_file() and path.read_bytes()[:2] == b"#!"
        source = Source(named(path), Document()) if script else read(path, path.suffix in YAML_SUFFIXES)
        if number == 0 or path.name == "hosts.yml":
            inventory.listing = source
        data = source.document.data
        plugin = script or (isinstance(data, dict) and isinstance(data.get("plugin"), str))
        if not plugin:
            _groups(source, inventory)
        elif view:
            hosts = [host for host in view.groups["all"] if view.variables(host).get("inventory_file") == str(path)]
            inventory.host_places = dict.fromkeys(hosts, (source, ())) | inventory.host_places
        if view and len(inventory.faults) == before and (reason := view.unparsed(path)):
            remedy = "correct it, or move what is no inventory to another folder"
            inventory.faults.append(Violation(source.file, 1, "", "", f"Ansible cannot read it: {reason}", remedy))


def _variables(
    folder: Path,
    names: list[str],
    inventory: Inventory,
    read: Callable[..., Source],
    named: Callable[[Path], str],
) -> Iterator[Source]:
    """The files of a folder (group_vars, host_vars) that are for `names`; what is there for nobody is a fault."""
    used = set()
    for name in names:
        for path in inventory.view.files(folder, name) if inventory.view else _files(folder, name):
            source = read(path)
            source.scope = name
            used |= {path, *path.parents}
            yield source
    what = folder.name.removesuffix("_vars")
    for path in sorted(folder.glob("*")):
        if path in used or path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.stem not in names and path.name not in names:
            reason = f"{path.stem} is no {what} of the inventory"
            inventory.faults.append(Violation(named(path), 1, "", "", reason, "rename or remove it"))
        elif path.is_file():
            remedy = f"move its content to where the other variables of {what} {path.stem} are"
            inventory.faults.append(Violation(named(path), 1, "", "", "is not read by Ansible", remedy))


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The files of variables of a group or host as Ansible would choose them: a folder or file NAME, or NAME.yml..."""
    for suffix in VARIABLE_SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_dir():
            yield from (
                file
                for file in sorted(path.glob("**/*"))
                if file.is_file() and file.suffix in VARIABLE_SUFFIXES and not file.name.startswith(".")
            )
        elif path.is_file():
            yield path
        else:
            continue
        return


def _generated(inventory: Inventory, view: View, named: Callable[[Path], str]) -> Iterator[Source]:
    """Variables that are in no file: those that inventory plugins and scripts set for hosts."""
    for host, groups in inventory.hosts.items():
        scopes = {"all", host, *groups}
        written = {key for source in inventory.sources if source.scope in scopes for key in source.variables}
        held = view.variables(host)
        found = {key: held[key] for key in held.keys() - written - view.extra.keys() if view.is_variable(key)}
        if found:
            file, place = held.get("inventory_file"), inventory.host_places.get(host, (inventory.listing, ()))[0]
            label = named(Path(file)) if file else place.file
            yield Source(label, Document(found), scope=host, secret=place.secret, generated=True)


def _groups(source: Source, inventory: Inventory) -> None:
    """Walk an inventory file: groups, their children and hosts, and variables written in it."""
    expand = inventory.view.expand if inventory.view else lambda pattern: [pattern]

    def walk(name: str, node: Any, path: yaml_lines.Path, above: frozenset[str]) -> None:
        inventory.groups.setdefault(name, set()).update(above)
        inventory.group_places.setdefault(name, (source, path))
        if node is None:
            return
        if not isinstance(node, dict):
            inventory.faults.append(source.violation(path, node, "is not a group", "give it hosts, children or vars"))
            return
        for key in node.keys() - {"hosts", "children", "vars"}:
            remedy = "a group holds hosts, children and vars"
            inventory.faults.append(source.violation((*path, key), None, "unknown key of a group", remedy))
        within = above | {name}
        for pattern, variables in _entries(node, "hosts", path):
            base = (*path, "hosts", pattern)
            if not isinstance(pattern, str):
                remedy = "give the host a name with letters"
                inventory.faults.append(source.violation(base, None, "is a number and no host name", remedy))
            for host in expand(str(pattern)):
                inventory.hosts.setdefault(host, set()).update(within)
                inventory.host_places.setdefault(host, (source, base))
                if isinstance(variables, dict):
                    inventory.sources.append(Source(source.file, source.document, host, base, source.secret))
        if isinstance(node.get("vars"), dict):
            base = (*path, "vars")
            inventory.sources.append(Source(source.file, source.document, name, base, source.secret))
        for child, content in _entries(node, "children", path):
            walk(str(child), content, (*path, "children", child), within)

    def _entries(node: dict[str, Any], key: str, path: yaml_lines.Path) -> list[tuple[str | int, Any]]:
        entries = node.get(key) or {}
        if isinstance(entries, dict):
            return list(entries.items())
        inventory.faults.append(source.violation((*path, key), entries, "is not a mapping", "write `name:` lines"))
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
    return tuple(int(part[1:-1]) if part.startswith("[") else part for part in re.findall(r"\[\d+\]|[^.\[\]]+", path))


def brief(value: Any) -> str:
    """A value on one short line."""
    text = url_logins.shown(" ".join(str(value).split()))  # before it is cut, which could part a login from its @
    return text if len(text) <= 60 else f"{text[:57]}..."
