# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Permanent allocations: the owner of each VLAN, prefix, route distinguisher and router id.

The ledger is plain data. It is kept in git beside the intent, so that a rebuilt site gets the same values::

    version: 1
    gateways: {gw1: a, gw2: b}
    allocations: {vlan: {finances/gw1: 101}, transit_v4: {finances/gw1: 100.64.0.0/30}, ...}
    quarantine: {vlan: {105: {owner: sante/gw1, until: "2026-12-21"}}, ...}

An owner keeps its value as long as it exists. When the owner is removed, the value stays in quarantine until a date.
If the owner returns, it gets its value back, even after that date. A new owner gets the lowest value that was never
used. If there is none, it gets the value whose quarantine ended first. No value is ever moved, even if a pool changes.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import string
from collections.abc import Callable, Iterable, Iterator
from itertools import count, pairwise, product
from typing import Any

from ...module_utils.rie.plan_types import Ledger, Resting
from ..common.shapes import BAD, Faults, Violation
from .intent import route_target

KINDS = ("vlan", "transit_v4", "transit_v6", "peer_v4", "peer_v6", "router_id", "rd")
LENGTH = {"transit_v4": 30, "transit_v6": 64, "peer_v4": 30, "peer_v6": 126, "router_id": 32}


class Exhausted(Exception):
    """A pool has no value left."""


def candidates(kind: str, pools: dict[str, Any], asn: int) -> Iterator[int | str]:
    """Yield every value of a kind, the lowest first."""
    if kind == "vlan":
        yield from range(pools["vlan"][0], pools["vlan"][1] + 1)
    elif kind == "rd":
        yield from (f"{asn}:{number}" for number in range(1, 65536))
    elif kind == "router_id":
        yield from map(str, pools[kind].iter_hosts())
    else:
        yield from map(str, pools[kind].subnet(LENGTH[kind]))


def _span(kind: str, value: Any) -> tuple[Any, Any]:
    """Return the first and last number that a value occupies. Raises ValueError if it is not in canonical form."""
    if kind == "vlan":
        if type(value) is not int or not 2 <= value <= 4094:
            raise ValueError("is not a VLAN")
        return value, value
    if kind == "rd":
        faults: Faults = []
        if route_target(value, "", faults) is BAD:
            raise ValueError("is not a route distinguisher")
        administrator, number = map(int, value.split(":"))
        return (administrator, number), (administrator, number)
    parse = ipaddress.IPv6Network if kind.endswith("v6") else ipaddress.IPv4Network
    try:
        net = parse(str(value))
    except ValueError:
        net = None
    if net is None or net.prefixlen != LENGTH[kind] or value != str(net[0] if kind == "router_id" else net):
        what = "a router id" if kind == "router_id" else f"a /{LENGTH[kind]}"
        raise ValueError(f"is not {what} in its usual spelling")
    return int(net[0]), int(net[-1])


def known(ledger: Ledger, kind: str) -> Iterator[tuple[Any, str, str]]:
    """Yield (value, owner, path) of every value of a kind in the ledger, allocated or in quarantine."""
    for owner, value in ledger.get("allocations", {}).get(kind, {}).items():
        yield value, owner, f"ledger.allocations.{kind}.{owner}"
    for value, entry in ledger.get("quarantine", {}).get(kind, {}).items():
        yield value, entry["owner"], f"ledger.quarantine.{kind}.{value}"


def _is_ledger(ledger: Any) -> bool:
    """Tell whether the form is that of version 1: which values are mappings, and which are text."""

    def maps(value: Any, keys: type | tuple[type, ...], inner: Callable[[Any], bool]) -> bool:
        return isinstance(value, dict) and all(isinstance(key, keys) and inner(item) for key, item in value.items())

    def is_entry(value: Any) -> bool:
        if not maps(value, str, lambda item: isinstance(item, str)) or value.keys() != {"owner", "until"}:
            return False
        return bool(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value["until"]))

    return (
        isinstance(ledger, dict)
        and ledger.keys() == {"version", "gateways", "allocations", "quarantine"}
        and ledger["version"] == 1
        and maps(ledger["gateways"], str, lambda letter: isinstance(letter, str))
        and maps(ledger["allocations"], str, lambda held: maps(held, str, lambda _value: True))
        and maps(ledger["quarantine"], str, lambda resting: maps(resting, (str, int), is_entry))
        and not (ledger["allocations"].keys() | ledger["quarantine"].keys()) - set(KINDS)
    )


def check(ledger: Any) -> list[Violation]:
    """Return the violations of a ledger as read: wrong form, malformed values, values with two owners."""
    remedy = "restore the file from git; never edit it by hand"
    if ledger == {}:
        return []
    if not _is_ledger(ledger):
        return [Violation("ledger", "", "is not an allocation ledger of version 1", remedy)]
    faults = []
    letters = list(ledger["gateways"].values())
    if len(set(letters)) != len(letters):
        faults.append(Violation("ledger.gateways", str(letters), "has a letter twice", remedy))
    for kind in KINDS:
        spans = []
        for value, _owner, path in known(ledger, kind):
            try:
                spans.append((*_span(kind, value), path, value))
            except ValueError as error:
                faults.append(Violation(path, str(value), str(error), remedy))
        spans.sort(key=lambda row: row[:3])
        for (_first, last, before, _value), (first, _last, path, value) in pairwise(spans):
            if first <= last:
                faults.append(Violation(path, str(value), f"is already held by {before}", remedy))
    return faults


def letters(ledger: Ledger, gateways: Iterable[str]) -> dict[str, str]:
    """Return the suffix of each gateway's objects (``rie-<vrf>-a``): the one in the ledger, or the next free one."""
    assigned = dict(ledger.get("gateways", {}))
    suffixes = ("".join(letters) for length in count(1) for letters in product(string.ascii_lowercase, repeat=length))
    free = (suffix for suffix in suffixes if suffix not in assigned.values())
    for gateway in sorted(set(gateways) - assigned.keys()):
        assigned[gateway] = next(free)
    return dict(sorted(assigned.items()))


def allocate(
    ledger: Ledger,
    wanted: dict[str, Iterable[str]],
    pools: dict[str, Any],
    *,
    asn: int,
    gateways: Iterable[str],
    today: str,
    quarantine_days: int,
    pinned: dict[str, str],
) -> Ledger:
    """Return the next ledger: each of the ``wanted`` owners (by kind) has a value; values of others are in quarantine.

    ``pinned``: route distinguishers that the intent sets (owner: value). Raises :class:`Exhausted`.
    """
    until = (datetime.date.fromisoformat(today) + datetime.timedelta(days=quarantine_days)).isoformat()
    allocations: dict[str, dict[str, Any]] = {}
    quarantine: dict[str, dict[Any, Resting]] = {}
    for kind in KINDS:
        held = dict(ledger.get("allocations", {}).get(kind, {}))
        resting = dict(ledger.get("quarantine", {}).get(kind, {}))
        owners = sorted(wanted.get(kind, ()))
        fixed = pinned if kind == "rd" else {}
        for value, entry in list(resting.items()):
            if entry["owner"] in owners and entry["owner"] not in held and entry["owner"] not in fixed:
                held[entry["owner"]] = value
                del resting[value]
        for owner in sorted(held.keys() - set(owners)):
            resting[held.pop(owner)] = {"owner": owner, "until": until}
        for owner, value in fixed.items():
            if resting.get(value, {}).get("owner") == owner:
                del resting[value]
        held |= fixed
        used = {*held.values(), *resting}
        fresh = (value for value in candidates(kind, pools, asn) if value not in used)
        over = iter(
            sorted((entry["until"], str(value), value) for value, entry in resting.items() if entry["until"] <= today)
        )
        for owner in owners:
            if owner in held:
                continue
            value = next(fresh, None)
            if value is None:
                value = next(over, (None, None, None))[2]
                if value is None:
                    raise Exhausted(kind)
                del resting[value]
            held[owner] = value
        allocations[kind] = dict(sorted(held.items()))
        quarantine[kind] = dict(sorted(resting.items(), key=lambda row: (row[1]["owner"], str(row[0]))))
    return {
        "version": 1,
        "gateways": letters(ledger, gateways),
        "allocations": allocations,
        "quarantine": {kind: entries for kind, entries in quarantine.items() if entries},
    }
