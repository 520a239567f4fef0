#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Measure `socle wire` of a gateway with a hundred VRFs: once without a change, and once with a new VRF.

The gateway and its provider edge are machines of a separate lab, with the names of inventories/lab on other networks.
The plan comes from an intent with as many tenants. There is no OpenStack and no second gateway, so sessions with those
stay down. Every session with the provider edge must be up before a VRF is added, and must not restart afterwards. The
machines are always removed at the end.

The machine that runs this program also runs the provider edge, and its switches may lack a kernel datapath. Then 200
BFD sessions of 300 ms alone keep two cores busy, and the figures only show how these cores are shared. So BFD sends
once per second here, unless `--bfd` sets another interval.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT)]

from socle.lab import nodes
from socle.project import Site

BIN = ROOT / ".venv" / "bin"
LAB = ROOT / "inventories" / "lab"
SITE = Site(ROOT / ".socle" / "bench" / "gateway")
GATEWAY, BACKBONE = "gw1", "rie"
OWN = {"10.99.": "10.96.", "sol-": "ben-", "lab_name: lab": "lab_name: bench", ".socle/lab/": ".socle/bench/"}
"""Differences from the lab, so that both can exist at the same time."""

TARGETS = {"no_change": 10.0, "add": 10.0}
"""In seconds."""

SESSIONS = """
import json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
def ask(vrf):
    text = subprocess.run(["vtysh", "-N", vrf, "-c", "show bgp summary json"], text=True, capture_output=True).stdout
    families = json.loads(text or "{}").values()
    peers = {name: peer for family in families for name, peer in family.get("peers", {}).items()}
    keys = "state", "connectionsDropped", "peerUptimeEstablishedEpoch"
    return {name: [peer.get(key) for key in keys] for name, peer in peers.items()}
vrfs = sys.stdin.read().split()
with ThreadPoolExecutor(4) as pool:
    print(json.dumps(dict(zip(vrfs, pool.map(ask, vrfs)))))
"""
MEMORY = """
import pathlib
total = 0
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if (process / "comm").read_text().strip() in ("bgpd", "zebra", "staticd", "bfdd", "mgmtd", "watchfrr"):
            rollup = (process / "smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0])
    except OSError:
        pass
print(total // 1024)
"""


def main() -> int:
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    results: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "vrfs": options.vrfs}
    results["bfd_ms"] = options.bfd
    try:
        measure(results, options.vrfs, options.bfd)
    except KeyboardInterrupt:
        return 130
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            say("remove the machines")
            subprocess.run([BIN / "socle", "lab", "down", "-i", SITE.path], stdout=sys.stderr)
    verdicts = {
        name: {"value": results[name], "target": target, "met": results[name] <= target}
        for name, target in TARGETS.items()
    }
    print(json.dumps({**results, "verdicts": verdicts}, indent=2) if options.json else table(results, verdicts))
    if results["sessions_lost"]:
        print(f"bench: {results['sessions_lost']} sessions of other VRFs did not live on", file=sys.stderr)
        return 1
    return int(options.gate and not all(verdict["met"] for verdict in verdicts.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; progress is on stderr")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--vrfs", type=int, default=100, help="VRFs before one is added (default: 100)")
    parser.add_argument("--bfd", type=int, default=1000, metavar="MS", help="interval of BFD (default: 1000 ms)")
    parser.add_argument("--keep", action="store_true", help="leave the machines (`socle lab down` removes them)")
    return parser.parse_args()


def measure(results: dict[str, Any], count: int, bfd: int) -> None:
    """Fill ``results`` with seconds by step."""
    inventory()
    intend(count + 1, bfd)  # the provider edge is ready for the new VRF
    subprocess.run([BIN / "socle", "secrets", "init", "-i", SITE.path], stdout=sys.stderr, check=True)
    say("make and prepare the machines")
    command: list[str | Path] = [
        BIN / "ansible-playbook",
        "-i",
        SITE.path,
        "--vault-password-file",
        SITE.vault_password_file,
    ]
    limit = ["--limit", f"localhost,{GATEWAY},{BACKBONE}"]
    subprocess.run([*command, "tests/bench/gateway.yml", *limit], stdout=sys.stderr, check=True)
    intend(count, bfd)
    wire(results, "first")
    before = settled(count)
    wire(results, "no_change")
    if changed := results["runs"]["no_change"]["changed"]:
        raise RuntimeError(f"the run that should change nothing changed {changed} tasks")
    intend(count + 1, bfd)
    wire(results, "add")
    after = settled(count + 1)
    results["sessions"] = sum(map(len, before.values()))
    results["sessions_lost"] = sum(
        not same(session, after[vrf][neighbor]) for vrf, found in before.items() for neighbor, session in found.items()
    )
    results["megabytes"] = int(on_gateway(MEMORY))


def same(before: list[Any], after: list[Any]) -> bool:
    """Tell whether a session has not restarted. The start time that FRR reports is rounded."""
    return before[1] == after[1] and abs(before[2] - after[2]) <= 2


def inventory() -> None:
    """Write the lab's inventory with other networks and without its tenants; remove earlier allocations."""
    shutil.rmtree(SITE.path, ignore_errors=True)
    given = [path for path in LAB.glob("group_vars/**/*.yml") if path.name != "secrets.yml"]
    for source in (LAB / "hosts.yml", *given):
        text = source.read_text(encoding="utf-8")
        for theirs, ours in OWN.items():
            text = text.replace(theirs, ours)
        target = SITE.path / source.relative_to(LAB)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    machines = {"lab_hosts": [GATEWAY, BACKBONE]}
    (SITE.path / "group_vars" / "all" / "machines.yml").write_text(yaml.safe_dump(machines), encoding="utf-8")
    backbone = SITE.path / "group_vars" / "backbone.yml"
    given = yaml.safe_load(backbone.read_text(encoding="utf-8"))
    given |= {"backbone_sites": [], "backbone_uplinks": {GATEWAY: given["backbone_uplinks"][GATEWAY]}}
    backbone.write_text(yaml.safe_dump(given), encoding="utf-8")


def intend(count: int, bfd: int) -> None:
    """Write an intent of ``count`` tenants with one VRF each, and the interval of BFD (ms)."""
    given = yaml.safe_load((LAB / "group_vars" / "all" / "rie.yml").read_text(encoding="utf-8"))
    given["rie_bgp"]["bfd"] |= {"transmit_ms": bfd, "receive_ms": bfd}
    given["rie_tenants"] = [tenant(number) for number in range(1, count + 1)]
    path = SITE.path / "group_vars" / "all" / "rie.yml"
    path.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")


def tenant(number: int) -> dict[str, Any]:
    name = f"v{number:03}"
    target = f"64900:{number}"
    vrf = {
        "name": name,
        "import_targets": [target],
        "export_targets": [target],
        "communities": [f"65010:{number}"],
        "delegated": {"v4": ["10.20.0.0/16"], "v6": [f"fd20:0:{number:x}::/48"]},
        "networks": [{"name": "web", "v4": "10.20.0.0/24", "v6": f"fd20:0:{number:x}:1::/64"}],
        "accept": {"v4": [{"prefix": "10.128.0.0/16", "le": 28}], "v6": [{"prefix": "fd80::/32", "le": 64}]},
        "max_prefixes": {"v4": 100, "v6": 100},
        "links": {gateway: link(name, number, half) for half, gateway in enumerate((GATEWAY, "gw2"))},
    }
    return {"name": name, "project": name, "quotas": {"network": 10}, "vrfs": [vrf]}


def link(vrf: str, number: int, half: int) -> dict[str, Any]:
    base = ipaddress.ip_address("100.66.0.0") + 32768 * half + 4 * number
    return {
        "vlan": 2000 + 1000 * half + number,
        "asn": 64900,
        "local_v4": f"{base + 2}/30",
        "peer_v4": str(base + 1),
        "local_v6": f"fd66:{half + 1}:{number:x}::2/64",
        "peer_v6": f"fd66:{half + 1}:{number:x}::1",
        "password_secret": f"bgp_{vrf}",
    }


def wire(results: dict[str, Any], name: str) -> None:
    """Time a whole run of `socle wire` of the gateway."""
    say(f"measure {name}")
    begun = time.monotonic()
    process = subprocess.Popen(
        [BIN / "socle", "wire", "-i", SITE.path, "--limit", GATEWAY, "--json"], stdout=subprocess.PIPE
    )
    try:
        outcome = json.loads(process.communicate()[0] or "{}")
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        raise
    results[name] = round(time.monotonic() - begun, 1)
    say(f"{name}: {results[name]} s")
    if process.returncode:
        raise RuntimeError(f"the wiring ({name}) failed with {process.returncode}: {outcome.get('failures')}")
    results.setdefault("runs", {})[name] = outcome["totals"]


def settled(count: int, timeout: float = 120.0) -> dict[str, dict[str, Any]]:
    """Wait until all sessions with the provider edge are up; return by VRF and neighbor when each came up."""
    vrfs = {f"v{number:03}": tenant(number)["vrfs"][0]["links"][GATEWAY] for number in range(1, count + 1)}
    deadline = time.monotonic() + timeout
    while True:
        seen = json.loads(on_gateway(SESSIONS, " ".join(vrfs)))
        found = {
            name: {neighbor: seen[name].get(neighbor) for neighbor in (edge["peer_v4"], edge["peer_v6"])}
            for name, edge in vrfs.items()
        }
        down = [
            f"{name} {neighbor}"
            for name, sessions in found.items()
            for neighbor, session in sessions.items()
            if not session or session[0] != "Established"
        ]
        if not down:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(down)} sessions are not up after {timeout:.0f} s: {', '.join(down[:5])} ...")
        time.sleep(1)


def on_gateway(program: str, stdin: str = "") -> str:
    """Run a Python program on the gateway; return its output."""
    ssh = next(node.ssh for node in nodes(SITE) if node.name == GATEWAY)
    quoted = "'" + program.replace("'", "'\\''") + "'"
    done = subprocess.run([*ssh, f"python3 -c {quoted}"], input=stdin, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{GATEWAY}: {done.stderr[-800:]}")
    return done.stdout


def table(results: dict[str, Any], verdicts: dict[str, dict[str, Any]]) -> str:
    """Return the figures as text."""
    cores, load, count, bfd = (results[key] for key in ("cores", "load", "vrfs", "bfd_ms"))
    lines = [f"{cores} cores, load {load} at the start, {count} VRFs, BFD every {bfd} ms"]
    rows = (("first", "wire all"), ("no_change", "wire again"), ("add", "add a VRF"))
    for key, title in rows:
        line = f"{title:12}{results[key]:8.1f} s"
        if verdict := verdicts.get(key):
            line += f"   target {verdict['target']:g} s: {'met' if verdict['met'] else 'MISSED'}"
        lines.append(line)
    lost = f"{results['sessions_lost']} lost by the addition"
    lines.append(f"{results['sessions']} sessions with the provider edge, {lost}")
    lines.append(f"{results['megabytes']} MB of memory in FRR")
    return "\n".join(lines)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
