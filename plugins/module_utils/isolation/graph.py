# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The common parts of the isolation proof's checks: the flow graph, and the site's data from the plan. Pure.

See :mod:`isolation` for the shapes.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .prefixes import BITS, Holding, Holdings, Prefix, parse

ROLES = {"c": "cloud", "s": "standby", "r": "rie", "p": "peer"}
TRANSITS = ("cloud", "standby")
OUTSIDE_TEXT = "anything outside the VRFs of the plan"
FACTS = (
    "gateways",
    "instances",
    "sessions",
    "prefix_list_entries",
    "route_map_entries",
    "static_routes",
    "rulesets",
    "set_elements",
    "forward_rules",
    "ports",
    "routers",
    "networks",
)

Node = tuple[str, ...]
OUTSIDE: Node = ("outside",)


class Fault(NamedTuple):
    """The reason why an edge of the graph is a fault; ``via`` are hops between its two nodes."""

    kind: str
    prefix: Prefix | None
    gateway: str | None
    where: str
    reason: str
    via: tuple[str, ...] = ()


class Graph:
    """Nodes with their owners, and directed edges with their faults, or with the places where they were found."""

    def __init__(self) -> None:
        self.owner: dict[Node, str | None] = {OUTSIDE: None}
        self.edges: dict[Node, list[tuple[Node, Fault | str]]] = defaultdict(list)

    def own(self, node: Node, vrf: str | None) -> Node:
        self.owner[node] = vrf
        return node

    def join(self, one: Node, other: Node, where: str) -> None:
        """Add an edge in both directions."""
        self.edges[one].append((other, where))
        self.edges[other].append((one, where))

    def leak(self, vrf: str | None, hop: str, into: Node, fault: Fault) -> None:
        """Add an edge into a node, from ``vrf`` or from the outside."""
        node = OUTSIDE if vrf is None else self.own(("thing", vrf, hop), vrf)
        self.edges[node].append((into, fault))

    def crossings(self) -> Iterator[tuple[list[Node], list[Fault | str]]]:
        """Return every shortest path from nodes of one VRF to a node of another: its nodes, and its edges."""
        owned: dict[str | None, list[Node]] = defaultdict(list)
        for node, vrf in self.owner.items():
            if node in self.edges:
                owned[vrf].append(node)
        for vrf, nodes in owned.items():
            before: dict[Node, tuple[Node, Fault | str] | None] = dict.fromkeys(sorted(nodes))
            queue = deque(before)
            while queue:
                node = queue.popleft()
                for to, label in self.edges[node]:
                    if to in self.owner and self.owner[to] != vrf:
                        yield self._way(before, node, to, label)
                    elif to not in before:
                        before[to] = node, label
                        queue.append(to)

    @staticmethod
    def _way(
        before: Mapping[Node, tuple[Node, Fault | str] | None], node: Node, to: Node, label: Fault | str
    ) -> tuple[list[Node], list[Fault | str]]:
        nodes, labels = [to, node], [label]
        while step := before[nodes[-1]]:
            nodes.append(step[0])
            labels.append(step[1])
        return nodes[::-1], labels[::-1]


def hop(node: Node) -> str:
    kind, *facts = node
    if kind == "vlan":
        return f"VLAN {facts[1]} on {facts[0]}"
    if kind == "vrf":
        return f"VRF {facts[1]} on {facts[0]}"
    if kind == "edge":
        return f"provider edge of {facts[1]} on {facts[0]}"
    if kind == "network":
        return f"network {facts[1]} of {facts[0]}" if facts[0] else f"network {facts[1]}"
    return {"outside": OUTSIDE_TEXT, "router": f"router {facts[-1]}" if facts else ""}.get(kind) or facts[-1]


class Site:
    """The trusted part of the plan; the checks add their results to ``graph``, ``facts`` and ``unseen``."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.graph = Graph()
        self.facts: Counter[str] = Counter(dict.fromkeys(FACTS, 0))
        self.unseen: list[dict[str, str]] = []
        self.own: dict[str, dict[str, list[Prefix]]] = {
            vrf["name"]: {
                family: sorted({parse(net[family]["cidr"]) for net in vrf["networks"] if family in net})
                for family in BITS
            }
            for vrf in plan["neutron"]["vrfs"]
        }
        self.holdings = Holdings(self._holdings())
        self.addresses = self._addresses()

    def miss(self, where: str, why: str) -> None:
        self.unseen.append({"where": where, "why": why})

    def _holdings(self) -> Iterator[Holding]:
        """Return networks and the prefixes of sites: prefixes that a VRF accepts and that no VRF it imports owns."""
        names: dict[Prefix, list[str]] = defaultdict(list)
        for vrf in self.plan["neutron"]["vrfs"]:
            for net in vrf["networks"]:
                for family in BITS:
                    if family in net:
                        prefix = parse(net[family]["cidr"])
                        names[prefix].append(vrf["name"])
                        yield Holding(prefix, vrf["name"], f"network {net['name']} of {vrf['name']}")
        sites: set[tuple[Prefix, str]] = set()
        for part in self.plan["gateways"].values():
            for vrf in part["vrfs"]:
                imported = set(self.plan["imports"].get(vrf["name"], ()))
                for family in BITS:
                    for entry in (vrf.get("accept") or {}).get(family) or ():
                        prefix = parse(entry["prefix"])
                        if imported.isdisjoint(names.get(prefix, ())):
                            sites.add((prefix, vrf["name"]))
        for prefix, name in sorted(sites):
            yield Holding(prefix, name, f"sites of {name}", site=True)

    def _addresses(self) -> dict[str, list[tuple[str, str]]]:
        """Return every address on a link of the plan: ``(VRF, description)``."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for gateway, part in self.plan["gateways"].items():
            for vrf in part["vrfs"]:
                for _key, address, what in link_addresses(vrf):
                    found[address].append((vrf["name"], f"{what} of {vrf['name']} on {gateway}"))
        return found


def link_addresses(vrf: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return ``(role, address, description)`` of every address on the links of a VRF of ``plan.gateways``."""
    transits = [(role, ("", "router_")) for role in TRANSITS]
    for role, keys in (*transits, ("rie", ("",)), ("peer", ("", "neighbor_")), ("pe", ("",))):
        for key in keys:
            for family in BITS:
                address = (vrf.get(role) or {}).get(key + family)
                if address:
                    what = {"pe": "provider edge", "router_": "router", "neighbor_": "other gateway"}
                    yield (
                        key or role,
                        str(address).partition("/")[0],
                        what.get(key or role, f"link {role}"),
                    )
