# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The operations that change the live objects into the wanted ones. Pure: the client lists before, applies after.

Every live object with one of our keys is matched in memory with the wanted one. If an attribute cannot be changed
in place, the object is replaced, together with everything that refers to it. Replacements, and removals of objects that
are no longer wanted, happen only on request.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from .neutron_objects import KEY_PREFIX, KINDS, SCOPE_PREFIX, Ref, Wanted, link_key, references

PORT_OWNERS = {"network:router_gateway": "gateway", "network:router_interface": "interface"}


@dataclass(frozen=True)
class Live:
    """An object as the API shows it."""

    kind: str
    key: str
    id: str
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One operation. ``attrs``: all of a new object, the changed ones of an update."""

    action: str  # create, update, delete
    kind: str
    key: str
    id: str | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a person or a report; a reference shows as its key."""
        shown = {"action": self.action, "kind": self.kind, "key": self.key}
        if self.reason:
            shown["reason"] = self.reason
        return shown | {"before": plain(self.before), "after": plain(self.attrs)}


@dataclass
class Changes:
    """``operations`` in the order to do them; ``refused`` are the reasons to do nothing; ``orphans`` are kept."""

    operations: list[Operation] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    orphans: list[Live] = field(default_factory=list)


def plain(value: Any) -> Any:
    """Return the value without references: each shows as the key of its object."""
    if isinstance(value, Ref):
        return value.key
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def resolve(value: Any, ids: dict[Ref, str]) -> Any:
    """Return the value with ids for references; a reference to a missing object is kept."""
    if isinstance(value, Ref):
        return ids.get(value, value)
    if isinstance(value, dict):
        return {key: resolve(item, ids) for key, item in value.items()}
    return [resolve(item, ids) for item in value] if isinstance(value, list) else value


def index(listed: dict[str, list[dict[str, Any]]]) -> dict[Ref, list[Live]]:
    """Return our live objects by kind and key; of several, first the one in use, then the oldest.

    listed: the API's answers, by kind (``quota``, ..., ``router``) and ``port``.
    """
    used = {
        row.get(name)
        for rows in listed.values()
        for row in rows
        for name in ("address_scope_id", "subnetpool_id", "network_id", "device_id")
    }
    found: dict[Ref, list[Live]] = defaultdict(list)
    keys: dict[str, str] = {}
    for name in ("address_scope", "subnetpool", "network", "subnet", "router"):
        prefix = SCOPE_PREFIX if name == "address_scope" else KEY_PREFIX
        rows = sorted(listed[name], key=lambda row: (row["id"] not in used, row.get("created_at") or "", row["id"]))
        for row in rows:
            key = row.get(KINDS[name].keyed_by) or ""
            if key.startswith(prefix):
                keys[row["id"]] = key
                found[Ref(name, key)].append(Live(name, key, row["id"], row))
    for row in listed["rbac_policy"]:
        if row["action"] == "access_as_external" and row["object_id"] in keys:
            key = keys[row["object_id"]]
            found[Ref("rbac_policy", key)].append(Live("rbac_policy", key, row["id"], row))
    for row in listed["quota"]:
        found[Ref("quota", row["project_id"])].append(Live("quota", row["project_id"], row["project_id"], row))
    gateways = {row["id"]: row.get("external_gateway_info") or {} for row in listed["router"]}
    for port in listed["port"]:
        if port["device_id"] in keys and port["device_owner"] in PORT_OWNERS:
            for live in _links(port, keys, gateways[port["device_id"]]):
                found[Ref(live.kind, live.key)].append(live)
    return found


def _links(port: dict[str, Any], keys: dict[str, str], info: dict[str, Any]) -> Iterable[Live]:
    """Return the gateway that a port is, or the interfaces (one for each subnet) that it makes."""
    router = keys[port["device_id"]]
    if PORT_OWNERS[port["device_owner"]] == "gateway":
        network = port["network_id"]
        attrs = {
            "router_id": port["device_id"],
            "network_id": network,
            "external_fixed_ips": port["fixed_ips"],
            # Neutron keeps one flag per router and shows it with the first gateway.
            "enable_snat": bool(info.get("enable_snat")) and info.get("network_id") == network,
        }
        yield Live("gateway", link_key(router, keys.get(network, network)), port["id"], attrs)
        return
    for subnet in {ip["subnet_id"] for ip in port["fixed_ips"]}:
        attrs = {"router_id": port["device_id"], "subnet_id": subnet}
        yield Live("interface", link_key(router, keys.get(subnet, subnet)), port["id"], attrs)


def _networks(prefixes: Iterable[str]) -> list[ipaddress.IPv4Network]:
    """Return the prefixes of a pool. A pool has one IP version; the annotation names IPv4 only for the type checker."""
    return [cast("ipaddress.IPv4Network", ipaddress.ip_network(prefix)) for prefix in prefixes]


def _equal(kind: str, name: str, wanted: Any, live: Any) -> bool:
    if kind == "subnetpool" and name == "prefixes":  # a pool can only grow
        have, asked = (_networks(prefixes) for prefixes in (live, wanted))
        return all(any(net.subnet_of(outer) for outer in have) for net in asked)
    if name == "external_fixed_ips":

        def pairs(ips: Any) -> set[tuple[str, str]]:
            return {(ip["subnet_id"], ip["ip_address"]) for ip in ips}

        return pairs(wanted) == pairs(live)
    return bool(wanted == live)


def diff(
    objects: Iterable[Wanted],
    live: dict[Ref, list[Live]],
    projects: dict[str, str],
    *,
    prune: bool = False,
    allow_replace: bool = False,
    max_deletes: int = 10,
) -> Changes:
    """Compare wanted objects (in order of creation) with :func:`index`'s live ones.

    projects: id by name. A removal counts against ``max_deletes``, even if it is part of a replacement.
    """
    objects = list(objects)
    changes = Changes()
    ids = {Ref("project", name): project for name, project in projects.items()}
    doomed: list[tuple[Live, str]] = []
    following: list[Operation] = []
    for item in objects:
        attrs = resolve(item.attrs, ids)
        at = Ref(item.kind, attrs["project_id"] if item.kind == "quota" else item.key)
        found = live.get(at, []) if not isinstance(at.key, Ref) else []
        if not found:
            if item.kind == "rbac_policy":  # Neutron creates it with the network, so it can only be changed
                following.append(Operation("update", item.kind, item.key, None, attrs))
            else:
                following.append(Operation("create", item.kind, item.key, None, attrs))
            continue
        if item.kind == "rbac_policy":  # one for our project, none for others
            found = sorted(found, key=lambda entry: entry.attrs["target_tenant"] != attrs["target_tenant"])
        first, *others = found
        doomed += [(other, f"duplicate of {first.id}") for other in others]
        missing = next(references(attrs), None)
        changed = {
            name: value
            for name, value in attrs.items()
            if name in first.attrs and not _equal(item.kind, name, value, first.attrs[name])
        }
        immutable = sorted(changed.keys() & KINDS[item.kind].fixed)
        if missing or immutable:
            why = f"{missing.kind} {missing.key} is new" if missing else f"{', '.join(immutable)} cannot change"
            doomed.append((first, why))
            following.append(Operation("create", item.kind, item.key, None, attrs, reason=f"replaced: {why}"))
            if not allow_replace:
                changes.refused.append(f"{item.kind} {item.key} needs a replacement ({why}); set allow_replace")
            continue
        ids[Ref(item.kind, item.key)] = first.id
        if changed:
            before = {name: first.attrs[name] for name in changed}
            following.append(Operation("update", item.kind, item.key, first.id, changed, before))
    keep = {Ref(item.kind, item.key) for item in objects}
    orphans = [
        entry
        for ref, entries in live.items()
        if ref not in keep and ref.kind not in ("quota", "rbac_policy")
        for entry in entries
    ]
    if prune:
        doomed += [(entry, "no longer wanted") for entry in orphans]
    else:
        changes.orphans = sorted(orphans, key=lambda entry: (list(KINDS).index(entry.kind), entry.key))
    if len(doomed) > max_deletes:
        changes.refused.append(f"{len(doomed)} objects would be deleted, more than max_deletes ({max_deletes})")
    order = list(KINDS)
    changes.operations = [
        Operation("delete", entry.kind, entry.key, entry.id, before=entry.attrs, reason=why)
        for entry, why in sorted(doomed, key=lambda row: (-order.index(row[0].kind), row[0].key, row[0].id))
    ] + following
    return changes
