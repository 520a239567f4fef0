# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rie_cloud: the tenants' routers. The tests read OVN, which forwards the packets, and not only Neutron."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://control"]


@pytest.fixture(scope="module")
def routers(api):
    every = api.get("network", "/v2.0/routers")["routers"]
    return {router["name"]: router for router in every}


def test_no_router_translates_addresses(host, routers, vrfs):
    assert len(routers) == len(vrfs)
    assert host.check_output("ovn-nbctl list NAT") == ""


def test_every_router_has_a_gateway_on_each_gateway_node(routers, eventually, on_gateways):
    for router in routers.values():
        assert len(router["external_gateways"]) == 2
        assert router["external_gateway_info"]["enable_snat"] is False
    eventually(lambda: on_gateways() == {"gw1": len(routers), "gw2": len(routers)})


def test_bfd_towards_the_gateways_is_quick_and_up(host, vrfs, eventually):
    def sessions():
        ask = "ovn-nbctl --format=json --columns=min_tx,min_rx,detect_mult,status list BFD"
        rows = json.loads(host.check_output(ask))["data"]
        return rows if len(rows) == 4 * len(vrfs) and all(row[3] == "up" for row in rows) else None

    assert {tuple(row[:3]) for row in eventually(sessions)} == {(300, 300, 3)}


def test_two_default_routes_a_family_share_the_traffic(host, routers):
    assert routers
    for router in routers.values():
        routes = host.check_output("ovn-nbctl lr-route-list neutron-%s", router["id"])
        assert routes.count("ecmp") == 4
        assert routes.count("0.0.0.0/0") == 2
        assert routes.count("::/0") == 2


def test_tenants_do_not_share_an_address_scope(api, vrfs):
    scopes = {scope["id"]: scope for scope in api.get("network", "/v2.0/address-scopes")["address_scopes"]}
    assert len(scopes) == 2 * len(vrfs)
    assert not any(scope["shared"] for scope in scopes.values())
    networks = [network for network in api.get("network", "/v2.0/networks")["networks"] if network["name"] == "web"]
    used = [network[f"ipv{family}_address_scope"] for network in networks for family in (4, 6)]
    assert sorted(used) == sorted(scopes)


def test_tenants_own_their_networks_and_not_their_way_out(api, routers, vrfs):
    """A tenant that could change its router could leave its VRF."""
    owners = {network["project_id"] for network in api.get("network", "/v2.0/networks?name=web")["networks"]}
    assert len(owners) == len(vrfs)
    assert not owners & {router["project_id"] for router in routers.values()}


def test_the_networks_are_those_of_the_intent(api, vrfs):
    networks = [(name, network) for name, vrf in vrfs.items() for network in vrf["networks"]]
    assert len(networks) >= len(vrfs) > 1
    for name, network in networks:
        found = api.get("network", f"/v2.0/networks?description=rie:{name}:{network['name']}")["networks"]
        assert len(found) == 1
        ids = found[0]["subnets"]
        subnets = {api.get("network", f"/v2.0/subnets/{each}")["subnet"]["cidr"] for each in ids}
        assert subnets == {network["v4"], network["v6"]}
