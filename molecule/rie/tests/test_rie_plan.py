# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rie_plan: the gateways carry the VLANs that the ledger in git says, and none twice."""

from __future__ import annotations

import json

import pytest
import yaml

testinfra_hosts = ["ansible://gateway"]


@pytest.fixture(scope="module")
def ledger(inventory):
    return yaml.safe_load((inventory / "allocations.yml").read_text())["allocations"]


@pytest.fixture(scope="module")
def ports(host):
    """Port -> its VLANs: the tag of an access port, the trunks of an uplink."""
    listed = json.loads(host.check_output("ovs-vsctl --format=json --columns=name,tag,trunks list Port"))["data"]
    return {name: {tag} if isinstance(tag, int) else set(trunks[1] if isinstance(trunks, list) else [trunks])
            for name, tag, trunks in listed}  # fmt: skip


def test_every_vrf_has_its_allocated_vlans(host, settings, ledger, ports):
    name = host.backend.host
    for vrf in (vrf for tenant in settings["rie_tenants"] for vrf in tenant["vrfs"]):
        assert ports[f"c-{vrf['name']}"] == {ledger["vlan"][f"{vrf['name']}/{name}"]}
        assert ports[f"p-{vrf['name']}"] == {ledger["vlan"][f"{vrf['name']}/peer"]}
        assert ports[f"r-{vrf['name']}"] == {vrf["links"][name]["vlan"]}


def test_the_uplinks_carry_these_vlans_only(ports):
    assert ports["rie0"] == set.union(*(vlans for name, vlans in ports.items() if name.startswith("r-")))
    assert ports["peer0"] == set.union(*(vlans for name, vlans in ports.items() if name.startswith("p-")))


def test_the_plan_is_the_same_when_made_again(ledger):
    flat = list(ledger["vlan"].values())
    assert len(flat) == len(set(flat))
    assert len(set(ledger["rd"].values())) == len(ledger["rd"]) == 4
