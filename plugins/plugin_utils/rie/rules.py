# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules that a well-formed intent must satisfy. Each is a generator of violations, and all of them are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..common.shapes import Node, Violation
from . import exchange_rules, link_rules, prefix_rules
from .intent import vrfs


def names(parsed: Node) -> Iterator[Violation]:
    """Check that names are unique: tenants and VRFs in the site, networks in their VRF."""

    def unique(nodes: Iterable[Node], what: str) -> Iterator[Violation]:
        seen: dict[str, str] = {}
        for node in nodes:
            if "name" not in node:
                continue
            if node["name"] in seen:
                yield Violation(
                    f"{node.path}.name",
                    node["name"],
                    f"{what} of that name is also {seen[node['name']]}",
                    "give each its own name",
                )
            seen.setdefault(node["name"], node.path)

    yield from unique(parsed.get("rie_tenants", []), "a tenant")
    yield from unique((vrf for _tenant, vrf in vrfs(parsed)), "a VRF")
    for _tenant, vrf in vrfs(parsed):
        yield from unique(vrf.get("networks", []), "a network")


def check(parsed: Node, site: dict[str, Any]) -> list[Violation]:
    """Return the violations of all rules, sorted by path."""
    return sorted(
        {
            *prefix_rules.surroundings(site),
            *names(parsed),
            *link_rules.as_numbers(parsed),
            *link_rules.timers(parsed),
            *link_rules.links(parsed, site),
            *prefix_rules.pools(parsed, site),
            *prefix_rules.prefixes(parsed, site),
            *prefix_rules.accepts(parsed),
            *prefix_rules.limits(parsed),
            *exchange_rules.exchanges(parsed),
            *exchange_rules.overlaps(parsed),
            *link_rules.distinguishers(parsed),
        }
    )
