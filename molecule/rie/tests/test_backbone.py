# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role backbone: two provider edges and one site per ministry, isolated from each other."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://backbone"]

NAMES = ["interieur", "finances"]
EDGES = ["pe1", "pe2"]


def birdc(host, name, command):
    return host.check_output(f"birdc -s /run/bird/{name}.ctl {command}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edge", EDGES)
def test_the_provider_edge_sees_gateway_and_site(host, edge, name, eventually):
    def established():
        lines = [line.split() for line in birdc(host, f"{edge}-{name}", "show protocols").splitlines()]
        sessions = [line for line in lines if len(line) > 3 and line[1] == "BGP"]
        return len(sessions) == 4 and all(line[-1] == "Established" for line in sessions)

    eventually(established)
    sessions = [line for line in birdc(host, f"{edge}-{name}", "show bfd sessions").splitlines() if " gw " in line]
    assert len(sessions) == 2
    assert all(" Up " in line for line in sessions)


@pytest.mark.parametrize("name", NAMES)
def test_a_site_has_its_addresses_and_both_ways_out(host, settings, name):
    site = next(site for site in settings["backbone_sites"] if site["name"] == name)
    text = host.check_output("ip -n %s address", site["netns"])
    assert site["v4"].replace(".0/24", ".1/") in text
    assert site["v6"].replace("::/64", "::1/") in text


def test_ministries_do_not_hear_one_another_in_the_backbone(host, settings):
    one, other = settings["backbone_sites"]
    target = other["v4"].replace(".0/24", ".1")
    assert host.run("ip netns exec %s ping -c 2 -i 0.2 -W 1 %s", one["netns"], target).rc != 0
    for edge in EDGES:
        assert other["v4"] not in birdc(host, f"{edge}-{one['vrf']}", "show route")


def test_keys_are_for_bird_only(host):
    for edge in EDGES:
        assert host.file(f"/etc/socle/netns/{edge}-interieur/bird.conf").mode & 0o007 == 0
