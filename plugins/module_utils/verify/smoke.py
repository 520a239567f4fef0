# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The smoke guests that a plan needs, and the properties of their OpenStack objects. Pure, no I/O.

A guest is a kernel and a busybox initramfs with a small web server. Each VRF has one, on one of its networks. It
reads its name from its kernel command line, so that an answer names the guest that sent it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NAME = "socle-smoke"
FLAVOR = "socle.smoke"
#: Glance property that holds the digest of the sources of an image.
DIGEST_PROPERTY = "socle_digest"
KERNEL_ARGUMENTS = "console=ttyS0 quiet rdinit=/init"


class SmokeError(Exception):
    """The guests cannot be made as requested; the text names the guest, the reason and the remedy."""


def wanted_guests(
    vrfs: Sequence[Mapping[str, Any]],
    networks: Sequence[str] = (),
    offset: int = 10,
    step: int = 10,
) -> list[dict[str, Any]]:
    """Return the guest of every VRF of ``plan.neutron.vrfs``.

    Tenants may use the same prefix. Guests whose prefixes overlap get different host numbers (``offset``,
    then ``step`` more for each), so that an address belongs to at most one guest and a stray answer is detected.

    :param networks: names of preferred networks; a VRF uses its first network if the list is empty.
    :return: ``{tenant, project, vrf, name, network, v4, v6_cidr}``: ``network`` is the durable key of the
        Neutron network, ``v4`` an address or None; the network assigns the v6 address (SLAAC).
    :raises SmokeError: if a prefix is too small to give each guest an address of its own.
    """
    guests: list[dict[str, Any]] = []
    taken: list[ipaddress.IPv4Address] = []
    for vrf in vrfs:
        candidates = [net for net in vrf.get("networks") or [] if not networks or net["name"] in networks]
        if not candidates:
            continue
        network = candidates[0]
        cidr = (network.get("v4") or {}).get("cidr")
        v4 = _free_host(ipaddress.IPv4Network(cidr), taken, offset, step, vrf["name"]) if cidr else None
        if v4:
            taken.append(v4)
        guests.append(
            {
                "tenant": vrf["tenant"],
                "project": vrf["project"],
                "vrf": vrf["name"],
                "name": f"guest-{vrf['name']}",
                "network": network["tag"],
                "v4": str(v4) if v4 else None,
                "v6_cidr": (network.get("v6") or {}).get("cidr"),
            }
        )
    return guests


def _free_host(
    prefix: ipaddress.IPv4Network, taken: Iterable[ipaddress.IPv4Address], offset: int, step: int, vrf: str
) -> ipaddress.IPv4Address:
    """Return the first address of offset, offset + step, ..., then of all higher numbers, that no guest has."""
    used = set(taken)
    last = prefix.num_addresses - 2
    numbers = [*range(offset, last + 1, max(1, step)), *range(offset, last + 1)]
    for number in numbers:
        if (found := prefix[number]) not in used:
            return found
    raise SmokeError(
        f"VRF {vrf}: no address left in {prefix} for a guest at host number {offset} or above; "
        "lower verify_guest_offset"
    )


def port_body(
    guest: Mapping[str, Any], network_id: str, subnets: Iterable[Mapping[str, Any]], group: str
) -> dict[str, Any]:
    """Return the port of a guest: a fixed v4 address, and the SLAAC address of each v6 subnet.

    :raises SmokeError: if the network has no subnet that contains the guest's v4 address.
    """
    subnets = list(subnets)
    fixed: list[dict[str, str]] = []
    if guest["v4"]:
        address = ipaddress.ip_address(guest["v4"])
        home = [s for s in subnets if s["ip_version"] == 4 and address in ipaddress.ip_network(s["cidr"])]
        if not home:
            raise SmokeError(
                f"{guest['name']}: no subnet of network {guest['network']} holds {guest['v4']}; wire first"
            )
        fixed.append({"subnet_id": home[0]["id"], "ip_address": guest["v4"]})
    fixed += [{"subnet_id": s["id"]} for s in subnets if s["ip_version"] == 6]
    return {
        "name": guest["name"],
        "description": port_key(guest),
        "network_id": network_id,
        "fixed_ips": fixed,
        "security_groups": [group],
    }


def port_key(guest: Mapping[str, Any]) -> str:
    """Return the durable key of a guest's port: its description."""
    return f"smoke:{guest['vrf']}"


def port_matches(port: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Return True if ``port`` is on the network, in the group and at the addresses of ``body``."""
    wanted = {(ip["subnet_id"], ip.get("ip_address")) for ip in body["fixed_ips"]}
    seen = {(ip["subnet_id"], ip["ip_address"]) for ip in port.get("fixed_ips", [])}
    return (
        port["network_id"] == body["network_id"]
        and set(body["security_groups"]) <= set(port.get("security_groups", []))
        and {subnet for subnet, _address in wanted} == {subnet for subnet, _address in seen}
        and {pair for pair in wanted if pair[1]} <= seen
    )


def addresses(port: Mapping[str, Any]) -> dict[str, str | None]:
    """Return ``{v4, v6}`` of a port."""
    found: dict[str, str | None] = {"v4": None, "v6": None}
    for ip in port.get("fixed_ips", []):
        address = ipaddress.ip_address(ip["ip_address"])
        found[f"v{address.version}"] = found[f"v{address.version}"] or str(address)
    return found


def rules(group_id: str) -> list[dict[str, Any]]:
    """Return the ingress rules for the probes: ICMP and TCP port 80, both families. Egress is open by default."""
    common = {"security_group_id": group_id, "direction": "ingress"}
    web = {"protocol": "tcp", "port_range_min": 80, "port_range_max": 80}
    return [
        {**common, "ethertype": "IPv4", "protocol": "icmp"},
        {**common, "ethertype": "IPv6", "protocol": "ipv6-icmp"},
        {**common, "ethertype": "IPv4", **web},
        {**common, "ethertype": "IPv6", **web},
    ]


def missing_rules(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rules that ``group`` (as Neutron shows it) lacks."""
    keys = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max")
    synonyms: dict[object, str] = {"icmpv6": "ipv6-icmp"}

    def fact(rule: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(synonyms.get(rule.get(key), rule.get(key)) for key in keys)

    present = {fact(rule) for rule in group.get("security_group_rules", []) if not rule.get("remote_group_id")}
    return [rule for rule in rules(group["id"]) if fact(rule) not in present]


def disk_properties(kernel_id: str, ramdisk_id: str, name: str) -> dict[str, str]:
    """Return the properties of a guest's (empty) disk image: the kernel and ramdisk that boot instead, and the name."""
    return {
        "kernel_id": kernel_id,
        "ramdisk_id": ramdisk_id,
        "os_command_line": f"{KERNEL_ARGUMENTS} socle.name={name}",
    }


def server_verdict(servers: Sequence[Mapping[str, Any]], image_id: str | None, port: Mapping[str, Any]) -> str:
    """Decide on the servers of a guest: ``keep``, ``wait``, ``start``, ``create`` or ``replace``.

    Several servers of one name (from two runs at the same time) share a port that works for none, so all are replaced.
    A server that is being deleted still shows as ACTIVE, sometimes for minutes; it counts as deleted.
    """
    if not servers:
        return "create"
    server = servers[0]
    building = server["status"] == "BUILD"
    if (
        len(servers) > 1
        or server.get("OS-EXT-STS:task_state") in ("deleting", "soft-deleting")
        or (server.get("image") or {}).get("id") != image_id
        or (server.get("metadata") or {}).get("socle_port") != port["id"]
        or (port["device_id"] != server["id"] and not building)
    ):
        return "replace"
    return {
        "ACTIVE": "keep",
        "SHUTOFF": "start",
        "BUILD": "wait",
        "REBOOT": "wait",
        "HARD_REBOOT": "wait",
    }.get(server["status"], "replace")
