# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Derive the content of a gateway's namespaces from its part of the plan. Pure.

Input is ``plan.gateways.<host>.vrfs`` of ``rie_plan``; an item looks like::

    {name, netns, tenant, rd, asn, router_id,
     cloud: {vlan, v4, v6, router_v4, router_v6, mtu, mac},      # v4/v6: this namespace, with length
     standby: {as cloud, gateway},                               # the transit of the other gateway
     rie:   {vlan, v4, v6, mtu},
     peer:  {vlan, v4, v6, neighbor_v4, neighbor_v6, gateway, mtu},
     pe:    {asn, v4, v6, password_secret, max_prefixes: {v4, v6}, max_prefixes_out: {v4, v6}, local_role, bfd, timers},
     export: {v4: [cidr], v6: [cidr]}, accept: {v4: [{prefix, le}], v6: [...]},
     communities: [], large_communities: [],
     bfd: {transmit_ms, receive_ms, multiplier}, timers: {keepalive, hold, connect}}

A part that a VRF does not have (``peer`` on a site with one gateway, a family) may be absent or null. If the PE has no
``bfd`` or ``timers``, those of the VRF apply.
"""

from __future__ import annotations

from typing import Any, Literal

from .plan_types import Family, GatewayVrf, Role, TransitRole

Vrf = GatewayVrf

ROLES: tuple[Role, ...] = ("cloud", "standby", "rie", "peer")
TRANSITS: tuple[TransitRole, ...] = ("cloud", "standby")
"""Links to the tenant's router: over this gateway's transit, and over the other gateway's while that one is down."""
FAMILIES: tuple[Family, ...] = ("v4", "v6")
ROUTER: dict[Family, Literal["router_v4", "router_v6"]] = {"v4": "router_v4", "v6": "router_v6"}
NEIGHBOR: dict[Family, Literal["neighbor_v4", "neighbor_v6"]] = {"v4": "neighbor_v4", "v6": "neighbor_v6"}

# rp_filter is off because nftables does loose uRPF (a strict one breaks the path through the other gateway).
# accept_dad 0: BGP and BFD cannot use an address as source before duplicate address detection has finished.
# arp_ignore 1, arp_announce 2: the links of one namespace must not answer ARP requests for each other.
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
    **{
        f"net.ipv4.conf.{scope}.{key}": value
        for scope in ("all", "default")
        for key, value in {
            "rp_filter": "0",
            "accept_redirects": "0",
            "send_redirects": "0",
            "secure_redirects": "0",
            "accept_source_route": "0",
            "arp_ignore": "1",
            "arp_announce": "2",
        }.items()
    },
    **{
        f"net.ipv6.conf.{scope}.{key}": value
        for scope in ("all", "default")
        for key, value in {
            "accept_ra": "0",
            "accept_redirects": "0",
            "accept_source_route": "0",
            "accept_dad": "0",
            "dad_transmits": "0",
            "keep_addr_on_down": "1",
        }.items()
    },
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
}


def links(vrf: Vrf) -> list[Role]:
    """Return the links of a VRF in the order cloud, standby, rie, peer."""
    return [role for role in ROLES if vrf.get(role)]


def families(vrf: Vrf, role: Role) -> list[Family]:
    """Return the address families of a link."""
    return [family for family in FAMILIES if (vrf.get(role) or {}).get(family)]


def definition(vrf: Vrf, bridge: str, tx_offload: bool = True) -> dict[str, Any]:
    """Return the namespace of a VRF as a definition for ``netns.py``. Host ends are called c-, s-, r-, p-<vrf>."""
    return {
        "name": vrf["netns"],
        "owner": "rie_netns",
        "sysctls": dict(SYSCTLS),
        "links": [
            {
                "name": role,
                "host": f"{role[0]}-{vrf['name']}",
                "bridge": bridge,
                "tag": vrf[role]["vlan"],
                "mtu": vrf[role].get("mtu") or 1500,
                **({"mac": vrf[role]["mac"]} if vrf[role].get("mac") else {}),
                "addresses": [vrf[role][family] for family in families(vrf, role)],
                "tx_offload": tx_offload,
            }
            for role in links(vrf)
        ],
    }


def trunks(vrfs: list[Vrf], uplinks: dict[Role, str]) -> dict[str, list[int]]:
    """Return the VLANs that each uplink port may carry, and no others. ``uplinks`` is ``{rie: port, peer: port}``."""
    return {port: sorted({vrf[role]["vlan"] for vrf in vrfs if vrf.get(role)}) for role, port in uplinks.items()}
