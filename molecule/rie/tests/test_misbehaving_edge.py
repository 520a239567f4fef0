# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A provider edge misbehaves towards one tenant: FRR rejects and logs it, and the other tenant is not affected."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://gw1"]

EDGE, VICTIM, SIBLING = "pe1", "interieur", "finances"


@pytest.fixture
def logged(host):
    """`logged(text)`: whether the instance of the victim has logged this text since the start of the test."""
    since = host.check_output("date +%s")
    return lambda text: text in host.check_output("journalctl --quiet --since=@%s --unit=frr@%s", since, VICTIM)


@pytest.fixture
def edge(host, machine, sessions, eventually):
    """`edge(more, change)`: append the output of a shell command to the provider edge's configuration; edit it by sed.

    The fixture restores the configuration after the test, and checks that the sibling's sessions were not reset.
    """
    rie = machine("rie")
    name = f"{EDGE}-{VICTIM}"

    def settled():
        return all(peer["state"] == "Established" for vrf in (VICTIM, SIBLING) for peer in sessions(host, vrf).values())

    eventually(settled)
    before = {key: peer["peerUptimeEstablishedEpoch"] for key, peer in sessions(host, SIBLING).items()}  # to the second

    def load(more: str = "true", change: str = "s/export where source = RTS_BGP/export all/") -> None:
        rie.run_expect([0], f"{{ sed '{change}' /etc/socle/netns/{name}/bird.conf; {more}\n}} > /run/bird/rogue.conf")
        rie.run_expect([0], "chgrp bird /run/bird/rogue.conf")
        rie.run_expect([0], f"birdc -s /run/bird/{name}.ctl 'configure \"/run/bird/rogue.conf\"'")

    yield load
    rie.run_expect([0], f"birdc -s /run/bird/{name}.ctl configure; rm -f /run/bird/rogue.conf")
    host.run_expect([0], "vtysh -N %s -c 'clear bgp *'", VICTIM)
    eventually(settled)
    for key, peer in sessions(host, SIBLING).items():
        assert abs(peer["peerUptimeEstablishedEpoch"] - before[key]) <= 2


def static(route: str) -> str:
    """Return a shell command that prints a static protocol of BIRD; `route` prints its routes."""
    return f"echo 'protocol static rogue {{'; {route}; echo '}}'"


MANY = """awk 'BEGIN {
    print "ipv4;"; for (n = 0; n < 10000; n++) printf "route 172.16.%d.%d/32 blackhole;\\n", n / 256, n % 256
}'"""


def accepted(host, vtysh, vrfs):
    """Return the prefixes of all families in the victim's instance."""
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
    edge(static(f"echo '{'ipv6' if ':' in prefix else 'ipv4'}; route {prefix} blackhole;'"))
    eventually(lambda: logged(f"UPDATE about {prefix} "))
    assert logged("DENIED due to")
    assert prefix not in accepted(host, vtysh, vrfs)
    # The accepted prefixes are still there.
    assert any(known.startswith("10.128.1.") for known in accepted(host, vtysh, vrfs))


def test_ten_thousand_prefixes_end_the_session_and_nothing_else(host, vrfs, vtysh, sessions, edge, logged, eventually):
    """The accept list rejects all of them. The next accepted route exceeds maximum-prefix."""
    pe = vrfs[VICTIM]["links"]["gw1"]["peer_v4"]
    edge(static(MANY))
    eventually(lambda: logged("UPDATE about 172.16.39.15/32 "))
    assert not any(prefix.startswith("172.16.") for prefix in accepted(host, vtysh, vrfs))
    edge(static(f"{MANY}; echo 'route 10.128.1.16/28 blackhole;'"))
    eventually(lambda: sessions(host, VICTIM)[pe]["state"] != "Established")
    # The journal may lag behind. If BFD has ended the session first, FRR logs the message the next time.
    eventually(lambda: logged("MAXPFX"))
    # The site is still reachable through the other gateway.
    routes = json.loads(host.check_output("vtysh -N %s -c 'show ip route 10.128.1.0/24 json'", VICTIM))
    assert {hop["interfaceName"] for entries in routes.values() for entry in entries if entry.get("selected")
            for hop in entry["nexthops"]} == {"peer"}  # fmt: skip


def test_a_wrong_key_gets_no_session(host, vrfs, sessions, edge, eventually):
    link = vrfs[VICTIM]["links"]["gw1"]
    edge(change='s/password ".*"/password "guessed-by-somebody"/')
    eventually(lambda: sessions(host, VICTIM)[link["peer_v4"]]["state"] != "Established")
    assert sessions(host, VICTIM)[link["peer_v6"]]["state"] != "Established"
    since = host.check_output("date +%s")

    def said():
        return host.check_output("journalctl --quiet --since=@%s --unit=socle-tcp-md5", since)

    eventually(lambda: f"VRF {VICTIM}: TCP MD5, segments dropped" in said())
    assert "signed with another key" in said()
    assert f"VRF {SIBLING}:" not in said()
