# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about prefixes: of pools, of tenants, of what a session accepts, and how many it announces."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from ..common.shapes import Items, Node, Violation
from .intent import FAMILIES, vrfs
from .prefix_ranges import DOCUMENTATION, SPECIAL, UNUSABLE, Prefix, Ranges, address_pools, labelled, overlapping

TENANT_LENGTH = {"v4": (20, 28), "v6": (64, 64)}


def _reserved(site: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(path, label, prefix or None when it is none) of each network that the caller reserves."""
    for label, prefixes in site.get("reserved", {}).items():
        for index, prefix in enumerate(prefixes if isinstance(prefixes, list) else [prefixes]):
            try:
                net = ipaddress.ip_network(str(prefix), strict=False)
            except ValueError:
                net = None
            yield f"reserved.{label}[{index}]", f"the site's {label} network", net


def surroundings(site: dict[str, Any]) -> Iterator[Violation]:
    """What the site says of itself can be understood."""
    for path, _label, net in _reserved(site):
        if net is None:
            yield Violation(path, "", "is not a prefix", "write it like 10.99.0.0/24")


def _forbidden(parsed: Node, site: dict[str, Any]) -> dict[int, Ranges]:
    """What no tenant may touch: special ranges, the site's networks, pools, provider-edge links."""
    labelled: dict[int, list[tuple[Prefix, str]]] = {4: [], 6: []}

    def add(prefix: Any, label: str) -> None:
        net = ipaddress.ip_network(str(prefix), strict=False)
        labelled[net.version].append((net, label))

    for prefix, label in SPECIAL.items():
        add(prefix, label)
    for prefix, label in {} if site.get("allow_documentation") else DOCUMENTATION.items():
        add(prefix, label)
    for _path, label, net in _reserved(site):
        if net is not None:
            add(net, label)
    for name, pool in address_pools(parsed):
        add(pool, f"rie_pools.{name}")
    for _tenant, vrf in vrfs(parsed):
        for gateway, link in vrf.get("links", {}).items():
            for key in FAMILIES:
                if f"local_{key}" in link:
                    add(link[f"local_{key}"].network, f"the PE link of {vrf['name']} on {gateway}")
    return {family: Ranges(items) for family, items in labelled.items()}


def pools(parsed: Node, site: dict[str, Any]) -> Iterator[Violation]:
    """Pools are usable, and apart from one another and from the site's networks."""
    items: dict[int, list[tuple[Prefix, str]]] = {4: [], 6: []}
    unusable = labelled(UNUSABLE)
    for name, pool in address_pools(parsed):
        items[pool.version].append((pool, f"rie_pools.{name}"))
        if touched := unusable[pool.version].touched(pool):
            yield Violation(f"rie_pools.{name}", str(pool), f"touches {touched}", "choose a private range")
    for _path, label, net in _reserved(site):
        if net is not None:
            items[net.version].append((net, label))
    for family in items:
        for outer, inner in overlapping(items[family]):
            pool = inner if inner.startswith("rie_pools") else outer
            if pool.startswith("rie_pools"):
                yield Violation(
                    pool,
                    "",
                    f"overlaps {outer if pool is inner else inner}",
                    "choose a range nothing else uses",
                )


def prefixes(parsed: Node, site: dict[str, Any]) -> Iterator[Violation]:
    """Each prefix alone: its length, its supernet, and what it may not touch."""
    forbidden = _forbidden(parsed, site)
    for _tenant, vrf in vrfs(parsed):
        for key, family in FAMILIES.items():
            delegated = vrf.get("delegated", {}).get(key, Items())
            allowed = Ranges((net, str(net)) for net in delegated)
            for path, net in delegated.located():
                if touched := forbidden[family].touched(net):
                    yield Violation(
                        path,
                        str(net),
                        f"touches {touched}",
                        "delegate a range that is free",
                    )
            for network in vrf.get("networks", []):
                net = network.get(key)
                if net is None:
                    continue
                path = f"{network.path}.{key}"
                low, high = TENANT_LENGTH[key]
                if not low <= net.prefixlen <= high:
                    yield Violation(
                        path,
                        str(net),
                        "has a length that is not allowed",
                        f"use /{low}" if low == high else f"use /{low} to /{high}",
                    )
                if net in delegated:
                    yield Violation(
                        path,
                        str(net),
                        "is the delegated supernet itself",
                        "use a part of it: a supernet is never announced",
                    )
                elif (inside := allowed.touched(net)) is None or not net.subnet_of(ipaddress.ip_network(inside)):
                    yield Violation(
                        path,
                        str(net),
                        "is outside the tenant's delegated supernets",
                        f"use a part of {', '.join(map(str, delegated)) or 'a delegated supernet'}",
                    )
                if touched := forbidden[family].touched(net):
                    yield Violation(path, str(net), f"touches {touched}", "use a range that is free")
    for _tenant, vrf in vrfs(parsed):
        for network in vrf.get("networks", []):
            if "name" in network and "v4" not in network and "v6" not in network:
                yield Violation(network.path, network["name"], "has no prefix", "give v4, v6, or both")


def accepts(parsed: Node) -> Iterator[Violation]:
    """Inbound allow-lists: no default, ``le`` not shorter than the prefix, never a network of our own."""
    for _tenant, vrf in vrfs(parsed):
        for key in FAMILIES:
            nets = {str(net[key]): net[key] for net in vrf.get("networks", []) if key in net}
            own = Ranges((net, label) for label, net in nets.items())
            for entry in vrf.get("accept", {}).get(key, []):
                net = entry.get("prefix")
                if net is None:
                    continue
                if net.prefixlen == 0:
                    yield Violation(
                        f"{entry.path}.prefix",
                        str(net),
                        "is the default route",
                        "name the prefixes of the tenant's sites",
                    )
                if entry.get("le", net.prefixlen) < net.prefixlen:
                    yield Violation(
                        f"{entry.path}.le",
                        str(entry["le"]),
                        f"is shorter than {net}",
                        f"use {net.prefixlen} or more, or leave it out",
                    )
                inside = own.touched(net)
                if inside is not None and net.subnet_of(nets[inside]):
                    yield Violation(
                        f"{entry.path}.prefix",
                        str(net),
                        f"is inside our own {inside}",
                        "accept only what is behind the RIE",
                    )


def limits(parsed: Node) -> Iterator[Violation]:
    """A limit of announced prefixes has room for all networks: above it the session withholds some."""
    for _tenant, vrf in vrfs(parsed):
        for key, limit in vrf.get("max_prefixes_out", {}).items():
            announced = len({net[key] for net in vrf.get("networks", []) if key in net})
            if limit < announced:
                yield Violation(
                    f"{vrf.path}.max_prefixes_out.{key}",
                    str(limit),
                    f"is less than the {announced} networks announced",
                    f"use {announced} or more, or leave it out",
                )
