# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The rules an intent must satisfy beyond its structure: each a generator of violations, none stops another.

Sources: RFC 4364 (VRFs, route targets), 4271 (timers), 6890, 5737, 3849, 9637 (special prefixes), 6996 (private AS
numbers).
Everything that compares prefixes sorts them once and sweeps, so cost is O(n log n) in the number of networks.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ..common.shapes import Items, Node, Violation
from .intent import FAMILIES, profile, vrfs

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
TENANT_LENGTH = {"v4": (20, 28), "v6": (64, 64)}
PRIVATE_AS = ((64512, 65534), (4200000000, 4294967294))


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


def names(parsed: Node) -> Iterator[Violation]:
    """Names are unique: tenants and VRFs over the site, networks within their VRF."""

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


def as_numbers(parsed: Node) -> Iterator[Violation]:
    """AS numbers are private (RFC 6996), and a provider edge is never in our own AS."""

    def private(number: int, path: str) -> Iterator[Violation]:
        if not any(low <= number <= high for low, high in PRIVATE_AS):
            yield Violation(path, str(number), "is not a private AS number", "use 64512-65534 or 4200000000-4294967294")

    own = parsed.get("rie_asn")
    if own is not None:
        yield from private(own, "rie_asn")
    for _tenant, vrf in vrfs(parsed):
        for gateway, link in vrf.get("links", {}).items():
            if "asn" not in link:
                continue
            path = f"{vrf.path}.links.{gateway}.asn"
            yield from private(link["asn"], path)
            if link["asn"] == own:
                yield Violation(path, str(own), "is our own AS number (rie_asn)", "give the provider edge's AS")


def timers(parsed: Node) -> Iterator[Violation]:
    """The hold time is at least three keepalives (RFC 4271, 4.4), also where a link has timers of its own."""

    def coherent(bgp: dict[str, int], path: str, key: str) -> Iterator[Violation]:
        if "keepalive" in bgp and "hold" in bgp and bgp["hold"] < 3 * bgp["keepalive"]:
            yield Violation(
                f"{path}.{key}",
                str(bgp[key]),
                f"makes a hold time of {bgp['hold']} s, less than three keepalives of {bgp['keepalive']} s",
                f"use a hold time of {3 * bgp['keepalive']} or more",
            )

    site = parsed.get("rie_bgp", {})
    yield from coherent(site, "rie_bgp", "hold")
    for _tenant, vrf in vrfs(parsed):
        for link in vrf.get("links", {}).values():
            own = link.get("bgp", Node())
            if changed := [key for key in ("hold", "keepalive") if key in own]:
                yield from coherent(profile(site, link), own.path, changed[0])


def links(parsed: Node, site: dict[str, Any]) -> Iterator[Violation]:
    """Every VRF has a link on two gateways of the site; VLANs and addresses of links are coherent and usable."""
    unusable = _labelled(UNUSABLE)
    apart = {
        family: Ranges((pool, f"rie_pools.{name}") for name, pool in _address_pools(parsed) if pool.version == family)
        for family in FAMILIES.values()
    }
    gateways = site.get("gateways")
    secrets = site.get("secrets")
    pool = parsed.get("rie_pools", {}).get("vlan")
    taken: dict[tuple[str, int], str] = {}
    for _tenant, vrf in vrfs(parsed):
        if "links" not in vrf:
            continue
        if len(vrf["links"]) != 2:
            yield Violation(
                f"{vrf.path}.links",
                ", ".join(sorted(vrf["links"])) or "none",
                "a VRF is wired on exactly two gateways",
                "describe one link for each of two gateways",
            )
        nets: dict[int, list[tuple[Prefix, str]]] = defaultdict(list)
        for gateway, link in sorted(vrf["links"].items()):
            path = f"{vrf.path}.links.{gateway}"
            if gateways is not None and gateway not in gateways:
                yield Violation(
                    path, gateway, "is not a gateway of the site", f"use one of {', '.join(sorted(gateways))}"
                )
            if "vlan" in link:
                other = taken.setdefault((gateway, link["vlan"]), path)
                if other != path:
                    yield Violation(
                        f"{path}.vlan",
                        str(link["vlan"]),
                        f"is also used by {other}",
                        "use one VLAN a VRF on each uplink",
                    )
                if pool and pool[0] <= link["vlan"] <= pool[1]:
                    yield Violation(
                        f"{path}.vlan",
                        str(link["vlan"]),
                        "is inside rie_pools.vlan",
                        "keep the provider's VLANs apart from those we allocate",
                    )
            secret = link.get("password_secret")
            if secrets is not None and secret is not None and secret not in secrets:
                yield Violation(
                    f"{path}.password_secret", secret, "is not a known secret", "add it to the site's secrets"
                )
            for key, family in FAMILIES.items():
                local, peer = link.get(f"local_{key}"), link.get(f"peer_{key}")
                if local is None:
                    continue
                nets[family].append((local.network, f"{path}.local_{key}"))
                if touched := unusable[family].touched(local.network) or apart[family].touched(local.network):
                    yield Violation(
                        f"{path}.local_{key}",
                        str(local),
                        f"touches {touched}",
                        "use the subnet agreed with the operator of the backbone",
                    )
                for end, address in (("local", local.ip), ("peer", peer)):
                    if address is not None and _is_no_host(address, local.network):
                        yield Violation(
                            f"{path}.{end}_{key}",
                            str(address),
                            f"is no host of {local.network}",
                            "use neither the first address of the subnet nor, in IPv4, the last",
                        )
                if peer is not None and (peer not in local.network or peer == local.ip):
                    yield Violation(
                        f"{path}.peer_{key}",
                        str(peer),
                        f"is not a neighbour of {local}",
                        "give the other address of the same subnet",
                    )
        for family_nets in nets.values():
            for outer, inner in overlapping(family_nets):
                yield Violation(inner, "", f"overlaps {outer}", "use a subnet of its own on each link")


def _is_no_host(address: Any, net: Prefix) -> bool:
    """Whether an address is the network's or the broadcast one (RFC 1122, 3021), or the routers' anycast (RFC 4291)."""
    if net.prefixlen >= net.max_prefixlen - 1:
        return False
    return address == net[0] or (net.version == 4 and address == net[-1])


def _labelled(table: dict[str, str]) -> dict[int, Ranges]:
    """Ranges of each family from a table of prefixes as text."""
    rows = [(ipaddress.ip_network(prefix), label) for prefix, label in table.items()]
    return {family: Ranges(row for row in rows if row[0].version == family) for family in FAMILIES.values()}


def _address_pools(parsed: Node) -> Iterator[tuple[str, Prefix]]:
    """Name and prefix of each pool that is not of numbers."""
    for name, pool in parsed.get("rie_pools", {}).items():
        if not isinstance(pool, tuple):
            yield name, pool


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
    for name, pool in _address_pools(parsed):
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
    unusable = _labelled(UNUSABLE)
    for name, pool in _address_pools(parsed):
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


def _exporters(parsed: Node) -> dict[str, list[tuple[Node, Node]]]:
    """For each route target the ``(tenant, vrf)`` that export it."""
    found: dict[str, list[tuple[Node, Node]]] = defaultdict(list)
    for tenant, vrf in vrfs(parsed):
        for target in sorted(set(vrf.get("export_targets", []))):
            found[target].append((tenant, vrf))
    return found


def exchanges(parsed: Node) -> Iterator[Violation]:
    """Routes pass from tenant to tenant only where the one shares its VRF, or the other asks for it by name.

    A target that no VRF here exports belongs to somebody in the backbone, and may be imported.
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
    """For each VRF the other VRFs of this intent whose routes it imports, by route target."""
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
    """No two networks overlap that meet in one table: a VRF's own, and those of all VRFs it imports."""
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


def distinguishers(parsed: Node) -> Iterator[Violation]:
    """A route distinguisher given by hand is unique per VRF and gateway."""
    seen: dict[str, str] = {}
    for _tenant, vrf in vrfs(parsed):
        for gateway, link in vrf.get("links", {}).items():
            path = f"{vrf.path}.links.{gateway}.rd"
            if "rd" in link and seen.setdefault(link["rd"], path) != path:
                yield Violation(path, link["rd"], f"is also used by {seen[link['rd']]}", "give each its own")


def check(parsed: Node, site: dict[str, Any]) -> list[Violation]:
    """Every violation of every rule, sorted by path."""
    return sorted(
        {
            *surroundings(site),
            *names(parsed),
            *as_numbers(parsed),
            *timers(parsed),
            *links(parsed, site),
            *pools(parsed, site),
            *prefixes(parsed, site),
            *accepts(parsed),
            *limits(parsed),
            *exchanges(parsed),
            *overlaps(parsed),
            *distinguishers(parsed),
        }
    )
