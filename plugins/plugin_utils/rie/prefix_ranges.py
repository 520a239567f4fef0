# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Ranges of prefixes that serve a purpose of their own, and whether prefixes touch or overlap.

Sources: RFC 6890, 5737, 3849, 9637. Prefixes are sorted once and swept, so cost is O(n log n) in their number.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from ..common.shapes import Node
from .intent import FAMILIES

Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network
SPECIAL = {
    "0.0.0.0/8": "this network (RFC 6890)",
    "100.64.0.0/10": "shared address space (RFC 6598)",
    "127.0.0.0/8": "loopback (RFC 6890)",
    "169.254.0.0/16": "link local (RFC 6890)",
    "192.0.0.0/24": "IETF protocols (RFC 6890)",
    "192.88.99.0/24": "6to4 relays (RFC 7526)",
    "198.18.0.0/15": "benchmarking (RFC 2544)",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved (RFC 6890)",
    "::/3": "reserved by the IETF",
    "2001::/23": "IETF protocols (RFC 6890)",
    "2002::/16": "6to4 (RFC 6890)",
    "4000::/2": "not allocated",
    "8000::/2": "not allocated",
    "c000::/3": "not allocated",
    "e000::/4": "not allocated",
    "f000::/5": "not allocated",
    "f800::/6": "not allocated",
    "fe00::/7": "link local and multicast",
}
DOCUMENTATION = {
    "192.0.2.0/24": "documentation (RFC 5737)",
    "198.51.100.0/24": "documentation (RFC 5737)",
    "203.0.113.0/24": "documentation (RFC 5737)",
    "2001:db8::/32": "documentation (RFC 3849)",
    "3fff::/20": "documentation (RFC 9637)",
}
# What can be on no wire at all; the backbone's links and our pools may well be in shared address space.
UNUSABLE = {prefix: label for prefix, label in SPECIAL.items() if prefix != "100.64.0.0/10"}


def bounds(prefix: Prefix) -> tuple[int, int]:
    """First and last address of a prefix, as integers."""
    return int(prefix.network_address), int(prefix.broadcast_address)


class Ranges:
    """Labelled prefixes of one family; answers which of them a prefix touches, in O(log n)."""

    def __init__(self, labelled: Iterable[tuple[Prefix, str]]) -> None:
        self._spans: list[tuple[int, int, str]] = []
        # Prefixes nest or are apart; the widest that begins at an address comes first and stands for those inside.
        for first, last, label in sorted(
            ((*bounds(prefix), label) for prefix, label in labelled), key=lambda row: (row[0], -row[1], row[2])
        ):
            if not self._spans or first > self._spans[-1][1]:
                self._spans.append((first, last, label))
        self._firsts = [first for first, _last, _label in self._spans]

    def touched(self, prefix: Prefix) -> str | None:
        """The label of a range that shares an address with ``prefix``, or None."""
        first, last = bounds(prefix)
        index = bisect_right(self._firsts, last) - 1
        if index >= 0 and self._spans[index][1] >= first:
            return self._spans[index][2]
        return None


def overlapping(items: Iterable[tuple[Prefix, Any]]) -> Iterator[tuple[Any, Any]]:
    """Tags (outer, inner) of overlapping prefixes: each with the nearest that encloses it."""
    enclosing: list[tuple[int, Any]] = []
    for first, last, _position, tag in sorted(
        ((bounds(p)[0], -bounds(p)[1], i, t) for i, (p, t) in enumerate(items)), key=lambda row: row[:3]
    ):
        while enclosing and enclosing[-1][0] < first:
            enclosing.pop()
        if enclosing:
            yield enclosing[-1][1], tag
        enclosing.append((-last, tag))


def labelled(table: dict[str, str]) -> dict[int, Ranges]:
    """Ranges of each family from a table of prefixes as text."""
    rows = [(ipaddress.ip_network(prefix), label) for prefix, label in table.items()]
    return {family: Ranges(row for row in rows if row[0].version == family) for family in FAMILIES.values()}


def address_pools(parsed: Node) -> Iterator[tuple[str, Prefix]]:
    """Name and prefix of each pool that is not of numbers."""
    for name, pool in parsed.get("rie_pools", {}).items():
        if not isinstance(pool, tuple):
            yield name, pool
