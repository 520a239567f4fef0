# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The audit report as one HTML page without external files: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from typing import Any

from ..hardening.rules import LEVELS
from .security_guide import BY_NAME

GUIDE = "https://cyber.gouv.fr/sites/default/files/document/linux_configuration-en-v2.pdf"
#: Path of the page of rules, tasks and waivers, relative to the report in .socle/reports/SITE/.
COMPLIANCE = "../../../docs/reference/compliance.md"
#: Path of the page of the checks of the OpenStack Security Guide, relative to the same folder.
SECURITY_GUIDE = "../../../docs/reference/security-guide.md"
ORDER = ("fail", "error", "unknown", "missing", "notchecked", "not live", "waived", "pass", "not applicable")

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c1c1c }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.6rem }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.pass { color: #17692b } .fail, .error, .missing, .unknown { color: #a80f1c; font-weight: 600 }
.waived, .not-live, .notchecked { color: #8a5a00 } .not-applicable { color: #666 }
summary { cursor: pointer; font-weight: 600; margin: .3rem 0 } code { font-size: 13px }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e4e4e4 } th, td { border-color: #3a3d42 }
.pass { color: #79cf8d } .fail, .error, .missing, .unknown { color: #ff8b94 } .waived, .not-live { color: #e7b65f }
a { color: #8fb8ff } }
"""


def page(report: Mapping[str, Any]) -> str:
    """Return the page of a report (see :func:`audit.report`)."""
    verdict = "as wanted" if report["ok"] else f"{len(report['faults'])} not as wanted"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Audit</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{STYLE}</style><h1>Audit: {escape(verdict)}</h1>",
        f"<p>{escape(report['made'])}",
        f", compared with {escape(report['compared_with'])}" if report["compared_with"] else "",
        f". Gate: {report['gate']['rate']:g} % of {escape(report['gate']['level'])}, "
        f"{report['gate']['evaluated']} evaluated, Lynis {report['gate']['lynis']}.</p>",
    ]
    if report["faults"]:
        parts.append("<ul>" + "".join(f"<li class=fail>{escape(text)}</li>" for text in report["faults"]) + "</ul>")
    parts.append(_summary(report["nodes"]))
    parts += [_node(node) for node in report["nodes"]]
    return "".join(parts) + "</html>\n"


def _summary(nodes: Iterable[Mapping[str, Any]]) -> str:
    heads = ("evaluated", "passed", "failed", "waived", "not live", "not applicable", "rate")
    rows = []
    for node in nodes:
        for level in LEVELS:
            counts = node["levels"][level]
            cells = [counts[head.replace(" ", "_")] for head in heads[:-1]]
            rows.append(
                f"<tr><td><a href='#{escape(node['name'])}'>{escape(node['name'])}</a><td>{level}"
                + "".join(f"<td class=n>{cell}" for cell in cells)
                + f"<td class=n>{counts['rate']} %<td class=n>{node['lynis'].get('index', 0)}"
            )
        counts = node["guide"]
        cells = [counts.get(head.replace(" ", "_"), "") for head in heads[:-1]]
        rows.append(
            f"<tr><td><a href='#{escape(node['name'])}-guide'>{escape(node['name'])}</a><td>Security Guide"
            + "".join(f"<td class=n>{cell}" for cell in cells)
            + "<td><td>"
        )
    head = "".join(f"<th class=n>{escape(text)}" for text in heads)
    return f"<table><tr><th>node<th>level{head}<th class=n>Lynis{''.join(rows)}</table>"


def _node(node: Mapping[str, Any]) -> str:
    name = escape(node["name"])
    out = [f"<h2 id='{name}'>{name} ({escape(', '.join(node['groups']))})</h2>"]
    out += _by_state(node["findings"], "<th>check<th>level<th>rule<th>what<th>", _finding)
    out.append(f"<h3 id='{name}-guide'>{name}, OpenStack Security Guide</h3>")
    out += _by_state(node["guide"]["findings"], "<th>check<th>service<th>what<th>found", _guide_finding)
    for kind in ("warnings", "suggestions"):
        told = node["lynis"].get(kind, [])
        out.append(
            f"<details><summary>Lynis, {kind}: {len(told)}</summary><ul>"
            + "".join(f"<li>{escape(text)}</li>" for text in told)
            + "</ul></details>"
        )
    return "".join(out)


def _by_state(found: Iterable[Mapping[str, Any]], head: str, row: Callable[[Mapping[str, Any]], str]) -> Iterator[str]:
    """Return tables of findings, one per state; those that need attention come first and are open."""
    states: dict[str, list[Mapping[str, Any]]] = {}
    for item in found:
        states.setdefault(item["state"], []).append(item)
    for state in sorted(states, key=lambda name: ORDER.index(name) if name in ORDER else 0):
        opened = " open" if ORDER.index(state) < 4 else ""
        yield (
            f"<details{opened}><summary class='{state.replace(' ', '-')}'>"
            f"{escape(state)}: {len(states[state])}</summary>"
            f"<table><tr>{head}{''.join(map(row, states[state]))}</table></details>"
        )


def _finding(item: Mapping[str, Any]) -> str:
    rules = ", ".join(
        f"<a href='{COMPLIANCE}#{rule.lower()}'>{escape(rule)}</a> <a href='{GUIDE}'>guide</a>"
        for rule in item["rules"]
    )
    return (
        f"<tr><td><code>{escape(item['check'])}</code><td>{escape(item['level'])}<td>{rules}"
        f"<td>{escape(item['title'])}<td>{_why(item)}"
    )


def _guide_finding(item: Mapping[str, Any]) -> str:
    name = item["check"]
    files = ", ".join(f"<code>{escape(path)}</code>" for path in item["files"])
    return (
        f"<tr><td><a href='{SECURITY_GUIDE}#{name.lower()}'>{escape(name)}</a> "
        f"<a href='{BY_NAME[name].url}'>guide</a><td>{escape(item['service'])}<td>{escape(item['title'])}"
        f"<td>{files} {_why(item)}"
    )


def _why(item: Mapping[str, Any]) -> str:
    why = escape(item["why"])
    return f"<a href='{COMPLIANCE}#{escape(item['check'])}'>waiver</a>: {why}" if item["state"] == "waived" else why
