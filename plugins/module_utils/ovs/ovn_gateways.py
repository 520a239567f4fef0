# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Settings of routers' gateways in OVN that Neutron does not manage: BFD timers, and scheduling on chassis. Pure.

Each gateway port of a router belongs on the gateway node of its own transit, and moves to the other one while that
node, or every tunnel to it, is down. The BFD session of a route cannot do this: it runs on the failed node itself, and
OVN keeps the last state that it reported (ovn-org/ovn issue 320), so the flows hashed to it would be lost permanently.

Rows come from ``ovn-nbctl --format=json list TABLE``: headings and data, sets as ``["set", [...]]``.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

TIMERS = ("min_tx", "min_rx", "detect_mult")
TUNNEL = {"min_tx": "bfd-min-tx", "min_rx": "bfd-min-rx", "detect_mult": "bfd-mult"}
"""Options of NB_Global for the BFD of the tunnels between chassis, by timer."""
FIRST, SECOND = 2, 1
"""Priorities of a port's own gateway and of the standby gateway."""


class Timer(NamedTuple):
    """A BFD row with other timers than the wanted ones; ``before`` has null for OVN's default."""

    uuid: str
    port: str
    before: dict[str, int | None]


def rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of one table as mappings; an empty set is None, a set of one its value, a map a dict."""

    def value(cell: Any) -> Any:
        if isinstance(cell, list) and cell and cell[0] == "set":
            items = [value(item) for item in cell[1]]
            return None if not items else items[0] if len(items) == 1 else items
        if isinstance(cell, list) and cell and cell[0] == "map":
            return dict(cell[1])
        return cell[1] if isinstance(cell, list) and cell and cell[0] == "uuid" else cell

    table = json.loads(text)
    return [dict(zip(table["headings"], map(value, row), strict=True)) for row in table["data"]]


def timers(bfd: list[dict[str, Any]], ports: set[str], wanted: dict[str, int]) -> list[Timer]:
    """Return BFD rows of these gateway ports (Neutron's port ids) that have other timers."""
    found = []
    for row in sorted(bfd, key=lambda row: (row["logical_port"], row["dst_ip"])):
        port = row["logical_port"].removeprefix("lrp-")
        before = {name: row[name] for name in TIMERS}
        if port in ports and before != wanted:
            found.append(Timer(row["_uuid"], port, before))
    return found


def commands(found: list[Timer], wanted: dict[str, int]) -> list[str]:
    """Return arguments of one ``ovn-nbctl`` transaction that sets the timers."""
    words: list[str] = []
    for timer in found:
        words += ["--", "set", "BFD", timer.uuid, *(f"{name}={wanted[name]}" for name in TIMERS)]
    return words


class Place(NamedTuple):
    """A Gateway_Chassis row that is missing (``uuid`` empty), or has another priority than the wanted one."""

    uuid: str
    port: str
    chassis: str
    before: int | None
    priority: int


def placed(gateway_chassis: list[dict[str, Any]], hosts: dict[str, str]) -> dict[str, list[str]]:
    """Return host names of the chassis on which each gateway port (Neutron's port id) is scheduled, by priority.

    gateway_chassis: rows of that table. hosts: host name by chassis.
    """
    found: dict[str, list[str]] = {}
    for row in sorted(gateway_chassis, key=lambda row: (-row["priority"], row["chassis_name"])):
        found.setdefault(_port(row), []).append(hosts.get(row["chassis_name"], row["chassis_name"]))
    return found


def _port(row: dict[str, Any]) -> str:
    name: str = row["name"]
    return name.removeprefix("lrp-").removesuffix(f"_{row['chassis_name']}")


def places(
    routers: list[dict[str, Any]], gateway_chassis: list[dict[str, Any]], chassis: dict[str, str]
) -> tuple[list[Place], list[str]]:
    """Return the changes that put each gateway port on its own gateway first, and the obstacles to them.

    routers: as rie_neutron returns them. gateway_chassis: rows of that table. chassis: its name by host name.
    """
    have = {(_port(row), row["chassis_name"]): row for row in gateway_chassis}
    wanted: list[Place] = []
    faults: list[str] = []
    for router in routers:
        for gateway in router["gateways"]:
            if not (port := gateway["port_id"]):
                continue
            allowed: set[str] = set()
            for host in sorted(each["gateway"] for each in router["gateways"]):
                if (name := chassis.get(host)) is None:
                    faults.append(f"VRF {router['vrf']}: gateway {host} is no chassis of OVN; does ovn-controller run?")
                    continue
                allowed.add(name)
                row = have.get((port, name))
                priority = FIRST if host == gateway["gateway"] else SECOND
                if row is None or row["priority"] != priority:
                    known = (row["_uuid"], row["priority"]) if row else ("", None)
                    wanted.append(Place(known[0], port, name, known[1], priority))
            for other in sorted(name for held, name in have if held == port and name not in allowed):
                faults.append(
                    f"VRF {router['vrf']}: the gateway port for {gateway['gateway']} is scheduled on {other} too, "
                    "which is no gateway of the VRF; it must not have the bridge mapping of the physical network"
                )
    return wanted, sorted(set(faults))


def place_commands(found: list[Place]) -> list[str]:
    """Return arguments of one ``ovn-nbctl`` transaction that schedules the ports."""
    words: list[str] = []
    for index, place in enumerate(found):
        if place.uuid:
            words += ["--", "set", "Gateway_Chassis", place.uuid, f"priority={place.priority}"]
            continue
        # Named as Neutron does, so that Neutron finds the rows again.
        row = [f"name=lrp-{place.port}_{place.chassis}", f"chassis_name={place.chassis}", f"priority={place.priority}"]
        words += ["--", f"--id=@place{index}", "create", "Gateway_Chassis", *row]
        words += ["--", "add", "Logical_Router_Port", f"lrp-{place.port}", "gateway_chassis", f"@place{index}"]
    return words


def tunnel_commands(options: dict[str, str], wanted: dict[str, int]) -> list[str]:
    """Return arguments that set the tunnels' BFD timers; none if NB_Global's ``options`` already have them."""
    pairs = {TUNNEL[name]: str(wanted[name]) for name in TIMERS}
    words = [f"options:{key}={value}" for key, value in pairs.items() if options.get(key) != value]
    return ["--", "set", "NB_Global", ".", *words] if words else []
