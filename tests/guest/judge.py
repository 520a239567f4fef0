# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""What the tests and the audit of a guest share: its playbooks, the judges' content, and what they said of it."""

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
"""Seconds for a judge."""


def harden(guest: Guest) -> int:
    """Prepare the node and harden it; how many tasks changed something."""
    told = guest.play(HERE / "converge.yml")
    return int(re.search(r"^ctl1 .*\bchanged=(\d+)", told, re.MULTILINE)[1])  # type: ignore[index]


def judge(
    guest: Guest, checks: Sequence[str] = (), judges: Sequence[str] = ("openscap",), **more: Any
) -> dict[str, Any]:
    """What the judges say of the guest: ``checks`` (result of each), ``lynis`` (index...), ``seconds``.

    Of a whole level OpenSCAP says it within 6 minutes on a plain node whose processor is emulated, and takes more than
    half an hour on a hardened one; Lynis takes over a quarter of an hour.
    """
    results = guest.dir / "judged.json"
    asked = {"audit_checks": list(checks), "audit_judges": list(judges), "audit_timeout": LIMIT}
    guest.play(HERE / "audit.yml", **asked, guest_results=str(results), **more)
    return json.loads(results.read_text())


def checks_of_the_level() -> frozenset[str]:
    """The checks of ANSSI-BP-028 at the gate's level, of the content that the last audit fetched."""
    return audit.read_content(str(CONTENT)).levels[LEVEL]


def excluded_in_containers() -> list[str]:
    """Those of them that say nothing about a node which shares its host's kernel and disk."""
    return sorted(check for check in checks_of_the_level() if not_live(check, NOT_LIVE))


def waived_here() -> frozenset[str]:
    """Checks that the guest does not meet on purpose."""
    known = yaml.safe_load((ROOT / "roles/site/files/waivers.yml").read_text())
    own = yaml.safe_load((HERE / "vars.yml").read_text())["site_own_waivers"]
    return frozenset(waived(waivers(known + own), ["control", "nodes"]))


def counted(said: dict[str, str], checks: Sequence[str]) -> dict[str, list[str]]:
    """``checks`` by what was said of them; what was not evaluated is `missing`."""
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(said.get(check, "missing"), []).append(check)
    return found
