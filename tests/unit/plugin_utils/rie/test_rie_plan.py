# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The plan of the RIE wiring: every fault has its path, and allocations neither change nor collide."""

from __future__ import annotations

import copy
import ipaddress
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rie_intents import SITE, full, intent, vrf

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import ledger as ledger_model
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

LAB = Path(__file__).parents[4] / "molecule" / "shared" / "inventory"


def planned(source: dict[str, Any], ledger: Any = None, **site: Any) -> planner.PlanResult:
    result = planner.plan(source, ledger or {}, site=SITE | site)
    assert not result.violations, "\n".join(map(str, result.violations))
    return result


def first_vrf(source: dict[str, Any]) -> dict[str, Any]:
    return source["rie_tenants"][0]["vrfs"][0]


def spans(kind: str, values: Any) -> list[tuple[Any, Any]]:
    if kind in ("vlan", "rd"):
        return sorted((value, value) for value in values)
    nets = [ipaddress.ip_network(value) for value in values]
    return sorted((int(net[0]), int(net[-1])) for net in nets)


def assert_no_collision(ledger: Any) -> None:
    for kind, held in ledger["allocations"].items():
        values = [*held.values(), *ledger["quarantine"].get(kind, {})]
        for (_first, last), (first, _last) in pairwise(spans(kind, values)):
            assert last < first, kind


def test_lab_plan_is_settled() -> None:
    source = yaml.safe_load((LAB / "group_vars/all/rie.yml").read_text())
    ledger = yaml.safe_load((LAB / "allocations.yml").read_text())
    result = planned(source, ledger, secrets=None)
    assert result.ledger == ledger
    webs = [net for tenant in result.plan["neutron"]["vrfs"] for net in tenant["networks"]]
    assert [net["v4"]["cidr"] for net in webs] == ["10.20.0.0/24", "10.20.0.0/24"]  # the same on purpose
    assert len({net["v6"]["cidr"] for net in webs}) == 2


def test_both_ends_of_each_wire_agree() -> None:
    plan = planned(intent(3)).plan
    routers = {
        (external["gateway"], external["vlan"]): external
        for cloud in plan["neutron"]["vrfs"]
        for external in cloud["externals"]
    }
    assert [len(part["vrfs"]) for part in plan["gateways"].values()] == [3, 3]
    for host, part in plan["gateways"].items():
        for wired in part["vrfs"]:
            external = routers[host, wired["cloud"]["vlan"]]
            assert external["physical_network"] == "rie"
            assert wired["cloud"]["v4"].split("/")[0] == external["v4"]["gateway_ip"]
            assert wired["cloud"]["router_v6"] == external["v6"]["router_ip"]
            other = next(w for w in plan["gateways"][wired["peer"]["gateway"]]["vrfs"] if w["name"] == wired["name"])
            assert {**other["cloud"], "gateway": wired["peer"]["gateway"]} == wired["standby"]
            assert wired["cloud"]["mac"] != wired["standby"]["mac"]
            assert other["peer"]["vlan"] == wired["peer"]["vlan"]
            assert other["peer"]["neighbor_v4"] == wired["peer"]["v4"].split("/")[0]
            assert wired["peer"]["neighbor_v6"] == other["peer"]["v6"].split("/")[0]


def test_imported_networks_are_accepted() -> None:
    source = intent(2)
    first_vrf(source)["import_targets"].append("64900:1")
    first_vrf(source)["exchange"] = ["v1"]
    plan = planned(source).plan
    ours, theirs = plan["gateways"]["gw1"]["vrfs"]
    assert plan["imports"] == {"v0": ["v1"], "v1": []}
    assert {"prefix": theirs["export"]["v4"][0], "le": 28} in ours["accept"]["v4"]
    assert ours["allow_own_as"] and not theirs["allow_own_as"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_order_does_not_matter(count: int, networks: int, rng: random.Random) -> None:
    source = intent(count, networks)
    shuffled = copy.deepcopy(source)
    rng.shuffle(shuffled["rie_tenants"])
    for tenant in shuffled["rie_tenants"]:
        rng.shuffle(tenant["vrfs"][0]["networks"])
        tenant["vrfs"][0]["links"] = dict(reversed(tenant["vrfs"][0]["links"].items()))
    one, two = planned(source), planned(shuffled)
    assert one.plan == two.plan
    assert yaml.safe_dump(one.ledger, sort_keys=False) == yaml.safe_dump(two.ledger, sort_keys=False)


def reordered(value: Any, rng: random.Random) -> Any:
    """Return the same data with every list and mapping in another order."""
    if isinstance(value, dict):
        return {key: reordered(value[key], rng) for key in rng.sample(list(value), len(value))}
    if isinstance(value, list):
        return [reordered(item, rng) for item in rng.sample(value, len(value))]
    return value


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.randoms(use_true_random=False))
def test_no_order_matters_in_an_intent_with_every_key(count: int, rng: random.Random) -> None:
    source = full(count)
    source["rie_tenants"][0]["vrfs"][0] |= {
        "communities": ["65010:30", "65010:4", "65010:30"],
        "large_communities": ["65010:1:30", "65010:1:4"],
    }
    one, two = planned(source), planned(reordered(source, rng))
    assert (one.plan, one.ledger) == (two.plan, two.ledger)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 7), min_size=1))
def test_a_tenant_is_planned_the_same_without_the_others(staying: set[int]) -> None:
    source = intent(8, 2)
    before = planned(source)
    rest = source | {"rie_tenants": [source["rie_tenants"][number] for number in sorted(staying)]}
    after = planned(rest, before.ledger).plan
    names = {f"v{number}" for number in staying}

    def of(parts: Any) -> list[Any]:
        return [part for part in parts if part["name"] in names]

    assert after["neutron"]["vrfs"] == of(before.plan["neutron"]["vrfs"])
    for gateway, part in after["gateways"].items():
        assert part["vrfs"] == of(before.plan["gateways"][gateway]["vrfs"])


def test_a_link_overrides_the_profile_key_by_key() -> None:
    source = full(2)
    link = first_vrf(source)["links"]["gw1"]
    link["bgp"] = {"hold": 60, "bfd": {"multiplier": 5}}
    first_vrf(source)["links"]["gw2"] |= {"bgp": {"connect": 9}}
    gw1, gw2 = (planned(source).plan["gateways"][gateway]["vrfs"][0] for gateway in ("gw1", "gw2"))
    assert gw1["pe"]["timers"] == {"keepalive": 3, "hold": 60, "connect": 3}
    assert gw1["pe"]["bfd"] == {"transmit_ms": 300, "receive_ms": 300, "multiplier": 5}
    assert gw2["pe"]["timers"] == {"keepalive": 3, "hold": 9, "connect": 9}
    assert gw2["pe"]["bfd"] == gw1["bfd"] == gw2["bfd"]
    assert gw1["timers"] == {"keepalive": 3, "hold": 9, "connect": 3}
    assert (gw1["pe"]["local_role"], gw2["pe"]["local_role"]) == (True, False)


def test_what_is_shared_or_exchanged_may_be_imported() -> None:
    source = intent(3)
    ours, theirs, hub = (tenant["vrfs"][0] for tenant in source["rie_tenants"])
    ours["import_targets"] += ["64900:2", "64900:999"]  # no VRF exports the last target
    hub["shared"] = True
    assert planned(source).plan["imports"] == {"v0": ["v2"], "v1": [], "v2": []}
    ours["import_targets"].append("64900:1")
    [fault] = planner.plan(source, {}, site=SITE).violations
    assert fault.path == "rie_tenants[0].vrfs[0].import_targets[3]"
    assert "exchange" in fault.remedy
    assert "shared: true" in fault.remedy
    ours["exchange"] = ["v1"]
    assert planned(source).plan["imports"]["v0"] == ["v1", "v2"]
    # A VRF of the same tenant needs neither.
    del ours["exchange"]
    source["rie_tenants"][0]["vrfs"].append(theirs)
    del source["rie_tenants"][1]
    assert planned(source).plan["imports"]["v0"] == ["v1", "v2"]


def test_a_distinguisher_by_hand_comes_and_goes() -> None:
    source = intent(2)
    ledger = planned(source).ledger
    gone = planned(source | {"rie_tenants": source["rie_tenants"][1:]}, ledger).ledger
    first_vrf(source)["links"]["gw1"]["rd"] = ledger["allocations"]["rd"]["v0/gw1"]  # its own, after quarantine
    back = planned(source, gone).ledger
    assert back["allocations"]["rd"] == ledger["allocations"]["rd"]
    assert_no_collision(back)


def test_more_gateways_than_letters() -> None:
    names = [f"gw{number:02}" for number in range(30)]
    suffixes = list(ledger_model.letters({}, names).values())
    assert suffixes[:2] + suffixes[25:28] == ["a", "b", "z", "aa", "ab"]
    assert len(set(suffixes)) == 30


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=6))
def test_allocations_are_sticky(history: list[set[int]]) -> None:
    """When tenants come and go, a tenant that stays or returns keeps its values, and values never collide."""
    ledger: Any = {}
    ever: dict[tuple[str, str], Any] = {}
    for present in history:
        source = intent(10)
        source["rie_tenants"] = [source["rie_tenants"][number] for number in sorted(present)]
        result = planned(source, ledger)
        again = planned(source, result.ledger, today="2027-06-01")
        assert (again.plan, again.ledger) == (result.plan, result.ledger)
        ledger = result.ledger
        assert_no_collision(ledger)
        for kind, held in ledger["allocations"].items():
            for owner, value in held.items():
                assert ever.setdefault((kind, owner), value) == value


def test_quarantine_ends() -> None:
    source = intent(2)
    source["rie_pools"]["vlan"] = "101-106"
    ledger: Any = planned(source).ledger
    source["rie_tenants"][1]["vrfs"][0]["name"] = "other"
    early = planner.plan(source, ledger, site=SITE)
    assert [fault.path for fault in early.violations] == ["rie_pools.vlan"]
    assert early.ledger == ledger
    gone = planned(source | {"rie_tenants": source["rie_tenants"][:1]}, ledger).ledger
    late = planned(source, gone, today="2027-01-01").ledger
    assert sorted(late["allocations"]["vlan"].values()) == list(range(101, 107))


def test_ledger_by_hand_is_refused() -> None:
    ledger: Any = planned(intent(2)).ledger
    ledger["allocations"]["vlan"]["v1/gw1"] = ledger["allocations"]["vlan"]["v0/gw1"]
    ledger["allocations"]["router_id"]["v1/gw1"] = "nonsense"
    paths = {fault.path for fault in planner.plan(intent(2), ledger, site=SITE).violations}
    assert paths == {"ledger.allocations.vlan.v1/gw1", "ledger.allocations.router_id.v1/gw1"}
    assert [f.path for f in planner.plan(intent(1), {"version": 2}, site=SITE).violations] == ["ledger"]


def put(*path: Any) -> Any:
    """Set a nested value in the first VRF: put(key, ..., value)."""
    *keys, last, value = path

    def spoil(source: dict[str, Any]) -> None:
        target: Any = first_vrf(source)
        for key in keys:
            target = target[key]
        target[last] = value

    return spoil


def top(key: str, value: Any) -> Any:
    return lambda source: source.__setitem__(key, value)


def add_network(**attrs: Any) -> Any:
    return lambda source: first_vrf(source)["networks"].append({"name": "more"} | attrs)


def same_prefix_and_import(source: dict[str, Any]) -> None:
    one, two = (tenant["vrfs"][0] for tenant in source["rie_tenants"])
    two["delegated"] = copy.deepcopy(one["delegated"])
    two["networks"] = copy.deepcopy(one["networks"])
    two["import_targets"].append("64900:0")
    two["exchange"] = ["v0"]


def shared_service_sees_twins(source: dict[str, Any]) -> None:
    same_prefix_and_import(source)
    source["rie_tenants"][1]["vrfs"][0]["import_targets"].pop()
    source["rie_tenants"][1]["vrfs"][0]["exchange"].pop()
    hub = vrf(7)
    hub["exchange"] = ["v0", "v1"]
    hub["import_targets"] += ["64900:0", "64900:1"]
    source["rie_tenants"].append({"name": "hub", "project": "hub", "vrfs": [hub]})


V = "rie_tenants[0].vrfs[0]"
FAULTS = {
    "unknown key": (put("vlans", 3), f"{V}.vlans"),
    "unknown top key": (top("rie_tenant", []), "rie_tenant"),
    "missing key": (lambda source: first_vrf(source).pop("links"), f"{V}.links"),
    "wrong type": (top("rie_tenants", {}), "rie_tenants"),
    "name": (put("name", "Interieur"), f"{V}.name"),
    "name too long for an interface": (put("name", "a" * 12), f"{V}.name"),
    "same VRF name": (put("name", "v1"), "rie_tenants[1].vrfs[0].name"),
    "same network name": (add_network(name="n0", v4="10.20.8.0/24"), f"{V}.networks[1].name"),
    "not a prefix": (put("networks", 0, "v4", "10.20.0.1/24"), f"{V}.networks[0].v4"),
    "v4 in v6": (put("networks", 0, "v6", "10.20.0.0/24"), f"{V}.networks[0].v6"),
    "v4 too short": (put("networks", 0, "v4", "10.20.0.0/29"), f"{V}.networks[0].v4"),
    "v6 not /64": (put("networks", 0, "v6", "fd20:0:1::/56"), f"{V}.networks[0].v6"),
    "supernet itself": (put("networks", 0, "v4", "10.20.0.0/20"), f"{V}.networks[0].v4"),
    "outside delegation": (put("networks", 0, "v4", "10.21.0.0/24"), f"{V}.networks[0].v4"),
    "no prefix": (add_network(), f"{V}.networks[1]"),
    "overlap in VRF": (add_network(v4="10.20.0.0/24"), f"{V}.networks[0].v4"),
    "overlap through import": (same_prefix_and_import, "rie_tenants[1].vrfs[0].networks[0].v4"),
    "overlap in shared service": (shared_service_sees_twins, "rie_tenants[1].vrfs[0].networks[0].v4"),
    "reserved": (put("delegated", "v4", ["127.0.0.0/16"]), f"{V}.delegated.v4[0]"),
    "documentation": (put("delegated", "v6", ["2001:db8::/48"]), f"{V}.delegated.v6[0]"),
    "management": (put("delegated", "v4", ["10.99.0.0/16"]), f"{V}.delegated.v4[0]"),
    "transit": (put("delegated", "v6", ["fd64:0:1::/48"]), f"{V}.delegated.v6[0]"),
    "PE link": (put("links", "gw1", "local_v4", "10.20.0.2/30"), f"{V}.networks[0].v4"),
    "own AS public": (top("rie_asn", 3215), "rie_asn"),
    "AS 65535": (put("links", "gw1", "asn", 65535), f"{V}.links.gw1.asn"),
    "AS 23456": (put("links", "gw1", "asn", 23456), f"{V}.links.gw1.asn"),
    "PE in our AS": (put("links", "gw1", "asn", 65010), f"{V}.links.gw1.asn"),
    "VLAN 1": (put("links", "gw1", "vlan", 1), f"{V}.links.gw1.vlan"),
    "VLAN 4095": (put("links", "gw2", "vlan", 4095), f"{V}.links.gw2.vlan"),
    "VLAN of the pool": (put("links", "gw1", "vlan", 200), f"{V}.links.gw1.vlan"),
    "VLAN twice": (put("links", "gw1", "vlan", 2101), "rie_tenants[1].vrfs[0].links.gw1.vlan"),
    "unknown gateway": (lambda s: put("links", "gw9", first_vrf(s)["links"].pop("gw1"))(s), f"{V}.links.gw9"),
    "one link": (lambda source: first_vrf(source)["links"].pop("gw1"), f"{V}.links"),
    "PE elsewhere": (put("links", "gw1", "peer_v4", "100.71.9.9"), f"{V}.links.gw1.peer_v4"),
    "links overlap": (put("links", "gw1", "local_v6", "fd66:2:0::9/64"), f"{V}.links.gw1.peer_v6"),
    "unknown secret": (put("links", "gw1", "password_secret", "lost"), f"{V}.links.gw1.password_secret"),
    "bad target": (put("import_targets", 0, "64900"), f"{V}.import_targets[0]"),
    "target too wide": (put("export_targets", 0, "4200000000:65536"), f"{V}.export_targets[0]"),
    "default accepted": (put("accept", "v4", 0, "prefix", "0.0.0.0/0"), f"{V}.accept.v4[0].prefix"),
    "le too short": (put("accept", "v4", 0, "le", 8), f"{V}.accept.v4[0].le"),
    "own network accepted": (put("accept", "v4", 0, "prefix", "10.20.0.0/28"), f"{V}.accept.v4[0].prefix"),
    "hold time": (top("rie_bgp", {"keepalive": 5}), "rie_bgp.hold"),
    "BFD multiplier": (top("rie_bgp", {"bfd": {"multiplier": 1}}), "rie_bgp.bfd.multiplier"),
    "MTU": (top("rie_mtu", 600), "rie_mtu"),
    "RD twice": (
        lambda s: [put("links", g, "rd", "65010:9")(s) for g in ("gw1", "gw2")],
        f"{V}.links.gw2.rd",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_where_it_is(fault: str) -> None:
    spoil, path = FAULTS[fault]
    source = intent(2)
    spoil(source)
    result = planner.plan(source, {}, site=SITE)
    assert path in [violation.path for violation in result.violations]
    assert all(violation.reason and violation.remedy for violation in result.violations)
    assert (result.plan, result.ledger) == ({}, {})


def test_pool_overlap() -> None:
    source = intent(1)
    source["rie_pools"]["peer_v4"] = "100.64.128.0/17"
    assert "rie_pools.peer_v4" in [fault.path for fault in planner.plan(source, {}, site=SITE).violations]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["VLAN 1", "AS 65535", "bad target", "MTU", "unknown key", "one link"]), unique=True))
def test_all_faults_at_once(faults: list[str]) -> None:
    source = intent(2)
    if "one link" in faults:  # it removes the part that other faults change
        faults = [fault for fault in faults if not fault.startswith(("VLAN", "AS"))]
    for fault in faults:
        FAULTS[fault][0](source)
    paths = {violation.path for violation in planner.plan(source, {}, site=SITE).violations}
    assert paths == {FAULTS[fault][1] for fault in faults}


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["rie_tenants", "vrfs", "name", "links", "networks", "v4", "rie_pools"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_nonsense_never_raises(nonsense: Any) -> None:
    source = nonsense if isinstance(nonsense, dict) else {"rie_tenants": nonsense}
    assert planner.plan(source, {}, site=SITE).violations
    assert planner.plan(intent(1), nonsense if nonsense != {} else [], site=SITE) is not None


def test_state_scale() -> None:
    """The intent has 5,000 networks in 300 VRFs. A quadratic rule would take minutes."""
    source = intent(300, 17)
    start = time.process_time()
    result = planned(source)
    assert time.process_time() - start < 20
    assert sum(len(cloud["networks"]) for cloud in result.plan["neutron"]["vrfs"]) == 5100
