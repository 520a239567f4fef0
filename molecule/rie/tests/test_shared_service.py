# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A VRF that others import: BIRD on the provider edges passes routes by route target, and real packets follow."""

from __future__ import annotations

import json
from functools import partial

import pytest

testinfra_hosts = ["ansible://gw1"]

EDGES = {"gw1": "pe1", "gw2": "pe2"}
FAMILIES = {"v4": "ipv4", "v6": "ipv6"}
HUB, TENANTS = "services", ["sante", "justice"]
STRANGERS = ["interieur", "finances"]


@pytest.fixture(autouse=True)
def ready(routers, since):
    since(HUB, *TENANTS)


@pytest.fixture(scope="module")
def imported(vrfs, prefixes):
    """`imported(vrf)`: the networks of all VRFs that export a route target which this VRF imports."""

    def look(name):
        wanted = set(vrfs[name]["import_targets"])
        others = [vrf for vrf in vrfs.values() if vrf["name"] != name and wanted & set(vrf["export_targets"])]
        return set().union(*map(prefixes, others))

    return look


@pytest.mark.parametrize("name", [HUB, *TENANTS, *STRANGERS])
@pytest.mark.parametrize("edge", EDGES.values())
def test_a_provider_edge_takes_in_what_the_targets_say(imported, birdc, eventually, edge, name):
    def learned():
        lines = birdc(edge, name, 'show route where proto ~ "vrf_*"').splitlines()
        return {line.split()[0] for line in lines if "/" in line.split(" ")[0]}

    eventually(lambda: learned() == imported(name))


@pytest.mark.parametrize("name", [HUB, *TENANTS])
@pytest.mark.parametrize("gateway", EDGES)
def test_a_gateway_accepts_exactly_that(vrfs, imported, machine, vtysh, eventually, gateway, name):
    """The routes come from its own provider edge, and from the other gateway with the AS of the site in the path."""
    link = vrfs[name]["links"][gateway]

    def known(family, neighbor):
        show = f"show bgp {FAMILIES[family]} unicast neighbors {neighbor} routes json"
        return set(vtysh(machine(gateway), name, show).get("routes", {}))

    for family in FAMILIES:
        wanted = {prefix for prefix in imported(name) if (":" in prefix) == (family == "v6")}
        eventually(lambda family=family, wanted=wanted: known(family, link[f"peer_{family}"]) == wanted)
        summary = vtysh(machine(gateway), name, f"show bgp {FAMILIES[family]} unicast summary json")
        [other] = [address for address, peer in summary["peers"].items() if peer["remoteAs"] == 65010]
        own = {network[family] for network in vrfs[name]["networks"]}
        eventually(lambda family=family, other=other, all_=wanted | own: known(family, other) == all_)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TENANTS)
@pytest.mark.parametrize("gateway", EDGES)
def test_packets_pass_between_tenant_and_service(vrfs, ping, eventually, gateway, name, family):
    eventually(partial(ping, gateway, vrfs[name], vrfs[HUB], family))
    eventually(partial(ping, gateway, vrfs[HUB], vrfs[name], family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("one", "other"), [("sante", "justice"), ("justice", "sante"), ("interieur", HUB), ("finances", "sante")]
)
def test_nothing_passes_between_others(host, vrfs, inside, ping, one, other, family):
    target = inside(vrfs[other], family)
    # There is no route to the destination, so not only the answer is missing.
    assert host.run("ip -n vrf-%s route get %s", one, target).rc != 0
    assert not ping("gw1", vrfs[one], vrfs[other], family)


def test_the_service_is_no_transit_even_when_a_provider_edge_wants_it(host, vrfs, inside, machine, ping, counter):
    """Both provider edges route a packet between the tenants through the service's VRF: the gateways drop it."""
    rie, target = machine("rie"), inside(vrfs["justice"], "v4")
    edge_of = {name: vrfs[name]["links"]["gw1"]["peer_v4"] for name in ("sante", HUB)}
    between = rie.check_output("ip -n pe1-services -6 -o address show dev i-sante scope global").split()[3]
    rogue = [
        (host, f"ip -n vrf-sante route add {target}/32 via {edge_of['sante']}"),
        (rie, f"ip -n pe1-sante route add {target}/32 via inet6 {between.partition('/')[0]} dev i-services"),
    ]
    for where, command in rogue:
        where.run_expect([0], command)
    try:
        # The provider edge of the service has a route to the other tenant, so it forwards the packet there.
        before = counter("justice", "urpf")
        assert not ping("gw1", vrfs["sante"], vrfs["justice"], "v4")
        assert counter("justice", "urpf") >= before + 3
        # The same test through the gateway of the service.
        through = (rie, f"ip -n pe1-services route add {target}/32 via {vrfs[HUB]['links']['gw1']['local_v4'][:-3]}")
        rogue.append(through)
        through[0].run_expect([0], through[1])
        before = counter(HUB, "stray")
        assert not ping("gw1", vrfs["sante"], vrfs["justice"], "v4")
        assert counter(HUB, "stray") >= before + 3
    finally:
        for where, command in rogue:
            where.run(command.replace("route add", "route del"))


@pytest.mark.parametrize("gateway", EDGES)
def test_a_service_announces_its_own_networks_and_no_tenants(vrfs, prefixes, birdc, gateway):
    text = birdc(EDGES[gateway], HUB, 'show route where proto ~ "gateway_*"')
    assert all(prefix in text for prefix in prefixes(vrfs[HUB]))
    assert not any(prefix in text for name in TENANTS for prefix in prefixes(vrfs[name]))


@pytest.fixture
def counter(host):
    def packets(vrf: str, name: str) -> int:
        listed = json.loads(host.check_output("ip netns exec vrf-%s nft -j list counter inet rie %s", vrf, name))
        return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)

    return packets
