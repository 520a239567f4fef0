# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Sticky allocations: who holds which VLAN, prefix, route distinguisher or router id.

The ledger is plain data, kept in git beside the intent, so that a rebuilt site gets the very same values::

    version: 1
    gateways: {gw1: a, gw2: b}
    allocations: {vlan: {finances/gw1: 101}, transit_v4: {finances/gw1: 100.64.0.0/30}, ...}
    quarantine: {vlan: {105: {owner: sante/gw1, until: "2026-12-21"}}, ...}

An owner keeps its value for ever. A value whose owner has gone rests in quarantine until a date; if the owner
comes back it gets its value back, whatever the date. A new owner gets the lowest value never used; only when
there is none, the one longest out of quarantine. No value is ever moved, even when a pool is changed.
"""

from __future__ import annotations

import datetime
import ipaddress
import string
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from .shapes import Violation

KINDS = ("vlan", "transit_v4", "transit_v6", "peer_v4", "peer_v6", "router_id", "rd")
LENGTH = {"transit_v4": 30, "transit_v6": 64, "peer_v4": 30, "peer_v6": 126}


class Exhausted(Exception):
    """A pool has no value left."""


def candidates(kind: str, pools: dict[str, Any], asn: int) -> Iterator[int | str]:
    """Every value of a kind, lowest first."""
    if kind == "vlan":
        yield from range(pools["vlan"][0], pools["vlan"][1] + 1)
    elif kind == "rd":
        yield from (f"{asn}:{number}" for number in range(1, 65536))
    elif kind == "router_id":
        yield from map(str, pools["router_id"].hosts())
    elif pools[kind].prefixlen <= LENGTH[kind]:
        yield from map(str, pools[kind].subnets(new_prefix=LENGTH[kind]))


def _span(kind: str, value: Any) -> tuple[Any, Any]:
    """What a value occupies, comparable within its kind. Raises ValueError when it is malformed."""
    if kind == "vlan":
        if type(value) is not int or not 2 <= value <= 4094:
            raise ValueError("is not a VLAN")
        return value, value
    if kind == "rd":
        administrator, number = map(int, str(value).split(":"))
        return (administrator, number), (administrator, number)
    net = ipaddress.ip_network(str(value))
    return int(net.network_address), int(net.broadcast_address)


def _known(ledger: dict[str, Any], kind: str) -> Iterator[tuple[Any, str, str]]:
    """(value, owner, path) of everything the ledger holds of a kind, in quarantine or not."""
    for owner, value in ledger.get("allocations", {}).get(kind, {}).items():
        yield value, owner, f"ledger.allocations.{kind}.{owner}"
    for value, entry in ledger.get("quarantine", {}).get(kind, {}).items():
        yield value, entry["owner"], f"ledger.quarantine.{kind}.{value}"


def check(ledger: Any) -> list[Violation]:
    """What is wrong with a ledger as read: its form, malformed values, values held twice."""
    remedy = "restore the file from git; never edit it by hand"
    if ledger == {}:
        return []
    try:
        if ledger["version"] != 1 or ledger.keys() - {"version", "gateways", "allocations", "quarantine"}:
            raise ValueError
        rows = {kind: list(_known(ledger, kind)) for kind in KINDS}
        letters = list(ledger["gateways"].values())
        for entries in ledger["quarantine"].values():
            for entry in entries.values():
                datetime.date.fromisoformat(entry["until"])
    except (KeyError, TypeError, AttributeError, ValueError):
        return [Violation("ledger", "", "is not an allocation ledger of version 1", remedy)]
    faults = []
    if len(set(letters)) != len(letters):
        faults.append(Violation("ledger.gateways", str(letters), "has a letter twice", remedy))
    for kind, known in rows.items():
        spans = []
        for value, _owner, path in known:
            try:
                spans.append((*_span(kind, value), path, value))
            except ValueError as error:
                faults.append(Violation(path, str(value), str(error), remedy))
        spans.sort(key=lambda row: row[:3])
        for (_first, last, before, _value), (first, _last, path, value) in pairwise(spans):
            if first <= last:
                faults.append(Violation(path, str(value), f"is already held by {before}", remedy))
    return faults


def letters(ledger: dict[str, Any], gateways: Iterable[str]) -> dict[str, str]:
    """The suffix of each gateway's objects (``rie-<vrf>-a``): those of the ledger, then the next free."""
    assigned = dict(ledger.get("gateways", {}))
    free = [letter for letter in string.ascii_lowercase if letter not in assigned.values()]
    for gateway in sorted(set(gateways) - assigned.keys()):
        assigned[gateway] = free.pop(0)
    return dict(sorted(assigned.items()))


def allocate(
    ledger: dict[str, Any],
    wanted: dict[str, Iterable[str]],
    pools: dict[str, Any],
    *,
    asn: int,
    gateways: Iterable[str],
    today: str,
    quarantine_days: int,
    pinned: dict[str, str],
) -> dict[str, Any]:
    """Return the next ledger: ``wanted`` owners (by kind) hold a value each, others rest in quarantine.

    ``pinned`` are route distinguishers the intent gives (owner: value). Raises :class:`Exhausted`.
    """
    until = (datetime.date.fromisoformat(today) + datetime.timedelta(days=quarantine_days)).isoformat()
    allocations: dict[str, dict[str, Any]] = {}
    quarantine: dict[str, dict[Any, Any]] = {}
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
