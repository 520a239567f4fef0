# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Check that the APIs of a cloud answer and that its services report a good state.

A check is ``{id, kind, ok, detail, ms}`` with kind ``endpoint``, ``service``, ``agent`` or ``hypervisor``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..openstack.rest import ApiError, call

INTERFACES = ("public", "internal")


def endpoints(catalog: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return ``(service, interface, url)`` for the public and internal endpoints of a token's service catalogue."""
    return [
        (service["name"] or service["type"], endpoint["interface"], endpoint["url"])
        for service in catalog
        for endpoint in service["endpoints"]
        if endpoint["interface"] in INTERFACES
    ]


def endpoint_gaps(found: Sequence[tuple[str, str, str]], services: Iterable[str]) -> list[dict[str, Any]]:
    """Return a failed check for each expected service that lacks a public or internal endpoint."""
    present = {(service, interface) for service, interface, _url in found}
    return [
        check(f"{service} {interface}", "endpoint", False, "not in the service catalogue")
        for service in services
        for interface in INTERFACES
        if (service, interface) not in present
    ]


def check(name: str, kind: str, ok: bool, detail: str = "", ms: float | None = None) -> dict[str, Any]:
    return {"id": name, "kind": kind, "ok": ok, "detail": detail, "ms": ms}


def probe_endpoint(session: Any, service: str, interface: str, url: str) -> dict[str, Any]:
    """GET an endpoint with a token and verify its certificate; it must use TLS and must accept the request."""
    name = f"{service} {interface}"
    if not url.startswith("https://"):
        return check(name, "endpoint", False, f"{url}: not TLS")
    started = time.monotonic()
    try:
        response = session.get(url, raise_exc=False, timeout=10, headers={"Accept": "application/json"})
    except Exception as error:
        return check(name, "endpoint", False, f"{url}: {error}")
    ms = round((time.monotonic() - started) * 1000, 1)
    return check(name, "endpoint", response.status_code < 400, f"{url}: {response.status_code}", ms)


def service_checks(services: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check that each enabled service of Nova is up."""
    return [
        check(
            f"{service['binary']} on {service['host']}",
            "service",
            service["state"] == "up" or service["status"] == "disabled",
            service["state"] if service["status"] == "enabled" else f"{service['state']}, {service['status']}",
        )
        for service in services
    ]


def agent_checks(agents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check that each agent of Neutron is alive."""
    return [
        check(
            f"{agent['agent_type']} on {agent['host']}",
            "agent",
            bool(agent["alive"]),
            "alive" if agent["alive"] else f"no sign of life since {agent.get('heartbeat_timestamp', 'ever')}",
        )
        for agent in agents
    ]


def hypervisor_checks(hypervisors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check that each hypervisor of Nova is up."""
    return [
        check(f"hypervisor {host['hypervisor_hostname']}", "hypervisor", host["state"] == "up", host["state"])
        for host in hypervisors
    ]


def missing_hosts(names: Iterable[str], seen: Iterable[str], what: str, kind: str) -> list[dict[str, Any]]:
    """Return a failed check for each expected host that is missing; domains are ignored in the comparison."""
    known = {host.split(".")[0] for host in seen}
    return [
        check(f"{what} on {name}", kind, False, "not registered") for name in names if name.split(".")[0] not in known
    ]


def survey(
    conn: Any, services: Sequence[str], computes: Sequence[str], chassis: Sequence[str], probes: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Run every check once.

    :param services: names of the services that the catalogue must have.
    :param probes: name of a service -> path below its endpoint to request if the endpoint itself has no document.
    :param computes: hosts that must be hypervisors.
    :param chassis: hosts that must have an OVN controller.
    """
    try:
        catalog = conn.session.auth.get_access(conn.session).service_catalog.catalog
    except Exception as error:
        return [check("token", "endpoint", False, str(error))]
    found = endpoints(catalog)
    asked = [(service, interface, url + probes.get(service, "")) for service, interface, url in found]
    checks = [probe_endpoint(conn.session, *endpoint) for endpoint in asked] + endpoint_gaps(found, services)
    try:
        checks += service_checks(call(conn.compute, "GET", "/os-services", "Nova's services")["services"])
        listed = call(conn.compute, "GET", "/os-hypervisors", "hypervisors")["hypervisors"]
        checks += hypervisor_checks(listed)
        names = [host["hypervisor_hostname"] for host in listed]
        checks += missing_hosts(computes, names, "hypervisor", "hypervisor")
        agents = call(conn.network, "GET", "/agents", "Neutron's agents")["agents"]
        checks += agent_checks(agents)
        controllers = [agent["host"] for agent in agents if agent["agent_type"].startswith("OVN Controller")]
        checks += missing_hosts(chassis, controllers, "OVN controller", "agent")
    except (ApiError, KeyError) as error:
        checks.append(check("state of the services", "service", False, str(error)))
    return checks
