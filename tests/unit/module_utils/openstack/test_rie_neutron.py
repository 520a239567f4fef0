# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The cloud half: only differences are changed, the result is the wanted state, and few requests are needed."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from neutron_double import Neutron
from rie_intents import SITE, intent

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_client import Moved, NeutronClient
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_diff import Changes, diff, index
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_objects import (
    KINDS,
    Ref,
    references,
    wanted,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_steps import (
    AT_A_TIME,
    ON_A_ROUTER,
    Order,
    steps,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import ApiError
from ansible_collections.cloudwatt.socle.plugins.module_utils.ovs import ovn_gateways
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

OPERATOR = "operator-id"


def cloud_plan(source: dict[str, Any], ledger: Any = None) -> Any:
    result = planner.plan(source, ledger or {}, site=SITE)
    assert not result.violations
    return result.plan["neutron"]


class Run:
    """The changes of the module for one plan, by round."""

    def __init__(self, neutron: Neutron, plan: dict[str, Any], **limits: Any) -> None:
        self.objects = wanted(plan, operator=OPERATOR)
        self.projects = {project["name"]: f"id-{project['name']}" for project in plan["projects"]}
        self.client = NeutronClient(neutron, workers=1)
        self.limits = limits
        self.rounds = 0

    def look(self) -> Changes:
        self.live = index(self.client.snapshot())
        return diff(self.objects, self.live, self.projects, **self.limits)

    def converge(self) -> Changes:
        """Run until nothing changes. Return the changes of the first round."""
        first = changes = self.look()
        while changes.operations:
            assert not changes.refused, changes.refused
            self.rounds += 1
            assert self.rounds < 6, changes.operations
            try:
                self.client.apply(changes.operations, self.live, self.projects)
            except Moved:
                pass
            changes = self.look()
        return first


def state(neutron: Neutron) -> dict[str, Any]:
    """Return all objects without ids and dates."""
    rows = [(kind, row) for kind, found in neutron.rows.items() for row in found.values()]
    return {kind: sorted(str(row.get("description") or row.get("name")) for k, row in rows if k == kind)
            for kind in neutron.rows}  # fmt: skip


def test_kinds_are_in_the_order_of_references() -> None:
    order = list(KINDS)
    references = {
        (value.kind, item.kind)
        for item in wanted(cloud_plan(intent(2)), operator=OPERATOR)
        for value in item.attrs.values()
        if isinstance(value, Ref) and value.kind != "project"
    }
    assert ("network", "subnet") in references
    assert [(of, at) for of, at in references if order.index(of) >= order.index(at)] == []


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 5), st.sampled_from(["4", "6", "46"]))
def test_applied_plan_is_a_fixpoint(vrfs: int, networks: int, families: str) -> None:
    neutron = Neutron()
    run = Run(neutron, cloud_plan(intent(vrfs, networks, families)))
    run.converge()
    assert run.rounds == 1
    writes = neutron.writes
    assert not run.look().operations
    assert neutron.writes == writes


def test_external_networks_are_the_operators_alone() -> None:
    neutron = Neutron()
    Run(neutron, cloud_plan(intent(1))).converge()
    assert {row["target_tenant"] for row in neutron.rows["rbac_policy"].values()} == {OPERATOR}
    assert {row["project_id"] for row in neutron.rows["router"].values()} == {OPERATOR}
    next(iter(neutron.rows["rbac_policy"].values()))["target_tenant"] = "*"
    (operation,) = Run(neutron, cloud_plan(intent(1))).converge().operations
    assert operation.attrs == {"target_tenant": OPERATOR}


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_only_what_drifted_is_put_back(rng: random.Random) -> None:
    neutron = Neutron()
    plan = cloud_plan(intent(3, 2))
    Run(neutron, plan).converge()
    kind, name, value = rng.choice(
        [("network", "mtu", 9000), ("network", "name", "x"), ("subnet", "enable_dhcp", None),
         ("router", "admin_state_up", False), ("router", "enable_default_route_bfd", False)]
    )  # fmt: skip
    row = rng.choice(sorted(neutron.rows[kind].values(), key=lambda row: row["id"]))
    before, row[name] = row[name], value
    (operation,) = Run(neutron, plan).converge().operations
    assert (operation.action, operation.id, operation.attrs) == ("update", row["id"], {name: before})
    assert row[name] == before


def test_snat_is_turned_off_again() -> None:
    neutron = Neutron()
    plan = cloud_plan(intent(1))
    Run(neutron, plan).converge()
    router = next(iter(neutron.rows["router"].values()))
    router["external_gateway_info"]["enable_snat"] = True
    (operation,) = Run(neutron, plan).converge().operations
    assert operation.kind == "gateway"
    assert router["external_gateway_info"]["enable_snat"] is False


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40))
def test_killed_anywhere_it_finishes_when_run_again(number: int) -> None:
    plan = cloud_plan(intent(2, 3))
    whole = Neutron()
    Run(whole, plan).converge()
    neutron = Neutron()
    neutron.fail_at = number
    try:
        Run(neutron, plan).converge()
    except ApiError:
        pass
    neutron.fail_at = None
    Run(neutron, plan).converge()
    assert state(neutron) == state(whole)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40))
def test_two_runs_at_once_converge(number: int) -> None:
    """A complete second run happens before one of the requests, for each of them."""
    plan = cloud_plan(intent(2, 2))
    whole = Neutron()
    Run(whole, plan).converge()
    neutron = Neutron()

    def other(double: Neutron) -> None:
        if double.writes < number:
            double.before_write = other
        else:
            double.before_write = None
            Run(double, plan, max_deletes=100).converge()

    neutron.before_write = other
    run = Run(neutron, plan, max_deletes=100)
    run.converge()
    neutron.before_write = None
    Run(neutron, plan, max_deletes=100).converge()
    assert state(neutron) == state(whole)


def test_what_left_the_plan_stays_until_pruned() -> None:
    neutron = Neutron()
    ledger = planner.plan(intent(2, 2), {}, site=SITE).ledger
    Run(neutron, cloud_plan(intent(2, 2))).converge()
    less = cloud_plan(intent(1, 2), ledger)
    kept = Run(neutron, less).look()
    assert not kept.operations and len(kept.orphans) == 23
    assert Run(neutron, less, prune=True).look().refused == ["23 objects would be deleted, more than max_deletes (10)"]
    Run(neutron, less, prune=True, max_deletes=23).converge()
    whole = Neutron()
    Run(whole, less).converge()
    assert state(neutron) == state(whole)


def test_what_cannot_change_is_replaced_only_when_allowed() -> None:
    neutron = Neutron()
    source = intent(1, 2)
    ledger = planner.plan(source, {}, site=SITE).ledger
    Run(neutron, cloud_plan(source)).converge()
    source["rie_tenants"][0]["vrfs"][0]["networks"][0]["v4"] = "10.20.8.0/24"
    moved = cloud_plan(source, ledger)
    refused = Run(neutron, moved).look().refused
    assert [line.split(" needs")[0] for line in refused] == [
        "subnet rie:v0:n0/v4",
        "interface rie:v0:router -> rie:v0:n0/v4",
    ]
    first = Run(neutron, moved, allow_replace=True).converge()
    assert [(op.action, op.kind) for op in first.operations] == [
        ("delete", "interface"), ("delete", "subnet"), ("create", "subnet"), ("create", "interface"),
    ]  # fmt: skip


def test_foreign_objects_are_never_touched() -> None:
    neutron = Neutron()
    neutron.add("network", name="rie-v0-a", description="a namesake")
    neutron.add("router", name="rie-v0", description="")
    before = state(neutron)
    plan = cloud_plan(intent(1))
    Run(neutron, plan).converge()
    nothing: dict[str, Any] = {"projects": [], "quotas": {}, "vrfs": []}
    Run(neutron, nothing, prune=True, max_deletes=100).converge()
    assert state(neutron) == before


def test_state_scale_costs_tens_of_reads() -> None:
    """5,000 networks: a run without differences sends only list requests and no writes."""
    neutron = Neutron()
    plan = cloud_plan(intent(300, 17, "4"))
    Run(neutron, plan).converge()
    run = Run(neutron, plan)
    assert not run.converge().operations
    assert set(run.client.api_calls) == {"GET"}
    assert run.client.api_calls.total() < 50
    source = intent(300, 17, "4")
    source["rie_tenants"][0]["vrfs"][0]["networks"].append({"name": "new", "v4": "10.20.9.0/24"})
    run = Run(neutron, cloud_plan(source))
    run.converge()
    writes = run.client.api_calls.total() - run.client.api_calls["GET"]
    assert writes == 3  # network, subnet, interface


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(0, 12), st.integers(1, 5), st.integers(1, 10), st.randoms(use_true_random=False))
def test_nothing_is_made_before_what_it_refers_to(
    vrfs: int, networks: int, workers: int, batch: int, rng: random.Random
) -> None:
    """This holds with any duration of requests. At most two requests change one router at the same time."""
    operations = [
        op for op in Run(Neutron(), cloud_plan(intent(vrfs, networks))).look().operations if op.kind != "quota"
    ]
    todo = steps(operations, workers=workers, batch=batch)
    assert sorted((op.kind, op.key) for step in todo for op in step.entries) == sorted(
        (op.kind, op.key) for op in operations
    )
    assert max(len(step.entries) for step in todo if step.kind in ("network", "subnet")) <= batch
    made: set[Ref] = set()
    running: list[int] = []
    order = Order(todo)
    while order:
        while len(running) < workers and (number := order.next()) is not None:
            step = todo[number]
            needed = {ref for op in step.entries for ref in references(op.attrs) if ref.kind != "project"}
            assert needed <= made, needed - made
            running.append(number)
        routers = [todo[number].entries[0].attrs["router_id"] for number in running if todo[number].kind in ON_A_ROUTER]
        assert max(Counter(routers).values(), default=0) <= AT_A_TIME
        number = running.pop(rng.randrange(len(running)))
        made |= {Ref(op.kind, op.key) for op in todo[number].entries}
        order.done(number)
    assert made == {Ref(op.kind, op.key) for op in operations}


def test_a_network_is_on_its_router_before_all_are_made() -> None:
    operations = [op for op in Run(Neutron(), cloud_plan(intent(1, 20, "4"))).look().operations if op.kind != "quota"]
    todo = steps(operations, workers=2, batch=5)
    order, done = Order(todo), []
    while order:
        number = order.next()
        assert number is not None
        done.append(todo[number].kind)
        order.done(number)
    assert done.index("interface") < len(done) - done[::-1].index("network")


BFD = '{"data":[[["uuid","u1"],"lrp-p1","100.64.0.1",["set",[]],["set",[]],["set",[]]],' \
      '[["uuid","u2"],"lrp-p2","100.64.0.5",300,300,3],[["uuid","u3"],"lrp-x","1.2.3.4",1000,1000,5]],' \
      '"headings":["_uuid","logical_port","dst_ip","min_tx","min_rx","detect_mult"]}'  # fmt: skip
TIMERS = {"min_tx": 300, "min_rx": 300, "detect_mult": 3}


def test_bfd_timers_of_our_gateways_only() -> None:
    found = ovn_gateways.timers(ovn_gateways.rows(BFD), {"p1", "p2"}, TIMERS)
    assert [timer.uuid for timer in found] == ["u1"]
    assert ovn_gateways.commands(found, TIMERS) == [
        "--", "set", "BFD", "u1", "min_tx=300", "min_rx=300", "detect_mult=3",
    ]  # fmt: skip


ROUTERS = [{"vrf": "v0", "gateways": [{"gateway": "gw1", "port_id": "p1"}, {"gateway": "gw2", "port_id": "p2"}]}]
CHASSIS = {"gw1": "c1", "gw2": "c2"}
PLACED = {("p1", "c1"): 2, ("p1", "c2"): 1, ("p2", "c1"): 1, ("p2", "c2"): 2}


def chassis_rows(places: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [
        {"_uuid": f"{port}{chassis}", "name": f"lrp-{port}_{chassis}", "chassis_name": chassis, "priority": priority}
        for (port, chassis), priority in places.items()
    ]


def test_ports_on_their_own_gateways_need_nothing() -> None:
    assert ovn_gateways.places(ROUTERS, chassis_rows(PLACED), CHASSIS) == ([], [])


@given(st.dictionaries(st.sampled_from(sorted(PLACED)), st.integers(0, 5)))
def test_ports_get_to_their_own_gateways_from_anywhere(places: dict[tuple[str, str], int]) -> None:
    found, faults = ovn_gateways.places(ROUTERS, chassis_rows(places), CHASSIS)
    assert not faults
    assert {**places, **{(place.port, place.chassis): place.priority for place in found}} == PLACED
    assert {place.port + place.chassis for place in found if place.uuid} == {
        place.uuid for place in found if (place.port, place.chassis) in places
    }


def test_a_missing_row_is_made_as_neutron_names_it() -> None:
    found, _ = ovn_gateways.places(ROUTERS, chassis_rows({**PLACED, ("p1", "c1"): 1} | {}), CHASSIS)
    assert ovn_gateways.place_commands(found) == ["--", "set", "Gateway_Chassis", "p1c1", "priority=2"]
    rows = [row for row in chassis_rows(PLACED) if row["_uuid"] != "p1c2"]
    assert ovn_gateways.place_commands(ovn_gateways.places(ROUTERS, rows, CHASSIS)[0]) == [
        "--", "--id=@place0", "create", "Gateway_Chassis", "name=lrp-p1_c2", "chassis_name=c2", "priority=1",
        "--", "add", "Logical_Router_Port", "lrp-p1", "gateway_chassis", "@place0",
    ]  # fmt: skip


def test_the_first_choice_is_named_first() -> None:
    hosts = {"c1": "gw1.lab", "c2": "gw2.lab"}
    found = ovn_gateways.placed(chassis_rows(PLACED), hosts)
    assert found == {"p1": ["gw1.lab", "gw2.lab"], "p2": ["gw2.lab", "gw1.lab"]}


def test_a_stranger_and_a_missing_chassis_are_named() -> None:
    _, faults = ovn_gateways.places(ROUTERS, chassis_rows({**PLACED, ("p1", "c9"): 3}), CHASSIS)
    assert faults == [faults[0]] and "gw1 is scheduled on c9" in faults[0]
    _, faults = ovn_gateways.places(ROUTERS, [], {"gw1": "c1"})
    assert faults == ["VRF v0: gateway gw2 is no chassis of OVN; does ovn-controller run?"]


def test_tunnels_get_timers_once() -> None:
    wanted = ["--", "set", "NB_Global", ".", "options:bfd-min-tx=300", "options:bfd-min-rx=300", "options:bfd-mult=3"]
    assert ovn_gateways.tunnel_commands({}, TIMERS) == wanted
    settled = {"bfd-min-tx": "300", "bfd-min-rx": "300", "bfd-mult": "3", "mac_prefix": "x"}
    assert ovn_gateways.tunnel_commands(settled, TIMERS) == []
