# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Helpers for the tests and the audit of a guest: its playbooks, the content of the scanners, and their results."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from emulated_machine import Guest

from plugins.module_utils.audit import audit
from plugins.module_utils.hardening.rules import NOT_LIVE, not_live, waived, waivers

CONTENT = Path("/var/lib/socle/cache/scap/ssg-debian13-ds.xml")
PLAIN_RULES = HERE / "plain_rules.txt"
LEVEL = "enhanced"
LIMIT = 7200
"""Timeout of a scanner in seconds."""


def harden(guest: Guest) -> int:
    """Prepare the node and harden it. Return the number of changed tasks."""
    told = guest.play(HERE / "converge.yml")
    return int(re.search(r"^ctl1 .*\bchanged=(\d+)", told, re.MULTILINE)[1])  # type: ignore[index]


def judge(
    guest: Guest, checks: Sequence[str] = (), judges: Sequence[str] = ("openscap",), **more: Any
) -> dict[str, Any]:
    """Scan the guest. Return ``checks`` (the result of each), ``lynis`` (its index and more) and ``seconds``.

    With an emulated CPU, OpenSCAP takes 6 minutes for a whole level on a plain node, and more than half an hour on a
    hardened one. Lynis takes more than a quarter of an hour.
    """
    results = guest.dir / "judged.json"
    asked = {"audit_checks": list(checks), "audit_judges": list(judges), "audit_timeout": LIMIT}
    guest.play(HERE / "audit.yml", **asked, guest_results=str(results), **more)
    return json.loads(results.read_text())


def checks_of_the_level() -> frozenset[str]:
    """Return the checks of ANSSI-BP-028 at the gate's level from the content that the last audit downloaded."""
    return audit.read_content(str(CONTENT)).levels[LEVEL]


def excluded_in_containers() -> list[str]:
    """Return those of them that do not apply to a node which shares the kernel and disk of its host."""
    return sorted(check for check in checks_of_the_level() if not_live(check, NOT_LIVE))


def waived_here() -> frozenset[str]:
    """Return the checks that the guest fails on purpose."""
    known = yaml.safe_load((ROOT / "roles/site/files/waivers.yml").read_text())
    own = yaml.safe_load((HERE / "vars.yml").read_text())["site_own_waivers"]
    return frozenset(waived(waivers(known + own), ["control", "nodes"]))


def counted(said: dict[str, str], checks: Sequence[str]) -> dict[str, list[str]]:
    """Group ``checks`` by their results. A check without a result is `missing`."""
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(said.get(check, "missing"), []).append(check)
    return found
