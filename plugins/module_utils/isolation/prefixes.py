# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Prefixes as integers, and operations on sets of them, for the isolation proof. Pure.

A *range of routes* is ``(prefix, low, high)``: every prefix inside ``prefix`` with a length from ``low`` to ``high``,
as in an entry of a prefix-list. No function compares all prefixes with all others: a query needs one look-up for each
prefix length in use, so n entries cost O(n log n).
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

BITS = {"v4": 32, "v6": 128}
FAMILY = {4: "v4", 6: "v6"}


class Prefix(NamedTuple):
    """Sorts by family, address and length."""

    family: str
    first: int
    length: int

    @property
    def bits(self) -> int:
        return BITS[self.family]

    @property
    def last(self) -> int:
        return self.first + (1 << (self.bits - self.length)) - 1

    def cut(self, length: int) -> Prefix:
        """Return the prefix of that length which contains this one."""
        below = self.bits - length
        return Prefix(self.family, self.first >> below << below, length)

    def halves(self) -> tuple[Prefix, Prefix]:
        length = self.length + 1
        return self._replace(length=length), Prefix(self.family, self.first + (1 << (self.bits - length)), length)

    def __str__(self) -> str:
        kind = ipaddress.IPv4Address if self.family == "v4" else ipaddress.IPv6Address
        return f"{kind(self.first)}/{self.length}"


@lru_cache(maxsize=65536)
def parse(text: str) -> Prefix:
    """Return the prefix in a text without host bits; an address is a prefix of full length. Raises ValueError."""
    net = ipaddress.ip_network(text, strict=False)
    return Prefix(FAMILY[net.version], int(net.network_address), net.prefixlen)


def everything(family: str) -> Prefix:
    return Prefix(family, 0, 0)


class Table:
    """Values by prefix; finds the values of all prefixes that contain a given one."""

    def __init__(self) -> None:
        self._by_length: dict[tuple[str, int], dict[int, list[Any]]] = {}

    def add(self, prefix: Prefix, value: Any) -> None:
        level = self._by_length.setdefault((prefix.family, prefix.length), {})
        level.setdefault(prefix.first, []).append(value)

    def covering(self, prefix: Prefix) -> Iterator[Any]:
        """Return the values of ``prefix`` itself and of all prefixes that contain it."""
        for (family, length), level in self._by_length.items():
            if family == prefix.family and length <= prefix.length:
                yield from level.get(prefix.cut(length).first, ())


class Routes:
    """A union of ranges of routes."""

    def __init__(self, ranges: Iterable[tuple[Prefix, int, int]] = ()) -> None:
        self._table = Table()
        for prefix, low, high in ranges:
            self.add(prefix, low, high)

    def add(self, prefix: Prefix, low: int, high: int) -> None:
        self._table.add(prefix, (low, high))

    def lengths(self, prefix: Prefix) -> list[tuple[int, int]]:
        """Return spans of lengths: every prefix inside ``prefix`` that has one of these lengths is in the union."""
        return list(self._table.covering(prefix))

    def __contains__(self, prefix: Prefix) -> bool:
        return any(low <= prefix.length <= high for low, high in self._table.covering(prefix))


def outside(prefix: Prefix, low: int, high: int, *unions: Routes) -> Prefix | None:
    """Return a route of the range that is in none of the unions, or None: the first by address of the shortest length.

    Splits the range in halves if necessary. A half ends as soon as it is covered, and a half in which nothing is
    covered ends the search, so the work grows with the number of covered ranges inside, not with the address space.
    """
    todo = [prefix]
    while todo:
        part = todo.pop()
        covered = [span for union in unions for span in union.lengths(part)]
        at = max(part.length, low)
        free = next_free(covered, at)
        if free > high:
            continue
        if free == part.length:
            return part
        todo += reversed(part.halves())
    return None


def next_free(spans: Iterable[tuple[int, int]], at: int) -> int:
    """Return the smallest number from ``at`` on that is in none of the spans."""
    for first, last in sorted(spans):
        if first > at:
            break
        at = max(at, last + 1)
    return at


Span = tuple[int, int]
"""First and last address."""


def prefixes(family: str, span: Span) -> Iterator[Prefix]:
    """Return the smallest set of prefixes that make up a span."""
    first, last = span
    while first <= last:
        room = min((first & -first).bit_length() - 1 if first else BITS[family], (last - first + 1).bit_length() - 1)
        yield Prefix(family, first, BITS[family] - room)
        first += 1 << room


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same addresses in ascending spans that neither touch nor overlap."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def common(ones: list[Span], others: list[Span]) -> list[Span]:
    """Return addresses in both, each given as :func:`merged` returns it."""
    found, i, j = [], 0, 0
    while i < len(ones) and j < len(others):
        first, last = max(ones[i][0], others[j][0]), min(ones[i][1], others[j][1])
        if first <= last:
            found.append((first, last))
        if ones[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return found


def minus(ones: list[Span], others: list[Span]) -> list[Span]:
    """Return addresses of the first that are not in the second, each given as :func:`merged` returns it."""
    found, j = [], 0
    for first, last in ones:
        while j < len(others) and others[j][1] < first:
            j += 1
        k = j
        while k < len(others) and others[k][0] <= last:
            if others[k][0] > first:
                found.append((first, others[k][0] - 1))
            first = others[k][1] + 1
            k += 1
        if first <= last:
            found.append((first, last))
    return found


class Holding(NamedTuple):
    """A prefix and the VRF that owns it; ``name`` is its display name, ``site``: it is behind the backbone."""

    prefix: Prefix
    vrf: str
    name: str
    site: bool = False


class Holdings:
    """Finds the owners of a prefix, in logarithmic time. The same prefix may belong to several VRFs."""

    def __init__(self, holdings: Iterable[Holding]) -> None:
        self._sorted = sorted(holdings)
        self._firsts = [(item.prefix.family, item.prefix.first) for item in self._sorted]
        self._table = Table()
        self._of: dict[tuple[str, str], list[Holding]] = {}
        for item in self._sorted:
            self._table.add(item.prefix, item)
            self._of.setdefault((item.prefix.family, item.vrf), []).append(item)
        for owned in self._of.values():
            owned.sort(key=smallest_first)

    def touched(self, prefix: Prefix) -> dict[str, list[Holding]]:
        """Return by VRF the prefixes that overlap ``prefix``, the smallest first."""
        if prefix.length == 0:
            return {vrf: owned for (family, vrf), owned in self._of.items() if family == prefix.family}
        start = bisect_left(self._firsts, (prefix.family, prefix.first))
        end = bisect_left(self._firsts, (prefix.family, prefix.last + 1))
        wider = (item for item in self._table.covering(prefix) if item.prefix.first != prefix.first)
        found: dict[str, list[Holding]] = {}
        for item in sorted([*self._sorted[start:end], *wider], key=smallest_first):
            found.setdefault(item.vrf, []).append(item)
        return found


def smallest_first(holding: Holding) -> tuple[int, Holding]:
    return -holding.prefix.length, holding
