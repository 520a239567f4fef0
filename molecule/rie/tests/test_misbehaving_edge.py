# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A provider edge that misbehaves toward one tenant: it is refused and logged, and the other tenant notices nothing."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://gw1"]

EDGE, VICTIM, SIBLING = "pe1", "interieur", "finances"


@pytest.fixture
def sessions(host, vtysh):
    """`sessions(vrf)`: address of each neighbour -> what FRR says of its session."""

    def ask(vrf: str) -> dict[str, dict]:
        families = vtysh(host, vrf, "show bgp summary json")
        return {key: peer for family in families.values() for key, peer in family["peers"].items()}

    return ask


@pytest.fixture
def logged(host):
    """`logged(text)`: whether the instance of the victim has said so since the test began."""
    since = host.check_output("date +%s")
    return lambda text: text in host.check_output("journalctl --quiet --since=@%s --unit=frr@%s", since, VICTIM)


@pytest.fixture
def edge(host, machine, sessions, eventually):
    """`edge(lines, change)`: give the provider edge more lines, and a change by sed. Undone after the test."""
    rie = machine("rie")
    name = f"{EDGE}-{VICTIM}"

    def settled():
        return all(peer["state"] == "Established" for vrf in (VICTIM, SIBLING) for peer in sessions(vrf).values())

    eventually(settled, 30)
    before = {key: peer["peerUptimeEstablishedEpoch"] for key, peer in sessions(SIBLING).items()}

    def load(lines: str = "", change: str = "s/export where source = RTS_BGP/export all/") -> None:
        rie.run_expect([0], f"sed '{change}' /etc/bird/{name}.conf > /run/bird/rogue.conf")
        rie.run_expect([0], "cat >> /run/bird/rogue.conf <<'END'\n" + lines + "\nEND\nchgrp bird /run/bird/rogue.conf")
        rie.run_expect([0], f"birdc -s /run/bird/{name}.ctl 'configure \"/run/bird/rogue.conf\"'")

    yield load
    rie.run_expect([0], f"birdc -s /run/bird/{name}.ctl configure; rm -f /run/bird/rogue.conf")
    host.run_expect([0], "vtysh -N %s -c 'clear bgp *'", VICTIM)
    eventually(settled, 45)
    assert {key: peer["peerUptimeEstablishedEpoch"] for key, peer in sessions(SIBLING).items()} == before


def static(*prefixes: str) -> str:
    """BIRD's static routes, by family."""
    text = ""
    for channel in ("ipv4", "ipv6"):
        mine = [prefix for prefix in prefixes if (":" in prefix) == (channel == "ipv6")]
        routes = "\n".join(f"\troute {prefix} blackhole;" for prefix in mine)
        text += f"protocol static rogue_{channel} {{\n\t{channel};\n{routes}\n}}\n" if mine else ""
    return text


def accepted(host, vtysh, vrfs):
    """Prefixes that the victim's instance holds, of every family."""
    return {
        prefix
        for family in ("ipv4", "ipv6")
        for prefix in vtysh(host, VICTIM, f"show bgp {family} unicast json").get("routes", {})
    }


@pytest.mark.parametrize(
    "prefix",
    ["0.0.0.0/0", "::/0", "10.128.2.0/24", "fd80:0:2::/64", "10.128.1.128/29", "10.0.0.0/8"],
    ids=["default v4", "default v6", "another's v4", "another's v6", "too long", "wider than allowed"],
)
def test_a_route_nobody_agreed_to_is_refused_and_logged(host, vrfs, vtysh, edge, logged, eventually, prefix):
    edge(static(prefix))
    eventually(lambda: logged(f"UPDATE about {prefix} "), 20)
    assert logged("DENIED due to")
    assert prefix not in accepted(host, vtysh, vrfs)
    # What was agreed is still there.
    assert any(known.startswith("10.128.1.") for known in accepted(host, vtysh, vrfs))


def test_ten_thousand_prefixes_end_the_session_and_nothing_else(host, vrfs, vtysh, sessions, edge, logged, eventually):
    """More than maximum-prefix, counted before the allow-list."""
    pe = vrfs[VICTIM]["links"]["gw1"]["peer_v4"]
    edge(static(*(f"10.128.1.{n % 256}/32" if n < 256 else f"172.{16 + n // 65536}.{n // 256 % 256}.{n % 256}/32"
                  for n in range(10_000))))  # fmt: skip
    eventually(lambda: sessions(VICTIM)[pe]["state"] != "Established", 30)
    assert logged("MAXPFX")
    # The site is still reached, by the other gateway.
    routes = json.loads(host.check_output("vtysh -N %s -c 'show ip route 10.128.1.0/24 json'", VICTIM))
    assert {hop["interfaceName"] for entries in routes.values() for entry in entries if entry.get("selected")
            for hop in entry["nexthops"]} == {"peer"}  # fmt: skip


def test_a_wrong_key_gets_no_session(vrfs, sessions, edge, eventually):
    link = vrfs[VICTIM]["links"]["gw1"]
    edge(change='s/password ".*"/password "guessed-by-somebody"/')
    eventually(lambda: sessions(VICTIM)[link["peer_v4"]]["state"] != "Established", 30)
    assert sessions(VICTIM)[link["peer_v6"]]["state"] != "Established"
