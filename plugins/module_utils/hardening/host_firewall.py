# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The packet filter of a node (nftables), from the services of its groups and their clients.

A node accepts the services of its groups from the addresses of the groups that need them, and drops everything else.
Tenants' packets never pass here: they are in Open vSwitch and in the network namespaces of the VRFs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TABLE = "socle_host"
PROTOCOLS = ("tcp", "udp", "vrrp", "icmp")
_PORT = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?")


class FirewallError(ValueError):
    """A service that cannot be written as a rule; the message names the service and the key."""


def ruleset(
    services: Sequence[Mapping[str, Any]],
    groups: Iterable[str],
    members: Mapping[str, Sequence[str]],
    addresses: Mapping[str, Sequence[str]],
    networks: Mapping[str, Sequence[str]],
) -> str:
    """Return the whole table, to be loaded as one transaction; tables of other programs are not affected.

    ``services``: {name, groups, from, protocol (tcp), ports, to}. ``from`` names groups of hosts, keys of ``networks``
    (name -> CIDRs), or ``any``. ``members``: hosts of each group; ``addresses``: addresses of each host.

    :raises FirewallError: with every fault found.
    """
    faults: list[str] = []
    own = set(groups)
    rules: list[str] = []
    for service in services:
        name = service.get("name", "?")
        try:
            line = _rule(service, members, addresses, networks)
        except (KeyError, ValueError) as fault:
            faults.append(f"hardening_firewall_services: {name}: {fault}")
            continue
        if own & set(service["groups"]):
            rules += line
    if faults:
        raise FirewallError("; ".join(faults))
    body = "".join(f"    {rule}\n" for rule in rules)
    known = sorted({item for host in members.get("nodes", ()) for item in addresses.get(host, ())})
    return f"{TOP}{NODES}{' '.join(known)}\n{HEAD}{body}{TAIL}"


def is_ours(text: str) -> bool:
    """Return whether a file is a ruleset of :func:`ruleset`: it exists only on a hardened node."""
    return f"\ntable inet {TABLE} {{" in text


def nodes_of(text: str) -> list[str]:
    """Return addresses of the nodes that a ruleset was made for; empty if it has no such line."""
    found = re.search(rf"^{NODES}(.*)$", text, re.MULTILINE)
    return found[1].split() if found and is_ours(text) else []


NODES = "# Nodes of the site: "
TOP = "#!/usr/sbin/nft -f\n# Managed by Socle: local changes are overwritten.\n"
HEAD = f"""\
# This table alone is replaced: libvirt, Open vSwitch and the VRFs have their own.
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy drop;
    iif "lo" accept
    iif != "lo" ip daddr 127.0.0.0/8 drop
    iif != "lo" ip6 saddr ::1 drop
    ct state established,related accept
    ct state invalid drop
    # Neighbours, errors and pings; nothing else of ICMP.
    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
    icmp type echo-request limit rate 100/second accept
    icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} ip6 hoplimit 255 accept
    icmpv6 type echo-request limit rate 100/second accept
"""
TAIL = """\
    limit rate 5/minute log prefix "socle drop: " level info
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
  chain output {
    type filter hook output priority filter; policy accept;
  }
}
"""


def _rule(
    service: Mapping[str, Any],
    members: Mapping[str, Sequence[str]],
    addresses: Mapping[str, Sequence[str]],
    networks: Mapping[str, Sequence[str]],
) -> list[str]:
    if unknown := set(service) - {"name", "groups", "from", "protocol", "ports", "to"}:
        raise ValueError(f"unknown key {', '.join(sorted(unknown))}")
    protocol = service.get("protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    ports = [str(port) for port in service.get("ports", [])]
    if wrong := [port for port in ports if not _PORT.fullmatch(port) or max(map(int, port.split("-"))) > 65535]:
        raise ValueError(f"{', '.join(wrong)} are no ports")
    if bool(ports) != (protocol in ("tcp", "udp")):
        raise ValueError(f"ports go with tcp and udp, not with {protocol}" if ports else "say its ports")
    match = f"{protocol} dport {{ {', '.join(ports)} }}" if ports else f"meta l4proto {protocol}"
    to = service.get("to")
    target = f"ip daddr {ipaddress.ip_address(to)} " if to else ""
    name = re.sub(r"[^A-Za-z0-9 ,.-]", " ", str(service["name"]))
    if "any" in service["from"]:
        return [f'{target}{match} accept comment "{name}"']
    v4, v6 = sources(service["from"], members, addresses, networks)
    out = []
    if v4:
        out.append(f'{target}ip saddr {{ {", ".join(v4)} }} {match} accept comment "{name}"')
    if v6 and not to:
        out.append(f'ip6 saddr {{ {", ".join(v6)} }} {match} accept comment "{name}"')
    return out


def sources(
    names: Iterable[str],
    members: Mapping[str, Sequence[str]],
    addresses: Mapping[str, Sequence[str]],
    networks: Mapping[str, Sequence[str]],
) -> tuple[list[str], list[str]]:
    """Return IPv4 and IPv6 prefixes of groups and networks; merged, because nftables refuses overlaps."""
    found: set[Any] = set()
    for name in names:
        if name not in networks and name not in members:
            raise ValueError(f"{name!r} is no group and none of {', '.join(sorted(networks))}")
        given = networks.get(name) or [item for host in members.get(name, []) for item in addresses.get(host, [])]
        found |= {ipaddress.ip_network(item, strict=False) for item in given if item}
    return tuple(  # type: ignore[return-value]
        [str(net) if net.num_addresses > 1 else str(net.network_address) for net in collapsed]
        for version in (4, 6)
        for collapsed in [list(ipaddress.collapse_addresses(net for net in found if net.version == version))]
    )
