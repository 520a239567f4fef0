# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``ovs_switch``: compares wanted bridges, ports and settings with an Open vSwitch database.

Pure: :func:`read` takes the output of one ``ovs-vsctl list``, :func:`plan` returns ``ovs-vsctl`` commands for
one transaction. Columns that an option leaves out are not managed and stay unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MARK = {"socle": "true"}
"""In ``external_ids`` of every port that this module made: only such ports are ever pruned."""

COLUMNS = {
    "Open_vSwitch": ("external_ids", "other_config"),
    "Manager": ("target",),
    "Bridge": ("name", "datapath_type", "fail_mode", "external_ids", "other_config", "ports"),
    "Port": ("_uuid", "name", "tag", "trunks", "vlan_mode", "external_ids", "other_config"),
    "Interface": ("name", "type", "options", "external_ids", "mtu_request", "error"),
}
"""Table to the columns that are read."""

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class SwitchError(ValueError):
    """Options that contradict each other."""


Record = Mapping[str, Any]
"""Columns: a string or number, a list of numbers (a set), or a mapping of strings (a map)."""


@dataclass(frozen=True)
class Live:
    """The database: records by name. ``on``: port to its bridge."""

    switch: Record = field(default_factory=dict)
    managers: frozenset[str] = frozenset()
    bridges: Mapping[str, Record] = field(default_factory=dict)
    ports: Mapping[str, Record] = field(default_factory=dict)
    interfaces: Mapping[str, Record] = field(default_factory=dict)
    on: Mapping[str, str] = field(default_factory=dict)

    def errors(self, names: Iterable[str]) -> dict[str, str]:
        """Return the switch's errors for interfaces that it could not open."""
        said = {name: self.interfaces.get(name, {}).get("error") for name in names}
        return {name: text for name, text in said.items() if text}


def list_arguments() -> list[str]:
    """Return arguments of ``ovs-vsctl --format=json`` that print every table of :data:`COLUMNS`, one per line."""
    return [
        word for table, columns in COLUMNS.items() for word in ("--", f"--columns={','.join(columns)}", "list", table)
    ]


def read(text: str) -> Live:
    """Return the state from the output of :func:`list_arguments`."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for table, line in zip(COLUMNS, (line for line in text.splitlines() if line.strip()), strict=True):
        body = json.loads(line)
        tables[table] = [
            {name: _value(cell) for name, cell in zip(body["headings"], row, strict=True)} for row in body["data"]
        ]
    by_name = {table: {row["name"]: row for row in tables[table]} for table in ("Bridge", "Port", "Interface")}
    names = {row["_uuid"]: row["name"] for row in tables["Port"]}
    return Live(
        switch=tables["Open_vSwitch"][0],
        managers=frozenset(row["target"] for row in tables["Manager"]),
        bridges=by_name["Bridge"],
        ports=by_name["Port"],
        interfaces=by_name["Interface"],
        on={names[port]: row["name"] for row in tables["Bridge"] for port in _list(row["ports"])},
    )


def _value(cell: Any) -> Any:
    """Return a cell of OVSDB's JSON (RFC 7047): an empty set is None, a set of one is its value."""
    if not isinstance(cell, list):
        return cell
    kind, content = cell
    if kind == "map":
        return {_value(key): _value(value) for key, value in content}
    if kind == "set":
        return [_value(item) for item in content] or None
    return content


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- the plan ----------------------------------------------------------------------------------------------


def plan(options: Mapping[str, Any], live: Live) -> list[list[str]]:
    """Return the commands of one transaction, in order; none if there is nothing to do."""
    _check(options)
    commands = []
    switch = {name: options.get(name) for name in ("external_ids", "other_config")}
    commands += settle("Open_vSwitch", ".", switch, live.switch)
    targets = options.get("manager")
    if targets is not None and set(targets.split()) != live.managers:
        commands.append(["set-manager", *targets.split()] if targets.split() else ["del-manager"])
    bridges = options.get("bridges") or ()
    listed = {port["name"] for bridge in bridges for port in (bridge, *(bridge.get("ports") or ()))}
    for bridge in bridges:
        name = bridge["name"]
        if name not in live.bridges:
            commands.append(["add-br", name])
        commands += settle("Bridge", name, bridge, live.bridges.get(name, {}))
        for port in bridge.get("ports") or ():
            commands += _port(name, port, live)
        if options.get("prune_ports"):
            commands += _prune(name, listed, live)
    return commands


def _check(options: Mapping[str, Any]) -> None:
    bridges = options.get("bridges") or ()
    names = [bridge["name"] for bridge in bridges]
    names += [port["name"] for bridge in bridges for port in bridge.get("ports") or () if port["name"] not in names]
    faults = [f"{name} is given twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for bridge in bridges:
        for port in bridge.get("ports") or ():
            tags = [port.get("tag") or 0, *(port.get("trunks") or ())]
            if wrong := [tag for tag in tags if not 0 <= tag <= 4095]:
                faults.append(f"port {port['name']}: {wrong[0]} is no VLAN")
    if faults:
        raise SwitchError("; ".join(faults))


def _port(bridge: str, port: Record, live: Live) -> Iterable[list[str]]:
    name = port["name"]
    at = live.on.get(name)
    if at not in (None, bridge):
        yield ["del-port", at, name]
    fresh = at != bridge
    if fresh and name != bridge:  # a bridge's own port is created with the bridge
        yield ["add-port", bridge, name]
    wanted = {**port, "external_ids": {**(port.get("external_ids") or {}), **MARK}}
    yield from settle("Port", name, wanted, {} if fresh else live.ports.get(name, {}))
    interface = {**port, "external_ids": port.get("interface_ids")}
    present = live.interfaces.get(name, {})
    if name == bridge:
        interface["type"] = None
    yield from settle("Interface", name, interface, {} if fresh else present)


def _prune(bridge: str, listed: set[str], live: Live) -> Iterable[list[str]]:
    for name, at in sorted(live.on.items()):
        marked = (live.ports.get(name, {}).get("external_ids") or {}).items() >= MARK.items()
        if at == bridge and name not in listed and marked:
            yield ["del-port", bridge, name]


OWNED = {
    "Open_vSwitch": ("external_ids", "other_config"),
    "Bridge": ("datapath_type", "fail_mode", "external_ids", "other_config"),
    "Port": ("tag", "trunks", "vlan_mode", "external_ids", "other_config"),
    "Interface": ("type", "options", "external_ids", "mtu_request"),
}
DEFAULTS = {"datapath_type": "system"}


def settle(table: str, name: str, wanted: Record, live: Record) -> list[list[str]]:
    """Return commands that set one record to the given columns; a column that is None is not managed.

    A mapping is merged into the present one, and a key with None is removed. An empty string or list, or
    tag 0, clears the column.
    """
    commands: list[list[str]] = []
    for column in OWNED[table]:
        value, present = wanted.get(column), live.get(column)
        if value is None:
            continue
        if isinstance(value, Mapping):
            commands += _settle_map([table, name, column], value, present or {})
        elif isinstance(value, (list, tuple)):
            if sorted(set(value)) != sorted(_list(present)):
                commands.append(_assign(table, name, column, ",".join(map(str, sorted(set(value))))))
        elif (value or DEFAULTS.get(column)) != (present or DEFAULTS.get(column)) and (value or present):
            commands.append(_assign(table, name, column, literal(value) if value else ""))
    return commands


def _settle_map(where: Sequence[str], value: Mapping[str, Any], present: Record) -> Iterable[list[str]]:
    table, name, column = where
    texts = {str(key): _text(item) for key, item in value.items()}
    differ = {key: text for key, text in texts.items() if text is not None and present.get(key) != text}
    if differ:
        pairs = [f"{column}:{literal(key)}={literal(text)}" for key, text in differ.items()]
        yield ["set", table, name, *pairs]
    if gone := [literal(key) for key, text in texts.items() if text is None and key in present]:
        yield ["remove", table, name, column, *gone]


def _assign(table: str, name: str, column: str, value: str) -> list[str]:
    return ["set", table, name, f"{column}={value}"] if value else ["clear", table, name, column]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def literal(value: Any) -> str:
    """Return a value in the notation of ``ovs-vsctl``: bare, or as a quoted JSON string."""
    text = str(value)
    return text if isinstance(value, int) or _BARE.fullmatch(text) else json.dumps(text)
