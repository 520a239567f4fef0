# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The Neutron objects that a plan needs, as data: kinds, keys, attributes, references. Pure.

The durable key of an object is its ``description`` (``rie:<vrf>:<what>``), not a tag: a description is part
of the (bulk) POST, so no object ever exists without its key, even if a run is interrupted; a tag needs a separate
request for each object. Address scopes have neither, so their name is their key. The key of a gateway port or a
router interface consists of those of its two ends.

Tenants own their networks and subnets. Routers, external networks, scopes and pools belong to the operator's
project, so that a tenant can neither enable SNAT nor attach anything else to a VRF.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KEY_PREFIX = "rie:"
SCOPE_PREFIX = "rie-"
FAMILIES = (("v4", 4), ("v6", 6))


class Ref(NamedTuple):
    """The id of another object, identified by kind and key; the object may not exist yet."""

    kind: str
    key: str


def references(value: Any) -> Iterator[Ref]:
    """Return every reference in a value."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)


@dataclass(frozen=True)
class Kind:
    """A type of object: its path in the API, and the attributes that cannot be changed once it exists."""

    name: str
    collection: str = ""
    fixed: frozenset[str] = frozenset()
    keyed_by: str = "description"


# In the order of creation: each kind refers only to those before it.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("quota", "quotas"),
        Kind("address_scope", "address_scopes", frozenset({"project_id", "ip_version"}), keyed_by="name"),
        Kind("subnetpool", "subnetpools", frozenset({"project_id", "address_scope_id"})),
        Kind("router", "routers", frozenset({"project_id"})),
        Kind(
            "network",
            "networks",
            frozenset(
                {
                    "project_id",
                    "router:external",
                    "provider:network_type",
                    "provider:physical_network",
                    "provider:segmentation_id",
                }
            ),
        ),
        Kind("rbac_policy", "rbac_policies"),
        Kind(
            "subnet",
            "subnets",
            frozenset(
                {
                    "project_id",
                    "network_id",
                    "ip_version",
                    "cidr",
                    "subnetpool_id",
                    "ipv6_ra_mode",
                    "ipv6_address_mode",
                }
            ),
        ),
        Kind("gateway", fixed=frozenset({"router_id", "network_id", "external_fixed_ips"})),
        Kind("interface", fixed=frozenset({"router_id", "subnet_id"})),
    )
}


@dataclass(frozen=True)
class Wanted:
    """An object that must exist. ``attrs`` are those of the API; a :class:`Ref` stands for an id."""

    kind: str
    key: str
    attrs: dict[str, Any] = field(default_factory=dict)


def link_key(router_key: str, other_key: str) -> str:
    """Return the key of a gateway port or an interface: a router's key and that of the network or subnet."""
    return f"{router_key} -> {other_key}"


def wanted(plan: dict[str, Any], *, operator: str | Ref) -> list[Wanted]:
    """Return every object of ``plan["neutron"]``, in the order of creation within each kind.

    operator: id of, or reference to, the project that owns the objects that tenants must not change. Tenants' projects
    are references of kind ``project``, by name.
    """
    objects = [
        Wanted("quota", project, {"project_id": Ref("project", project), **limits})
        for project, limits in plan["quotas"].items()
        if limits
    ]
    limits = dict.fromkeys(("network", "subnet", "port", "router", "rbac_policy"), -1)
    objects.append(Wanted("quota", "operator", {"project_id": operator, **limits}))
    for vrf in plan["vrfs"]:
        objects += _scopes(vrf, operator)
        for network in vrf["networks"]:
            objects += _tenant_network(vrf, network)
        for external in vrf["externals"]:
            objects += _external_network(external, operator)
        objects += _router(vrf, operator)
    order = list(KINDS)
    return sorted(objects, key=lambda item: order.index(item.kind))


def _scopes(vrf: dict[str, Any], operator: str | Ref) -> list[Wanted]:
    scopes = [
        Wanted("address_scope", scope["name"], {"ip_version": scope["ip_version"], "project_id": operator})
        for scope in vrf["address_scopes"]
    ]
    pools = [
        Wanted(
            "subnetpool",
            pool["tag"],
            {
                "name": pool["name"],
                "project_id": operator,
                "prefixes": pool["prefixes"],
                "address_scope_id": Ref("address_scope", pool["name"]),
            },
        )
        for pool in vrf["subnet_pools"]
    ]
    return scopes + pools


def _tenant_network(vrf: dict[str, Any], network: dict[str, Any]) -> list[Wanted]:
    owner = Ref("project", vrf["project"])
    tag = network["tag"]
    attrs = {"name": network["name"], "project_id": owner, "mtu": network["mtu"], "admin_state_up": True}
    objects = [Wanted("network", tag, attrs | {"router:external": False})]
    for key, version in FAMILIES:
        if key not in network:
            continue
        objects.append(
            Wanted(
                "subnet",
                f"{tag}/{key}",
                {
                    "name": f"{network['name']}-{key}",
                    "project_id": owner,
                    "network_id": Ref("network", tag),
                    "subnetpool_id": Ref("subnetpool", f"rie:{vrf['name']}:{key}"),
                    "ip_version": version,
                    "cidr": network[key]["cidr"],
                    "gateway_ip": network[key]["gateway_ip"],
                    "enable_dhcp": True,
                }
                | ({"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"} if version == 6 else {}),
            )
        )
        router = vrf["router"]["tag"]
        ends = {"router_id": Ref("router", router), "subnet_id": Ref("subnet", f"{tag}/{key}")}
        objects.append(Wanted("interface", link_key(router, f"{tag}/{key}"), ends))
    return objects


def _external_network(external: dict[str, Any], operator: str | Ref) -> list[Wanted]:
    tag = external["tag"]
    objects = [
        Wanted(
            "network",
            tag,
            {
                "name": external["name"],
                "project_id": operator,
                "mtu": external["mtu"],
                "admin_state_up": True,
                "router:external": True,
                "provider:network_type": "vlan",
                "provider:physical_network": external["physical_network"],
                "provider:segmentation_id": external["vlan"],
            },
        ),
        # Neutron lets every project use an external network; this policy limits it to the operator's project.
        Wanted("rbac_policy", tag, {"object_id": Ref("network", tag), "target_tenant": operator}),
    ]
    for key, version in FAMILIES:
        objects.append(
            Wanted(
                "subnet",
                f"{tag}/{key}",
                {
                    "name": f"{external['name']}-{key}",
                    "project_id": operator,
                    "network_id": Ref("network", tag),
                    "ip_version": version,
                    "cidr": external[key]["cidr"],
                    "gateway_ip": external[key]["gateway_ip"],
                    "enable_dhcp": False,
                },
            )
        )
    return objects


def _router(vrf: dict[str, Any], operator: str | Ref) -> list[Wanted]:
    router = vrf["router"]
    objects = [
        Wanted(
            "router",
            router["tag"],
            {
                "name": router["name"],
                "project_id": operator,
                "admin_state_up": True,
                "enable_default_route_bfd": True,
                "enable_default_route_ecmp": True,
            },
        )
    ]
    for external in vrf["externals"]:
        tag = external["tag"]
        objects.append(
            Wanted(
                "gateway",
                link_key(router["tag"], tag),
                {
                    "router_id": Ref("router", router["tag"]),
                    "network_id": Ref("network", tag),
                    "external_fixed_ips": [
                        {"subnet_id": Ref("subnet", f"{tag}/{key}"), "ip_address": external[key]["router_ip"]}
                        for key, _version in FAMILIES
                    ],
                    "enable_snat": False,
                },
            )
        )
    return objects
