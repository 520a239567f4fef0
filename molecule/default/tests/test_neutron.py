# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Roles neutron and ovn_chassis: the agents are alive, and the networks give guests an MTU of 1500 bytes."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://control"]


def test_units_and_configuration(host, guarded):
    units = ["neutron-api", "neutron-periodic-workers", "neutron-ovn-maintenance-worker"]
    guarded(units, "/etc/neutron/neutron.conf", "neutron")
    assert host.file("/etc/neutron/plugins/ml2/ml2_conf.ini").mode == 0o640


def test_every_agent_is_alive(api, eventually):
    def alive():
        agents = api.get("network", "/v2.0/agents")["agents"]
        return agents if len(agents) == 4 and all(agent["alive"] for agent in agents) else None

    found = {(agent["agent_type"], agent["host"]) for agent in eventually(alive)}
    assert found == {
        ("OVN Controller agent", "cmp1"),
        ("OVN Metadata agent", "cmp1"),
        ("OVN Controller Gateway agent", "gw1"),
        ("OVN Controller Gateway agent", "gw2"),
    }


@pytest.fixture
def network(api):
    status, body, _ = api.ask("POST", "network", "/v2.0/networks", {"network": {"name": "molecule"}})
    assert status == 201
    yield body["network"]
    assert api.ask("DELETE", "network", f"/v2.0/networks/{body['network']['id']}")[0] == 204


def test_a_network_is_geneve_and_reaches_ovn(host, network):
    assert network["provider:network_type"] == "geneve"
    assert network["mtu"] == 1500
    assert host.check_output("ovn-nbctl --bare --columns=_uuid find Logical_Switch name=neutron-%s", network["id"])


def test_a_subnet_that_overlaps_is_refused(api, network):
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.77.0.0/24"}
    assert api.ask("POST", "network", "/v2.0/subnets", {"subnet": subnet})[0] == 201
    assert api.ask("POST", "network", "/v2.0/subnets", {"subnet": subnet | {"cidr": "10.77.0.0/25"}})[0] == 400


def test_every_chassis_has_joined(host):
    chassis = host.check_output("ovn-sbctl --bare --columns=name list Chassis").split()
    assert sorted(chassis) == ["cmp1", "gw1", "gw2"]
