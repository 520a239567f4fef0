# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The reachability matrix: its probes, and the verdict for each observation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import reachability as engine

GUESTS = [
    {
        "tenant": "interieur",
        "vrf": "interieur",
        "name": "guest-interieur",
        "v4": "10.20.0.10",
        "v6": "fd10:20::10",
    },
    {
        "tenant": "finances",
        "vrf": "finances",
        "name": "guest-finances",
        "v4": "10.20.0.20",
        "v6": "fd10:30::20",
    },
]
SITES = [
    {
        "name": "site-interieur",
        "vrf": "interieur",
        "netns": "s-int",
        "v4": "10.128.1.1/24",
        "v6": "fd80:1::1/64",
    },
    {
        "name": "site-finances",
        "vrf": "finances",
        "netns": "s-fin",
        "v4": "10.128.2.1/24",
        "v6": "fd80:2::1/64",
    },
]
PRIVATE = {vrf: {"import": [vrf], "export": [vrf]} for vrf in ("interieur", "finances")}


def perfect(probe: dict[str, Any]) -> dict[str, Any]:
    """Return the expected result of a probe."""
    if probe["expect"] == "unreachable":
        return {"id": probe["id"], "outcome": "unreachable"}
    return {
        "id": probe["id"],
        "outcome": "reach",
        "name": probe["expect_name"],
        "remote_addr": probe["expect_source"],
    }


def judged(change: dict[str, dict[str, Any]], **matrix: Any) -> dict[str, Any]:
    """Evaluate the lab's matrix with expected results, except for ``change``: mapping of probe id to result."""
    probes = engine.matrix(GUESTS, SITES, PRIVATE, **matrix)
    unknown = set(change) - {probe["id"] for probe in probes}
    assert not unknown
    return engine.judge(probes, [{**perfect(probe), **change.get(probe["id"], {})} for probe in probes])


def test_the_lab_matrix_is_complete() -> None:
    probes = engine.matrix(GUESTS, SITES, PRIVATE)
    kinds = [probe["kind"] for probe in probes]
    assert kinds.count(engine.SITE_GUEST) == 2 * 2 * 4
    assert kinds.count(engine.GUEST_GUEST) == 2 * 4
    assert kinds.count(engine.GUEST_SITE) == 2 * 2 * 2
    assert len({probe["id"] for probe in probes}) == len(probes)
    for probe in probes:
        assert (probe["expect"] == "reach") == (probe["from_vrf"] == probe["to_vrf"])


def test_a_probe_says_where_it_starts_and_whom_it_must_find() -> None:
    by_id = {probe["id"]: probe for probe in engine.matrix(GUESTS, SITES, PRIVATE)}
    own = by_id["site-interieur>guest-interieur:v4:http"]
    assert (own["netns"], own["source"], own["target"]) == ("s-int", "10.128.1.1", "10.20.0.10")
    assert (own["expect_name"], own["expect_source"], own["via"]) == ("guest-interieur", "10.128.1.1", None)
    relayed = by_id["guest-interieur>guest-finances:v6:icmp"]
    assert relayed["via"] == {"name": "guest-interieur", "address": "10.20.0.10"}
    assert (relayed["netns"], relayed["target"]) == ("s-int", "fd10:30::20")


def test_full_size_probes_only_where_an_answer_is_expected() -> None:
    sized = [probe for probe in engine.matrix(GUESTS, SITES, PRIVATE, mtu=1500) if probe["size"]]
    assert {(probe["family"], probe["size"]) for probe in sized} == {("v4", 1472), ("v6", 1452)}
    assert all(probe["expect"] == "reach" for probe in sized)


def test_a_guest_without_a_site_or_a_family_is_a_target_only() -> None:
    guests: list[dict[str, Any]] = [
        *GUESTS,
        {"tenant": "x", "vrf": "x", "name": "guest-x", "v4": "10.9.0.1", "v6": None},
    ]
    probes = engine.matrix(guests, SITES, PRIVATE)
    assert not [probe for probe in probes if probe["from"] == "guest-x"]
    assert {probe["family"] for probe in probes if probe["to"] == "guest-x"} == {"v4"}


@pytest.mark.parametrize(
    ("imports", "exports", "expected"),
    [
        (([1], [2]), ([1], [2]), False),
        (([1, 2], [1, 2]), ([1], [2]), True),
        (([1, 2], [2]), ([1], [2]), False),  # only one direction: no return route
    ],
)
def test_connection_needs_both_directions(imports: Any, exports: Any, expected: bool) -> None:
    policy = {
        "a": {"import": imports[0], "export": exports[0]},
        "b": {"import": imports[1], "export": exports[1]},
    }
    assert engine.connected(policy, "a", "b") is expected
    assert engine.connected(policy, "b", "a") is expected


def test_a_site_is_completed_from_its_prefixes() -> None:
    sites = engine.complete_sites([{"name": "a", "vrf": "a", "v4": "10.128.1.0/24", "v6": "fd80:0:1::/64"}])
    assert sites == [{"name": "site-a", "vrf": "a", "netns": "ce-a", "v4": "10.128.1.1", "v6": "fd80:0:1::1"}]
    assert engine.address("10.1.0.0/31") == "10.1.0.0"
    assert engine.address("10.1.0.0/32") == "10.1.0.0"


def test_policy_of_the_intent() -> None:
    tenants = [
        {
            "vrfs": [
                {"name": "a", "import_targets": ["64900:1"], "export_targets": ["64900:1"]},
                {"name": "b"},
            ]
        },
        {},
    ]
    policy = engine.policy_from_tenants(tenants)
    assert policy == {
        "a": {"import": ["64900:1"], "export": ["64900:1"]},
        "b": {"import": ["own:b"], "export": ["own:b"]},
    }


def test_all_as_expected() -> None:
    report = judged({}, mtu=1500)
    assert report["ok"]
    assert not report["violations"] and not report["unproven"]
    assert report["counts"]["as_expected"] == report["counts"]["total"]


@pytest.mark.parametrize(
    ("probe", "result", "text"),
    [
        (
            "site-interieur>guest-finances:v6:http",
            {"outcome": "reach", "name": "guest-finances"},
            "site-interieur -> guest-finances v6 http: expected unreachable, reached, by guest-finances",
        ),
        (
            "site-interieur>guest-finances:v4:http",
            {"outcome": "refused"},
            "site-interieur -> guest-finances v4 http: expected unreachable, something answers (connection refused)",
        ),
        (
            "site-interieur>guest-interieur:v4:icmp",
            {"outcome": "unreachable", "detail": "no answer in 2 s"},
            "site-interieur -> guest-interieur v4 icmp: expected reached, unreachable (no answer in 2 s)",
        ),
        (
            "site-interieur>guest-interieur:v4:http",
            {"name": "guest-finances"},
            "site-interieur -> guest-interieur v4 http: expected reached, the answer came from guest-finances",
        ),
        (
            "site-interieur>guest-interieur:v4:http",
            {"remote_addr": "10.20.0.1"},
            "site-interieur -> guest-interieur v4 http: expected reached from 10.128.1.1, the guest saw 10.20.0.1",
        ),
        (
            "guest-interieur>guest-finances:v4:icmp",
            {"outcome": "error", "detail": "relay broke"},
            "guest-interieur -> guest-finances v4 icmp: expected unreachable, could not be measured (relay broke)",
        ),
    ],
)
def test_each_violation_names_the_pair(probe: str, result: dict[str, Any], text: str) -> None:
    report = judged({probe: result})
    assert not report["ok"]
    assert [violation["text"] for violation in report["violations"]] == [text]


def test_a_mapped_source_address_is_the_same_address() -> None:
    assert judged({"site-interieur>guest-interieur:v4:http": {"remote_addr": "::ffff:10.128.1.1"}})["ok"]
    assert judged({"site-interieur>guest-interieur:v6:http": {"remote_addr": "[FD80:1:0::1]"}})["ok"]


def test_silence_of_a_dead_end_proves_nothing() -> None:
    dead = {
        f"{source}>guest-finances:v6:{proto}": {"outcome": "unreachable"}
        for source in ("site-finances",)
        for proto in ("icmp", "http")
    }
    report = judged(dead)
    assert len(report["violations"]) == 2
    assert "site-interieur -> guest-finances v6 http" in report["unproven"]
    assert "site-interieur -> guest-finances v4 http" not in report["unproven"]


def test_a_missing_result_is_a_violation() -> None:
    probes = engine.matrix(GUESTS, SITES, PRIVATE)
    report = engine.judge(probes, [perfect(probe) for probe in probes[1:]])
    assert [violation["id"] for violation in report["violations"]] == [probes[0]["id"]]


vrfs = st.sampled_from(["red", "green", "blue", "grey"])
targets = st.lists(st.sampled_from(["1:1", "1:2", "1:3", "1:4"]), max_size=3)
policies = st.fixed_dictionaries(
    {name: st.fixed_dictionaries({"import": targets, "export": targets}) for name in ("red", "green", "blue", "grey")}
)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    guests = [
        {"tenant": "t", "vrf": vrf, "name": f"guest-{i}", "v4": f"10.0.0.{i + 1}", "v6": f"fd00::{i + 1}"}
        for i, vrf in enumerate(draw(st.lists(vrfs, max_size=5)))
    ]
    sites = [
        {"name": f"site-{i}", "vrf": vrf, "netns": f"n{i}", "v4": f"10.1.{i}.1/24", "v6": f"fd01:{i}::1/64"}
        for i, vrf in enumerate(draw(st.lists(vrfs, max_size=5)))
    ]
    return guests, sites, draw(policies)


@given(scenes())
def test_every_ordered_pair_is_probed_and_expected_by_the_target_graph(scene: Any) -> None:
    guests, sites, policy = scene
    probes = engine.matrix(guests, sites, policy)
    assert len({probe["id"] for probe in probes}) == len(probes)
    pairs = {(probe["from"], probe["to"], probe["family"], probe["proto"]): probe["expect"] for probe in probes}
    housed = [guest for guest in guests if guest["vrf"] in {site["vrf"] for site in sites}]
    wanted = [(site, guest) for site in sites for guest in guests]
    wanted += [(one, other) for one in housed for other in guests if one is not other]
    for source, target in wanted:
        reach = source["vrf"] == target["vrf"] or (
            set(policy[source["vrf"]]["export"]) & set(policy[target["vrf"]]["import"])
            and set(policy[target["vrf"]]["export"]) & set(policy[source["vrf"]]["import"])
        )
        for family in engine.FAMILIES:
            for proto in engine.PROTOCOLS:
                seen = pairs.pop((source["name"], target["name"], family, proto))
                assert seen == ("reach" if reach else "unreachable")
    assert {(key[3]) for key in pairs} <= {"icmp"}  # the remaining probes go from guests to sites


@given(scenes(), st.data())
def test_any_single_deviation_is_seen_and_named(scene: Any, data: st.DataObject) -> None:
    probes = engine.matrix(*scene)
    if not probes:
        return
    results = [perfect(probe) for probe in probes]
    assert engine.judge(probes, results)["ok"]
    wrong = data.draw(st.integers(0, len(probes) - 1))
    outcome = (
        "reach"
        if probes[wrong]["expect"] == "unreachable"
        else data.draw(st.sampled_from(["unreachable", "refused", "error"]))
    )
    results[wrong] = {**results[wrong], "outcome": outcome}
    report = engine.judge(probes, results)
    assert not report["ok"]
    assert [violation["id"] for violation in report["violations"]] == [probes[wrong]["id"]]
    assert probes[wrong]["from"] in report["violations"][0]["text"]
    assert probes[wrong]["to"] in report["violations"][0]["text"]
