# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rie_plan: the gateways have exactly the VLANs of the ledger, and none of them twice."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://gateway"]


@pytest.fixture(scope="module")
def ports(host):
    """Mapping of each port to its VLANs: the tag of an access port, the trunks of an uplink."""
    listed = json.loads(host.check_output("ovs-vsctl --format=json --columns=name,tag,trunks list Port"))["data"]
    return {name: {tag} if isinstance(tag, int) else set(trunks[1] if isinstance(trunks, list) else [trunks])
            for name, tag, trunks in listed}  # fmt: skip


def test_every_vrf_has_its_allocated_vlans(host, settings, ledger, ports):
    name, held = host.backend.host, ledger()["allocations"]["vlan"]
    vrfs = [vrf for tenant in settings["rie_tenants"] for vrf in tenant["vrfs"]]
    assert len(vrfs) >= 5
    for vrf in vrfs:
        assert ports[f"c-{vrf['name']}"] == {held[f"{vrf['name']}/{name}"]}
        assert ports[f"p-{vrf['name']}"] == {held[f"{vrf['name']}/peer"]}
        assert ports[f"r-{vrf['name']}"] == {vrf["links"][name]["vlan"]}


def test_the_uplinks_carry_these_vlans_only(ports):
    assert ports["rie0"] == set.union(*(vlans for name, vlans in ports.items() if name.startswith("r-")))
    assert ports["peer0"] == set.union(*(vlans for name, vlans in ports.items() if name.startswith("p-")))


def test_nothing_is_allocated_twice(ledger, vrfs):
    held = ledger()["allocations"]
    assert len(set(held["vlan"].values())) == len(held["vlan"]) == 3 * len(vrfs)
    assert len(set(held["rd"].values())) == len(held["rd"]) == 2 * len(vrfs)
