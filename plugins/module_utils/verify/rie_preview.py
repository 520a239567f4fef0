# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Preview of the changes to a site's wiring, from the check-mode results of the modules that apply it. Pure.

A preview is plain data::

    {version, site, digest, changes,            # digest of all below; changes: their number, 0 if there are none
     ledger: [text lines of the ledger's diff],
     tenants: [{tenant, vrf, cloud: [operation], gateways: {gw1: [{part, action, lines}]}}],
     nodes:   {gw1: [text]},                    # changes that belong to no VRF: the uplinks, the boot program
     site_wide: [text],                         # projects, quotas, BFD timers
     orphans: [{kind, key}],                    # objects with our key that are in no plan; they are not changed
     api_calls: {method: forecast of the writes},
     sessions: [{gateway, vrf, what, neighbor, effect}]}

An operation is ``{action, kind, key, before, after, reason}``. ``effect`` is ``starts``, ``ends`` or ``resets``;
sessions that are not listed stay up. The digest covers the present state as well as the wanted one, so it shows whether
anything has changed since a person read the preview.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..openstack.neutron_objects import KEY_PREFIX, SCOPE_PREFIX
from ..rie.sessions import expected

VERSION = 1
# Settings of a neighbour that only a new TCP session can change.
_RESETTING = re.compile(r"\bneighbor (\S+) (?:remote-as|password|timers \d+|local-role|update-source)\b")
_NO_ROUTER = re.compile(r"^\s*no router bgp ", re.M)


def preview(
    site: str,
    plan: Mapping[str, Any],
    *,
    ledger: Iterable[Mapping[str, Any]] = (),
    cloud: Mapping[str, Mapping[str, Any]],
    gateways: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, Any]:
    """Combine the check-mode results of the modules.

    plan: of rie_plan. ledger: its ``diff``. cloud: results of ``projects`` (identity_catalog), ``neutron``
    (rie_neutron) and ``bfd`` (ovn_gateways). gateways: by name, results of ``netns`` (rie_netns), ``rulesets``
    (nftables_netns) and ``instances`` (frr_instance). A missing or empty result means no change.
    """
    neutron = cloud.get("neutron", {})
    owners = {vrf["name"]: vrf["tenant"] for vrf in plan["neutron"]["vrfs"]}
    names: set[str] = set(owners)
    site_wide = list(cloud.get("projects", {}).get("changes", []))
    site_wide += [f"BFD of gateway port {row['port_id']}: {_pairs(row['before'])} -> {_pairs(row['after'])}"
                  for row in cloud.get("bfd", {}).get("sessions", [])]  # fmt: skip
    operations: dict[str, list[dict[str, Any]]] = {}
    for operation in neutron.get("operations", []):
        vrf = vrf_of(operation)
        if vrf is None:
            site_wide.append(operation_line(operation))
        else:
            operations.setdefault(vrf, []).append(operation)
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    nodes: dict[str, list[str]] = {}
    for gateway, results in sorted(gateways.items()):
        rest = _gateway(results, gateway, parts)
        if rest:
            nodes[gateway] = rest
    names |= operations.keys() | parts.keys()
    tenants = [
        {
            "tenant": owners.get(name, ""),
            "vrf": name,
            "cloud": operations.get(name, []),
            "gateways": parts.get(name, {}),
        }
        for name in sorted(names)
        if name in operations or name in parts
    ]
    found: dict[str, Any] = {
        "version": VERSION,
        "site": site,
        "ledger": [line for entry in ledger for line in changed_lines(entry["before"], entry["after"])],
        "tenants": tenants,
        "nodes": nodes,
        "site_wide": site_wide,
        "orphans": [{"kind": row["kind"], "key": row["key"]} for row in neutron.get("orphans", [])],
        "api_calls": dict(neutron.get("forecast", {})),
        "sessions": _sessions(plan, gateways),
    }
    count = len(found["ledger"]) + len(site_wide) + sum(map(len, nodes.values()))
    count += sum(len(row["cloud"]) + sum(map(len, row["gateways"].values())) for row in tenants)
    return found | {"changes": count, "digest": digest(found)}


def digest(found: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a preview's content, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(found, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def vrf_of(operation: Mapping[str, Any]) -> str | None:
    """Return the VRF that an operation on Neutron belongs to, by its key; None for quotas."""
    key: str = operation["key"]
    if key.startswith(KEY_PREFIX):
        return key.split(":")[1]
    if operation["kind"] == "address_scope" and key.startswith(SCOPE_PREFIX):
        return key.removeprefix(SCOPE_PREFIX).rpartition("-")[0]
    return None


def _gateway(
    results: Mapping[str, Mapping[str, Any]], gateway: str, parts: dict[str, dict[str, list[dict[str, Any]]]]
) -> list[str]:
    """Sort a gateway's changes by VRF into ``parts``; return those that belong to no VRF."""

    def add(vrf: str, part: str, action: str, lines: list[str]) -> None:
        entry = {"part": part, "action": action, "lines": lines}
        parts.setdefault(vrf, {}).setdefault(gateway, []).append(entry)

    def text_of(result: Mapping[str, Any], mark: str) -> list[str]:
        entries = [entry for entry in result.get("diff", []) if mark in entry["after_header"]]
        return [line for entry in entries for line in changed_lines(entry["before"], entry["after"])]

    netns, rulesets, instances = (results.get(name, {}) for name in ("netns", "rulesets", "instances"))
    steps = netns.get("steps", {})
    for namespace in sorted({*netns.get("actions", {}), *steps} - {""}):
        action = netns.get("actions", {}).get(namespace, "links changed")
        add(namespace.removeprefix("vrf-"), "namespace", action, steps.get(namespace, []))
    for vrf, action in sorted(rulesets.get("actions", {}).items()):
        add(vrf, "ruleset", action, text_of(rulesets, f"/vrf-{vrf}/"))
    for vrf, action in sorted(instances.get("actions", {}).items()):
        delta = instances.get("deltas", {}).get(vrf, "")
        lines = [line for line in delta.splitlines() if line.strip()] or text_of(instances, f"/frr/{vrf}/frr.conf")
        add(vrf, "FRR", action, lines)
    return list(steps.get("", []))


def _sessions(plan: Mapping[str, Any], gateways: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """List the BGP sessions that start, end or reset. A removed VRF is known only by its instance."""
    found = []
    for gateway, results in sorted(gateways.items()):
        vrfs = {vrf["name"]: vrf for vrf in plan["gateways"].get(gateway, {"vrfs": []})["vrfs"]}
        instances = results.get("instances", {})
        moved = results.get("netns", {}).get("actions", {})
        for name in sorted({*instances.get("actions", {}), *(netns.removeprefix("vrf-") for netns in moved)}):
            action = instances.get("actions", {}).get(name, "")
            link = moved.get(f"vrf-{name}", "")
            if name not in vrfs:
                gone = {"gateway": gateway, "vrf": name, "what": "every session", "neighbor": ""}
                found.append(gone | {"effect": "ends"})
                continue
            touched = reset_neighbors(instances.get("deltas", {}).get(name, ""))
            for session in expected(vrfs[name]):
                if session["kind"] == "router":
                    continue
                if action in ("created", "started") or link in ("created", "started"):
                    effect = "starts"
                elif action == "restarted" or link == "changed" or touched & {session["neighbor"], "*"}:
                    effect = "resets"
                else:
                    continue
                what = f"BGP {session['kind']} {session['family']}"
                found.append({"gateway": gateway, "vrf": name, "what": what,
                              "neighbor": session["neighbor"], "effect": effect})  # fmt: skip
    return found


def reset_neighbors(delta: str) -> set[str]:
    """Return the neighbours whose session a reload resets, from the lines it deletes and adds; ``*`` for all."""
    return {"*"} if _NO_ROUTER.search(delta) else set(_RESETTING.findall(delta))


def changed_lines(before: str, after: str) -> list[str]:
    """Return the removed (``-``) and added (``+``) lines."""
    rows = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [row for row in rows if row[:1] in "+-" and row[:3] not in ("+++", "---")]


def operation_line(operation: Mapping[str, Any]) -> str:
    """Return one operation as readable text: ``+ network rie:finances:paie``."""
    sign = {"create": "+", "update": "~", "delete": "-"}[operation["action"]]
    head = f"{sign} {operation['kind']} {operation['key']}"
    before, after = operation.get("before", {}), operation.get("after", {})
    if operation["action"] == "update":
        head += "  " + ", ".join(f"{name}: {before.get(name)} -> {value}" for name, value in after.items())
    elif operation["action"] == "create":
        shown = {name: after[name] for name in ("cidr", "prefixes", "provider:segmentation_id", "mtu") if name in after}
        head += f"  {_pairs(shown)}" if shown else ""
    return head + (f"  ({operation['reason']})" if operation.get("reason") else "")


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def text(found: Mapping[str, Any]) -> list[str]:
    """Return the preview as lines for a terminal: the changes by tenant, then their cost."""
    if not found["changes"]:
        return [f"{found['site']}: everything is as the inventory wants it", *_orphans(found)]
    rows: list[str] = []
    if found["ledger"]:
        rows += ["ledger of allocations", *(f"  {line}" for line in found["ledger"])]
    if found["site_wide"]:
        rows += ["site", *(f"  {line}" for line in found["site_wide"])]
    for tenant in found["tenants"]:
        owner = f" of {tenant['tenant']}" if tenant["tenant"] else ", no longer in the inventory"
        rows.append(f"VRF {tenant['vrf']}{owner}")
        rows += [f"  cloud  {operation_line(operation)}" for operation in tenant["cloud"]]
        for gateway, parts in tenant["gateways"].items():
            for part in parts:
                rows.append(f"  {gateway}  {part['part']} {part['action']}")
                rows += [f"    {line}" for line in part["lines"]]
    for gateway, lines in found["nodes"].items():
        rows += [gateway, *(f"  {line}" for line in lines)]
    rows += _orphans(found)
    calls = ", ".join(f"{count} {method}" for method, count in sorted(found["api_calls"].items()))
    rows.append(f"API: {calls or 'no write'}")
    effects = Counter(session["effect"] for session in found["sessions"])
    rows.append("sessions: " + (", ".join(f"{count} {effect}" for effect, count in sorted(effects.items()))
                                or "none is touched"))  # fmt: skip
    rows += [
        f"  {row['gateway']} {row['vrf']}: {row['what']} {row['neighbor']} {row['effect']}".rstrip()
        for row in found["sessions"]
        if row["effect"] != "starts"
    ]
    return rows


def _orphans(found: Mapping[str, Any]) -> list[str]:
    return [
        f"left alone, in no plan: {row['kind']} {row['key']} (rie_cloud_prune removes it)" for row in found["orphans"]
    ]
