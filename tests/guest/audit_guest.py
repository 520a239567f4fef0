#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Audit a plain Debian node and a hardened node by ANSSI-BP-028 enhanced, each in a virtual machine.

The rules that apply to the plain node are a fixed set (`plain_rules.txt` beside this file): packages of the hardening
make more rules applicable, and would otherwise change the base of the rate. The hardened node must pass 95 percent of
this set, where a waived rule counts as not passed. The machines are emulated: the plain node takes 6 minutes, the
hardened one, which has many more files, over half an hour, and with `--all` even longer. `--lab` reads the results of
`socle audit` for the nodes of a hardened lab, and scans the machine only with the checks that do not apply to
containers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import judge
from emulated_machine import GuestError, running

from plugins.module_utils.lab.host import LabHostError

TARGET = 95.0
DECIDED = ("pass", "fail")


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--json", metavar="FILE", type=Path, help="write all that was seen as JSON")
    options.add_argument("--fix", action="store_true", help="write plain_rules.txt anew")
    options.add_argument("--only", choices=["plain", "hardened"], help="judge one of the two")
    options.add_argument("--all", action="store_true", help="judge the hardened node by more than the fixed set")
    options.add_argument("--lab", metavar="FILE", type=Path, help="audit.json of a hardened lab: judge the rest only")
    options.add_argument("--lynis", action="store_true", help="ask Lynis as well: half an hour more")
    given = options.parse_args()
    told: dict[str, Any] = {}
    try:
        if given.lab and not given.lab.exists():
            raise GuestError(f"{given.lab}: no report; `socle harden -i lab` and `socle audit -i lab` make it")
        of_lab = lab(given.lab) if given.lab else {}
        for name in ("plain", "hardened"):
            if given.only in (None, name):
                checks = [] if given.all or name == "plain" else left(of_lab, fixed())
                told[name] = see(name, checks, ("openscap", "lynis") if given.lynis else ("openscap",))
                if given.fix and name == "plain":
                    fix(told[name]["checks"])
    except (GuestError, LabHostError, OSError) as fault:
        print(fault, file=sys.stderr)
        return 1
    if of_lab and "hardened" in told:
        rest = told.pop("hardened")
        told |= {name: node | {"checks": rest["checks"] | decided(node)} for name, node in of_lab.items()}
    rules = fixed()
    rows = {name: {**figures(seen, rules), "seconds": seen["seconds"]} for name, seen in told.items()}
    print(table(rows, len(rules)))
    skipped = judge.waived_here()
    hardened = {name: row for name, row in rows.items() if name != "plain"}
    for name, row in hardened.items():
        for check in row["not_passed"]:
            said = told[name]["checks"].get(check, "missing")
            print(f"{name}: {check}: {'waived' if check in skipped else said}")
    if given.json:
        given.json.write_text(json.dumps({"rules": rules, "figures": rows, "said": told}, indent=1) + "\n")
    return int(any(row["rate"] < TARGET for row in hardened.values()))


def lab(path: Path) -> dict[str, dict[str, Any]]:
    """Return the results of an audit by node."""
    return {
        node["name"]: {
            "checks": {found["check"]: found["state"] for found in node["findings"]},
            "lynis": node["lynis"],
            "seconds": {},
        }
        for node in json.loads(path.read_text())["nodes"]
    }


def decided(node: dict[str, Any]) -> dict[str, str]:
    """Return the results that need no other machine: a waived check fails there on purpose."""
    return {check: said for check, said in node["checks"].items() if said in (*DECIDED, "waived")}


def left(nodes: dict[str, dict[str, Any]], rules: list[str]) -> list[str]:
    """Return the rules without a result on at least one node, or all rules if there is no node."""
    seen = [decided(node) for node in nodes.values()]
    return [check for check in rules if not seen or any(check not in one for one in seen)]


def fix(said: dict[str, str]) -> None:
    """Write the fixed set: the checks with a result on the plain node."""
    names = sorted(check for check, result in said.items() if result in DECIDED)
    judge.PLAIN_RULES.write_text("".join(f"{name}\n" for name in names))


def fixed() -> list[str]:
    """Return the fixed set."""
    return judge.PLAIN_RULES.read_text().split()


def see(name: str, checks: Sequence[str], judges: Sequence[str]) -> dict[str, Any]:
    """Scan a machine with these checks, or with all checks of the level if empty, waived ones included."""
    begun = time.monotonic()
    with running(name, plain=name == "plain") as guest:
        guest.run("update-grub")
        if name == "hardened":
            judge.harden(guest)
            guest.reboot()
        said = judge.judge(guest, checks, judges, audit_waivers=[])
    known = judge.checks_of_the_level()
    said["checks"] = {check: result for check, result in said["checks"].items() if check in known}
    print(f"{name}: judged after {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return said


def figures(seen: dict[str, Any], rules: list[str]) -> dict[str, Any]:
    """Return the counts of all results, and the rate on the fixed set."""
    said = seen["checks"]
    passed = [check for check in rules if said.get(check) == "pass"]
    counts = judge.counted(said, sorted(said))
    return {
        **{state: len(counts.get(state, [])) for state in ("pass", "fail", "notapplicable")},
        "of_fixed": len(passed),
        "rate": round(100 * len(passed) / max(1, len(rules)), 1),
        "not_passed": [check for check in rules if check not in passed],
        "lynis": seen["lynis"].get("index", "-"),
    }


def table(rows: dict[str, dict[str, Any]], count: int) -> str:
    """Return the figures as a table with one line per machine."""
    names = {"evaluated": 10, "pass": 6, "fail": 6, "n/a": 6, f"pass of {count}": 14, "rate": 9, "Lynis": 7}
    head = f"{'node':<10}" + "".join(f"{name:>{width}}" for name, width in names.items())
    return "\n".join(
        [head, *(
            f"{name:<10}{row['pass'] + row['fail']:>10}{row['pass']:>6}{row['fail']:>6}{row['notapplicable']:>6}"
            f"{row['of_fixed']:>14}{row['rate']:>7} %{row['lynis']:>7}"
            for name, row in rows.items()
        )]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
