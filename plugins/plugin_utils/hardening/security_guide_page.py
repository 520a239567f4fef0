# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The page of the OpenStack Security Guide: each active check, its subject, and its waivers."""

from __future__ import annotations

from collections.abc import Sequence

from ...module_utils.audit.security_guide import BY_NAME, CHECKS, GUIDE
from ...module_utils.audit.security_guide_services import SERVICES
from ...module_utils.hardening.rules import Waiver

HEAD = f"""\
# Checks of the OpenStack Security Guide

Written by `scripts/docs` from the table of checks; do not edit. `socle audit` evaluates them on every node: see
[hardening.md](../hardening.md). The guide has the reasons: {GUIDE}/checklist.html
"""


def page(known: Sequence[Waiver]) -> str:
    """Return the page as Markdown."""
    out = [HEAD]
    for service in SERVICES:
        there = f"package {' or '.join(service.packages)}; a unit {' or '.join(service.units)}"
        out.append(f"\n## {service.title}\n\nOn a node that has: {there}, enabled or running.\n\n")
        out.append("| check | requirement | subject |\n|---|---|---|\n")
        for check in (check for check in CHECKS if check.service is service):
            where = f"{check.looks_at}{'; on nodes with the API' if check.api else ''}"
            row = f'<a id="{check.name.lower()}"></a>[{check.name}]({check.url}) | {check.title} | {where}'
            out.append(f"| {row} |\n")
    out.append("\n## Waivers\n\n")
    mine = [item for item in known if item.check in BY_NAME]
    out += [f"- {item.check} ({', '.join(item.groups)}): {item.reason} {item.control}\n" for item in mine]
    return "".join(out if mine else [*out, "None.\n"])
