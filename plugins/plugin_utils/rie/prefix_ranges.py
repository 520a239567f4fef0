# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Ranges of prefixes with a special purpose, and functions that find prefixes which touch or overlap.

Sources: RFC 6890, 5737, 3849, 9637. Prefixes are sorted and read once, so the cost is O(n log n) in their number.
The ``IPSet`` of netaddr cannot be used here: it has no labels, and it merges adjacent prefixes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from netaddr import IPNetwork

from ..common.shapes import Node

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
# Ranges that no network can use. Links to the backbone and the pools may be in shared address space.
UNUSABLE = {prefix: label for prefix, label in SPECIAL.items() if prefix != "100.64.0.0/10"}


class Ranges:
    """Prefixes of both families, each with a label. Finds in O(log n) the one that a prefix touches."""

    def __init__(self, labelled: Iterable[tuple[IPNetwork, str]]) -> None:
        self._ranges: list[tuple[IPNetwork, str]] = []
        # Prefixes are either nested or disjoint. Of those with the same first address, the widest comes first.
        for prefix, label in sorted(labelled, key=lambda row: (row[0].sort_key(), row[1])):
            if not self._ranges or prefix not in self._ranges[-1][0]:
                self._ranges.append((prefix, label))
        self._firsts = [(prefix.version, prefix.first) for prefix, _label in self._ranges]

    def touched(self, prefix: IPNetwork) -> tuple[IPNetwork, str] | None:
        """Return the range that has an address in common with ``prefix``, and its label; or None."""
        index = bisect_right(self._firsts, (prefix.version, prefix.last)) - 1
        if index >= 0 and (prefix in self._ranges[index][0] or self._ranges[index][0] in prefix):
            return self._ranges[index]
        return None


def overlapping(items: Iterable[tuple[IPNetwork, Any]]) -> Iterator[tuple[Any, Any]]:
    """Yield the tags (outer, inner) of overlapping prefixes: each prefix with the nearest one that contains it."""
    enclosing: list[tuple[IPNetwork, Any]] = []
    for prefix, tag in sorted(items, key=lambda row: row[0].sort_key()):
        while enclosing and prefix not in enclosing[-1][0]:
            enclosing.pop()
        if enclosing:
            yield enclosing[-1][1], tag
        enclosing.append((prefix, tag))


def labelled(table: dict[str, str]) -> Iterator[tuple[IPNetwork, str]]:
    """Yield prefixes and labels of a table that has prefixes as text."""
    return ((IPNetwork(prefix), label) for prefix, label in table.items())


def address_pools(parsed: Node) -> Iterator[tuple[IPNetwork, str]]:
    """Yield the prefix and the label of each pool of addresses."""
    return (
        (pool, f"rie_pools.{name}") for name, pool in parsed.get("rie_pools", {}).items() if not isinstance(pool, tuple)
    )
