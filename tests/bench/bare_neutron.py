# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Create objects in Neutron from a controller without any tool, as the minimum cost; remove leftovers. See rie.py.

It reads the job as JSON from standard input and credentials from the usual ``OS_`` variables, and prints JSON. A tool
has more to do: this program does not check existing objects, and cannot be run again.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from typing import Any

import openstack

CLOUD = openstack.connect()
CLOUD.network.status_code_retries = 6  # for a 503 of a proxy, as in rie_neutron
CALLS: Counter[str] = Counter()


def call(method: str, path: str, body: Any = None) -> Any:
    CALLS[method] += 1
    answer = CLOUD.network.request(path, method, json=body, raise_exc=False)
    if answer.status_code >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer.json() if answer.content else None


def make(project: str, plan: dict[str, Any], workers: int, batch: int) -> dict[str, Any]:
    """POST the objects of a plan with IPv4 networks only; return the seconds from the first to the last request."""
    owner = CLOUD.identity.find_project(project, ignore_missing=False).id
    call("GET", "/networks?limit=1&fields=id")  # obtains a token and opens a connection
    CALLS.clear()
    begun = time.monotonic()
    unlimited = dict.fromkeys(("network", "subnet", "port", "router", "rbac_policy"), -1)
    call("PUT", f"/quotas/{owner}", {"quota": unlimited})
    with ThreadPoolExecutor(workers) as pool:
        shared = list(pool.map(partial(_around, owner), plan["vrfs"]))
        parts = [
            [(*ids, vrf["networks"][at : at + batch]) for at in range(0, len(vrf["networks"]), batch)]
            for ids, vrf in zip(shared, plan["vrfs"], strict=True)
        ]
        # A router accepts only one change at a time, so changes of several routers run in parallel.
        turns = [part for turn in zip_longest(*parts) for part in turn if part]
        list(pool.map(lambda part: _networks(owner, *part), turns))
    return {"seconds": round(time.monotonic() - begun, 2), "api_calls": CALLS.total()}


def _around(owner: str, vrf: dict[str, Any]) -> tuple[str, str]:
    """Create the objects that the networks of a VRF share; return the ids of its subnet pool and of its router."""
    (scope,), (pool,) = vrf["address_scopes"], vrf["subnet_pools"]
    body = {"name": scope["name"], "ip_version": 4, "project_id": owner}
    made = call("POST", "/address-scopes", {"address_scope": body})["address_scope"]
    body = {"name": pool["name"], "description": pool["tag"], "prefixes": pool["prefixes"], "project_id": owner}
    pooled = call("POST", "/subnetpools", {"subnetpool": body | {"address_scope_id": made["id"]}})["subnetpool"]
    body = {"name": vrf["router"]["name"], "description": vrf["router"]["tag"], "project_id": owner}
    body |= {"admin_state_up": True, "enable_default_route_bfd": True, "enable_default_route_ecmp": True}
    return pooled["id"], call("POST", "/routers", {"router": body})["router"]["id"]


def _networks(owner: str, pool: str, router: str, part: list[dict[str, Any]]) -> None:
    """Create some networks with their subnets and ports; they do not wait for other networks."""
    bodies = [
        {"name": net["name"], "description": net["tag"], "project_id": owner, "mtu": net["mtu"],
         "admin_state_up": True, "router:external": False}
        for net in part
    ]  # fmt: skip
    nets = call("POST", "/networks", {"networks": bodies})["networks"]
    ids = {row["description"]: row["id"] for row in nets}
    bodies = [
        {"name": f"{net['name']}-v4", "description": f"{net['tag']}/v4", "project_id": owner,
         "network_id": ids[net["tag"]], "subnetpool_id": pool, "ip_version": 4, "enable_dhcp": True, **net["v4"]}
        for net in part
    ]  # fmt: skip
    for subnet in call("POST", "/subnets", {"subnets": bodies})["subnets"]:
        call("PUT", f"/routers/{router}/add_router_interface", {"subnet_id": subnet["id"]})


def sweep(prefix: str) -> dict[str, int]:
    """Delete projects by prefix and all their objects in Neutron, until none is left; return the numbers by kind."""
    found: Counter[str] = Counter()
    while True:
        projects = [project for project in CLOUD.identity.projects() if project.name.startswith(prefix)]
        if not projects:
            return dict(found)
        before = found.total()
        for project in projects:
            found += _empty(project.id)
        if found.total() == before:
            for project in projects:
                call("DELETE", f"/quotas/{project.id}")
                CLOUD.identity.delete_project(project)


def _empty(owner: str) -> Counter[str]:
    """Delete the objects of a project in Neutron. Objects that others still use are tried again by the next call."""
    found: Counter[str] = Counter()
    stubborn = []

    def gone(verb: tuple[str, str, Any]) -> None:
        try:
            call(*verb)
        except RuntimeError as error:
            stubborn.append(error)

    def every(kind: str, delete: Any) -> None:
        # The request does not filter by project: otherwise Neutron makes a default security group for the project.
        rows = call("GET", f"/{kind}")[kind.replace("-", "_")]
        verbs = [verb for row in rows if row["project_id"] == owner for verb in delete(row)]
        found[kind] += len(verbs)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(gone, verbs))

    def unplug(port: dict[str, Any]) -> list[tuple[str, str, Any]]:
        if port["device_owner"] != "network:router_interface":
            return []
        return [("PUT", f"/routers/{port['device_id']}/remove_router_interface", {"port_id": port["id"]})]

    def remove(kind: str, row: dict[str, Any]) -> list[tuple[str, str, Any]]:
        return [("DELETE", f"/{kind}/{row['id']}", None)]

    # With a quota of 0, Neutron refuses at once all requests of an interrupted run that are still in progress.
    none = dict.fromkeys(("network", "subnet", "port", "router"), 0)
    call("PUT", f"/quotas/{owner}", {"quota": none | {"force": True}})
    every("ports", unplug)
    for kind in ("routers", "subnets", "networks", "subnetpools", "address-scopes", "security-groups"):
        every(kind, partial(remove, kind))
    if stubborn:
        time.sleep(2)
    return found


def guests(mark: str, pause: bool) -> list[str]:
    """Pause the guests that run, or resume those that carry the mark; return their names."""
    found = []
    for server in CLOUD.compute.servers(all_projects=True, status="ACTIVE" if pause else "PAUSED"):
        if pause:
            CLOUD.compute.set_server_metadata(server, **{mark: "paused"})
            CLOUD.compute.pause_server(server)
        elif mark in server.metadata:
            CLOUD.compute.unpause_server(server)
            CLOUD.compute.delete_server_metadata(server, [mark])
        else:
            continue
        CLOUD.compute.wait_for_server(server, status="PAUSED" if pause else "ACTIVE", interval=1, wait=60)
        found.append(server.name)
    return found


if __name__ == "__main__":
    job = json.load(sys.stdin)
    verbs: dict[str, Callable[..., Any]] = {"make": make, "sweep": sweep, "guests": guests}
    print(json.dumps(verbs[job.pop("verb")](**job)))
