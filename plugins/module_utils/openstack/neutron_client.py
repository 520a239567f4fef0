# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Neutron's API for the diff: bulk paginated lists, and operations applied in parallel."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from ..common.parallel import in_parallel
from .neutron_diff import Live, Operation, resolve
from .neutron_objects import KINDS, Ref, references
from .neutron_steps import BULK, ON_A_ROUTER, Order, steps
from .rest import ApiError, call

NEUTRON_API = "/v2.0"  # below the endpoint that the catalogue has
PAGE = 1000  # objects per GET
# The lists: path and filter. Each takes one GET if there are at most PAGE objects.
LISTS: dict[str, tuple[str, str]] = {
    "quota": ("quotas", ""),
    "address_scope": ("address-scopes", ""),
    "subnetpool": ("subnetpools", ""),
    "network": ("networks", ""),
    "rbac_policy": ("rbac-policies", "object_type=network&action=access_as_external"),
    "subnet": ("subnets", ""),
    "router": ("routers", ""),
    "port": ("ports", "device_owner=network:router_gateway&device_owner=network:router_interface"),
}
WHOLE = ("quota", "rbac_policy")  # Neutron cannot sort these, so there are no pages
# Answers after which the live state must be listed again. If a request for a router and an event from OVN about the
# same router deadlock, Neutron answers 500, although it has done most of the work.
RACED = (404, 409, 412, 500, 502, 503, 504)
FIELDS = {"port": ("id", "device_id", "device_owner", "network_id", "fixed_ips")}
REVISED = ("subnetpool", "network", "subnet", "router")


class Moved(Exception):
    """The live state differs from the one that the plan was made from: list and plan again."""


class NeutronClient:
    """One connection; counts its requests by method in ``api_calls``."""

    def __init__(self, adapter: Any, *, workers: int = 4, batch: int = 5) -> None:
        """workers: parallel requests. batch: largest number of objects in a bulk POST."""
        self._adapter = adapter
        self._workers = workers
        self._batch = batch
        self._counting = threading.Lock()
        self.api_calls: Counter[str] = Counter()

    def _request(self, method: str, path: str, what: str, **arguments: Any) -> Any:
        with self._counting:
            self.api_calls[method] += 1
        try:
            return call(self._adapter, method, f"/{path}", what, **arguments)
        except ApiError as error:
            if method != "GET" and error.status in RACED and "uota" not in str(error):
                raise Moved(str(error)) from error
            raise

    def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Return all objects that the diff compares, by kind."""
        return dict(zip(LISTS, in_parallel(self._list, LISTS, self._workers), strict=True))

    def _list(self, kind: str) -> list[dict[str, Any]]:
        path, query = LISTS[kind]
        collection = path.replace("-", "_")
        rows: list[dict[str, Any]] = []
        if kind in WHOLE:
            rows = self._request("GET", f"{path}?{query}", kind)[collection]
            return rows
        fields = "".join(f"&fields={name}" for name in FIELDS.get(kind, ()))
        while True:
            after = f"&marker={rows[-1]['id']}" if rows else ""
            words = f"{query}&limit={PAGE}&sort_key=id&sort_dir=asc{fields}{after}".lstrip("&")
            page = self._request("GET", f"{path}?{words}", kind)
            rows += page[collection]
            if not any(link["rel"] == "next" for link in page.get(f"{collection}_links", ())):
                return rows

    def apply(self, operations: Iterable[Operation], live: dict[Ref, list[Live]], projects: dict[str, str]) -> None:
        """Do the operations: removals, quotas and updates kind by kind, then new objects in parallel.

        Raises Moved and ApiError, after all requests that were under way have ended.
        """
        ids = {ref: entries[0].id for ref, entries in live.items()}
        ids |= {Ref("project", name): project for name, project in projects.items()}
        revisions: dict[str | None, int | None] = {
            entry.id: entry.attrs.get("revision_number") for found in live.values() for entry in found
        }
        operations = list(operations)
        for operation in operations:
            if operation.action == "delete" and ids.get(Ref(operation.kind, operation.key)) == operation.id:
                del ids[Ref(operation.kind, operation.key)]
        changes, new = _divided(operations)
        for (action, kind), group in groupby(changes, key=lambda entry: (entry.action, entry.kind)):
            todo = [(entry, _known(entry, ids)) for entry in group]
            if action == "delete":
                in_parallel(self._delete, [entry for entry, _attrs in todo], self._workers)
            elif kind == "gateway":
                for entry, _attrs in todo:
                    self._correct(entry, live[Ref(kind, entry.key)][0].attrs)
            elif kind == "quota":
                in_parallel(self._limit, todo, self._workers)
            elif kind == "rbac_policy":
                self._restrict(todo)
            else:
                in_parallel(lambda one: self._update(*one, revisions.get(one[0].id)), todo, self._workers)
        if new:
            self._make(new, ids)

    def _make(self, new: list[Operation], ids: dict[Ref, str]) -> None:
        """Create the new objects and add their ids to ``ids``."""
        from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait  # most runs create nothing

        todo = steps(new, workers=self._workers, batch=self._batch)
        order = Order(todo)
        running: dict[Future[dict[Ref, str]], int] = {}
        with ThreadPoolExecutor(self._workers) as pool:
            while order:
                while len(running) < self._workers and (number := order.next()) is not None:
                    step = [(entry, _known(entry, ids)) for entry in todo[number].entries]
                    running[pool.submit(self._step, todo[number].kind, step)] = number
                ended, _others = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    ids |= future.result()
                    order.done(running.pop(future))

    def _step(self, kind: str, todo: list[tuple[Operation, dict[str, Any]]]) -> dict[Ref, str]:
        """Do one step; return the ids of the objects that it created."""
        if kind == "gateway":
            self._gateways(todo)
        elif kind == "interface":
            self._attach(todo[0])
        elif kind == "rbac_policy":
            self._restrict(todo)
        else:
            keyed_by = KINDS[kind].keyed_by
            return self._create(kind, [attrs | {keyed_by: entry.key} for entry, attrs in todo])
        return {}

    def forecast(self, operations: Iterable[Operation]) -> Counter[str]:
        """Return the number of writes that :meth:`apply` would send, by method."""
        changes, new = _divided(operations)
        one_put = ("gateway", "interface", "quota", "rbac_policy")
        calls = Counter("DELETE" if e.action == "delete" and e.kind not in one_put else "PUT" for e in changes)
        for step in steps(new, workers=self._workers, batch=self._batch):
            if step.kind == "rbac_policy":
                calls["PUT"] += len(step.entries)
            else:
                calls["PUT" if step.kind in ON_A_ROUTER else "POST"] += 1
        return calls

    def _create(self, kind: str, bodies: list[dict[str, Any]]) -> dict[Ref, str]:
        collection, keyed_by = KINDS[kind].collection, KINDS[kind].keyed_by
        path = LISTS[kind][0]
        what = f"{kind} {', '.join(body[keyed_by] for body in bodies)}"
        if kind in BULK:
            made = self._request("POST", path, what, json={collection: bodies})[collection]
        else:
            made = [self._request("POST", path, what, json={kind: bodies[0]})[kind]]
        return {Ref(kind, row[keyed_by]): row["id"] for row in made}

    def _update(self, entry: Operation, attrs: dict[str, Any], revision: int | None) -> None:
        headers = {"If-Match": f"revision_number={revision}"} if entry.kind in REVISED else {}
        self._put(f"{LISTS[entry.kind][0]}/{entry.id}", entry, {entry.kind: attrs}, headers=headers)

    def _put(self, path: str, entry: Operation, body: dict[str, Any], **arguments: Any) -> None:
        self._request("PUT", path, f"{entry.kind} {entry.key}", json=body, **arguments)

    def _delete(self, entry: Operation) -> None:
        what = f"{entry.kind} {entry.key}"
        before = entry.before
        if entry.kind == "interface":
            path = f"routers/{before['router_id']}/remove_router_interface"
            self._request("PUT", path, what, json={"subnet_id": before["subnet_id"]})
        elif entry.kind == "gateway":
            gone = {"network_id": before["network_id"], "external_fixed_ips": before["external_fixed_ips"]}
            path = f"routers/{before['router_id']}/remove_external_gateways"
            self._request("PUT", path, what, json={"router": {"external_gateways": [gone]}})
        else:
            self._request("DELETE", f"{LISTS[entry.kind][0]}/{entry.id}", what)

    def _gateways(self, todo: list[tuple[Operation, dict[str, Any]]]) -> None:
        """Add all new gateways of one router in one request."""
        router = todo[0][1]["router_id"]
        infos = [{key: value for key, value in attrs.items() if key != "router_id"} for _entry, attrs in todo]
        body = {"router": {"external_gateways": infos}}
        self._put(f"routers/{router}/add_external_gateways", todo[0][0], body)

    def _correct(self, entry: Operation, gateway: dict[str, Any]) -> None:
        """Disable SNAT again on the router for which this is the first gateway."""
        info = {key: gateway[key] for key in ("network_id", "external_fixed_ips")} | {"enable_snat": False}
        self._put(f"routers/{gateway['router_id']}", entry, {"router": {"external_gateway_info": info}})

    def _attach(self, one: tuple[Operation, dict[str, Any]]) -> None:
        entry, attrs = one
        self._put(f"routers/{attrs['router_id']}/add_router_interface", entry, {"subnet_id": attrs["subnet_id"]})

    def _limit(self, one: tuple[Operation, dict[str, Any]]) -> None:
        entry, attrs = one
        limits = {name: value for name, value in attrs.items() if name != "project_id"}
        self._put(f"quotas/{entry.id or attrs['project_id']}", entry, {"quota": limits})

    def _restrict(self, todo: list[tuple[Operation, dict[str, Any]]]) -> None:
        """Remove the access of all other projects to external networks; one list finds the policies of new networks."""
        found: dict[str, str] = {}
        if any(entry.id is None for entry, _attrs in todo):
            found = {row["object_id"]: row["id"] for row in self._list("rbac_policy")}
        for entry, attrs in todo:
            policy = entry.id or found.get(attrs["object_id"])
            if policy is None:
                raise Moved(f"no access policy on network {entry.key}")
            self._put(f"rbac-policies/{policy}", entry, {"rbac_policy": {"target_tenant": attrs["target_tenant"]}})


def _divided(operations: Iterable[Operation]) -> tuple[list[Operation], list[Operation]]:
    """Return the operations that change existing objects, including quotas, and those that create new ones."""
    changes: list[Operation] = []
    new: list[Operation] = []
    for entry in operations:
        # Neutron creates the access policy of a new network: to change it is a part of creating the network.
        made = entry.kind != "quota" and (entry.action == "create" or (entry.action == "update" and entry.id is None))
        (new if made else changes).append(entry)
    return changes, new


def _known(entry: Operation, ids: dict[Ref, str]) -> dict[str, Any]:
    """Return the attributes of an operation, with ids for all references."""
    attrs: dict[str, Any] = resolve(entry.attrs, ids)
    if ref := next(references(attrs), None):
        raise Moved(f"{entry.kind} {entry.key}: {ref.kind} {ref.key} is not there")
    return attrs
