# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about routes that pass between VRFs by route target (RFC 4364)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..common.shapes import Items, Node, Violation
from .intent import FAMILIES, vrfs
from .prefix_ranges import overlapping


def _exporters(parsed: Node) -> dict[str, list[tuple[Node, Node]]]:
    """Return, for each route target, the list of ``(tenant, vrf)`` that export it."""
    found: dict[str, list[tuple[Node, Node]]] = defaultdict(list)
    for tenant, vrf in vrfs(parsed):
        for target in sorted(set(vrf.get("export_targets", []))):
            found[target].append((tenant, vrf))
    return found


def exchanges(parsed: Node) -> Iterator[Violation]:
    """Check that a VRF imports routes of another tenant only if that VRF is shared, or if ``exchange`` names it.

    A target that no VRF of the intent exports belongs to another user of the backbone, and may be imported.
    """
    exporters = _exporters(parsed)
    known = {vrf["name"] for _tenant, vrf in vrfs(parsed)}
    for tenant, vrf in vrfs(parsed):
        targets, exchange = vrf.get("import_targets", Items()), vrf.get("exchange", Items())
        for path, target in targets.located():
            for owner, other in exporters.get(target, ()):
                if owner is tenant or other.get("shared") or other["name"] in exchange:
                    continue
                yield Violation(
                    path,
                    target,
                    f"is exported by VRF {other['name']} of another tenant, {owner['name']}",
                    f"add {other['name']} to this VRF's exchange, or set shared: true on {other['name']}",
                )
        imported = {other["name"] for target in targets for _owner, other in exporters.get(target, ())}
        for path, name in exchange.located():
            if name == vrf["name"]:
                yield Violation(path, name, "is this VRF itself", "name the VRF of another tenant")
            elif name not in known:
                yield Violation(path, name, "is no VRF of this intent", "correct its name, or take it out")
            elif name not in imported:
                yield Violation(
                    path, name, "exports no target that is imported here", "import its target too, or take it out"
                )


def import_graph(parsed: Node) -> dict[str, set[str]]:
    """Return, for each VRF, the other VRFs of this intent whose routes it imports by route target."""
    exporters = _exporters(parsed)
    return {
        vrf["name"]: {
            other["name"]
            for target in vrf.get("import_targets", [])
            for _owner, other in exporters.get(target, ())
            if other["name"] != vrf["name"]
        }
        for _tenant, vrf in vrfs(parsed)
    }


def overlaps(parsed: Node) -> Iterator[Violation]:
    """Check that networks in the same routing table do not overlap: those of a VRF and of all VRFs that it imports."""
    graph = import_graph(parsed)
    owned = {vrf["name"]: vrf.get("networks", []) for _tenant, vrf in vrfs(parsed)}
    tables = {frozenset({name}): name for name in owned}
    tables |= {frozenset({name, *graph[name]}): name for name in owned}
    seen: set[tuple[str, str]] = set()
    for members, table in sorted(tables.items(), key=lambda row: (len(row[0]), sorted(row[0]))):
        for key in FAMILIES:
            rows = [(net[key], (net, name)) for name in sorted(members) for net in owned[name] if key in net]
            for (outer, outer_vrf), (inner, inner_vrf) in overlapping(rows):
                pair = (f"{inner.path}.{key}", f"{outer.path}.{key}")
                if pair in seen:
                    continue
                seen.add(pair)
                where = "in the same VRF" if outer_vrf == inner_vrf else f"and VRF {table} sees both"
                yield Violation(
                    pair[0],
                    str(inner[key]),
                    f"overlaps {pair[1]} ({outer[key]}) {where}",
                    "move one of them, or stop importing the other's route target",
                )
