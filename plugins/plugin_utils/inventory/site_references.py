# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about values that refer to other values: bridges and their ports, addresses and their network, names of hosts.

Each rule takes the `Context` of site_context and yields violations, at the variable that an operator would correct.
What only the run can tell (facts, lookups) is passed over.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..facts import services
from .shape_kinds import is_template, near
from .site_model import Source, Violation

if TYPE_CHECKING:
    from .site_context import Context

PORT_PAIRS = (
    ("haproxy_database_port", "mariadb_port", "the port on which MariaDB listens"),
    ("haproxy_database_check_port", "mariadb_check_port", "the port of MariaDB's probe"),
)
"""Options of two roles that mean the same thing."""
LISTENERS = ("mariadb_port", "mariadb_check_port", "haproxy_health_port", "site_memcached_port", "site_cache_port",
             "rabbitmq_port")  # fmt: skip
"""Options with the ports on which a controller listens."""
FIXED_PORTS = {
    4369: "epmd",
    4444: "Galera",
    4567: "Galera",
    4568: "Galera",
    25672: "RabbitMQ",
    6641: "OVN",
    6642: "OVN",
    6643: "OVN",
    6644: "OVN",
    6514: "rsyslog",
    22: "sshd",
}
LOGIN_PORT = 22


def site_addresses(context: Context) -> Iterator[Violation]:
    """Addresses in the management network are those of hosts: neither the network's own nor its broadcast address."""
    network = _network(context.known("site_management_cidr"))
    if network is None or network.num_addresses <= 2:
        return
    taken = {
        network.network_address: "the address of the network itself",
        network.broadcast_address: "its broadcast address",
    }
    wanted = [("", name) for name in ("site_internal_vip", "site_public_vip")]
    wanted += [(host, "ansible_host") for host in sorted(context.inventory.hosts)]
    for host, name in wanted:
        value = context.known(name, host)
        if (address := _address(value)) in taken:
            remedy = f"use an address from {network[1]} to {network[-2]}"
            yield from _at(context, name, host, value, f"is not usable in {network}: it is {taken[address]}", remedy)
    name = context.known("site_public_name")
    if isinstance(name, str) and name == context.known("site_internal_name"):
        reason, remedy = "is also site_internal_name", "give each virtual address its own name"
        yield from _at(context, "site_public_name", "", name, reason, remedy)


def bridges(context: Context) -> Iterator[Violation]:
    """Bridges and ports that values refer to exist on the host."""
    inventory = context.inventory
    for host in sorted({*inventory.members("compute"), *inventory.members("gateway")}):
        given = context.known("ovn_chassis_bridges", host)
        if not _list_of_mappings(given):
            continue
        ports = {str(bridge.get("name")): _names(bridge.get("ports")) for bridge in given}
        yield from _doubles(context, host, given)
        mappings = context.known("ovn_chassis_bridge_mappings", host)
        for network, bridge in (mappings if isinstance(mappings, dict) else {}).items():
            if isinstance(bridge, str) and not is_template(bridge) and bridge not in ports:
                yield from _at(
                    context,
                    "ovn_chassis_bridge_mappings",
                    host,
                    bridge,
                    f"{host} has no bridge {bridge}",
                    near(bridge, ports, "add it to ovn_chassis_bridges"),
                    (network,),
                )
        if host in inventory.members("gateway"):
            yield from _uplinks(context, host, ports)


def _uplinks(context: Context, host: str, ports: dict[str, list[str]]) -> Iterator[Violation]:
    bridge = context.known("rie_gateway_bridge", host)
    uplinks = context.known("rie_gateway_uplinks", host)
    if not isinstance(bridge, str) or is_template(bridge):
        return
    if bridge not in ports:
        remedy = near(bridge, ports, "add it to ovn_chassis_bridges")
        yield from _at(context, "rie_gateway_bridge", host, bridge, f"{host} has no bridge {bridge}", remedy)
        return
    for role, port in (uplinks if isinstance(uplinks, dict) else {}).items():
        if isinstance(port, str) and not is_template(port) and port not in ports[bridge]:
            reason = f"bridge {bridge} of {host} has no port {port}"
            remedy = near(port, ports[bridge], f"its ports are: {', '.join(ports[bridge]) or 'none'}")
            yield from _at(context, "rie_gateway_uplinks", host, port, reason, remedy, (role,))


def _doubles(context: Context, host: str, given: list[dict[str, Any]]) -> Iterator[Violation]:
    """Each bridge and each port of Open vSwitch is defined once."""
    seen: dict[str, str] = {}
    for index, bridge in enumerate(given):
        own = bridge.get("name")
        for name, path in [
            (own, (index,)),
            *((port, (index, "ports")) for port in _names(bridge.get("ports")) if port != own),
        ]:
            if name in seen:
                reason, remedy = f"{name} is in {seen[name]} already", "a bridge or port is in one place"
                yield from _at(context, "ovn_chassis_bridges", host, None, reason, remedy, path)
            seen[str(name)] = f"bridge {own}"


def physical_networks(context: Context) -> Iterator[Violation]:
    """The network of the tenants' transits is one that Neutron knows and every gateway has."""
    name, known = context.known("rie_physical_network"), context.known("neutron_physical_networks")
    if not isinstance(name, str) or is_template(name) or not isinstance(known, list) or any(map(is_template, known)):
        return
    if name not in known:
        yield from _at(
            context,
            "rie_physical_network",
            "",
            name,
            "is not one of neutron_physical_networks",
            near(name, known, "add it there"),
        )
    for host in context.inventory.members("gateway"):
        mappings = context.known("ovn_chassis_bridge_mappings", host)
        if isinstance(mappings, dict) and name not in mappings:
            reason = f"{host} has no bridge for the physical network {name}"
            remedy = near(name, mappings, f"add `{name}: BRIDGE`")
            yield from _at(context, "ovn_chassis_bridge_mappings", host, None, reason, remedy)


def lab_bridges(context: Context) -> Iterator[Violation]:
    """Links of a lab's machines are on bridges of the lab."""
    given = context.known("lab_bridges")
    if context.inventory.find("lab_bridges") is None or not _list_of_mappings(given):
        return
    known = _names(given)
    management = context.known("lab_management_bridge")
    if isinstance(management, str) and not is_template(management) and management not in known:
        yield from _at(
            context,
            "lab_management_bridge",
            "",
            management,
            "is not one of lab_bridges",
            near(management, known, "add it there"),
        )
    for host in sorted(context.inventory.hosts):
        links = context.known("lab_links", host)
        for index, link in enumerate(links if _list_of_mappings(links) else []):
            bridge = link.get("bridge")
            if isinstance(bridge, str) and not is_template(bridge) and bridge not in known:
                remedy = near(bridge, known, f"use one of {', '.join(known)}")
                yield from _at(
                    context, "lab_links", host, bridge, "is not one of lab_bridges", remedy, (index, "bridge")
                )


def tenants(context: Context) -> Iterator[Violation]:
    """Sites of the backbone and networks of the smoke guests are the tenants' own."""
    given = context.known("rie_tenants")
    if not _list_of_mappings(given):
        return
    vrfs = [vrf for tenant in given for vrf in _mappings(tenant.get("vrfs"))]
    names, networks = _names(vrfs), [name for vrf in vrfs for name in _names(vrf.get("networks"))]
    for option in ("backbone_sites", "verify_sites"):
        for host in ["", *sorted(context.inventory.hosts)]:
            if context.inventory.find(option, host) is None:
                continue
            sites = context.known(option, host)
            for index, site in enumerate(sites if _list_of_mappings(sites) else []):
                vrf = site.get("vrf")
                if isinstance(vrf, str) and not is_template(vrf) and vrf not in names:
                    remedy = near(vrf, names, f"VRFs of rie_tenants: {', '.join(names)}")
                    yield from _at(context, option, host, vrf, "is not a VRF of rie_tenants", remedy, (index, "vrf"))
    chosen = context.known("verify_networks")
    for index, name in enumerate(chosen if isinstance(chosen, list) else []):
        if isinstance(name, str) and not is_template(name) and name not in networks:
            remedy = near(name, networks, f"networks of rie_tenants: {', '.join(sorted(set(networks)))}")
            yield from _at(context, "verify_networks", "", name, "is not a network of rie_tenants", remedy, (index,))


def log_collector(context: Context) -> Iterator[Violation]:
    """A collector of logs that is named like a node of the site is one."""
    domain = context.known("site_domain")
    for host in ["", *sorted(context.inventory.hosts)]:
        if context.inventory.find("hardening_log_collector", host) is None:
            continue
        name = context.known("hardening_log_collector", host)
        if not isinstance(name, str) or not name or is_template(name) or _address(name):
            continue
        label, _dot, rest = name.partition(".")
        served = {context.known("site_internal_name"), context.known("site_public_name")}
        if (not rest or rest == domain) and name not in served and label not in context.inventory.hosts:
            reason = "is named like a node of this site, and there is no such host"
            remedy = near(label, context.inventory.hosts, "name a host of the inventory, or one of another domain")
            yield from _at(context, "hardening_log_collector", host, name, reason, remedy)


def access(context: Context) -> Iterator[Violation]:
    """Hardened nodes can still be reached: an account may log in, and SSH is accepted."""
    name = "hardening_operator_networks"
    for host in ["", *context.inventory.members("nodes")]:
        if context.inventory.find(name, host) is None:
            continue
        given = context.known(name, host)
        networks = [_network(item) for item in given] if isinstance(given, list) else [None]
        if not networks:
            yield from _at(
                context,
                name,
                host,
                None,
                "is empty: nobody could log in to a hardened node",
                "name the networks of the operators",
            )
        elif all(net and (net.is_loopback or net.is_multicast or net.is_link_local) for net in networks):
            yield from _at(
                context,
                name,
                host,
                None,
                "has no network from which anybody could come",
                "name the networks of the operators",
            )
    for host in context.inventory.members("nodes"):
        services = context.known("hardening_firewall_services", host)
        if context.inventory.find("hardening_firewall_services", host) is None or not _list_of_mappings(services):
            continue
        yield from _ports_fit(context, host, services)
        port = context.known("ansible_port", host) or LOGIN_PORT
        if not any(_lets_in(context, host, service, port) for service in services):
            reason = f"does not let SSH in on {host}, port {port}: nobody could log in to it once it is hardened"
            remedy = f"add {{name: SSH, groups: [nodes], from: [operators], ports: [{port}]}}"
            yield from _at(context, "hardening_firewall_services", host, None, reason, remedy)


def _lets_in(context: Context, host: str, service: dict[str, Any], port: Any) -> bool:
    """Whether a service accepts connections to a port of the host; unknown counts as yes."""
    groups, ports = service.get("groups"), service.get("ports")
    if is_template(groups) or is_template(ports) or not isinstance(groups, list):
        return True
    if not any(is_template(group) or host in context.inventory.members(str(group)) for group in groups):
        return False
    if not service.get("from") or service.get("protocol", "tcp") != "tcp":
        return False
    for item in ports if isinstance(ports, list) else []:
        first, _dash, last = str(item).partition("-")
        if (
            is_template(item)
            or is_template(port)
            or (first.isdigit() and int(first) <= int(port) <= int(last or first))
        ):
            return True
    return False


def _ports_fit(context: Context, host: str, services: list[dict[str, Any]]) -> Iterator[Violation]:
    for index, service in enumerate(services):
        protocol, ports = service.get("protocol", "tcp"), service.get("ports")
        if is_template(protocol) or is_template(ports) or protocol not in ("tcp", "udp", "vrrp", "icmp"):
            continue
        if bool(ports) != (protocol in ("tcp", "udp")):
            reason = "has ports, which go with tcp and udp only" if ports else "has no ports"
            remedy = "remove them, or correct the protocol" if ports else "add `ports:`"
            yield from _at(context, "hardening_firewall_services", host, None, reason, remedy, (index,))


def operator(context: Context) -> Iterator[Violation]:
    """A warning where this machine is in no network from which a hardened node lets operators in."""
    name = "hardening_operator_networks"
    for host in context.inventory.members("nodes")[:1]:
        networks = [_network(item) for item in context.known(name, host) or []]
        target = context.known("ansible_host", host)
        direct = not re.search(
            r"Proxy(Jump|Command)|(^|\s)-J", str(context.known("ansible_ssh_common_args", host) or "")
        )
        if (
            not networks
            or None in networks
            or not direct
            or context.known("ansible_connection", host) not in (None, "ssh")
        ):
            continue
        own = _address(context.source_of(str(target))) if _address(target) else None
        if own is not None and not any(own in network for network in networks if network.version == own.version):
            reason = f"has none of this machine's networks: it reaches {host} from {own}"
            remedy = "add the network of the operators, if nothing between translates addresses"
            yield from _at(context, name, host, None, reason, remedy, severity="warning")


def listeners(context: Context) -> Iterator[Violation]:
    """Options for the same port or file agree, and no two services of a controller use the same port."""
    for one, other, what in PORT_PAIRS:
        mine, theirs = context.known(one), context.known(other)
        if _whole(mine) and _whole(theirs) and int(mine) != int(theirs):
            yield from _pair(context, one, other, f"{one} is {mine} and {other} is {theirs}", f"give both {what}")
    url, port = context.known("keepalived_check_url"), context.known("haproxy_health_port")
    found = re.match(r"https?://(127\.0\.0\.1|localhost|\[::1\]):([0-9]+)(/|$)", str(url))
    if found and _whole(port) and int(found[2]) != int(port):
        reason = f"keepalived_check_url asks port {found[2]} and haproxy_health_port is {port}"
        yield from _pair(context, "keepalived_check_url", "haproxy_health_port", reason, "give both the same port")
    watched, written = context.known("keepalived_check_file"), context.known("haproxy_state_file")
    if watched != written and not is_template(watched) and not is_template(written):
        reason = f"keepalived_check_file is {watched} and haproxy_state_file is {written}"
        yield from _pair(context, "keepalived_check_file", "haproxy_state_file", reason, "give both the same file")
    taken: dict[int, str] = dict(FIXED_PORTS)
    apis = context.known("site_api_services")
    for api in apis if isinstance(apis, list) else services.apis(services.declared(), {}):
        if isinstance(api, dict) and _whole(api.get("port")):
            taken.setdefault(int(api["port"]), f"the API {api.get('name')}")
    for name in LISTENERS:
        value = context.known(name)
        if not _whole(value):
            continue
        if int(value) in taken:
            yield from _at(
                context, name, "", value, f"is also the port of {taken[int(value)]}", "give each its own port"
            )
        taken.setdefault(int(value), name)


def lifetimes(context: Context) -> Iterator[Violation]:
    """Certificates are renewed before they expire, and expire before their CA does."""
    host = next(iter(context.inventory.members("control")), "")

    def number(name: str) -> int | None:
        value = context.known(name, host)
        return int(value) if _whole(value) else None

    renew, days, authority = number("pki_renew_days"), number("pki_days"), number("pki_ca_days")
    if renew is not None and days is not None and renew >= days:
        reason = f"pki_renew_days is {renew} and pki_days {days}: every run would replace each certificate"
        yield from _pair(context, "pki_renew_days", "pki_days", reason, "renew later than at once")
    if days is not None and authority is not None and days > authority:
        reason = f"pki_days is {days} and pki_ca_days {authority}: a certificate outlives its authority"
        yield from _pair(context, "pki_days", "pki_ca_days", reason, "let the authority live longer")
    keep, life, grace = number("keystone_fernet_keep"), number("keystone_token_seconds"), number("keystone_token_grace")
    if keep is not None and life is not None and grace is not None and keep < life + grace:
        reason = (
            f"is shorter than keystone_token_seconds and keystone_token_grace, {life + grace}: "
            "tokens would outlive their key"
        )
        yield from _pair(
            context, "keystone_fernet_keep", "keystone_token_seconds", reason, f"use {life + grace + 7200}"
        )


def waivers(context: Context) -> Iterator[Violation]:
    """A check is waived only once for a group."""
    given = context.known("site_own_waivers")
    if not _list_of_mappings(given):
        return
    held: list[tuple[str, set[str]]] = list(context.shipped_waivers)
    for index, waiver in enumerate(given):
        groups = waiver.get("groups")
        check, wanted = str(waiver.get("check")), set(map(str, groups)) if isinstance(groups, list) else set()
        if any(check == other and wanted & those for other, those in held):
            remedy = "remove it, or its group; roles/site/files/waivers.yml has those of every site"
            yield from _at(
                context, "site_own_waivers", "", check, "is waived already for a group of it", remedy, (index, "check")
            )
        held.append((check, wanted))


def _pair(context: Context, one: str, other: str, reason: str, remedy: str) -> Iterator[Violation]:
    """A violation at the one of two options that the inventory sets."""
    host = next(iter(context.inventory.members("control")), "")
    name = one if context.inventory.find(one, host) else other
    yield from _at(context, name, host, context.known(name, host), reason, remedy)


def _at(
    context: Context,
    name: str,
    host: str,
    value: Any,
    reason: str,
    remedy: str,
    path: tuple[str | int, ...] = (),
    severity: str = "error",
) -> Iterator[Violation]:
    """A violation at a variable: where the inventory sets it, otherwise at the default of the role."""
    found = context.inventory.find(name, host)
    source = found[0] if found else context.default(name)
    if isinstance(source, Source):
        shown = value if isinstance(value, str | int | float) else None
        one = source.violation((name, *path), shown, reason, remedy)
        yield Violation(one.file, one.line, one.path, one.value, one.reason, one.remedy, severity)


def _names(items: Any) -> list[str]:
    return [str(item["name"]) for item in _mappings(items) if "name" in item]


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, str) and value.isdigit()))


def _network(value: Any) -> Any:
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _address(value: Any) -> Any:
    try:
        return ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None


RULES = (
    site_addresses,
    bridges,
    physical_networks,
    lab_bridges,
    tenants,
    log_collector,
    access,
    operator,
    listeners,
    lifetimes,
    waivers,
)
