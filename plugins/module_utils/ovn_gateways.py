# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""What Neutron leaves open in OVN about routers' gateways: timers of their BFD, and where they run. Pure.

Rows come from ``ovn-nbctl --format=json list TABLE``: headings and data, sets as ``["set", [...]]``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, NamedTuple

TIMERS = ("min_tx", "min_rx", "detect_mult")


class Timer(NamedTuple):
    """A BFD row whose timers are not the wanted ones; ``before`` has null where OVN's default holds."""

    uuid: str
    port: str
    before: dict[str, int | None]


def rows(text: str) -> list[dict[str, Any]]:
    """The rows of one table as mappings; an empty set is None, a set of one is its value."""

    def value(cell: Any) -> Any:
        if isinstance(cell, list) and cell and cell[0] == "set":
            items = [value(item) for item in cell[1]]
            return None if not items else items[0] if len(items) == 1 else items
        return cell[1] if isinstance(cell, list) and cell and cell[0] == "uuid" else cell

    table = json.loads(text)
    return [dict(zip(table["headings"], map(value, row), strict=True)) for row in table["data"]]


def timers(bfd: list[dict[str, Any]], ports: set[str], wanted: dict[str, int]) -> list[Timer]:
    """BFD rows of these gateway ports (Neutron's port ids) that have other timers."""
    found = []
    for row in sorted(bfd, key=lambda row: (row["logical_port"], row["dst_ip"])):
        port = row["logical_port"].removeprefix("lrp-")
        before = {name: row[name] for name in TIMERS}
        if port in ports and before != wanted:
            found.append(Timer(row["_uuid"], port, before))
    return found


def commands(found: list[Timer], wanted: dict[str, int]) -> list[str]:
    """Arguments of one ``ovn-nbctl`` transaction that sets the timers."""
    words: list[str] = []
    for timer in found:
        words += ["--", "set", "BFD", timer.uuid, *(f"{name}={wanted[name]}" for name in TIMERS)]
    return words


def placed(gateway_chassis: list[dict[str, Any]], hosts: dict[str, str]) -> dict[str, list[str]]:
    """Host names of the chassis that each gateway port (Neutron's port id) is scheduled on.

    gateway_chassis: rows of that table. hosts: host name by chassis.
    """
    scheduled: dict[str, list[str]] = defaultdict(list)
    for row in gateway_chassis:
        port = row["name"].removeprefix("lrp-").removesuffix(f"_{row['chassis_name']}")
        scheduled[port].append(hosts.get(row["chassis_name"], row["chassis_name"]))
    return {port: sorted(names) for port, names in scheduled.items()}


def misplaced(routers: list[dict[str, Any]], placed: dict[str, list[str]]) -> list[str]:
    """Why the gateways are not where they belong: each on the chassis of its own gateway node, no other.

    routers: as l3vpn_neutron returns them. placed: see :func:`placed`.
    """
    faults = []
    for router in routers:
        for gateway in router["gateways"]:
            where = placed.get(gateway["port_id"], []) if gateway["port_id"] else [gateway["gateway"]]
            if [host.partition(".")[0] for host in where] != [gateway["gateway"]]:
                faults.append(
                    f"VRF {router['vrf']}: the gateway port for {gateway['gateway']} is scheduled on "
                    f"{', '.join(where) or 'no chassis'}; only that node may have the bridge mapping of its "
                    "physical network, and enable-chassis-as-gw"
                )
    return faults
