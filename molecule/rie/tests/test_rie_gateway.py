# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rie_gateway: one namespace and one FRR instance per VRF, authenticated sessions, and counted drops."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network

import pytest

testinfra_hosts = ["ansible://gateway"]

EDGE = {"gw1": "pe1", "gw2": "pe2"}
NAMES = ["interieur", "finances"]


@pytest.fixture(scope="module")
def counter(host):
    def packets(vrf: str, name: str) -> int:
        listed = json.loads(host.check_output("ip netns exec vrf-%s nft -j list counter inet rie %s", vrf, name))
        return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)

    return packets


@pytest.mark.parametrize("name", NAMES)
def test_every_session_is_up(host, vrfs, vtysh, eventually, name):
    """Each VRF has two sessions (IPv4, IPv6) with the provider edge and two with the other gateway."""
    link = vrfs[name]["links"][host.backend.host]

    def summary():
        families = vtysh(host, name, "show bgp summary json")
        peers = [(key, peer) for family in families.values() for key, peer in family["peers"].items()]
        return peers if len(peers) == 4 and all(peer["state"] == "Established" for _, peer in peers) else None

    peers = eventually(summary)
    external = {key for key, peer in peers if peer["remoteAs"] != 65010}
    assert external == {link["peer_v4"], link["peer_v6"]}
    assert all(peer["pfxRcd"] == 1 for key, peer in peers if key in external)


@pytest.mark.parametrize("name", NAMES)
def test_bfd_watches_every_neighbour(host, settings, vrfs, vtysh, eventually, name):
    bfd = settings["rie_bgp"]["bfd"]
    link = vrfs[name]["links"][host.backend.host]

    def up():
        sessions = {item["peer"]: item for item in vtysh(host, name, "show bfd peers json")}
        watched = [item for item in sessions.values() if item["interface"] in ("rie", "peer")]
        return sessions if len(watched) == 4 and all(item["status"] == "up" for item in watched) else None

    sessions = eventually(up)
    for peer in (link["peer_v4"], link["peer_v6"]):
        assert not sessions[peer]["multihop"]
        assert sessions[peer]["receive-interval"] == bfd["receive_ms"]
        assert sessions[peer]["detect-multiplier"] == bfd["multiplier"]


@pytest.mark.parametrize("name", NAMES)
def test_the_site_is_learned_and_nothing_else(host, hostvars, vrfs, vtysh, name):
    site = next(site for site in hostvars["rie"]["backbone_sites"] if site["vrf"] == name)
    for family, word in (("v4", "ip"), ("v6", "ipv6")):
        routes = vtysh(host, name, f"show {word} route bgp json")
        assert set(routes) == {site[family]}
        best = next(route for route in routes[site[family]] if route["protocol"] == "bgp")
        assert best["nexthops"][0]["interfaceName"] == "rie"
        # Without the provider edge, packets take the other gateway, even if BGP is dead.
        floating = vtysh(host, name, f"show {word} route static json")
        accepted = vrfs[name]["accept"][family][0]["prefix"]
        assert [route["distance"] for route in floating[accepted] if route["protocol"] == "static"] == [250]


@pytest.mark.parametrize("name", NAMES)
def test_a_tenant_without_its_router_is_not_announced(host, vrfs, before, name):
    """Static routes depend on BFD, so a gateway that cannot deliver packets announces no route."""
    routes = before[host.backend.host, name]
    assert "10.128." in routes
    assert not any(network[family] in routes for network in vrfs[name]["networks"] for family in ("v4", "v6"))


@pytest.mark.parametrize("name", NAMES)
def test_exactly_the_tenants_networks_are_announced(host, vrfs, machine, routers, eventually, name):
    pe = EDGE[host.backend.host]
    wanted = {network[family] for network in vrfs[name]["networks"] for family in ("v4", "v6")}
    show = f"birdc -s /run/bird/{pe}-{name}.ctl 'show route all where proto ~ \"gateway_*\"'"

    def announced():
        text = machine("rie").check_output(show)
        return text if set(re.findall(r"^(\S+/\d+)", text, re.M)) == wanted else None

    text = eventually(announced)
    asn, number = vrfs[name]["communities"][0].split(":")
    assert text.count(f"BGP.community: ({asn},{number})") == len(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_packets_reach_the_tenant_and_return(host, hostvars, vrfs, machine, routers, eventually, name):
    """Packets pass from the site of a ministry through the RIE to the tenant's router and back to the same address."""
    site = next(site for site in hostvars["rie"]["backbone_sites"] if site["vrf"] == name)
    network = vrfs[name]["networks"][0]
    for inside in (ip_network(network["v4"])[9], ip_network(network["v6"])[9]):
        ping = f"ip netns exec {site['netns']} ping -c 3 -i 0.2 -W 2 -q {inside}"
        eventually(lambda ping=ping: machine("rie").run(ping).rc == 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_forged_source_is_dropped_and_counted(host, hostvars, routers, counter, name):
    site = next(site for site in hostvars["rie"]["backbone_sites"] if site["vrf"] == name)
    before = counter(name, "spoofed")
    host.run_expect([0], "ip -n router-%s address replace 10.99.99.1/32 dev lo", name)
    target = site["v4"].replace(".0/24", ".1")
    assert host.run("ip netns exec router-%s ping -c 3 -i 0.2 -W 1 -I 10.99.99.1 %s", name, target).rc == 1
    assert counter(name, "spoofed") >= before + 3


@pytest.mark.parametrize("name", NAMES)
def test_bgp_from_further_away_is_dropped_and_counted(host, vrfs, machine, counter, name):
    """The segment to port 179 has a TTL that shows that a router has forwarded it (GTSM)."""
    pe = EDGE[host.backend.host]
    before = counter(name, "gtsm")
    local = vrfs[name]["links"][host.backend.host]["local_v4"].split("/")[0]
    knock = ("import socket; s = socket.socket(); s.setsockopt(0, socket.IP_TTL, 254); s.settimeout(1.5); "
             f"s.connect(('{local}', 179))")  # fmt: skip
    assert machine("rie").run("ip netns exec %s python3 -c %s", f"{pe}-{name}", knock).rc != 0
    assert counter(name, "gtsm") > before


@pytest.mark.parametrize("name", NAMES)
def test_sessions_to_the_provider_edge_carry_md5(host, vrfs, settings, machine, name):
    link = vrfs[name]["links"][host.backend.host]
    running = host.check_output("vtysh -N %s -c 'show running-config'", name)
    for peer in (link["peer_v4"], link["peer_v6"]):
        assert f"neighbor {peer} password {settings['secrets'][link['password_secret']]}" in running
    config = host.file(f"/etc/frr/{name}/frr.conf")
    assert (config.user, config.mode & 0o007) == ("frr", 0)
    # A client without the key gets no answer: an ordinary connection with the right TTL times out.
    pe = EDGE[host.backend.host]
    knock = ("import socket; s = socket.socket(); s.setsockopt(0, socket.IP_TTL, 255); s.settimeout(1.5); "
             f"s.connect(('{link['local_v4'].split('/')[0]}', 179))")  # fmt: skip
    refused = machine("rie").run("ip netns exec %s python3 -c %s", f"{pe}-{name}", knock)
    assert "timed out" in refused.stderr or "TimeoutError" in refused.stderr


def test_each_vrf_is_a_world_of_its_own(host, service):
    """Each VRF has processes, a namespace and routes of its own, and shares no address with the node."""
    pids = {name: host.check_output("cat /run/frr/%s/zebra.pid", name) for name in NAMES}
    nets = {name: host.check_output("readlink /proc/%s/ns/net", pid) for name, pid in pids.items()}
    assert len({*nets.values(), host.check_output("readlink /proc/1/ns/net")}) == 3
    links = {name: json.loads(host.check_output("ip -n vrf-%s -j link", name)) for name in NAMES}
    for name in NAMES:
        assert {link["ifname"] for link in links[name]} == {"lo", "cloud", "standby", "rie", "peer"}
        assert service(f"frr@{name}")["ActiveState"] == "active"
    assert service("frr")["ActiveState"] == "inactive"
