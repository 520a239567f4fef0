# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The report of the present wiring: plan, live sessions and prefixes, Neutron's half, reachability. Pure.

:func:`assemble` makes the document as plain data; :func:`view` adds the values that the page places. Any part except
the plan may be missing: a node that does not answer is named in ``notes``, and the rest is reported. Shapes::

    {version, site, made, summary, notes: [text], counts: {...},
     gateways: [{name, answers, drained, vrfs, sessions, up}],          # answers False: nothing else is known
     tenants: [{name, description, project, ok, vrfs: [vrf]}],
     targets: [{target, exporters: [VRF], importers: [VRF]}],           # route targets that join VRFs
     private: number of route targets that only one VRF uses,
     pairs: [{from, to, allowed, routes, agree, wrong, unproven, leaks}],
     isolated: number of ordered pairs of VRFs without any route,
     verify: {made, measured} or None, isolation: {made, ok, facts, not_examined, violations} or None,
     drift: {known, changes, lines}}

    vrf: {name, ok, sessions: [entry of rie_info], routes: [of rie_info], wires: {gateway: vrf of the plan},
          router: {name, found}, networks: [{name, v4, v6, found}], ports: [{gateway, network, vlan, v4, v6, found,
          chassis, ok}], others: [text], imports, exports, reaches, hears, heard_by: [VRF], drift: [text]}

``found`` is None if Neutron did not answer; ``allowed`` is ``both`` (packets may pass both ways), ``one way``
(``from`` has a route to ``to``, and there is none back) or ``no``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..isolation.proof import allowed
from ..isolation.proof import vrf_of as vrf_of_object
from ..rie.sessions import FAMILIES
from . import report as verify_report
from .rie_preview import operation_line, text

VERSION = 1
#: Largest number of rows and columns in the matrix. On a larger site it omits VRFs that exchange routes with no other;
#: the section of a VRF also lists the VRFs that it may reach.
MATRIX = 24


def assemble(
    site: str,
    made: str,
    plan: Mapping[str, Any],
    *,
    gateways: Mapping[str, Mapping[str, Any]],
    cloud: Mapping[str, Sequence[Mapping[str, Any]]] | None,
    placed: Mapping[str, Sequence[str]] | None,
    preview: Mapping[str, Any],
    complete: bool = True,
    faults: Sequence[str] = (),
    verify: Mapping[str, Any] | None = None,
    isolation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the document.

    plan: of rie_plan. gateways: results of rie_info with routes, by name, without those that did not answer.
    cloud: ``lists`` of rie_cloud_info. placed: of ovn_gateways. preview: of rie_preview, for the parts that could be
    compared; complete: whether these are all parts. faults: the parts that could not be read. verify, isolation: the
    last reports of ``socle verify``.
    """
    notes = list(faults)
    wired: dict[str, dict[str, Any]] = defaultdict(dict)
    for gateway, part in sorted(plan["gateways"].items()):
        for vrf in part["vrfs"]:
            wired[vrf["name"]][gateway] = vrf
    sessions, routes = _by_vrf(gateways, "sessions"), _by_vrf(gateways, "routes")
    heads = []
    for name, part in sorted(plan["gateways"].items()):
        seen = gateways.get(name)
        if seen is None:
            notes.append(f"{name} did not answer: its sessions and prefixes are not known")
        mine = (seen or {}).get("sessions", [])
        heads.append(
            {
                "name": name,
                "answers": seen is not None,
                "drained": (seen or {}).get("drained"),
                "vrfs": len(part["vrfs"]),
                "sessions": len(mine),
                "up": sum(row["ok"] for row in mine),
            }
        )
    if cloud is None:
        notes.append("Neutron did not answer: whether its half is there is not known")
    if placed is None:
        notes.append("OVN did not answer: on which chassis the gateway ports are is not known")
    if not complete:
        notes.append("not everything could be compared with the inventory: there may be drift that is not shown")
    live = _live(cloud)
    graph = {name: sorted(others) for name, others in plan["imports"].items()}
    changed = {row["vrf"]: row for row in preview["tenants"]}
    about = {project["name"]: project["description"] for project in plan["neutron"]["projects"]}
    tenants: dict[str, dict[str, Any]] = {}
    for vrf in sorted(plan["neutron"]["vrfs"], key=lambda row: (row["tenant"], row["name"])):
        name = vrf["name"]
        drift = changed.pop(name, None)
        entry = {
            "name": name,
            "sessions": sessions[name],
            "routes": routes[name],
            "wires": wired[name],
            **_neutron(vrf, live, placed),
            "imports": next(iter(wired[name].values()))["import_targets"] if wired[name] else [],
            "exports": next(iter(wired[name].values()))["export_targets"] if wired[name] else [],
            "reaches": [other for other in graph.get(name, ()) if allowed(graph, name, other)],
            "hears": [other for other in graph.get(name, ()) if not allowed(graph, name, other)],
            "heard_by": sorted(other for other in graph if name in graph[other] and other not in graph.get(name, ())),
            "drift": _drift(drift) if drift else [],
        }
        missing = [entry["router"], *entry["networks"], *entry["ports"]]
        entry["ok"] = (
            all(row["ok"] for row in entry["sessions"] + entry["ports"])
            and all(item["found"] is not False for item in missing)
            and not entry["drift"]
            and not entry["others"]
        )
        owner = {"name": vrf["tenant"], "project": vrf["project"], "description": about.get(vrf["project"], "")}
        tenant = tenants.setdefault(vrf["tenant"], {**owner, "vrfs": []})
        tenant["vrfs"].append(entry)
    for tenant in tenants.values():
        tenant["ok"] = all(vrf["ok"] for vrf in tenant["vrfs"])
    every = [vrf for tenant in tenants.values() for vrf in tenant["vrfs"]]
    targets = _targets(every)
    pairs = _pairs(graph, verify, isolation)
    document = {
        "version": VERSION,
        "site": site,
        "made": made,
        "notes": notes,
        "gateways": heads,
        "tenants": list(tenants.values()),
        "targets": [row for row in targets if len({*row["exporters"], *row["importers"]}) > 1],
        "private": sum(len({*row["exporters"], *row["importers"]}) == 1 for row in targets),
        "pairs": pairs,
        "isolated": len(every) * (len(every) - 1) - len({(row["from"], row["to"]) for row in pairs if row["routes"]}),
        "verify": {"made": verify["generated"], "measured": verify["measured"]} if verify else None,
        "isolation": {key: isolation[key] for key in ("made", "ok", "facts", "not_examined", "violations")}
        if isolation
        else None,
        "drift": {
            "known": complete,
            "changes": preview["changes"],
            # Changes that belong to no VRF of the plan.
            "lines": _rest(preview, changed),
        },
        "counts": _counts(every, tenants, preview),
    }
    return document | {"summary": summary(document)}


def _by_vrf(gateways: Mapping[str, Mapping[str, Any]], part: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _gateway, result in sorted(gateways.items()):
        for row in result.get(part, []):
            found[row["vrf"]].append(dict(row))
    return found


def _counts(
    vrfs: Sequence[Mapping[str, Any]], tenants: Mapping[str, Any], preview: Mapping[str, Any]
) -> dict[str, int]:
    rows = [row for vrf in vrfs for row in vrf["routes"]]
    return {
        "tenants": len(tenants),
        "vrfs": len(vrfs),
        "networks": sum(len(vrf["networks"]) for vrf in vrfs),
        "sessions": sum(len(vrf["sessions"]) for vrf in vrfs),
        "up": sum(session["ok"] for vrf in vrfs for session in vrf["sessions"]),
        **{key: sum(len(row[key]) for row in rows) for key in ("announced", "accepted", "refused")},
        "troubled": sum(not vrf["ok"] for vrf in vrfs),
        "changes": preview["changes"],
    }


def summary(document: Mapping[str, Any]) -> str:
    """Return the summary, one sentence for a terminal."""
    counts = document["counts"]
    drained = [gateway["name"] for gateway in document["gateways"] if gateway["drained"]]
    parts = [
        f"{counts['vrfs']} VRFs of {counts['tenants']} tenants, {counts['networks']} networks",
        f"{counts['up']} of {counts['sessions']} sessions as they should be",
        f"{counts['changes']} differences from the inventory{'' if document['drift']['known'] else ', maybe more'}",
    ]
    parts += [f"{name} drained" for name in drained]
    if document["notes"]:
        parts.append(f"{len(document['notes'])} parts not known")
    return "; ".join(parts) + "."


# Neutron's half


def _live(cloud: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> dict[str, Any] | None:
    """Index Neutron's objects by our key: networks, routers, ports by router and network; our networks by VRF."""
    if cloud is None:
        return None
    ours: dict[str, set[str]] = defaultdict(set)
    for net in cloud["networks"]:
        if vrf := vrf_of_object(net):
            ours[vrf].add(net["description"])
    return {
        "networks": {net["description"]: net["id"] for net in cloud["networks"] if vrf_of_object(net)},
        "routers": {router["description"]: router["id"] for router in cloud["routers"] if vrf_of_object(router)},
        "ports": {(port["device_id"], port["network_id"]): port["id"] for port in cloud["ports"]},
        "ours": ours,
    }


def _neutron(
    vrf: Mapping[str, Any], live: Mapping[str, Any] | None, placed: Mapping[str, Sequence[str]] | None
) -> dict[str, Any]:
    """Return ``{router, networks, ports, others}`` of a VRF: the wanted objects, and whether each exists."""
    router = live["routers"].get(vrf["router"]["tag"]) if live else None
    networks = [
        {
            "name": net["name"],
            **{family: (net.get(family) or {}).get("cidr") for family in FAMILIES},
            "found": net["tag"] in live["networks"] if live else None,
        }
        for net in vrf["networks"]
    ]
    ports = []
    for external in vrf["externals"]:
        port = live["ports"].get((router, live["networks"].get(external["tag"]))) if live else None
        chassis = [name.partition(".")[0] for name in (placed or {}).get(port, [])] if port else []
        ports.append(
            {
                "gateway": external["gateway"],
                "network": external["name"],
                "vlan": external["vlan"],
                **{family: (external.get(family) or {}).get("router_ip") for family in FAMILIES},
                "found": port is not None if live else None,
                "chassis": chassis,
                "ok": placed is None or not port or chassis[:1] == [external["gateway"]],
            }
        )
    wanted = {item["tag"] for item in (*vrf["networks"], *vrf["externals"])}
    others = sorted(live["ours"][vrf["name"]] - wanted) if live and vrf["name"] in live["ours"] else []
    return {
        "router": {"name": vrf["router"]["name"], "found": router is not None if live else None},
        "networks": networks,
        "ports": ports,
        "others": others,
    }


# Drift


def _drift(row: Mapping[str, Any]) -> list[str]:
    """Return the differences of a VRF, one line each."""
    found = [f"cloud: {operation_line(operation)}" for operation in row["cloud"]]
    for gateway, parts in row["gateways"].items():
        for part in parts:
            found.append(f"{gateway}: {part['part']} {part['action']}")
            found += [f"  {line}" for line in part["lines"]]
    return found


def _rest(preview: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the differences that belong to no VRF of the plan."""
    rest = {**preview, "tenants": list(changed.values()), "sessions": [], "api_calls": {}}
    if not any((rest["ledger"], rest["site_wide"], rest["nodes"], rest["tenants"], rest["orphans"])):
        return []
    return [line for line in text(rest) if not line.startswith(("API: ", "sessions: "))]


# Reachability between VRFs


def _targets(vrfs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for vrf in vrfs:
        for key, role in (("exports", "exporters"), ("imports", "importers")):
            for target in vrf[key]:
                found.setdefault(target, {"target": target, "exporters": [], "importers": []})[role].append(vrf["name"])
    return [found[target] for target in sorted(found)]


def _pairs(
    graph: Mapping[str, Sequence[str]], verify: Mapping[str, Any] | None, isolation: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the ordered pairs of VRFs that have a route, a probe or a counter-example."""
    probes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for probe in (verify or {}).get("probes", []):
        probes[probe["from_vrf"], probe["to_vrf"]][probe["verdict"]] += 1
    leaks: Counter[tuple[str, str]] = Counter(
        (leak["from_vrf"], leak["to_vrf"]) for leak in (isolation or {}).get("violations", []) if leak["from_vrf"]
    )
    routes = {(name, other) for name, others in graph.items() for other in others}
    return [
        {
            "from": one,
            "to": other,
            "allowed": "both" if allowed(graph, one, other) else "one way" if (one, other) in routes else "no",
            "routes": (one, other) in routes,
            "agree": probes[one, other]["ok"],
            "wrong": probes[one, other]["violation"],
            "unproven": probes[one, other]["unproven"],
            "leaks": leaks[one, other],
        }
        for one, other in sorted({*routes, *probes, *leaks})
    ]


def matrix(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the matrix for the page: ``{names, rows: [{name, cells}], hidden}``.

    VRFs with violations come first, then those that share routes with others, up to MATRIX of them.
    """
    names = [vrf["name"] for tenant in document["tenants"] for vrf in tenant["vrfs"]]
    pairs = {(row["from"], row["to"]): row for row in document["pairs"]}
    wrong = {name for key, row in pairs.items() if row["wrong"] or row["leaks"] for name in key}
    joined = {name for key, row in pairs.items() if row["routes"] for name in key}
    fit = names if len(names) <= MATRIX else sorted(wrong | joined, key=lambda name: (name not in wrong, name))
    chosen = set(fit[:MATRIX])
    shown = [name for name in names if name in chosen]
    rows = [{"name": one, "cells": [_cell(one, other, pairs.get((one, other))) for other in shown]} for one in shown]
    return {"names": shown, "rows": rows, "hidden": len(names) - len(shown)}


def _cell(one: str, other: str, pair: Mapping[str, Any] | None) -> dict[str, Any]:
    pair = pair or {"allowed": "both" if one == other else "no", "agree": 0, "wrong": 0, "unproven": 0, "leaks": 0}
    what = "own" if one == other else {"both": "reach", "one way": "hears", "no": "apart"}[pair["allowed"]]
    words = {"own": "within the VRF", "reach": "may reach", "hears": "route, no way back", "apart": "apart"}[what]
    tellings = {"agree": "as expected", "wrong": "NOT as expected", "unproven": "unproven"}
    seen = [f"{pair[key]} {telling}" for key, telling in tellings.items() if pair[key]]
    return {
        "what": what,
        "symbol": {"own": "·", "reach": "⇄", "hears": "→", "apart": "∅"}[what],
        "words": words,
        "bad": bool(pair["wrong"] or pair["leaks"]),
        "probes": pair["agree"] + pair["wrong"] + pair["unproven"],
        "agree": pair["agree"],
        "title": f"{one} to {other}: {words}" + (f"; probes: {', '.join(seen)}" if seen else "; no probe was sent")
        + (f"; {pair['leaks']} counter-examples" if pair["leaks"] else ""),
    }  # fmt: skip


# The page


def view(document: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values for the template: ``{report, colours, many, drawing, sheets, matrix, duration}``.

    ``drawing`` shows the whole site: on a small site each VRF, on a large one only counts. ``sheets`` has a
    drawing per tenant on a large site; ``duration`` formats seconds as text.
    """
    vrfs = [vrf["name"] for tenant in document["tenants"] for vrf in tenant["vrfs"]]
    colours = {name: place % verify_report.COLOURS for place, name in enumerate(vrfs)}
    many = len(vrfs) > verify_report.DRAWN
    return {
        "report": document,
        "colours": colours,
        "many": many,
        "drawing": overview(document) if many else _sheet(plan, set(vrfs), document["tenants"], colours),
        "sheets": {
            tenant["name"]: _sheet(plan, {vrf["name"] for vrf in tenant["vrfs"]}, [tenant], colours)
            for tenant in (document["tenants"] if many else [])
        },
        "matrix": matrix(document),
        "duration": duration,
    }


def duration(seconds: int | None) -> str:
    """Return ``3 d 4 h``, ``26 min`` or ``12 s``; empty if it is not known."""
    if seconds is None:
        return ""
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _sheet(
    plan: Mapping[str, Any], names: set[str], tenants: Sequence[Mapping[str, Any]], colours: Mapping[str, int]
) -> dict[str, Any]:
    """Return the drawing of `socle verify` for some VRFs, without sites and guests."""
    part = {
        "neutron": {"vrfs": [vrf for vrf in plan["neutron"]["vrfs"] if vrf["name"] in names]},
        "gateways": {
            gateway: {"vrfs": [vrf for vrf in content["vrfs"] if vrf["name"] in names]}
            for gateway, content in plan["gateways"].items()
        },
    }
    sessions = [session for tenant in tenants for vrf in tenant["vrfs"] for session in vrf["sessions"]]
    seen = {"plan": part, "sessions": sessions, "probes": [], "sites": [], "guests": []}
    return verify_report.drawing(seen, colours)


def overview(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the site in counts, in the shape of :func:`verify_report.drawing`."""
    counts = document["counts"]
    body = 130 * len(document["gateways"])
    box, line = verify_report.box, verify_report.line
    middle = 44 + body / 2
    networks = [f"{counts['vrfs']} routers", f"{counts['networks']} networks"]
    sheet: dict[str, Any] = {
        "left": 0,
        "width": 1120,
        "height": 44 + body + 16,
        "boxes": [
            box("rie", 16, middle - 45, 170, 90, "The RIE", [f"{counts['accepted']} prefixes heard"], None),
            box("cloud", 906, middle - 45, 198, 90, f"{counts['tenants']} tenants", networks, None),
        ],
        "cells": [],
        "lines": [],
        "dots": [],
        "titles": [
            {"x": x, "text": words}
            for x, words in ((16, "Backbone"), (266, "Provider edges"), (566, "Gateways"), (906, "OpenStack"))
        ],
        "hidden": 0,
    }
    edges: dict[str, set[int]] = defaultdict(set)
    for tenant in document["tenants"]:
        for vrf in tenant["vrfs"]:
            for gateway, wire in vrf["wires"].items():
                edges[gateway].add(wire["pe"]["asn"])
    heights = []
    for place, gateway in enumerate(document["gateways"]):
        name, y = gateway["name"], 44 + 130 * place + 65
        state = "no answer" if not gateway["answers"] else "DRAINED" if gateway["drained"] else "active"
        systems = sorted(edges[name])
        more = [f"AS {', '.join(map(str, systems[:2]))}" + (f" and {len(systems) - 2}" if len(systems) > 2 else "")]
        told = [f"{gateway['vrfs']} VRFs, {state}", f"{gateway['up']} of {gateway['sessions']} sessions"]
        sheet["boxes"].append(box("pe", 266, y - 40, 200, 80, f"PE facing {name}", more, None))
        sheet["boxes"].append(box("gateway", 566, y - 40, 220, 80, name, told, None))
        for start, end in (((186, middle), (266, y)), ((466, y), (566, y)), ((786, y), (906, middle))):
            sheet["lines"].append(line(start, end, None))
        well = gateway["up"] == gateway["sessions"]
        mark, symbol = ("unknown", "?") if not gateway["answers"] else ("up", "✓") if well else ("down", "✗")
        sheet["dots"].append({"x": 516, "y": y, "state": mark, "symbol": symbol, "title": ": ".join([name, *told])})
        heights.append(y)
    for upper, lower in pairwise(heights):
        path = f"M566 {upper + 20:g} C536 {upper + 40:g} 536 {lower - 40:g} 566 {lower - 20:g}"
        sheet["lines"].append({"path": path, "style": "peer", "colour": None})
    return sheet
