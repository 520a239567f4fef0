# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A daemon of one VRF dies: it comes back with its full state, and no other VRF is affected."""

from __future__ import annotations

import re
import time
from ipaddress import ip_network

import pytest

testinfra_hosts = ["ansible://gw1"]

VICTIM = "finances"
# After the death of zebra, watchfrr restarts all daemons.
STARTS_MGMTD = {"mgmtd", "zebra"}


@pytest.fixture
def resting(ledger):
    """Neighbours with BFD down: the tenant's router is on the other gateway's transits only if that gateway is lost."""
    held = ledger()["allocations"]
    return {str(ip_network(held[transit][f"{VICTIM}/gw2"])[2]) for transit in ("transit_v4", "transit_v6")}


@pytest.fixture
def state(host, sessions, vtysh):
    """`state()`: the routes of the victim in the kernel, the static routes in zebra, and the neighbours not up."""

    def look():
        text = host.run("ip -n vrf-%s route; ip -n vrf-%s -6 route", VICTIM, VICTIM).stdout
        routes = sorted(re.sub(r" nhid \d+| pref medium|\s+$", "", line) for line in text.splitlines())
        static = [host.run("vtysh -N %s -c %s", VICTIM, f"show {ip} route static").stdout for ip in ("ip", "ipv6")]
        # The state does not contain the age of the routes.
        routes += sorted(line.rpartition(",")[0] for line in "".join(static).splitlines() if line.startswith("S"))
        shows = ("show bgp summary json", "show bfd peers json")
        if any(host.run("vtysh -N %s -c %s", VICTIM, show).rc != 0 for show in shows):
            return routes, {"vtysh"}
        down = {key for key, peer in sessions(host, VICTIM).items() if peer["state"] != "Established"}
        down |= {peer["peer"] for peer in vtysh(host, VICTIM, "show bfd peers json") if peer["status"] != "up"}
        return routes, down

    return look


@pytest.fixture
def onlooker(host):
    """Run vtysh continuously: mgmtd discards the data that it is receiving whenever a vtysh disconnects."""
    look = f"while :; do vtysh -N {VICTIM} -d mgmtd -c 'show version' >/dev/null 2>&1; sleep 0.02; done"
    host.run_expect([0], "systemd-run --collect --unit socle-onlooker sh -c %s", look)
    yield
    host.run_expect([0], "systemctl stop socle-onlooker")


@pytest.mark.parametrize("daemon", ["bgpd", "bfdd", "staticd", "mgmtd", "zebra"])
def test_a_killed_daemon_comes_back(
    host, vrfs, routers, resting, onlooker, state, since, unmoved, eventually, record_property, daemon
):
    def settled():
        routes, down = state()
        families = {":" in line.split()[0] for line in routes if "proto bgp" in line and "dev rie" in line}
        return routes if len(families) == 2 and down == resting else None

    since(VICTIM)
    routes = eventually(settled)
    siblings = since(*(name for name in vrfs if name != VICTIM))
    pid = host.check_output("cat /run/frr/%s/%s.pid", VICTIM, daemon)
    moment = host.check_output("date +@%s")
    killed = time.monotonic()
    host.run_expect([0], "kill -9 %s", pid)

    seen = None

    def back():
        nonlocal seen
        now = host.run("cat /run/frr/%s/%s.pid", VICTIM, daemon).stdout.strip()
        seen = state() if now not in ("", pid) and host.run("kill -0 %s", now).rc == 0 else None
        return seen == (routes, resting)

    try:
        eventually(back)
    except AssertionError:
        assert seen == (routes, resting)  # This shows the differences.
        raise
    record_property("seconds", round(time.monotonic() - killed, 1))
    print(f"{daemon}: {time.monotonic() - killed:.1f} s")
    assert unmoved(siblings)
    if daemon in STARTS_MGMTD:  # It has read its configuration by itself.
        said = host.check_output("journalctl -u frr@%s -o cat --since %s", VICTIM, moment)
        assert "MGMTD: No changes found to be committed!" in said
