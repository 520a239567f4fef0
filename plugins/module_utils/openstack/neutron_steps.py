# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The grouping of new objects into requests, and the dependencies between these. Pure.

No step waits for more than the objects it refers to: the first network of a VRF is on its router while the last is
being created. Only the requests that change one router are limited, because they wait for each other inside Neutron and
occupy its processes: to one at a time if there are enough routers to keep all workers busy, otherwise to two. For 30
networks on one router, two at a time took three quarters of the time of one; more than two gain nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import groupby
from typing import Any

from .neutron_diff import Operation
from .neutron_objects import Ref, references

BULK = ("network", "subnet")  # a bulk POST of scopes or pools fails with 500
ON_A_ROUTER = ("gateway", "interface")
AT_A_TIME = 2


@dataclass(frozen=True)
class Step:
    """Operations of one kind that belong together, and the numbers of the steps before it."""

    kind: str
    entries: tuple[Operation, ...]
    after: frozenset[int] = frozenset()


def steps(operations: Iterable[Operation], *, workers: int, batch: int) -> list[Step]:
    """Divide operations, with their kinds in order, into steps.

    workers: parallel steps; a bulk POST is no larger than needed to give each of them one. batch: largest number of
    objects in a bulk POST.
    """
    operations = list(operations)
    routers = {_router(entry) for entry in operations if entry.kind in ON_A_ROUTER}
    lanes_each = max(1, min(AT_A_TIME, workers // max(1, len(routers))))
    made: dict[Ref, int] = {}
    last: dict[Any, list[int]] = {}
    found: list[Step] = []
    for kind, group in groupby(operations, key=lambda entry: entry.kind):
        for entries in _parts(kind, list(group), workers, batch):
            refs = {ref for entry in entries for ref in references(entry.attrs)}
            if kind == "gateway":  # on networks that no other project can use any more
                refs |= {Ref("rbac_policy", ref.key) for ref in refs if ref.kind == "network"}
            after = {made[ref] for ref in refs if ref in made}
            number = len(found)
            if kind in ON_A_ROUTER:
                lanes = last.setdefault(_router(entries[0]), [])
                after |= {lanes.pop(0)} if len(lanes) == lanes_each else set()
                lanes.append(number)
            made |= {Ref(kind, entry.key): number for entry in entries}
            found.append(Step(kind, tuple(entries), frozenset(after)))
    return found


def _router(entry: Operation) -> Any:
    """Return the router that an operation changes: an id, or the reference that stands for it."""
    return entry.attrs["router_id"]


def _parts(kind: str, group: list[Operation], workers: int, batch: int) -> Iterator[list[Operation]]:
    if kind == "gateway":  # all of a router in one request
        for _one, entries in groupby(group, key=_router):
            yield list(entries)
        return
    size = min(batch, -(-len(group) // workers)) if kind in (*BULK, "rbac_policy") else 1
    for start in range(0, len(group), size):
        yield group[start : start + size]


class Order:
    """Returns steps, each once those before it are done; the step with the longest chain of successors comes first.

    The caller reports each step that is done with :meth:`done`.
    """

    def __init__(self, todo: Sequence[Step]) -> None:
        self._sorter = TopologicalSorter({number: step.after for number, step in enumerate(todo)})
        self._sorter.prepare()
        self._ready: list[tuple[int, int]] = []
        self._behind = [0] * len(todo)
        for number in reversed(range(len(todo))):
            for before in todo[number].after:
                self._behind[before] = max(self._behind[before], self._behind[number] + 1)

    def __bool__(self) -> bool:
        """Return whether any step is left to do, or under way."""
        return self._sorter.is_active()

    def next(self) -> int | None:
        """Return the number of the next step, None while all wait for steps that are under way."""
        for number in self._sorter.get_ready():
            heappush(self._ready, (-self._behind[number], number))
        return heappop(self._ready)[1] if self._ready else None

    def done(self, number: int) -> None:
        self._sorter.done(number)
