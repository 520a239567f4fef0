# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about the links to provider edges: AS numbers, timers, VLANs, addresses, route distinguishers.

Sources: RFC 4271 (timers), 6996 (private AS numbers).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netaddr import IPAddress, IPNetwork

from ..common.shapes import Node, Violation
from .intent import FAMILIES, profile, vrfs
from .prefix_ranges import UNUSABLE, Ranges, address_pools, labelled, overlapping

PRIVATE_AS = ((64512, 65534), (4200000000, 4294967294))


def as_numbers(parsed: Node) -> Iterator[Violation]:
    """Check that AS numbers are private (RFC 6996), and that no provider edge has the AS number of the cloud."""

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
    """Check that the hold time is at least three keepalives (RFC 4271, 4.4), for the site and for each link."""

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
    """Check that every VRF has a link on two gateways of the site, and that VLANs and addresses of links are usable."""
    unusable, apart = Ranges(labelled(UNUSABLE)), Ranges(address_pools(parsed))
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
        nets: list[tuple[IPNetwork, str]] = []
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
            for key in FAMILIES:
                local, peer = link.get(f"local_{key}"), link.get(f"peer_{key}")
                if local is None:
                    continue
                nets.append((local.cidr, f"{path}.local_{key}"))
                if touched := unusable.touched(local.cidr) or apart.touched(local.cidr):
                    yield Violation(
                        f"{path}.local_{key}",
                        str(local),
                        f"touches {touched[1]}",
                        "use the subnet agreed with the operator of the backbone",
                    )
                for end, address in (("local", local.ip), ("peer", peer)):
                    if address is not None and _is_no_host(address, local):
                        yield Violation(
                            f"{path}.{end}_{key}",
                            str(address),
                            f"is no host of {local.cidr}",
                            "use neither the first address of the subnet nor, in IPv4, the last",
                        )
                if peer is not None and (peer not in local or peer == local.ip):
                    yield Violation(
                        f"{path}.peer_{key}",
                        str(peer),
                        f"is not a neighbour of {local}",
                        "give the other address of the same subnet",
                    )
        for outer, inner in overlapping(nets):
            yield Violation(inner, "", f"overlaps {outer}", "use a subnet of its own on each link")


def _is_no_host(address: IPAddress, net: IPNetwork) -> bool:
    """Tell whether an address is the network's, its broadcast (RFC 1122, 3021) or the routers' anycast (RFC 4291)."""
    return net.size > 2 and (address == net.network or (net.version == 4 and address == net.broadcast))


def distinguishers(parsed: Node) -> Iterator[Violation]:
    """Check that a route distinguisher in the intent is unique per VRF and gateway."""
    seen: dict[str, str] = {}
    for _tenant, vrf in vrfs(parsed):
        for gateway, link in vrf.get("links", {}).items():
            path = f"{vrf.path}.links.{gateway}.rd"
            if "rd" in link and seen.setdefault(link["rd"], path) != path:
                yield Violation(path, link["rd"], f"is also used by {seen[link['rd']]}", "give each its own")
