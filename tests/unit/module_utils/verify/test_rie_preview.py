# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The preview of the wiring: it contains every announced change once, under its tenant, and detects later changes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from rie_intents import SITE, intent

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_client import LISTS, NeutronClient
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_diff import diff, index
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_objects import Ref, wanted
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import rie_preview as engine
from ansible_collections.cloudwatt.socle.plugins.modules import rie_preview as module
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

GATEWAY: dict[str, Any] = {"netns": {}, "rulesets": {}, "instances": {}}


@pytest.fixture(scope="module")
def plan() -> Any:
    return planner.plan(intent(2), {}, site=SITE).plan


@pytest.fixture(scope="module")
def neutron(plan) -> dict[str, Any]:
    """Return the result of rie_neutron in check mode with an empty Neutron."""
    empty = index({kind: [] for kind in LISTS})
    projects = {project["name"]: project["name"] for project in plan["neutron"]["projects"]}
    operations = diff(wanted(plan["neutron"], operator=Ref("project", "p")), empty, projects).operations
    return {
        "operations": [operation.as_dict() for operation in operations],
        "orphans": [{"kind": "network", "key": "rie:old:n", "id": "7"}],
        "forecast": dict(NeutronClient(None).forecast(operations)),
    }


def at(**gateways: dict[str, Any]) -> dict[str, Any]:
    return {"gw1": copy.deepcopy(GATEWAY), "gw2": copy.deepcopy(GATEWAY)} | gateways


def test_nothing_to_do_says_so(plan):
    found = engine.preview("fr1", plan, cloud={}, gateways=at())
    assert (found["changes"], found["tenants"], found["sessions"]) == (0, [], [])
    assert engine.text(found) == ["fr1: everything is as the inventory wants it"]


def test_every_operation_is_under_its_tenant_once(plan, neutron):
    found = engine.preview("fr1", plan, cloud={"neutron": neutron}, gateways=at())
    listed = [operation for tenant in found["tenants"] for operation in tenant["cloud"]]
    rest = [operation for operation in neutron["operations"] if operation not in listed]
    assert {operation["kind"] for operation in rest} == {"quota"}
    assert len(found["site_wide"]) == len(rest)
    assert found["changes"] == len(neutron["operations"])
    for tenant in found["tenants"]:
        assert tenant["tenant"] == "t" + tenant["vrf"][1:]
        assert all(engine.vrf_of(operation) == tenant["vrf"] for operation in tenant["cloud"])
    kinds = {operation["kind"] for operation in listed}
    assert kinds >= {"address_scope", "gateway", "interface", "network", "rbac_policy", "router", "subnet"}
    lines = engine.text(found)
    assert any(line.startswith("  cloud  + network rie:v0:n0") for line in lines)
    assert "left alone, in no plan: network rie:old:n (rie_cloud_prune removes it)" in lines


def test_the_forecast_is_what_would_be_sent(neutron):
    kinds = [operation["kind"] for operation in neutron["operations"]]
    routers, links = kinds.count("router"), kinds.count("interface") + kinds.count("quota") + kinds.count("rbac_policy")
    assert neutron["forecast"]["PUT"] == routers + links
    # Networks and subnets are created in bulk, other objects one by one.
    single = sum(kinds.count(kind) for kind in ("address_scope", "subnetpool", "router"))
    assert single < neutron["forecast"]["POST"] <= single + 8


def test_parts_of_a_gateway_are_sorted_by_vrf(plan):
    changed = {
        "netns": {
            "actions": {"vrf-v0": "created"},
            "steps": {"vrf-v0": ["ip netns add vrf-v0"], "": ["ovs-vsctl set port rie0 trunks=1"]},
        },
        "rulesets": {
            "actions": {"v0": "loaded"},
            "diff": [{"after_header": "/etc/socle/netns/vrf-v0/nftables.nft", "before": "a\nb\n", "after": "a\nc\n"}],
        },
        "instances": {
            "actions": {"v0": "created", "v1": "reloaded"},
            "deltas": {"v1": "Lines To Add\n ip route 10.0.0.0/24 1.2.3.4 cloud"},
            "diff": [{"after_header": "/etc/frr/v0/frr.conf", "before": "", "after": "router bgp 65010\n"}],
        },
    }
    found = engine.preview("fr1", plan, cloud={}, gateways=at(gw1=changed))
    v0, v1 = found["tenants"]
    assert [(part["part"], part["action"]) for part in v0["gateways"]["gw1"]] == [
        ("namespace", "created"),
        ("ruleset", "loaded"),
        ("FRR", "created"),
    ]
    assert v0["gateways"]["gw1"][1]["lines"] == ["-b", "+c"]
    assert v0["gateways"]["gw1"][2]["lines"] == ["+router bgp 65010"]
    assert v1["gateways"]["gw1"][0]["lines"][-1].endswith("cloud")
    assert found["nodes"] == {"gw1": ["ovs-vsctl set port rie0 trunks=1"]}
    assert found["changes"] == 5
    # v0 is new on gw1: its four sessions start. A new route of v1 touches no session.
    assert {(row["vrf"], row["effect"]) for row in found["sessions"]} == {("v0", "starts")}
    assert len(found["sessions"]) == 4


@pytest.mark.parametrize(
    ("delta", "touched"),
    [
        ("Lines To Delete\nrouter bgp 65010\n no neighbor 10.0.0.1 remote-as 65000\n exit", {"10.0.0.1"}),
        ("Lines To Add\nrouter bgp 65010\n neighbor fd00::1 password ********\n exit", {"fd00::1"}),
        ("Lines To Add\nrouter bgp 65010\n neighbor fd00::1 timers 10 30\n exit", {"fd00::1"}),
        ("no router bgp 65010\nrouter bgp 65011", {"*"}),
        ("Lines To Add\nip prefix-list accept-v4 seq 5 permit 10.0.0.0/8\n", set()),
        ("router bgp 65010\n neighbor 10.0.0.1 timers connect 4", set()),
        ("router bgp 65010\n neighbor 10.0.0.1 route-map x in", set()),
    ],
)
def test_which_lines_cost_a_session(delta, touched):
    assert engine.reset_neighbors(delta) == touched


def test_a_vrf_that_leaves_loses_its_sessions(plan):
    gone = GATEWAY | {"instances": {"actions": {"old": "removed"}}, "netns": {"actions": {"vrf-old": "removed"}}}
    found = engine.preview("fr1", plan, cloud={}, gateways=at(gw2=gone))
    assert [(row["vrf"], row["effect"]) for row in found["sessions"]] == [("old", "ends")]
    assert any(line.startswith("VRF old, no longer in the inventory") for line in engine.text(found))


def test_the_digest_sees_what_is_there_as_well_as_what_is_wanted(plan, neutron):
    one = engine.preview("fr1", plan, cloud={"neutron": neutron}, gateways=at())
    reordered = json.loads(json.dumps(neutron, sort_keys=True))
    assert engine.preview("fr1", plan, cloud={"neutron": reordered}, gateways=at())["digest"] == one["digest"]
    other = copy.deepcopy(neutron)
    operation = next(row for row in other["operations"] if row["kind"] == "network")
    operation |= {"action": "update", "before": {"mtu": 1400}, "after": {"mtu": 1500}}
    two = engine.preview("fr1", plan, cloud={"neutron": other}, gateways=at())
    operation["before"]["mtu"] = 1300
    three = engine.preview("fr1", plan, cloud={"neutron": other}, gateways=at())
    assert len({one["digest"], two["digest"], three["digest"]}) == 3


def test_a_shown_preview_is_applied_only_while_it_is_true(plan, neutron, tmp_path):
    path = tmp_path / "rie-plan.json"
    found = engine.preview("fr1", plan, cloud={"neutron": neutron}, gateways=at())
    assert "socle rie plan" in module.moved(path, found)
    path.write_text("{}")
    assert "holds no preview" in module.moved(path, found)
    path.write_text(json.dumps(found))
    assert module.moved(path, found) == ""
    less = engine.preview("fr1", plan, cloud={}, gateways=at())
    assert "-  cloud  + network rie:v0:n0" in module.moved(path, less)
