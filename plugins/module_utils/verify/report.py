# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The verification report: verdict, JSON form, layout of its drawing and matrix. Pure, no I/O.

The HTML template (role verify) only places the values that :func:`view` computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..rie.sessions import text as session_text

FAMILIES = ("v4", "v6")
PROTOCOLS = ("icmp", "http")
#: VRF colours that the template defines; further VRFs reuse them from the first.
COLOURS = 8
#: Largest number of VRFs that the drawing shows; those with violations come first.
DRAWN = 12
NO_PROBE_HOST = (
    "No probe host: the inventory's group 'backbone' is empty, so reachability and isolation were NOT measured."
)
Box = dict[str, Any]


def assemble(
    site: str,
    generated: str,
    plan: Mapping[str, Any],
    sites: Sequence[Mapping[str, Any]],
    guests: Sequence[Mapping[str, Any]],
    api: Sequence[Mapping[str, Any]],
    sessions: Sequence[Mapping[str, Any]],
    matrix: Mapping[str, Any] | None,
    errors: Sequence[str] = (),
    isolation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as it is written to ``verify.json``.

    :param api: checks ``{id, kind, ok, detail, ms}``.
    :param sessions: ``{gateway, vrf, what, neighbor, state, ok, detail}``.
    :param matrix: the result of :func:`reachability.judge`, None if there is no host to probe from.
    :param errors: the reasons why guests are missing.
    :param isolation: the report of :mod:`isolation`, None if nothing was proven.
    :return: ``{ok, site, generated, notes, violations, counts, measured, api, sessions, probes, unproven,
        sites, guests, plan, isolation}``; ``violations`` are ``{id, kind, text}`` of all parts, packets first.
    """
    violations: list[dict[str, Any]] = [{"kind": "guest", "id": "guests", "text": text} for text in errors]
    violations += [
        {"kind": "guest", "id": guest["name"], "text": f"{guest['name']}: {guest['status']}, expected ACTIVE"}
        for guest in guests
        if guest.get("status", "ACTIVE") != "ACTIVE"
    ]
    notes: list[str] = []
    if matrix is None:
        notes.append(NO_PROBE_HOST)
    else:
        violations += [{"kind": "reachability", **violation} for violation in matrix["violations"]]
        if guests and not any(probe["expect"] == "reach" for probe in matrix["probes"]):
            text = "reachability: no site and guest share a VRF, so nothing could be proven"
            violations.append({"kind": "reachability", "id": "no-pair", "text": text})
        if matrix["unproven"]:
            count = len(matrix["unproven"])
            notes.append(f"{count} silent probes prove nothing: one end never answered anybody in that family.")
    violations += [
        {
            "kind": "session",
            "id": f"{entry['gateway']} {entry['vrf']} {entry['what']}",
            "text": session_text(entry),
        }
        for entry in sessions
        if not entry["ok"]
    ]
    violations += [
        {"kind": "api", "id": entry["id"], "text": f"{entry['id']}: {entry['detail'] or 'not well'}"}
        for entry in api
        if not entry["ok"]
    ]
    if isolation is None:
        notes.append("The configurations of the gateways were not examined.")
    else:
        violations += [{"kind": "isolation", **found} for found in _leaks(isolation)]
    empty = {"total": 0, "as_expected": 0, "violations": 0, "unproven": 0}
    return {
        "ok": not violations,
        "site": site,
        "generated": generated,
        "notes": notes,
        "violations": violations,
        "counts": dict(matrix["counts"]) if matrix else empty,
        "measured": matrix is not None,
        "api": [dict(entry) for entry in api],
        "sessions": [dict(entry) for entry in sessions],
        "probes": [dict(probe) for probe in matrix["probes"]] if matrix else [],
        "unproven": list(matrix["unproven"]) if matrix else [],
        "sites": [dict(entry) for entry in sites],
        "guests": [dict(guest) for guest in guests],
        "plan": dict(plan),
        "isolation": dict(isolation) if isolation else None,
    }


def _leaks(isolation: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return ``{id, text}`` for each violation in the isolation proof and for each part that it could not examine."""
    found = []
    for leak in isolation["violations"]:
        pair = f"{leak['from_vrf'] or 'anything'} to {leak['to_vrf']}"
        what = f" ({leak['prefix']})" if leak["prefix"] else ""
        text = f"isolation: {pair}{what} by {' > '.join(leak['path'])}; {leak['where']}: {leak['reason']}"
        found.append({"id": f"{pair} {leak['kind']}", "text": text})
    found += [
        {"id": row["where"], "text": f"isolation: {row['where']} was not examined: {row['why']}"}
        for row in isolation["not_examined"]
    ]
    found += [
        {"id": row["id"], "text": f"isolation: {row['text']}"}
        for row in (isolation["probes"] or {}).get("disagreements", [])
    ]
    return found


def summary(report: Mapping[str, Any]) -> str:
    """Return the report's summary, one sentence for a terminal."""
    counts = report["counts"]
    parts = []
    if report["measured"]:
        sent = f"{counts['as_expected']} of {counts['total']} probes as expected"
        parts.append(sent if counts["total"] else "no probe could be sent")
    parts += [
        f"{sum(1 for entry in report[key] if entry['ok'])} of {len(report[key])} {name}"
        for key, name in (("sessions", "sessions up"), ("api", "API checks good"))
        if report[key]
    ]
    if report["isolation"]:
        facts = sum(report["isolation"]["facts"].values())
        parts.append(f"isolation {'proven' if report['isolation']['ok'] else 'NOT proven'} on {facts} facts")
    text = ", ".join(parts) or "nothing was checked"
    if report["violations"]:
        text += f"; {len(report['violations'])} violations"
    return text + "."


def view(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values for the template: ``{report, summary, colours, drawing, matrix}``."""
    vrfs = [vrf["name"] for vrf in report["plan"].get("neutron", {}).get("vrfs", [])]
    for entry in (*report["sites"], *report["guests"]):
        if entry["vrf"] not in vrfs:
            vrfs.append(entry["vrf"])
    colours = {vrf: index % COLOURS for index, vrf in enumerate(vrfs)}
    return {
        "report": report,
        "summary": summary(report),
        "colours": colours,
        "drawing": drawing(report, colours),
        "matrix": table(report["probes"], colours),
    }


# The matrix


def table(probes: Sequence[Mapping[str, Any]], colours: Mapping[str, int]) -> dict[str, Any]:
    """Return the matrix, sources by rows and targets by columns: ``{columns, rows}``; a cell without a probe is None.

    Sites come first as sources, guests as targets, both in the order of the VRFs, so allowed pairs form a diagonal.
    """
    order = {vrf: place for place, vrf in enumerate(colours)}
    sources: dict[str, tuple[bool, int, str]] = {}
    targets: dict[str, tuple[bool, int, str]] = {}
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for probe in probes:
        source, target = probe["from_vrf"], probe["to_vrf"]
        sources[probe["from"]] = (not probe["kind"].startswith("site"), order.get(source, 0), source)
        targets[probe["to"]] = (probe["kind"].endswith("site"), order.get(target, 0), target)
        pairs.setdefault((probe["from"], probe["to"]), []).append(probe)
    columns = sorted(targets, key=targets.__getitem__)
    return {
        "columns": [_heading(name, targets[name][-1], colours) for name in columns],
        "rows": [
            _heading(name, sources[name][-1], colours)
            | {"cells": [_cell(pairs.get((name, target), ()), target == name) for target in columns]}
            for name in sorted(sources, key=sources.__getitem__)
        ],
    }


def _heading(name: str, vrf: str, colours: Mapping[str, int]) -> dict[str, Any]:
    return {"name": name, "vrf": vrf, "colour": colours.get(vrf, 0)}


def _cell(probes: Sequence[Mapping[str, Any]], same: bool) -> dict[str, Any] | None:
    if not probes:
        return None
    lines = []
    for family in FAMILIES:
        marks = [_mark(probe) for probe in probes if probe["family"] == family]
        if marks:
            lines.append({"family": family, "marks": marks})
    sources = sorted({probe["seen_source"] for probe in probes if probe.get("seen_source")})
    return {
        "lines": lines,
        "sources": sources,
        "expect": probes[0]["expect"],
        "bad": any(probe["verdict"] == "violation" for probe in probes),
        "self": same,
    }


def _mark(probe: Mapping[str, Any]) -> dict[str, str]:
    """Return symbol, style class and tooltip of one probe."""
    verdict, reached = probe["verdict"], probe["seen"] in ("reach", "refused")
    if verdict == "violation":
        style, symbol = "bad", "✗"
    elif verdict == "unproven":
        style, symbol = "unproven", "?"
    else:
        style, symbol = ("reach", "✓") if reached else ("silent", "∅")
    expected = "expected reached" if probe["expect"] == "reach" else "expected unreachable"
    seen = {"reach": "reached", "refused": "refused", "unreachable": "unreachable"}.get(probe["seen"], "not measured")
    more = [
        text for text in (probe.get("detail"), probe.get("seen_name") and f"answered by {probe['seen_name']}") if text
    ]
    if probe.get("rtt_ms") is not None:
        more.append(f"{probe['rtt_ms']} ms")
    label = f"{probe['size']} B" if probe.get("size") else probe["proto"]
    title = f"{probe['target']} {probe['family']} {label}: {expected}, {seen}" + (
        f" ({', '.join(more)})" if more else ""
    )
    return {"style": style, "symbol": symbol, "label": label, "title": title}


# The drawing: sites | provider edges | gateways | routers | guests. Lengths are in SVG user units.

MARGIN, HEADER, CELL, GAP, TOP = 16, 30, 54, 26, 44
COLUMNS = {
    "site": (16, 184),
    "pe": (262, 180),
    "gateway": (540, 276),
    "router": (890, 176),
    "guest": (1116, 240),
}
HEADINGS = {
    "site": "Sites on the RIE",
    "pe": "Provider edges",
    "gateway": "Gateways",
    "router": "Tenant routers",
    "guest": "Guests",
}
#: Width of a character of the small lines; smallest and largest bow of a line between gateways.
CHARACTER, BOW, WIDEST_BOW = 6.6, 26, 70
ROW = 86


def drawing(report: Mapping[str, Any], colours: Mapping[str, int]) -> dict[str, Any]:
    """Return boxes and lines: ``{left, width, height, boxes, cells, lines, dots, titles, hidden}``, ready to be placed.

    report: ``plan``, ``sessions``, ``probes``, ``sites`` and ``guests`` are read. Without sites or guests, their column
    is left out. Each VRF has one row for its sites, router and guests. Each gateway has one box and one for its
    provider edge, with one cell per VRF.
    """
    plan = report["plan"]
    all_vrfs = plan.get("neutron", {}).get("vrfs", [])
    troubled = _troubled(report)
    chosen = sorted(all_vrfs, key=lambda vrf: vrf["name"] not in troubled)[:DRAWN]
    vrfs = [vrf for vrf in all_vrfs if vrf in chosen]
    names = [vrf["name"] for vrf in vrfs]
    gateways = plan.get("gateways", {})
    box_height = HEADER + CELL * max(1, len(names)) + 8
    body = max(len(gateways) * (box_height + GAP) - GAP, ROW * max(1, len(names)))
    columns = {kind: place for kind, place in COLUMNS.items() if report.get(f"{kind}s", True)}
    left = min(x for x, _width in columns.values()) - MARGIN
    sheet: dict[str, Any] = {
        "left": left,
        "width": max(x + width for x, width in columns.values()) + MARGIN - left,
        "height": TOP + body + MARGIN,
        "boxes": [],
        "cells": [],
        "lines": [],
        "dots": [],
        "titles": [{"x": x, "text": HEADINGS[kind]} for kind, (x, _width) in columns.items()],
        "hidden": len(all_vrfs) - len(names),
    }
    ends = _rows(sheet, report, vrfs, colours, body)
    _columns(sheet, report, names, colours, body, box_height, ends)
    _stray(sheet, report, ends)
    return sheet


def _troubled(report: Mapping[str, Any]) -> set[str]:
    found = {entry["vrf"] for entry in report["sessions"] if not entry["ok"]}
    for probe in report["probes"]:
        if probe["verdict"] == "violation":
            found |= {probe["from_vrf"], probe["to_vrf"]}
    return found


def _rows(
    sheet: dict[str, Any],
    report: Mapping[str, Any],
    vrfs: Sequence[Mapping[str, Any]],
    colours: Mapping[str, int],
    body: int,
) -> dict[str, Any]:
    """Add sites, routers and guests; return the points where lines may end: name -> (left, right, y)."""
    ends: dict[Any, tuple[float, float, float]] = {}
    height = body / max(1, len(vrfs))
    for index, vrf in enumerate(vrfs):
        middle = TOP + height * (index + 0.5)
        colour = colours.get(vrf["name"], 0)
        for kind, entries in (("site", report["sites"]), ("guest", report["guests"])):
            mine = [entry for entry in entries if entry["vrf"] == vrf["name"]]
            x, width = COLUMNS[kind]
            tall = min(68.0, height / max(1, len(mine)) - 8)
            for place, entry in enumerate(mine):
                y = middle + (place - (len(mine) - 1) / 2) * (tall + 8) - tall / 2
                lines = [str(entry[family]) for family in FAMILIES if entry.get(family)]
                sheet["boxes"].append(box(kind, x, y, width, tall, entry["name"], lines, colour))
                ends[entry["name"]] = (x, x + width, y + tall / 2)
        x, width = COLUMNS["router"]
        prefixes = [net[family]["cidr"] for net in vrf.get("networks", []) for family in FAMILIES if net.get(family)]
        more = [f"and {len(prefixes) - 2} more"] if len(prefixes) > 3 else prefixes[2:3]
        sheet["boxes"].append(
            box(
                "router",
                x,
                middle - 36,
                width,
                72,
                vrf.get("router", {}).get("name", vrf["name"]),
                prefixes[:2] + more,
                colour,
            )
        )
        ends["router", vrf["name"]] = (x, x + width, middle)
        for guest in report["guests"]:
            if guest["vrf"] == vrf["name"] and guest["name"] in ends:
                left, _right, y = ends[guest["name"]]
                sheet["lines"].append(line((x + width, middle), (left, y), colour))
    return ends


def _columns(
    sheet: dict[str, Any],
    report: Mapping[str, Any],
    names: Sequence[str],
    colours: Mapping[str, int],
    body: int,
    box_height: int,
    ends: Mapping[Any, tuple[float, float, float]],
) -> None:
    """Add gateways, their provider edges, and the lines to all other boxes."""
    gateways = report["plan"].get("gateways", {})
    peers: dict[str, list[float]] = {}
    spread = (body - len(gateways) * box_height) / max(1, len(gateways))
    for number, (gateway, content) in enumerate(gateways.items()):
        y = TOP + spread / 2 + number * (box_height + spread)
        for kind, title in (("pe", f"PE facing {gateway}"), ("gateway", gateway)):
            x, width = COLUMNS[kind]
            sheet["boxes"].append(box(f"{kind} frame", x, y, width, box_height, title, [], None))
        for vrf in content["vrfs"]:
            if vrf["name"] not in names:
                continue
            colour = colours.get(vrf["name"], 0)
            middle = y + HEADER + CELL * names.index(vrf["name"]) + CELL / 2
            pe_x, pe_width = COLUMNS["pe"]
            gw_x, gw_width = COLUMNS["gateway"]
            sheet["cells"].append(
                _cell_box(
                    pe_x,
                    middle,
                    pe_width,
                    f"AS {vrf['pe']['asn']}",
                    [vrf["pe"]["v4"], vrf["pe"]["v6"]],
                    colour,
                )
            )
            links = [link for link in ("rie", "cloud", "standby", "peer") if vrf.get(link)]
            vlans = ", ".join(f"{vrf[link]['vlan']} {link}" for link in links)
            title = vrf.get("netns", vrf["name"])
            sheet["cells"].append(
                _cell_box(
                    gw_x,
                    middle,
                    gw_width,
                    title,
                    [f"AS {vrf['asn']} · RD {vrf['rd']}", f"VLAN {vlans}"],
                    colour,
                )
            )
            sheet["lines"].append(line((pe_x + pe_width, middle), (gw_x, middle), colour))
            sheet["dots"].append(_dot(report["sessions"], gateway, vrf["name"], pe_x + pe_width + 30, middle))
            for site in report["sites"]:
                if site["vrf"] == vrf["name"] and site["name"] in ends:
                    _left, right, site_y = ends[site["name"]]
                    sheet["lines"].append(line((right, site_y), (pe_x, middle), colour))
            if ("router", vrf["name"]) in ends:
                left, _right, router_y = ends["router", vrf["name"]]
                sheet["lines"].append(line((gw_x + gw_width, middle), (left, router_y), colour))
            peers.setdefault(vrf["name"], []).append(middle)
    for place, (name, heights) in enumerate(peers.items()):
        x = COLUMNS["gateway"][0]
        bulge = x - min(BOW + 10 * place, WIDEST_BOW)
        for upper, lower in pairwise(heights):
            path = f"M{x} {upper + 14:g} C{bulge} {upper + 22:g} {bulge} {lower - 22:g} {x} {lower - 14:g}"
            sheet["lines"].append({"path": path, "style": "peer", "colour": colours.get(name, 0)})


def _stray(sheet: dict[str, Any], report: Mapping[str, Any], ends: Mapping[Any, tuple[float, float, float]]) -> None:
    """Add a red line above everything else for each pair that a violation names."""
    pairs = {
        (probe["from"], probe["to"]): probe["expect"] for probe in report["probes"] if probe["verdict"] == "violation"
    }
    for (source, target), expect in pairs.items():
        if source in ends and target in ends:
            start, end = sorted((ends[source], ends[target]))
            path = line((start[1], start[2]), (end[0], end[2]), None)
            sheet["lines"].append({**path, "style": "leak" if expect == "unreachable" else "lost"})


def _dot(sessions: Sequence[Mapping[str, Any]], gateway: str, vrf: str, x: float, y: float) -> dict[str, Any]:
    mine = [entry for entry in sessions if (entry["gateway"], entry["vrf"]) == (gateway, vrf)]
    state = "unknown" if not mine else "up" if all(entry["ok"] for entry in mine) else "down"
    title = (
        "; ".join(f"{entry['what']} {entry['neighbor']}: {entry['state']}" for entry in mine) or "no session state read"
    )
    symbol = {"up": "✓", "down": "✗", "unknown": "?"}[state]
    return {"x": x, "y": y, "state": state, "symbol": symbol, "title": title}


def line(start: tuple[float, float], end: tuple[float, float], colour: int | None) -> dict[str, Any]:
    """Return a line between two points, in the colour of a VRF or without a colour."""
    middle = (start[0] + end[0]) / 2
    path = f"M{start[0]:g} {start[1]:g} C{middle:g} {start[1]:g} {middle:g} {end[1]:g} {end[0]:g} {end[1]:g}"
    return {"path": path, "style": "link", "colour": colour}


def box(
    kind: str,
    x: float,
    y: float,
    width: float,
    height: float,
    title: str,
    lines: Sequence[str],
    colour: int | None,
) -> Box:
    """Return a box with a title and lines below it, cut to its width."""
    room = int((width - 18) / CHARACTER)
    short = [line if len(line) <= room else line[: room - 1] + "…" for line in lines]
    box = {"kind": kind, "x": x, "y": y, "width": width, "height": height}
    return {**box, "title": title, "lines": short, "colour": colour}


def _cell_box(x: float, middle: float, width: float, title: str, lines: Sequence[str], colour: int) -> Box:
    return box("cell", x + 7, middle - CELL / 2 + 2, width - 14, CELL - 5, title, lines, colour)
