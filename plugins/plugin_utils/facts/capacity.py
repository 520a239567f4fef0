# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Connections that the services of a site may open at once, and the limits of the database, HAProxy, RabbitMQ and OVN.

All of it is worst case: every process has every connection of its pools, and one node of each cluster serves all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESERVE = 100
"""Connections to the database outside of pools: administrators, probes, commands of a deployment."""
USERS = 1000
"""Connections to HAProxy for clients that are not services of the site."""
CACHE = 4
"""Connections of a process of Keystone to the shared cache (``memcache_pool_maxsize``)."""
PER_HYPERVISOR = 4
"""Connections of a hypervisor's services to HAProxy."""
MESSAGES = 32
"""Connections of a process to RabbitMQ: oslo.messaging's pool (``rpc_conn_pool_size`` 30), and those that listen."""
BROKER = 58_000
"""Sockets of a broker: what Debian's unit allows (``LimitNOFILE`` 65536), less what RabbitMQ keeps for its files."""
OVN = 65_000
"""Connections of an OVN database (``LimitNOFILE`` 65535)."""


Service = Mapping[str, Any]


def demand(site: Mapping[str, Any]) -> dict[str, int]:
    """Connections that may be open at once to the ``database``, ``haproxy``, a ``broker`` and an ``ovn`` database.

    ``site`` holds ``controllers``, ``hypervisors``, ``gateways`` (numbers of nodes), ``services`` (declarations, see
    :mod:`.services`), ``counts`` (processes on a controller, by the variable that a declaration names, as far as the
    site sets it, and always ``site_workers``), ``overrides`` (configuration of the site by role), ``metadata_workers``
    (on a hypervisor), and ``pool`` (``max_pool_size`` and ``max_overflow`` of one process and database).
    """
    controllers, hypervisors = int(site["controllers"]), int(site["hypervisors"])
    every = [(service, process) for service in site["services"] for process in service.get("processes", ())]
    counts = [_count(service, process, site) for service, process in every]

    def total(flag: str) -> int:
        return sum(count for count, (_, process) in zip(counts, every, strict=True) if process.get(flag))

    pools = [sum(_pool(service, section, site) for section in process["pools"]) for service, process in every]
    database = controllers * sum(count * pool for count, pool in zip(counts, pools, strict=True)) + RESERVE
    keystone = sum(count for count, (service, _) in zip(counts, every, strict=True) if service["name"] == "keystone")
    return {
        "database": database,
        # A request passes HAProxy twice: at the virtual address, and at the node that answers it. So does a connection
        # to the cache: at the controller that asks, and at the one whose memcached serves all.
        "haproxy": database
        + 2 * controllers * total("api")
        + (1 + controllers) * keystone * CACHE
        + PER_HYPERVISOR * hypervisors
        + USERS,
        "broker": MESSAGES * (controllers * total("messages") + hypervisors),
        # A chassis has ovn-controller; a hypervisor the metadata agent besides, and each of its workers.
        "ovn": controllers * total("ovn") + hypervisors * (2 + int(site["metadata_workers"])) + int(site["gateways"]),
    }


def _count(service: Service, process: Mapping[str, Any], site: Mapping[str, Any]) -> int:
    """Processes of a unit on a controller."""
    option = site.get("overrides", {}).get(service["role"], {})
    for key in process.get("option", ["", ""]):
        option = option.get(key) if isinstance(option, Mapping) else None
    declared, counts = process["count"], site["counts"]
    if isinstance(declared, int):
        return int(option or declared)
    return int(option or counts.get(declared) or process.get("default") or counts["site_workers"])


def _pool(service: Service, section: str, site: Mapping[str, Any]) -> int:
    """Connections of one process to the database that a section of the configuration names."""
    own = site.get("overrides", {}).get(service["role"], {}).get(section) or {}
    sizes = {**site["pool"], **{key: value for key, value in own.items() if value is not None}}
    return int(sizes["max_pool_size"]) + int(sizes["max_overflow"])


def overload(site: Mapping[str, Any]) -> list[str]:
    """The limits that a site of these sizes may exceed, one sentence each with its remedy; empty if there are none.

    Besides the keys of :func:`demand`, ``site`` holds ``database_connections`` and ``haproxy_connections``.
    """
    need = demand(site)
    fewer = "lower site_workers_max, site_workers, neutron_workers, or the pools (site_database_pool)"
    limits = {
        "database": (site["database_connections"], "MariaDB takes", f"raise mariadb_connections, or {fewer}"),
        "haproxy": (site["haproxy_connections"], "HAProxy takes", f"raise haproxy_connections, or {fewer}"),
        "broker": (BROKER, "a RabbitMQ node takes", "lower site_workers_max, site_workers or neutron_workers"),
        "ovn": (OVN, "an OVN database takes", "lower nova_compute_metadata_workers"),
    }
    return [
        f"{site['controllers']} controllers and {site['hypervisors']} hypervisors may open {need[name]} connections at"
        f" once, and {who} {limit}. Remedy: {remedy}"
        for name, (limit, who, remedy) in limits.items()
        if need[name] > int(limit)
    ]
