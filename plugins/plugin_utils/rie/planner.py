# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Compute the plan of the cloud half and of the gateway half from the RIE intent: pure, offline, deterministic.

``plan()`` checks the intent, allocates values from the ledger, and returns exactly the Neutron objects and the
namespaces, interfaces and BGP sessions that must exist. This is option A of RFC 4364, section 10: each VRF has an
external VLAN network and a link to a provider edge for each of two gateways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from netaddr import IPNetwork

from ...module_utils.rie.plan_types import (
    Accepted,
    Bfd,
    Family,
    Gateway,
    GatewayVrf,
    Ledger,
    Network,
    NeutronVrf,
    Plan,
    Timers,
    Transit,
    TransitSubnet,
    Uplink,
)
from ..common.shapes import Faults, Node, Violation
from . import exchange_rules
from . import intent as intent_model
from . import ledger as ledger_model
from . import rules as intent_rules
from .intent import FAMILIES


class PlanResult(NamedTuple):
    """Plan and ledger as plain data. If there are violations, there is no plan and the ledger is unchanged."""

    plan: Plan
    ledger: Ledger
    violations: list[Violation]


def plan(intent: dict[str, Any], ledger: dict[str, Any], *, site: dict[str, Any]) -> PlanResult:
    """Return the plan of an intent.

    intent: the ``rie_*`` variables. ledger: as read from its file, or ``{}`` at first.
    site: ``gateways`` (names, or None if unknown), ``reserved`` ({label: [prefix]} that no tenant may use),
    ``secrets`` (known names, or None), ``allow_documentation`` (bool), ``today`` (ISO date).
    """
    faults: Faults = []
    parsed = intent_model.parse(intent, faults)
    faults += ledger_model.check(ledger)
    faults += intent_rules.check(parsed, site)
    held = cast("Ledger", ledger)
    if faults:
        return PlanResult({}, held, sorted(set(faults)))

    rows = intent_model.vrfs(parsed)
    pins = {
        f"{vrf['name']}/{gateway}": (link["rd"], f"{vrf.path}.links.{gateway}.rd")
        for _tenant, vrf in rows
        for gateway, link in vrf["links"].items()
        if "rd" in link
    }
    uplinks = [f"{vrf['name']}/{gateway}" for _tenant, vrf in rows for gateway in vrf["links"]]
    between = [vrf["name"] for _tenant, vrf in rows]
    try:
        following = ledger_model.allocate(
            held,
            {
                "vlan": [*uplinks, *(f"{name}/peer" for name in between)],
                "transit_v4": uplinks,
                "transit_v6": uplinks,
                "router_id": uplinks,
                "rd": uplinks,
                "peer_v4": between,
                "peer_v6": between,
            },
            parsed["rie_pools"],
            asn=parsed["rie_asn"],
            gateways={gateway for _tenant, vrf in rows for gateway in vrf["links"]},
            today=site["today"],
            quarantine_days=parsed["rie_quarantine_days"],
            pinned={owner: rd for owner, (rd, _path) in pins.items()},
        )
    except ledger_model.Exhausted as error:
        where = f"rie_pools.{error}" if str(error) != "rd" else "rie_asn"
        return PlanResult({}, held, [Violation(where, "", "has no value left", "enlarge the pool")])
    if clashes := sorted(_held_by_others(pins, following)):
        return PlanResult({}, held, clashes)
    return PlanResult(_render(parsed, following), following, [])


def _held_by_others(pins: dict[str, tuple[str, str]], ledger: Ledger) -> Iterator[Violation]:
    """Find route distinguishers of the intent that the ledger has for another owner. No other value can clash."""
    holders: dict[str, list[tuple[str, str]]] = {}
    for value, owner, where in ledger_model.known(ledger, "rd"):
        holders.setdefault(value, []).append((owner, where))
    for owner, (value, path) in pins.items():
        for holder, where in holders[value]:
            if holder != owner:
                yield Violation(path, value, f"is already held by {where}", "choose another, or leave it out")


def _render(parsed: Node, ledger: Ledger) -> Plan:
    """Return the plan of a valid intent, sorted by name, so that it does not depend on the order of the inventory."""
    graph = exchange_rules.import_graph(parsed)
    rows = sorted(intent_model.vrfs(parsed), key=lambda row: row[1]["name"])
    by_name = {vrf["name"]: vrf for _tenant, vrf in rows}
    used = {gateway for _tenant, vrf in rows for gateway in vrf["links"]}
    neutron: list[NeutronVrf] = []
    gateways: dict[str, Gateway] = {gateway: {"vrfs": []} for gateway in sorted(used)}
    for tenant, vrf in rows:
        mtu = vrf.get("mtu", parsed["rie_mtu"])
        uplinks = {gateway: _uplink(vrf, gateway, ledger) for gateway in sorted(vrf["links"])}
        neutron.append(_neutron_vrf(tenant, vrf, uplinks, parsed["rie_physical_network"], mtu))
        imported = [by_name[name] for name in sorted(graph[vrf["name"]])]
        for gateway in uplinks:
            other = next(name for name in uplinks if name != gateway)
            gateways[gateway]["vrfs"].append(
                _gateway_vrf(parsed, tenant, vrf, gateway, other, uplinks, ledger, imported, mtu)
            )
    projects = {tenant["project"]: tenant for tenant in parsed["rie_tenants"] if "project" in tenant}
    return {
        "neutron": {
            "vrfs": neutron,
            "projects": [
                {"name": name, "description": tenant.get("description", tenant["name"])}
                for name, tenant in sorted(projects.items())
            ],
            "quotas": {name: tenant["quotas"] for name, tenant in sorted(projects.items())},
        },
        "gateways": gateways,
        "imports": {name: sorted(graph[name]) for name in sorted(graph)},
        "physical_networks": [parsed["rie_physical_network"]],
        "bfd": _bfd(parsed["rie_bgp"]),
    }


def _uplink(vrf: Node, gateway: str, ledger: Ledger) -> Uplink:
    """Return the transit between a VRF's namespace on a gateway (first address) and its router (second address)."""
    owner = f"{vrf['name']}/{gateway}"
    held = ledger["allocations"]

    def transit(key: Family) -> TransitSubnet:
        cidr = held[f"transit_{key}"][owner]
        net = IPNetwork(cidr)
        return {"cidr": cidr, "gateway_ip": str(net[1]), "router_ip": str(net[2])}

    return {
        "vlan": held["vlan"][owner],
        "suffix": ledger["gateways"][gateway],
        "v4": transit("v4"),
        "v6": transit("v6"),
    }


def _sorted_nets(nets: Any) -> list[str]:
    return [str(net) for net in sorted(set(nets))]


def _neutron_vrf(tenant: Node, vrf: Node, uplinks: dict[str, Uplink], physical_network: str, mtu: int) -> NeutronVrf:
    name = vrf["name"]
    delegated = {key: _sorted_nets(vrf["delegated"][key]) for key in FAMILIES if vrf["delegated"][key]}
    return {
        "name": name,
        "tenant": tenant["name"],
        "project": tenant["project"],
        "address_scopes": [{"name": f"rie-{name}-{key}", "ip_version": FAMILIES[key]} for key in delegated],
        "subnet_pools": [
            {
                "name": f"rie-{name}-{key}",
                "tag": f"rie:{name}:{key}",
                "ip_version": FAMILIES[key],
                "prefixes": prefixes,
            }
            for key, prefixes in delegated.items()
        ],
        "networks": [_network(name, net, mtu) for net in sorted(vrf["networks"], key=lambda net: net["name"])],
        "externals": [
            {
                "gateway": gateway,
                "suffix": uplink["suffix"],
                "name": f"rie-{name}-{uplink['suffix']}",
                "tag": f"rie:{name}:external/{gateway}",
                "physical_network": physical_network,
                "vlan": uplink["vlan"],
                "mtu": mtu,
                "v4": uplink["v4"],
                "v6": uplink["v6"],
            }
            for gateway, uplink in uplinks.items()
        ],
        "router": {"name": f"rie-{name}", "tag": f"rie:{name}:router"},
    }


def _network(vrf: str, net: Node, mtu: int) -> Network:
    network: Network = {"name": net["name"], "tag": f"rie:{vrf}:{net['name']}", "mtu": mtu}
    for key in FAMILIES:
        if key in net:
            network[key] = {"cidr": str(net[key]), "gateway_ip": str(net[key][1])}
    return network


def _gateway_vrf(
    parsed: Node,
    tenant: Node,
    vrf: Node,
    gateway: str,
    other: str,
    uplinks: dict[str, Uplink],
    ledger: Ledger,
    imported: list[Node],
    mtu: int,
) -> GatewayVrf:
    name = vrf["name"]
    held = ledger["allocations"]
    link = vrf["links"][gateway]
    first = gateway < other

    def between(key: str) -> tuple[str, str]:
        net = IPNetwork(held[f"peer_{key}"][name])
        mine, theirs = (net[1], net[2]) if first else (net[2], net[1])
        return f"{mine}/{net.prefixlen}", str(theirs)

    peer_v4, neighbor_v4 = between("v4")
    peer_v6, neighbor_v6 = between("v6")
    site, towards_pe = parsed["rie_bgp"], intent_model.profile(parsed["rie_bgp"], link)
    return {
        "name": name,
        "netns": f"vrf-{name}",
        "tenant": tenant["name"],
        "rd": held["rd"][f"{name}/{gateway}"],
        "import_targets": sorted(vrf["import_targets"]),
        "export_targets": sorted(vrf["export_targets"]),
        "asn": parsed["rie_asn"],
        "router_id": held["router_id"][f"{name}/{gateway}"],
        "cloud": _transit(name, gateway, uplinks[gateway], mtu),
        # The transit of the other gateway: if that gateway fails, OVN moves its router port to this one.
        "standby": {**_transit(name, other, uplinks[other], mtu), "gateway": other},
        "rie": {
            "vlan": link["vlan"],
            "v4": str(link["local_v4"]),
            "v6": str(link["local_v6"]),
            "mtu": link.get("mtu", mtu),
        },
        "peer": {
            "vlan": held["vlan"][f"{name}/peer"],
            "gateway": other,
            "mtu": mtu,
            "v4": peer_v4,
            "v6": peer_v6,
            "neighbor_v4": neighbor_v4,
            "neighbor_v6": neighbor_v6,
        },
        "pe": {
            "asn": link["asn"],
            "v4": str(link["peer_v4"]),
            "v6": str(link["peer_v6"]),
            "password_secret": link["password_secret"],
            "max_prefixes": dict(vrf["max_prefixes"]),
            "max_prefixes_out": dict(vrf["max_prefixes_out"]),
            "local_role": link["local_role"],
            "bfd": _bfd(towards_pe),
            "timers": _timers(towards_pe),
        },
        "export": {key: _sorted_nets(net[key] for net in vrf["networks"] if key in net) for key in FAMILIES},
        "accept": {key: _accepted(vrf, imported, key) for key in FAMILIES},
        # Routes of an imported VRF of this cloud return with the AS number of the cloud in the path.
        "allow_own_as": bool(imported),
        "communities": sorted(set(vrf["communities"])),
        "large_communities": sorted(set(vrf["large_communities"])),
        "bfd": _bfd(site),
        "timers": _timers(site),
    }


def _bfd(bgp: dict[str, Any]) -> Bfd:
    return cast("Bfd", dict(bgp["bfd"]))


def _timers(bgp: dict[str, Any]) -> Timers:
    return {"keepalive": bgp["keepalive"], "hold": bgp["hold"], "connect": bgp["connect"]}


def _transit(vrf: str, gateway: str, uplink: Uplink, mtu: int) -> Transit:
    """Return the link to the router over the transit of ``gateway``.

    It is the same on every gateway, including its hardware address. So the router reaches its next hop, whichever
    gateway its port is on.
    """
    digest = hashlib.sha256(f"{vrf}/{gateway}".encode()).digest()
    return {
        "vlan": uplink["vlan"],
        "mtu": mtu,
        # A locally administered address. It must be unique only in its VLAN, which has two addresses.
        "mac": ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5])),
        "v4": _with_length(uplink["v4"]),
        "v6": _with_length(uplink["v6"]),
        "router_v4": uplink["v4"]["router_ip"],
        "router_v6": uplink["v6"]["router_ip"],
    }


def _with_length(transit: TransitSubnet) -> str:
    return f"{transit['gateway_ip']}/{transit['cidr'].rpartition('/')[2]}"


def _accepted(vrf: Node, imported: list[Node], key: Family) -> list[Accepted]:
    """Return the prefixes that the provider edge may announce: those of the sites, and networks of imported VRFs."""
    entries = {(entry["prefix"], entry.get("le", entry["prefix"].prefixlen)) for entry in vrf["accept"][key]}
    entries |= {(net[key], net[key].prefixlen) for other in imported for net in other["networks"] if key in net}
    return [{"prefix": str(prefix), "le": le} for prefix, le in sorted(entries)]
