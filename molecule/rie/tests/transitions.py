# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Runs on a gateway, from a zip with the collection's module_utils: every change from one intent to another.

Reads ``intents.json`` beside it: ``{vrf, gateway, variants: {name: {intent, password, drained}}}``. Each variant is
started afresh once, in an instance of its own. Other instances then walk through the variants so that every ordered
pair is passed once, and after each step their running configuration must be that of the fresh start. Prints JSON.
"""

from __future__ import annotations

import json
import os
import pkgutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

from module_utils import frr_host, gateway, l3vpn, netns, vrf_netns_host

OWNER = "transitions"
WALKERS = 2


def circuit(count: int) -> list[tuple[int, int]]:
    """Every ordered pair of different numbers once, each beginning where the one before ends (Hierholzer)."""
    left = {one: [other for other in range(count) if other != one] for one in range(count)}
    stack, tour = [0], []
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            tour.append(stack.pop())
    tour.reverse()
    return list(pairwise(tour))


def instance(vrf: dict, name: str) -> dict:
    return {**vrf, "name": name, "netns": f"vrf-{name}"}


def put(name: str, variant: dict) -> str:
    """Bring an instance to a variant; its running configuration."""
    # Each has a mark of its own, and the gateway's is not touched.
    frr_host.DRAINED = Path(f"/run/socle/transitions-{name}")
    vrfs = [instance(variant["vrf"], name)]
    outcome = frr_host.converge(vrfs, {name: variant["password"]}, os.uname().nodename, False, variant["drained"])
    if outcome.failed:
        return f"failed: {outcome.failed}"
    return frr_host.running_config(name) or "failed: it does not answer"


def walk(name: str, variants: dict, fresh: dict, steps: list[tuple[str, str]]) -> list[dict]:
    """What is not as after a fresh start, by step."""
    wrong = []
    put(name, variants[steps[0][0]])
    for one, other in steps:
        found = put(name, variants[other])
        if found != fresh[other]:
            more, less = (
                [line for line in a.splitlines() if line not in b.splitlines()]
                for a, b in ((found, fresh[other]), (fresh[other], found))
            )
            wrong.append({"from": one, "to": other, "more": more, "less": less})
    return wrong


def main() -> None:
    source = json.loads(pkgutil.get_data("module_utils", "intents.json") or b"")
    variants = source["variants"]
    for variant in variants.values():
        result = l3vpn.plan(variant.pop("intent"), {}, site={"gateways": None, "today": "2025-01-01"})
        assert not result.violations, result.violations
        found = result.plan["gateways"][source["gateway"]]["vrfs"]
        variant["vrf"] = next(vrf for vrf in found if vrf["name"] == source["vrf"])
    names = list(variants)
    steps = [(names[one], names[other]) for one, other in circuit(len(names))]
    size = -(-len(steps) // WALKERS)
    walks = {f"walk{number}": steps[size * number : size * (number + 1)] for number in range(WALKERS)}
    afresh = {name: f"fresh{number}" for number, name in enumerate(names)}
    everyone = [*afresh.values(), *walks]
    sysctls = gateway.SYSCTLS
    definitions = [{"name": f"vrf-{name}", "owner": OWNER, "sysctls": sysctls, "links": []} for name in everyone]
    started = time.monotonic()
    try:
        vrf_netns_host.converge(OWNER, definitions)
        with ProcessPoolExecutor(4) as pool:
            fresh = dict(zip(names, pool.map(put, afresh.values(), variants.values()), strict=True))
            if failed := [text for text in fresh.values() if text.startswith("failed")]:
                sys.exit("\n".join(failed))
            _remove(list(afresh.values()))
            walked = [pool.submit(walk, name, variants, fresh, steps) for name, steps in walks.items()]
            wrong = [entry for future in walked for entry in future.result()]
    finally:
        _remove(everyone)
        vrf_netns_host.converge(OWNER, [])
    seconds = round(time.monotonic() - started)
    told = {"steps": len(steps), "distinct": len(set(fresh.values())), "wrong": wrong, "seconds": seconds}
    json.dump(told, sys.stdout)


def _remove(names: list[str]) -> None:
    units = [frr_host.unit_name(name) for name in names]
    netns.run(["systemctl", "disable", "--now", "--quiet", "--", *units], check=False)
    for name in names:
        frr_host._remove(name)
        Path(f"/run/socle/transitions-{name}").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
