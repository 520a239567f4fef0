# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The types of the wiring's data: the plan, each gateway's part of it, and the ledger. Types only."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Family = Literal["v4", "v6"]
Role = Literal["cloud", "standby", "rie", "peer"]
"""The links of a VRF's namespace on a gateway."""
TransitRole = Literal["cloud", "standby"]
Kind = Literal["vlan", "transit_v4", "transit_v6", "peer_v4", "peer_v6", "router_id", "rd"]
"""The kinds of values that the ledger allocates."""


# --- the ledger ---------------------------------------------------------------------------------------------


class Resting(TypedDict):
    """A value in quarantine: its former owner, and the ISO date on which the quarantine ends."""

    owner: str
    until: str


class Ledger(TypedDict, total=False):
    """Empty at first; see plugin_utils/rie/ledger.py. Values are VLANs (int) or text."""

    version: int
    gateways: dict[str, str]
    allocations: dict[str, dict[str, Any]]
    quarantine: dict[str, dict[Any, Resting]]


# --- the cloud's half ---------------------------------------------------------------------------------------


class Named(TypedDict):
    name: str
    tag: str


class Subnet(TypedDict):
    cidr: str
    gateway_ip: str


class TransitSubnet(Subnet):
    router_ip: str


class Uplink(TypedDict):
    """The transit between a VRF's namespace on a gateway and its router."""

    vlan: int
    suffix: str
    v4: TransitSubnet
    v6: TransitSubnet


class AddressScope(TypedDict):
    name: str
    ip_version: int


class SubnetPool(Named):
    ip_version: int
    prefixes: list[str]


class Network(Named):
    mtu: int
    v4: NotRequired[Subnet]
    v6: NotRequired[Subnet]


class External(Named):
    """The provider network of a transit."""

    gateway: str
    suffix: str
    physical_network: str
    vlan: int
    mtu: int
    v4: TransitSubnet
    v6: TransitSubnet


class NeutronVrf(TypedDict):
    name: str
    tenant: str
    project: str
    address_scopes: list[AddressScope]
    subnet_pools: list[SubnetPool]
    networks: list[Network]
    externals: list[External]
    router: Named


class Project(TypedDict):
    name: str
    description: str


class Neutron(TypedDict):
    vrfs: list[NeutronVrf]
    projects: list[Project]
    quotas: dict[str, dict[str, int]]


# --- the gateways' half -------------------------------------------------------------------------------------


class Bfd(TypedDict):
    transmit_ms: int
    receive_ms: int
    multiplier: int


class Timers(TypedDict):
    keepalive: int
    hold: int
    connect: int


class Link(TypedDict):
    """v4, v6: this namespace's address, with its length. Only a transit has a specified hardware address."""

    vlan: int
    mtu: int
    mac: NotRequired[str]
    v4: str
    v6: str


class Transit(Link):
    """A link to the tenant's router. ``gateway``: on a standby link, the gateway that the transit belongs to."""

    router_v4: str
    router_v6: str
    gateway: NotRequired[str]


class Peer(Link):
    """The link to the other gateway."""

    gateway: str
    neighbor_v4: str
    neighbor_v6: str


class ProviderEdge(TypedDict):
    asn: int
    v4: str
    v6: str
    password_secret: str
    max_prefixes: dict[Family, int]
    max_prefixes_out: dict[Family, int]
    local_role: str
    bfd: Bfd
    timers: Timers


class Accepted(TypedDict):
    prefix: str
    le: int


class GatewayVrf(TypedDict):
    """One VRF on one gateway."""

    name: str
    netns: str
    tenant: str
    rd: str
    import_targets: list[str]
    export_targets: list[str]
    asn: int
    router_id: str
    cloud: Transit
    standby: Transit
    rie: Link
    peer: Peer
    pe: ProviderEdge
    export: dict[Family, list[str]]
    accept: dict[Family, list[Accepted]]
    allow_own_as: bool
    communities: list[str]
    large_communities: list[str]
    bfd: Bfd
    timers: Timers


class Gateway(TypedDict):
    vrfs: list[GatewayVrf]


class Plan(TypedDict, total=False):
    """Empty if the intent has faults."""

    neutron: Neutron
    gateways: dict[str, Gateway]
    imports: dict[str, list[str]]
    physical_networks: list[str]
    bfd: Bfd
