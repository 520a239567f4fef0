# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A simulated Neutron for tests that need thousands of networks or failures at any request.

It implements only the requests of the client. The scenarios of the lab test with the real Neutron.
"""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATHS = {
    "address-scopes": "address_scope",
    "subnetpools": "subnetpool",
    "networks": "network",
    "rbac-policies": "rbac_policy",
    "subnets": "subnet",
    "routers": "router",
    "ports": "port",
}


class Response:
    def __init__(self, status: int, body: Any = None) -> None:
        self.status_code = status
        self.content = json.dumps(body).encode() if body is not None else b""
        self.text = str(body)

    def json(self) -> Any:
        return json.loads(self.content)


class Neutron:
    """``request()`` is that of the adapter. ``fail_at``: number of the write request that fails."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in PATHS.values()}
        self.quotas: dict[str, dict[str, Any]] = {}
        self.fail_at: int | None = None
        self.before_write: Any = None
        self.writes = 0
        self.attached: set[str] = set()  # subnets with an interface
        self._numbers = itertools.count(1)

    def request(self, path: str, method: str, raise_exc: bool = True, **arguments: Any) -> Response:
        words = urlsplit(path)
        parts = words.path.strip("/").split("/")
        if method != "GET":
            self.writes += 1
            if self.before_write:
                hook, self.before_write = self.before_write, None
                hook(self)
        if self.fail_at is not None and method != "GET" and self.writes >= self.fail_at:
            raise ConnectionError("killed")
        if parts[0] == "quotas":
            return self._quota(method, parts, arguments)
        kind = PATHS[parts[0]]
        if method == "GET":
            return self._list(kind, parts[0], parse_qs(words.query))
        if method == "POST":
            return self._create(kind, arguments["json"])
        row = self.rows[kind].get(parts[1])
        if row is None:
            return Response(404, {"NeutronError": {"message": f"{kind} {parts[1]} could not be found"}})
        if method == "DELETE":
            del self.rows[kind][row["id"]]
            for policy in [p for p in self.rows["rbac_policy"].values() if p["object_id"] == row["id"]]:
                del self.rows["rbac_policy"][policy["id"]]
            return Response(204)
        if len(parts) == 3:
            return getattr(self, parts[2])(row, arguments["json"])
        revision = arguments.get("headers", {}).get("If-Match")
        if revision and revision != f"revision_number={row['revision_number']}":
            return Response(412, {"NeutronError": {"message": "revision number mismatch"}})
        row |= arguments["json"][kind]
        row["revision_number"] += 1
        return Response(200, {kind: row})

    def _quota(self, method: str, parts: list[str], arguments: dict[str, Any]) -> Response:
        if method == "GET":
            return Response(200, {"quotas": list(self.quotas.values())})
        row = self.quotas.setdefault(parts[1], {"project_id": parts[1]})
        row |= arguments["json"]["quota"]
        return Response(200, {"quota": row})

    def _list(self, kind: str, path: str, query: dict[str, list[str]]) -> Response:
        rows = sorted(self.rows[kind].values(), key=lambda row: row["id"])
        if "device_owner" in query:
            rows = [row for row in rows if row["device_owner"] in query["device_owner"]]
        if marker := query.get("marker"):
            rows = [row for row in rows if row["id"] > marker[0]]
        limit = int(query.get("limit", ["1000000"])[0])
        body: dict[str, Any] = {path.replace("-", "_"): rows[:limit]}
        if len(rows) >= limit:
            body[f"{path.replace('-', '_')}_links"] = [{"rel": "next", "href": "http://elsewhere"}]
        return Response(200, body)

    def add(self, kind: str, **attrs: Any) -> dict[str, Any]:
        number = next(self._numbers)
        row: dict[str, Any] = {"id": f"{kind}-{number:06}", "created_at": f"{number:06}", "revision_number": 0} | attrs
        self.rows[kind][row["id"]] = row
        if row.get("router:external"):
            self.add("rbac_policy", object_id=row["id"], action="access_as_external", target_tenant="*")
        return row

    def _create(self, kind: str, body: dict[str, Any]) -> Response:
        if kind in body:
            return Response(201, {kind: self.add(kind, **body[kind])})
        collection = f"{kind}s"
        if kind == "subnet":
            taken = {(row.get("subnetpool_id"), row["cidr"]) for row in self.rows["subnet"].values()}
            pooled = [row for row in body[collection] if "subnetpool_id" in row]
            asked = {(row["subnetpool_id"], row["cidr"]) for row in pooled}
            if taken & asked:
                return Response(409, {"NeutronError": {"message": "overlaps with a subnet of the pool"}})
        return Response(201, {collection: [self.add(kind, **attrs) for attrs in body[collection]]})

    def add_external_gateways(self, router: dict[str, Any], body: dict[str, Any]) -> Response:
        for info in body["router"]["external_gateways"]:
            router.setdefault("external_gateway_info", None)
            if not router["external_gateway_info"]:
                router["external_gateway_info"] = info
            self._port(router, "network:router_gateway", info["network_id"], info["external_fixed_ips"])
        return Response(200, {})

    def remove_external_gateways(self, router: dict[str, Any], body: dict[str, Any]) -> Response:
        for info in body["router"]["external_gateways"]:
            self._drop(router, "network:router_gateway", info["network_id"])
        return Response(200, {})

    def add_router_interface(self, router: dict[str, Any], body: dict[str, Any]) -> Response:
        subnet = self.rows["subnet"].get(body["subnet_id"])
        if subnet is None:
            return Response(404, {"NeutronError": {"message": "no such subnet"}})
        ips = [{"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}]
        if subnet["id"] in self.attached:
            return Response(409, {"NeutronError": {"message": "address in use"}})
        self.attached.add(subnet["id"])
        self._port(router, "network:router_interface", subnet["network_id"], ips)
        return Response(200, {})

    def remove_router_interface(self, router: dict[str, Any], body: dict[str, Any]) -> Response:
        for port in list(self.rows["port"].values()):
            if port["device_id"] == router["id"] and port["fixed_ips"][0]["subnet_id"] == body["subnet_id"]:
                del self.rows["port"][port["id"]]
        self.attached.discard(body["subnet_id"])
        return Response(200, {})

    def _port(self, router: dict[str, Any], owner: str, network: str, ips: Any) -> None:
        self.add("port", device_id=router["id"], device_owner=owner, network_id=network, fixed_ips=ips)

    def _drop(self, router: dict[str, Any], owner: str, network: str) -> None:
        for port in list(self.rows["port"].values()):
            if (port["device_id"], port["device_owner"], port["network_id"]) == (
                router["id"],
                owner,
                network,
            ):
                del self.rows["port"][port["id"]]
