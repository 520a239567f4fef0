# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about prefixes: pools, networks of tenants, accept lists, and the number of announced prefixes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from netaddr import AddrFormatError, IPNetwork

from ..common.shapes import Items, Node, Violation
from .intent import FAMILIES, vrfs
from .prefix_ranges import DOCUMENTATION, SPECIAL, UNUSABLE, Ranges, address_pools, labelled, overlapping

TENANT_LENGTH = {"v4": (20, 28), "v6": (64, 64)}


def _reserved(site: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, label, prefix) of each network that the caller reserves; the prefix is None if it is malformed."""
    for label, prefixes in site.get("reserved", {}).items():
        for index, prefix in enumerate(prefixes if isinstance(prefixes, list) else [prefixes]):
            try:
                # ipaddress is stricter than netaddr, but accepts an IPv6 scope.
                net = IPNetwork(str(ipaddress.ip_network(str(prefix), strict=False)))
            except (ValueError, AddrFormatError):
                net = None
            yield f"reserved.{label}[{index}]", f"the site's {label} network", net


def _site_networks(site: dict[str, Any]) -> Iterator[tuple[IPNetwork, str]]:
    return ((net, label) for _path, label, net in _reserved(site) if net is not None)


def surroundings(site: dict[str, Any]) -> Iterator[Violation]:
    """Check that the facts about the site are well formed."""
    for path, _label, net in _reserved(site):
        if net is None:
            yield Violation(path, "", "is not a prefix", "write it like 10.99.0.0/24")


def _forbidden(parsed: Node, site: dict[str, Any]) -> Iterator[tuple[IPNetwork, str]]:
    """Yield the ranges that no tenant may use: special ranges, networks of the site, pools, links to provider edges."""
    yield from labelled(SPECIAL)
    if not site.get("allow_documentation"):
        yield from labelled(DOCUMENTATION)
    yield from _site_networks(site)
    yield from address_pools(parsed)
    for _tenant, vrf in vrfs(parsed):
        for gateway, link in vrf.get("links", {}).items():
            for key in FAMILIES:
                if f"local_{key}" in link:
                    yield link[f"local_{key}"].cidr, f"the PE link of {vrf['name']} on {gateway}"


def pools(parsed: Node, site: dict[str, Any]) -> Iterator[Violation]:
    """Check that pools are usable and overlap neither each other nor the networks of the site."""
    unusable = Ranges(labelled(UNUSABLE))
    for pool, name in address_pools(parsed):
        if touched := unusable.touched(pool):
            yield Violation(name, str(pool), f"touches {touched[1]}", "choose a private range")
    for outer, inner in overlapping([*address_pools(parsed), *_site_networks(site)]):
        name = inner if inner.startswith("rie_pools") else outer
        if name.startswith("rie_pools"):
            yield Violation(
                name, "", f"overlaps {outer if name is inner else inner}", "choose a range nothing else uses"
            )


def prefixes(parsed: Node, site: dict[str, Any]) -> Iterator[Violation]:
    """Check each prefix alone: its length, its supernet, and the ranges that it may not touch."""
    forbidden = Ranges(_forbidden(parsed, site))
    for _tenant, vrf in vrfs(parsed):
        for key in FAMILIES:
            delegated = vrf.get("delegated", {}).get(key, Items())
            allowed = Ranges((net, str(net)) for net in delegated)
            for path, net in delegated.located():
                if touched := forbidden.touched(net):
                    yield Violation(path, str(net), f"touches {touched[1]}", "delegate a range that is free")
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
                elif (around := allowed.touched(net)) is None or net not in around[0]:
                    yield Violation(
                        path,
                        str(net),
                        "is outside the tenant's delegated supernets",
                        f"use a part of {', '.join(map(str, delegated)) or 'a delegated supernet'}",
                    )
                if touched := forbidden.touched(net):
                    yield Violation(path, str(net), f"touches {touched[1]}", "use a range that is free")
    for _tenant, vrf in vrfs(parsed):
        for network in vrf.get("networks", []):
            if "name" in network and "v4" not in network and "v6" not in network:
                yield Violation(network.path, network["name"], "has no prefix", "give v4, v6, or both")


def accepts(parsed: Node) -> Iterator[Violation]:
    """Check accept lists: no default route, ``le`` not shorter than the prefix, no network of this cloud."""
    for _tenant, vrf in vrfs(parsed):
        for key in FAMILIES:
            own = Ranges((net[key], str(net[key])) for net in vrf.get("networks", []) if key in net)
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
                if (around := own.touched(net)) and net in around[0]:
                    yield Violation(
                        f"{entry.path}.prefix",
                        str(net),
                        f"is inside our own {around[1]}",
                        "accept only what is behind the RIE",
                    )


def limits(parsed: Node) -> Iterator[Violation]:
    """Check that all networks fit in the limit of announced prefixes: above it, the session withholds some."""
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
