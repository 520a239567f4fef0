#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Measure the packets that tenants lose when a part of the wiring fails or a gateway is drained, on a deployed lab.

The site of every ministry sends pings to the smoke guest of its own VRF over IPv4 and IPv6, from several addresses, so
that the flows are hashed to both gateways. It also sends pings to guests of other VRFs, which must never answer.
Meanwhile, one part fails and is repaired. The outage of a flow is its longest sequence of pings without an answer. The
guests are those of `socle verify`, so run it first. Every fault is always undone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT)]

from socle.lab import nodes
from socle.project import Site, find_site

SOCLE = str(ROOT / ".venv" / "bin" / "socle")
INTERVAL = 0.05
SOURCES = 4
OUTAGE = 1.0
"""Longest outage in seconds that a fault may cause."""

PROBE = """
import json, re, signal, subprocess, sys, tempfile
wanted = json.loads(sys.stdin.readline())
flows = []
for flow in wanted["flows"]:
    # No deadline (-w): with one, ping ends at the first error a router reports.
    argv = ["ip", "netns", "exec", flow["netns"], "ping", "-n", "-i", str(wanted["interval"]), "-W", "1",
            "-I", flow["source"], flow["target"]]
    # A file: a pipe that nobody reads is full after a minute.
    said = tempfile.TemporaryFile("w+")
    flows.append((flow, said, subprocess.Popen(argv, stdout=said, stderr=subprocess.DEVNULL)))
print("started", flush=True)
sys.stdin.readline()
for _flow, _said, process in flows:
    process.send_signal(signal.SIGINT)
for flow, said, process in flows:
    process.wait()
    said.seek(0)
    text = said.read()
    seen = sorted({int(number) for number in re.findall(r"icmp_seq=(\\d+) ttl", text)})
    sent = int(re.search(r"(\\d+) packets transmitted", text).group(1))
    sent -= sent not in seen  # the last may have had no time to be answered
    real = int(re.search(r"time (\\d+)ms", text).group(1)) / 1000 / sent
    gap = max(late - early for early, late in zip([0, *seen], [*seen, sent + 1])) - 1
    flow |= {"sent": sent, "answers": len(seen), "lost": sent - len(seen), "outage": round(gap * real, 2)}
print(json.dumps([flow for flow, _said, _process in flows]))
"""


class Lab:
    """The nodes of the site, and the flows between sites and guests of its ministries."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ssh = {node.name: node.ssh for node in nodes(site)}
        report = json.loads((site.reports / "verify.json").read_text(encoding="utf-8"))
        self.backbone = next(node.name for node in nodes(site) if "backbone" in node.groups)
        self.flows: list[dict[str, Any]] = []
        for own in report["sites"]:
            for guest in report["guests"]:
                for family in ("v4", "v6"):
                    # If addresses overlap, it is unknown which guest answers.
                    if guest["vrf"] != own["vrf"] and family == "v4":
                        continue
                    for source in self._sources(own, family):
                        self.flows.append(
                            {"netns": own["netns"], "source": source, "target": guest[family], "family": family,
                             "own": guest["vrf"] == own["vrf"]}
                        )  # fmt: skip

    def _sources(self, own: dict[str, Any], family: str) -> list[str]:
        """Return addresses of a site besides its first; the site announces its whole prefix."""
        base, separator = own[family], "." if family == "v4" else ":"
        stem, _separator, _last = base.rpartition(separator)
        found = [f"{stem}{separator}{number}" for number in range(101, 101 + SOURCES)]
        length = 32 if family == "v4" else 128
        for address in found:
            self.run(self.backbone, f"ip -n {own['netns']} address replace {address}/{length} dev lo")
        return found

    def run(self, node: str, command: str) -> str:
        done = subprocess.run([*self.ssh[node], command], text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{node}: {command}: {done.stderr.strip()}")
        return done.stdout

    def watch(self, seconds: float, act: Callable[[], object]) -> list[dict[str, Any]]:
        """Send every flow, call ``act`` after three seconds, wait ``seconds`` after it; return the results per flow."""
        process = subprocess.Popen(
            [*self.ssh[self.backbone], f"python3 -c {_quoted(PROBE)}"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin and process.stdout
        wanted = {"flows": self.flows, "interval": INTERVAL}
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "started":
            raise RuntimeError("the probes did not start")
        time.sleep(3)
        try:
            act()
            time.sleep(seconds)
        finally:
            told = process.communicate("stop\n")[0]
        return json.loads(told)

    def settle(self) -> None:
        """Wait until every session is up again according to `socle rie drift`."""
        for _attempt in range(12):
            done = subprocess.run([SOCLE, "rie", "drift", "-i", str(self.site.path)], text=True, capture_output=True)
            if done.returncode == 0:
                return
            time.sleep(5)
        raise RuntimeError(f"the site does not settle: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def edge(lab: Lab, state: str) -> Callable[[], object]:
    """Return a function that sets all links of pe1 down or up. Its BIRD keeps running, but reaches no neighbor."""
    script = (
        "for space in $(ip netns list | cut -d' ' -f1 | grep ^pe1-); do for link in $(ip -n $space -o link | "
        f"cut -d: -f2 | cut -d@ -f1 | grep -v lo); do ip -n $space link set $link {state}; done; done"
    )
    return lambda: lab.run(lab.backbone, script) and None


def cloud(lab: Lab, state: str) -> Callable[[], object]:
    """Return a function that disconnects every VRF on gw1 from OpenStack's routers, or connects it again."""
    every = "for space in $(ip netns list | cut -d' ' -f1 | grep ^vrf-); do ip -n $space link set cloud"
    return lambda: lab.run("gw1", f"{every} {state}; done") and None


def gateway(lab: Lab, state: str) -> Callable[[], object]:
    """Return a function that silences gw1 on all sides at once, as in a power failure, or reverts that."""
    daemons = "ovs-vswitchd|ovn-controller|bfdd|bgpd|zebra|staticd|watchfrr"
    links = "; ".join(f"ip link set {name} {state}" for name in ("tun0", "rie0", "peer0"))
    return lambda: lab.run("gw1", f"pkill -{'STOP' if state == 'down' else 'CONT'} '{daemons}'; {links}") and None


def socle(lab: Lab, *words: str) -> Callable[[], object]:
    def act() -> None:
        done = subprocess.run([SOCLE, *words, "-i", str(lab.site.path)], text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"socle {' '.join(words)}: {done.stdout[-2000:]}")

    return act


def faults(lab: Lab) -> dict[str, tuple[Callable[[], object], Callable[[], object], float, bool]]:
    """Return by name: cause the fault, repair it, seconds to watch after the fault, whether packets may be lost."""
    link = "ip link set {} {}"
    return {
        "uplink of gw1": (lambda: lab.run("gw1", link.format("rie0", "down")) and None,
                          lambda: lab.run("gw1", link.format("rie0", "up")) and None, 9, True),
        "cloud side of gw1": (cloud(lab, "down"), cloud(lab, "up"), 9, True),
        "tunnels of gw1": (lambda: lab.run("gw1", link.format("tun0", "down")) and None,
                           lambda: lab.run("gw1", link.format("tun0", "up")) and None, 9, True),
        "gateway gw1": (gateway(lab, "down"), gateway(lab, "up"), 9, True),
        "provider edge pe1": (edge(lab, "down"), edge(lab, "up"), 9, True),
        "drain gw1": (socle(lab, "rie", "drain", "gw1"), lambda: None, 10, False),
        "undrain gw1": (socle(lab, "rie", "undrain", "gw1"), lambda: None, 10, False),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-i", "--inventory", default="lab")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("only", nargs="*", help="parts of the names of the faults to try (default: all)")
    options = parser.parse_args()
    os.chdir(ROOT)
    lab = Lab(find_site(options.inventory))
    lab.settle()
    results = []
    for name, (break_it, mend, seconds, may_lose) in faults(lab).items():
        if options.only and not any(word in name for word in options.only):
            continue
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
        try:
            flows = lab.watch(seconds, break_it)
        finally:
            mend()
        own = [flow for flow in flows if flow["own"]]
        result = {
            "fault": name,
            "flows": len(own),
            "sent": sum(flow["sent"] for flow in own),
            "touched": sum(flow["lost"] > 0 for flow in own),
            "lost": sum(flow["lost"] for flow in own),
            "across": sum(flow["answers"] for flow in flows if not flow["own"]),
        }
        for family in ("v4", "v6"):
            result[f"outage_{family}"] = max(flow["outage"] for flow in own if flow["family"] == family)
        worst = max(result["outage_v4"], result["outage_v6"])
        result["met"] = not result["across"] and (worst <= OUTAGE if may_lose else not result["lost"])
        results.append(result)
        if "drain" not in name:
            lab.settle()
    print(json.dumps(results, indent=1) if options.json else table(results))
    return 0 if all(result["met"] for result in results) else 1


def table(results: list[dict[str, Any]]) -> str:
    rows = [("fault", "flows", "sent", "touched", "lost", "outage v4", "v6", "across tenants", "")]
    rows += [
        (row["fault"], *(str(row[key]) for key in ("flows", "sent", "touched", "lost")), f"{row['outage_v4']:.2f} s",
         f"{row['outage_v6']:.2f} s", str(row["across"]), "met" if row["met"] else "MISSED")
        for row in results
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
