# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Program for a gateway, run from a zip with the collection's engines: make every change from one intent to another.

Reads ``intents.json`` beside it: ``{vrf, gateway, variants: {name: {intent, password, drain}}, alone: [name]}``. Each
variant is started afresh once, in an instance of its own. Other instances then walk through the variants so that every
ordered pair is passed once; those that are ``alone`` are paired with the first one only. After each step the running
configuration must be that of the fresh start. Prints JSON.
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

from plugins.module_utils.rie import frr_host, gateway, netns_host
from plugins.plugin_utils.rie import planner

OWNER = "transitions"
WALKERS = 2
# The drain mark of the gateway itself does not change.
frr_host.DRAINED = Path("/run/socle/transitions-drained")


def circuit(names: list[str], alone: list[str]) -> list[tuple[str, str]]:
    """Return a circuit with every ordered pair once: each pair begins with the end of the pair before (Hierholzer)."""
    first = names[0]

    def paired(one: str, other: str) -> bool:
        return one != other and (first in (one, other) or not {one, other} & set(alone))

    left = {one: [other for other in names if paired(one, other)] for one in names}
    stack, tour = [first], []
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            tour.append(stack.pop())
    tour.reverse()
    return list(pairwise(tour))


def instance(vrf: gateway.Vrf, name: str) -> gateway.Vrf:
    return {**vrf, "name": name, "netns": f"vrf-{name}"}


def put(wanted: dict[str, dict]) -> dict[str, str]:
    """Apply a variant to each instance, by name, and return their running configurations."""
    for drain in {variant["drain"] for variant in wanted.values()}:
        these = {name: variant for name, variant in wanted.items() if variant["drain"] == drain}
        vrfs = [instance(variant["vrf"], name) for name, variant in these.items()]
        passwords = {name: variant["password"] for name, variant in these.items()}
        outcome = frr_host.converge(vrfs, passwords, os.uname().nodename, prune=False, drain=drain)
        if outcome.failed:
            return dict.fromkeys(wanted, f"failed: {outcome.failed}")
    return {name: frr_host.running_config(name) or "failed: it does not answer" for name in wanted}


def walk(name: str, variants: dict, fresh: dict, steps: list[tuple[str, str]]) -> list[dict]:
    """Return the differences from a fresh start, by step."""
    wrong = []
    put({name: variants[steps[0][0]]})
    for one, other in steps:
        found = put({name: variants[other]})[name]
        if found != fresh[other]:
            more, less = (
                [line for line in a.splitlines() if line not in b.splitlines()]
                for a, b in ((found, fresh[other]), (fresh[other], found))
            )
            wrong.append({"from": one, "to": other, "more": more, "less": less})
    return wrong


def main() -> None:
    source = json.loads(pkgutil.get_data("plugins", "intents.json") or b"")
    variants = source["variants"]
    for variant in variants.values():
        result = planner.plan(variant.pop("intent"), {}, site={"gateways": None, "today": "2025-01-01"})
        assert not result.violations, result.violations
        found = result.plan["gateways"][source["gateway"]]["vrfs"]
        variant["vrf"] = next(vrf for vrf in found if vrf["name"] == source["vrf"])
    names = list(variants)
    steps = circuit(names, source["alone"])
    size = -(-len(steps) // WALKERS)
    walks = {f"walk{number}": steps[size * number : size * (number + 1)] for number in range(WALKERS)}
    afresh = {name: f"fresh{number}" for number, name in enumerate(names)}
    everyone = [*afresh.values(), *walks]
    sysctls = gateway.SYSCTLS
    definitions = [{"name": f"vrf-{name}", "owner": OWNER, "sysctls": sysctls, "links": []} for name in everyone]
    started = time.monotonic()
    try:
        netns_host.converge(OWNER, definitions)
        # All instances are in one call, so that systemd reloads its units only once.
        begun = put(
            {name: variants[variant] for variant, name in afresh.items()} | dict.fromkeys(walks, variants[names[0]])
        )
        fresh = {variant: begun[name] for variant, name in afresh.items()}
        if failed := [text for text in begun.values() if text.startswith("failed")]:
            sys.exit("\n".join(failed))
        frr_host.remove(list(afresh.values()))
        with ProcessPoolExecutor(WALKERS) as pool:
            walked = [pool.submit(walk, name, variants, fresh, steps) for name, steps in walks.items()]
            wrong = [entry for future in walked for entry in future.result()]
    finally:
        frr_host.remove(everyone)
        netns_host.converge(OWNER, [])
        frr_host.DRAINED.unlink(missing_ok=True)
    used = os.times()
    told = {
        "steps": len(steps),
        "distinct": len(set(fresh.values())),
        "wrong": wrong,
        "seconds": round(time.monotonic() - started),
        "cpu": round(used.children_user + used.children_system),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
