# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of the scanners' results: the SCAP content, its tailoring by the waivers, counts, and the verdict.

One scan serves all four levels: the tailored profile is the highest level, with the additional checks of lower ones. A
level's figures count its checks. *Evaluated* checks are those that passed or failed. A waived check is not evaluated; a
check that is unsupported on this node (`not live`) is evaluated and counted separately. The exit code of oscap is
ignored. Of the OpenStack Security Guide, every check of a service on the node must pass unless it is waived.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from ..hardening.rules import LEVELS, Waiver, not_live, waived
from .security_guide import CHECKS as GUIDE

XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"
RULE = "xccdf_org.ssgproject.content_rule_"
PROFILE = "xccdf_org.ssgproject.content_profile_anssi_bp28_"
VALUE = "xccdf_org.ssgproject.content_value_"
TAILORED = "xccdf_cloudwatt.socle_profile_anssi"
DECIDED = ("pass", "fail")
FAILED = ("fail", "error", "unknown", "missing")


class AuditError(ValueError):
    """Content, results or a former report cannot be used; the message names it and the reason."""


@dataclass(frozen=True)
class Check:
    """A check of the content: its title, severity, the ANSSI rules that it tests, and the lowest level that has it."""

    name: str
    title: str
    severity: str
    rules: tuple[str, ...]
    level: str


@dataclass(frozen=True)
class Content:
    """The checks of ANSSI-BP-028, and the levels that select each."""

    checks: Mapping[str, Check]
    levels: Mapping[str, frozenset[str]]


def read_content(path: str) -> Content:
    """Read profiles and checks of a datastream.

    :raises AuditError: it has no ANSSI-BP-028 profiles, like Debian 12's streams on Debian 13.
    """
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as fault:
        raise AuditError(f"{path}: {fault}") from None
    levels: dict[str, frozenset[str]] = {}
    for profile in root.iter(f"{XCCDF}Profile"):
        name = profile.get("id", "")
        if name.startswith(PROFILE) and name.removeprefix(PROFILE) in LEVELS:
            levels[name.removeprefix(PROFILE)] = frozenset(
                str(select.get("idref")).removeprefix(RULE)
                for select in profile.iter(f"{XCCDF}select")
                if select.get("selected") == "true" and str(select.get("idref")).startswith(RULE)
            )
    if set(levels) != set(LEVELS):
        raise AuditError(f"{path}: has not the profiles anssi_bp28_{', '.join(LEVELS)}: is it the stream of Debian 13?")
    checks: dict[str, Check] = {}
    for rule in root.iter(f"{XCCDF}Rule"):
        name = str(rule.get("id")).removeprefix(RULE)
        level = next((level for level in LEVELS if name in levels[level]), "")
        if not level:
            continue
        references = (item for item in rule.iter(f"{XCCDF}reference") if "cyber.gouv.fr" in item.get("href", ""))
        rules = tuple(dict.fromkeys(str(item.text) for item in references if item.text))
        title = "".join(rule.find(f"{XCCDF}title").itertext())  # type: ignore[union-attr]
        checks[name] = Check(name, " ".join(title.split()), str(rule.get("severity")), rules, level)
    return Content(checks, levels)


def tailoring(content: Content, known: Iterable[Waiver], groups: Iterable[str], values: Mapping[str, str]) -> str:
    """The tailoring of a node of ``groups``: all levels, without waived checks; ``values`` are the site's."""
    skip = waived(known, groups)
    more = frozenset().union(*content.levels.values()) - content.levels["high"]
    lines = [f'<select idref={quoteattr(RULE + name)} selected="true"/>' for name in sorted(more - set(skip))]
    for name, waiver in sorted(item for item in skip.items() if item[0] in content.checks):
        lines.append(
            f'<select idref={quoteattr(RULE + name)} selected="false"><remark>{escape(waiver.reason)}</remark></select>'
        )
    lines += [
        f"<set-value idref={quoteattr(VALUE + name)}>{escape(value)}</set-value>"
        for name, value in sorted(values.items())
    ]
    body = "".join(f"    {line}\n" for line in lines)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Tailoring xmlns="http://checklists.nist.gov/xccdf/1.2" id="xccdf_cloudwatt.socle_tailoring_anssi">\n'
        '  <version time="2026-01-01T00:00:00">1</version>\n'
        f'  <Profile id="{TAILORED}" extends="{PROFILE}high">\n'
        '    <title override="true">ANSSI-BP-028, all levels, without the waived checks</title>\n'
        f"{body}  </Profile>\n</Tailoring>\n"
    )


def scan_argv(content: str, tailored: str, results: str, chosen: Sequence[str]) -> list[str]:
    """Return the command that evaluates the profile in the file ``tailored``, or only its ``chosen`` checks."""
    only = [word for name in chosen for word in ("--rule", RULE + name.removeprefix(RULE))]
    start = ["oscap", "xccdf", "eval", "--profile", TAILORED, "--tailoring-file", tailored]
    return [*start, *only, "--results", results, content]


def read_results(path: str) -> dict[str, str]:
    """Return the result of each selected check: pass, fail, notapplicable, notchecked, error, unknown."""
    found: dict[str, str] = {}
    for _, element in ET.iterparse(path):
        if element.tag == f"{XCCDF}rule-result":
            said = element.findtext(f"{XCCDF}result", "unknown")
            if said != "notselected":
                found[str(element.get("idref")).removeprefix(RULE)] = said
    if not found:
        raise AuditError(f"{path}: no check was evaluated")
    return found


@dataclass(frozen=True)
class Node:
    """A scanned node: its groups, the settings unsupported on it, and the results of each scanner.

    ``results`` of each SCAP check; ``lynis``: index, warnings, suggestions; ``guide``: {state, why, files} by id.
    """

    name: str
    groups: tuple[str, ...]
    places: tuple[str, ...]
    results: Mapping[str, str]
    lynis: Mapping[str, Any]
    guide: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0


def findings(content: Content, node: Node, known: Sequence[Waiver]) -> list[dict[str, Any]]:
    """Return every check of every level: its state (pass, fail, waived, not live, not applicable...) and the reason."""
    skip = waived(known, node.groups)
    out = []
    for name, check in sorted(content.checks.items()):
        state, why = node.results.get(name, "missing"), ""
        if name in skip:
            state, why = "waived", f"{skip[name].reason} Instead: {skip[name].control}"
        elif state in DECIDED and (reason := not_live(name, node.places)):
            state, why = "not live", reason
        out.append(
            {
                "check": name,
                "title": check.title,
                "severity": check.severity,
                "rules": list(check.rules),
                "level": check.level,
                "state": {"notapplicable": "not applicable"}.get(state, state),
                "said": node.results.get(name, ""),
                "why": why,
            }
        )
    return out


def figures(content: Content, found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return counts for each level; ``rate`` is the share of passed in passed and failed checks, in percent."""
    out: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        mine = [item for item in found if item["check"] in content.levels[level]]

        def count(*states: str, mine: Sequence[Mapping[str, Any]] = mine) -> int:
            return sum(item["state"] in states for item in mine)

        passed, failed = count("pass"), count(*FAILED)
        out[level] = {
            "checks": len(mine),
            "evaluated": sum(item["said"] in DECIDED for item in mine),
            "passed": passed,
            "failed": failed,
            "waived": count("waived"),
            "not_live": count("not live"),
            "not_applicable": count("not applicable"),
            "rate": round(100 * passed / max(1, passed + failed), 1),
        }
    return out


def guide_findings(node: Node, known: Sequence[Waiver]) -> list[dict[str, Any]]:
    """Return every check of the OpenStack Security Guide: its state, and the files and values that cause it."""
    skip = waived(known, node.groups)
    out = []
    for check in GUIDE:
        told = node.guide.get(check.name, {})
        said, why = str(told.get("state", "missing")), str(told.get("why", ""))
        state = {"notapplicable": "not applicable"}.get(said, said)
        if check.name in skip and said in DECIDED:
            state, why = "waived", f"{skip[check.name].reason} Instead: {skip[check.name].control}"
        out.append(
            {
                "check": check.name,
                "title": check.title,
                "service": check.service.title,
                "state": state,
                "said": said,
                "why": why,
                "files": list(told.get("files", [])),
            }
        )
    return out


def guide_figures(found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return counts of the OpenStack Security Guide."""

    def count(*states: str) -> int:
        return sum(item["state"] in states for item in found)

    passed, failed = count("pass"), count("fail", "missing")
    return {
        "checks": len(found),
        "evaluated": passed + count("fail"),
        "passed": passed,
        "failed": failed,
        "waived": count("waived"),
        "not_applicable": count("not applicable"),
    }


@dataclass(frozen=True)
class Gate:
    """The limits for a node: at ``level``, a pass rate (percent) and a number of evaluated checks; Lynis' index."""

    level: str
    rate: float
    evaluated: int
    lynis: int


@dataclass(frozen=True)
class Expected:
    """A check that nodes of ``groups`` are expected to fail, and the reason."""

    check: str
    groups: tuple[str, ...]
    reason: str


def expected(entries: Sequence[Mapping[str, Any]], content: Content) -> list[Expected]:
    """Return the expected failures: ``[{check, groups, reason}]``.

    :raises AuditError: an entry lacks one of its parts, or its check is in no level.
    """
    found: list[Expected] = []
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        check, groups, reason = (entry.get(key) for key in ("check", "groups", "reason"))
        if set(entry) != {"check", "groups", "reason"} or not isinstance(groups, (list, tuple)) or not groups:
            faults.append(f"entry {number} ({check}): give check, groups and reason, and nothing else")
        elif len(str(reason or "").split()) < 3:
            faults.append(f"entry {number} ({check}): say in a sentence why it fails")
        elif check not in content.checks:
            faults.append(f"entry {number}: {check} is no check of any level")
        else:
            found.append(Expected(str(check), tuple(groups), str(reason)))
    if faults:
        raise AuditError(f"audit_expected_failures: {'; '.join(faults)}")
    return found


def report(
    content: Content,
    nodes: Sequence[Node],
    known: Sequence[Waiver],
    gate: Gate,
    before: Mapping[str, Any] | None,
    made: str,
    failures: Sequence[Expected] = (),
) -> dict[str, Any]:
    """Return the report, ready for JSON.

    ``ok`` is false if a node is below its gate, if a check of its level fails that is not among ``failures``, if one of
    these passes, or if a result is worse than in ``before``.
    """
    former = {item["name"]: item for item in (before or {}).get("nodes", [])}
    out: list[dict[str, Any]] = []
    faults: list[str] = []
    for node in nodes:
        found, guide = findings(content, node, known), guide_findings(node, known)
        counts, guide_counts = figures(content, found), guide_figures(guide)
        old = former.get(node.name)
        told = _missed(counts[gate.level], node.lynis, gate)
        told += _unexpected(found, content.levels[gate.level], node.groups, failures, old)
        told += _fewer(counts, old, gate.level) if old else []
        told += _guide_faults(guide, guide_counts, (old or {}).get("guide"))
        faults += [f"{node.name}: {text}" for text in told]
        out.append(
            {
                "name": node.name,
                "groups": list(node.groups),
                "levels": counts,
                "lynis": dict(node.lynis),
                "seconds": node.seconds,
                "findings": found,
                "guide": {**guide_counts, "findings": guide},
                "since": _since([*found, *guide], old),
            }
        )
    return {
        "made": made,
        "compared_with": (before or {}).get("made", ""),
        "gate": {"level": gate.level, "rate": gate.rate, "evaluated": gate.evaluated, "lynis": gate.lynis},
        "nodes": out,
        "faults": faults,
        "ok": not faults and bool(nodes),
    }


def _missed(counts: Mapping[str, Any], lynis: Mapping[str, Any], gate: Gate) -> list[str]:
    out = []
    if counts["evaluated"] < gate.evaluated:
        out.append(f"{counts['evaluated']} checks of {gate.level} were evaluated, and {gate.evaluated} must be")
    if counts["rate"] < gate.rate:
        out.append(f"{counts['rate']} % of {gate.level} pass, and {gate.rate} % must; {counts['failed']} fail")
    if lynis.get("index", 0) < gate.lynis:
        out.append(f"Lynis' index is {lynis.get('index', 0)}, and {gate.lynis} must be")
    return out


def _unexpected(
    found: Sequence[Mapping[str, Any]],
    level: frozenset[str],
    groups: Sequence[str],
    failures: Sequence[Expected],
    old: Mapping[str, Any] | None,
) -> list[str]:
    """Return checks that now fail but passed before, checks of the level that fail, and expected failures that pass."""
    passed = _passed(old) if old else set()
    allowed = {item.check for item in failures if {"all", *groups} & set(item.groups)}
    out = []
    for item in found:
        check, state = item["check"], item["state"]
        if state in FAILED and check not in allowed and (check in level or (check in passed and state == "fail")):
            why = "passed and now does not" if check in passed else "does not pass"
            remedy = "" if check in passed else ": mend it, waive it, or name it in audit_expected_failures"
            out.append(f"{check} {why}{remedy}")
        elif state == "pass" and check in allowed:
            out.append(f"{check} passes: take it out of audit_expected_failures")
    return out


def _fewer(counts: Mapping[str, Any], old: Mapping[str, Any], level: str) -> list[str]:
    """Report if the number of evaluated checks has fallen by a twentieth or more."""
    had, has = old["levels"][level]["evaluated"], counts[level]["evaluated"]
    return [f"only {has} checks of {level} were evaluated, after {had} the last time"] if has < 0.95 * had else []


def _passed(old: Mapping[str, Any]) -> set[str]:
    return {item["check"] for item in old["findings"] if item["state"] == "pass"}


def _guide_faults(
    found: Sequence[Mapping[str, Any]], counts: Mapping[str, int], old: Mapping[str, Any] | None
) -> list[str]:
    """Return failed checks, and whether they passed last time; report if 5 % fewer checks were evaluated."""
    passed = _passed(old) if old else set()
    out = []
    for item in found:
        if item["state"] in ("fail", "missing"):
            before = "passed and now does not" if item["check"] in passed else "does not pass"
            out.append(f"{item['check']} {before}: {item['why'] or 'nothing was said of it'}")
    # Checks waived since the last time are not evaluated either, but on purpose.
    had = old["evaluated"] + old["waived"] if old else 0
    if counts["evaluated"] + counts["waived"] < 0.95 * had:
        out.append(f"only {counts['evaluated']} checks of the Security Guide were evaluated, after {had} the last time")
    return out


def _since(found: Sequence[Mapping[str, Any]], old: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return checks whose state has changed since the last time, by their present state."""
    if not old:
        return {}
    every = [*old["findings"], *old.get("guide", {}).get("findings", [])]
    states = {item["check"]: item["state"] for item in every}
    out: dict[str, list[str]] = {}
    for item in found:
        if states.get(item["check"], item["state"]) != item["state"]:
            out.setdefault(item["state"], []).append(item["check"])
    return out


def read_lynis(text: str) -> dict[str, Any]:
    """Return index (0-100), warnings and suggestions of lynis-report.dat."""
    index, told = 0, {"warning": [], "suggestion": []}  # type: tuple[int, dict[str, list[str]]]
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "hardening_index" and value.isdigit():
            index = int(value)
        elif key.removesuffix("[]") in told:
            parts = value.split("|")
            told[key.removesuffix("[]")].append(": ".join(parts[:2]))
    return {"index": index, "warnings": told["warning"], "suggestions": told["suggestion"]}
