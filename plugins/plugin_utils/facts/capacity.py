# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Connections that the services of a site may open at once, and the limits of the database, HAProxy, RabbitMQ and OVN.

All of it is worst case: every process has every connection of its pools, and one node of each cluster serves all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Service:
    """A service of a controller. ``processes`` is a number, or a key of the site; ``engines`` are its databases."""

    name: str
    processes: int | str
    section: str
    """Whose section ``database`` gives the size of the pools."""
    engines: int = 1
    api: bool = False
    messages: bool = False
    ovn: bool = False


SERVICES = (
    Service("keystone", "workers", "keystone", api=True),
    Service("glance-api", "workers", "glance", api=True),
    Service("placement-api", "workers", "placement", api=True),
    # The API's own database, cell0 and cell1.
    Service("nova-api", "workers", "nova_control", 3, api=True, messages=True),
    Service("nova-api-metadata", 1, "nova_control", 3, api=True, messages=True),
    Service("nova-conductor", "conductor_workers", "nova_control", 3, messages=True),
    Service("nova-scheduler", 1, "nova_control", 3, messages=True),
    Service("neutron-api", "neutron_workers", "neutron", api=True, messages=True, ovn=True),
    Service("neutron-periodic-workers", 4, "neutron", messages=True, ovn=True),
    Service("neutron-ovn-maintenance-worker", 1, "neutron", messages=True, ovn=True),
)


def demand(site: Mapping[str, Any]) -> dict[str, int]:
    """Connections that may be open at once to the ``database``, ``haproxy``, a ``broker`` and an ``ovn`` database.

    ``site`` holds ``controllers``, ``hypervisors``, ``gateways`` (numbers of nodes), ``workers``, ``neutron_workers``,
    ``conductor_workers`` (processes on a controller), ``metadata_workers`` (on a hypervisor), ``pool``
    (``max_pool_size`` and ``max_overflow`` of one process and database) and ``pools`` (the same by role, where a role
    has its own).
    """
    controllers, hypervisors = int(site["controllers"]), int(site["hypervisors"])

    def processes(service: Service) -> int:
        return service.processes if isinstance(service.processes, int) else int(site[service.processes])

    def pool(service: Service) -> int:
        sizes = {**site["pool"], **site.get("pools", {}).get(service.section, {})}
        return int(sizes["max_pool_size"]) + int(sizes["max_overflow"])

    def total(flag: str) -> int:
        return sum(processes(service) for service in SERVICES if getattr(service, flag))

    database = controllers * sum(processes(item) * item.engines * pool(item) for item in SERVICES) + RESERVE
    return {
        "database": database,
        # A request passes HAProxy twice: at the virtual address, and at the node that answers it. So does a connection
        # to the cache: at the controller that asks, and at the one whose memcached serves all.
        "haproxy": database
        + 2 * controllers * total("api")
        + (1 + controllers) * int(site["workers"]) * CACHE
        + PER_HYPERVISOR * hypervisors
        + USERS,
        "broker": MESSAGES * (controllers * total("messages") + hypervisors),
        # A chassis has ovn-controller; a hypervisor the metadata agent besides, and each of its workers.
        "ovn": controllers * total("ovn") + hypervisors * (2 + int(site["metadata_workers"])) + int(site["gateways"]),
    }


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
