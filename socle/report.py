# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The closing lines of a run: failures and where to look, violations and their reasons, one summary line."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from .runs import INTERRUPTED, OK, Outcome


def show(outcome: Outcome, console: Console) -> None:
    for line in lines(outcome):
        console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def lines(outcome: Outcome) -> list[str]:
    """Return the closing lines of `outcome`; the summary is always the last one."""
    text = _findings(outcome.notices, "warning: ")
    if outcome.violations:
        text.append(f"{len(outcome.violations)} violation(s) in the inventory; no node was touched")
        text += _findings(outcome.violations)
    else:
        for failure in outcome.failures:
            text += _failure(failure)
    for host, verbs in sorted(outcome.units.items()):
        text += [f"{verb} on {host}: {' '.join(sorted(set(units)))}" for verb, units in verbs.items() if units]
    if outcome.exit_code == INTERRUPTED:
        text.append("interrupted: run the same command again to finish")
    text += [f"report: {path}" for path in outcome.reports]
    if outcome.exit_code != OK:
        text.append(f"artifacts: {outcome.artifacts}")
    totals = outcome.totals
    counts = f"ok={totals.get('ok', 0)} changed={totals.get('changed', 0)} failed={totals.get('failed', 0)}"
    if totals.get("unreachable"):
        counts += f" unreachable={totals['unreachable']}"
    return [*text, f"{counts} in {outcome.seconds:.1f} s"]


def _failure(failure: dict[str, Any]) -> list[str]:
    where = f"{failure['host']} · {failure['task']}" if failure["host"] else "ansible"
    text = [f"{'unreachable' if failure['unreachable'] else 'failed'}: {where}"]
    return text + [f"  {line}" for line in (failure["message"] + "\n" + failure["detail"]).splitlines() if line.strip()]


def _findings(found: list[dict[str, Any]], mark: str = "") -> list[str]:
    text: list[str] = []
    for violation in found:
        where = ":".join(str(violation[key]) for key in ("file", "line") if violation.get(key))
        value = f" = {violation['value']}" if violation.get("value") not in (None, "") else ""
        text.append(f"{mark}{where}  {violation.get('path', '')}{value}")
        text.append(f"    {violation.get('reason', '')}")
        if violation.get("remedy"):
            text.append(f"    -> {violation['remedy']}")
    return text
