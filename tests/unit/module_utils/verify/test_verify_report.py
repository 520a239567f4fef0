# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The verification report: its verdict and its page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import reachability, report_page
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import report as engine

TEMPLATE = Path(__file__).parents[4] / "roles/verify/templates/verify.html.j2"


def gateway_vrf(name: str, number: int, gateway: int) -> dict[str, Any]:
    return {
        "name": name,
        "netns": f"vrf-{name}",
        "asn": 65010,
        "rd": f"65010:{number}{gateway}",
        "pe": {
            "asn": 64900,
            "v4": f"100.66.{gateway}.{4 * number + 1}",
            "v6": f"fd66:{gateway}:{number + 1}::1",
        },
        "rie": {"vlan": 2000 + 100 * gateway + number},
        "cloud": {"vlan": 100 + 10 * gateway + number},
        "peer": {"vlan": 150 + number},
    }


def scene(vrfs: tuple[str, ...] = ("interieur", "finances")) -> dict[str, Any]:
    """Return the arguments of :func:`assemble` for a site without faults."""
    plan = {
        "neutron": {
            "vrfs": [
                {
                    "name": vrf,
                    "networks": [{"v4": {"cidr": "10.20.0.0/24"}, "v6": {"cidr": f"fd20:0:{number + 1}:1::/64"}}],
                    "router": {"name": f"rie-{vrf}"},
                }
                for number, vrf in enumerate(vrfs)
            ]
        },
        "gateways": {
            f"gw{gateway}": {"vrfs": [gateway_vrf(vrf, number, gateway) for number, vrf in enumerate(vrfs)]}
            for gateway in (1, 2)
        },
    }
    guests = [
        {
            "tenant": vrf,
            "vrf": vrf,
            "name": f"guest-{vrf}",
            "v4": f"10.20.0.{10 + 10 * number}",
            "v6": f"fd20:0:{number + 1}:1:f816:3eff:fe12:34{number:02d}",
        }
        for number, vrf in enumerate(vrfs)
    ]
    sites = [
        {
            "name": f"site-{vrf}",
            "vrf": vrf,
            "netns": f"ce-{vrf}",
            "v4": f"10.128.{number + 1}.1",
            "v6": f"fd80:0:{number + 1}::1",
        }
        for number, vrf in enumerate(vrfs)
    ]
    sessions = [
        {
            "gateway": gateway,
            "vrf": vrf,
            "what": what,
            "neighbor": "100.66.1.1",
            "state": "Established",
            "ok": True,
            "detail": "BFD up",
        }
        for gateway in ("gw1", "gw2")
        for vrf in vrfs
        for what in ("BGP v4", "BGP v6")
    ]
    api = [
        {"id": "nova public", "kind": "endpoint", "ok": True, "detail": "https://api:8774: 200", "ms": 12.5},
        {"id": "nova-compute on cmp1", "kind": "service", "ok": True, "detail": "up", "ms": None},
    ]
    probes = reachability.matrix(guests, sites, {}, mtu=1500)
    results = [
        {
            "id": probe["id"],
            "outcome": "reach",
            "name": probe["expect_name"],
            "remote_addr": probe["expect_source"],
            "rtt_ms": 3.2,
            "attempts": 1,
        }
        if probe["expect"] == "reach"
        else {"id": probe["id"], "outcome": "unreachable", "detail": "no answer in 2 s", "attempts": 3}
        for probe in probes
    ]
    return {
        "site": "lab",
        "generated": "2026-01-02T03:04:05Z",
        "plan": plan,
        "sites": sites,
        "guests": guests,
        "api": api,
        "sessions": sessions,
        "matrix": reachability.judge(probes, results),
        "isolation": {
            "ok": True,
            "digest": "0" * 64,
            "facts": {"prefixes": 30, "neighbours": 12},
            "violations": [],
            "not_examined": [],
            "probes": {"disagreements": []},
        },
        "_results": results,
        "_probes": probes,
    }


def leaking(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return a scene in which some probes have unexpected results."""
    made = scene()
    results = [{**result, **changes.get(result["id"], {})} for result in made["_results"]]
    return {**made, "matrix": reachability.judge(made["_probes"], results)}


def report(made: dict[str, Any]) -> dict[str, Any]:
    return engine.assemble(**{key: value for key, value in made.items() if not key.startswith("_")})


def page(made: dict[str, Any]) -> str:
    return report_page.render(TEMPLATE, engine.view(report(made)))


def test_all_well() -> None:
    verdict = report(scene())
    assert verdict["ok"]
    assert verdict["violations"] == verdict["notes"] == []
    assert engine.summary(verdict) == (
        "36 of 36 probes as expected, 8 of 8 sessions up, 2 of 2 API checks good, isolation proven on 42 facts."
    )
    json.dumps(verdict)


def test_every_part_can_fail_the_verdict() -> None:
    packets = leaking(**{"site-interieur>guest-finances:v6:http": {"outcome": "reach", "name": "guest-finances"}})
    assert report(packets)["violations"][0]["text"] == (
        "site-interieur -> guest-finances v6 http: expected unreachable, reached, by guest-finances"
    )
    made = scene()
    made["sessions"][0] |= {"ok": False, "state": "Active"}
    assert [entry["text"] for entry in report(made)["violations"]] == [
        "gw1 interieur: BGP v4 100.66.1.1 is Active (BFD up)"
    ]
    made = scene()
    made["api"][1] |= {"ok": False, "detail": "down"}
    assert [entry["text"] for entry in report(made)["violations"]] == ["nova-compute on cmp1: down"]


def test_the_proof_of_isolation_is_part_of_the_verdict() -> None:
    made = scene()
    assert "isolation proven on 42 facts" in engine.summary(report(made))
    assert "30 prefixes" in page(made)
    leak = {
        "kind": "accept",
        "from_vrf": "finances",
        "to_vrf": "interieur",
        "prefix": "10.20.1.0/24",
        "path": ["network web", "VRF interieur on gw1"],
        "where": "gw1 frr.conf: ip prefix-list",
        "more": 0,
        "reason": "lets it in",
        "remedy": "wire again",
    }
    made["isolation"] |= {"ok": False, "violations": [leak]}
    [found] = report(made)["violations"]
    assert found["kind"] == "isolation"
    assert "finances to interieur (10.20.1.0/24) by network web > VRF interieur on gw1" in found["text"]
    assert "NOT proven" in engine.summary(report(made))
    assert "network web &gt; VRF interieur on gw1" in page(made)
    unseen = [{"where": "gw2 vrf finances", "why": "no answer"}]
    made["isolation"] |= {"violations": [], "not_examined": unseen}
    assert [entry["text"] for entry in report(made)["violations"]] == [
        "isolation: gw2 vrf finances was not examined: no answer"
    ]
    del made["isolation"]
    assert any("not examined" in note for note in report(made)["notes"])


def test_without_a_probe_host_the_report_says_so() -> None:
    made = {**scene(), "matrix": None, "sites": []}
    verdict = report(made)
    assert verdict["ok"]
    assert verdict["notes"] == [engine.NO_PROBE_HOST]
    assert "NOT measured" in page(made)


def test_a_matrix_that_proves_nothing_fails() -> None:
    assert not report({**scene(), "matrix": reachability.judge([], [])})["ok"]


@pytest.mark.parametrize("vrfs", [(), ("one",), ("interieur", "finances"), tuple(f"v{n}" for n in range(14))])
def test_the_drawing_stays_inside_and_boxes_do_not_overlap(vrfs: tuple[str, ...]) -> None:
    made = scene(vrfs)
    sheet = engine.view(report(made))["drawing"]
    boxes = sheet["boxes"]
    for box in boxes + sheet["cells"]:
        assert box["x"] >= sheet["left"] and box["x"] + box["width"] <= sheet["left"] + sheet["width"]
        assert box["y"] >= 0 and box["y"] + box["height"] <= sheet["height"]
    for one, other in ((one, other) for one in boxes for other in boxes if one is not other):
        apart = (
            one["x"] + one["width"] <= other["x"]
            or other["x"] + other["width"] <= one["x"]
            or one["y"] + one["height"] <= other["y"]
            or other["y"] + other["height"] <= one["y"]
        )
        assert apart, (one["title"], other["title"])
    assert sheet["hidden"] == max(0, len(vrfs) - engine.DRAWN)


def test_a_violation_is_drawn_even_in_a_crowd() -> None:
    made = scene(tuple(f"v{n}" for n in range(14)))
    results = [
        {**result, "outcome": "reach"} if result["id"] == "site-v0>guest-v13:v4:icmp" else result
        for result in made["_results"]
    ]
    made["matrix"] = reachability.judge(made["_probes"], results)
    lines = engine.view(report(made))["drawing"]["lines"]
    assert [line["style"] for line in lines if line["style"] not in ("link", "peer")] == ["leak"]


def test_the_page_is_self_contained_and_well_formed() -> None:
    made = leaking(**{"site-interieur>guest-finances:v6:http": {"outcome": "reach", "name": "<b>intruder</b>"}})
    text = page(made)
    assert not re.search(r"<script|<link|@import|url\(|(?:src|href)=", text)
    assert "expected unreachable, reached, by &lt;b&gt;intruder" in text
    drawn = re.search(r"<svg.*?</svg>", text, re.DOTALL)
    assert drawn
    ElementTree.fromstring(drawn[0])
    assert text.index("Not as expected") < text.index("Topology")


def test_the_matrix_has_a_mark_for_each_probe() -> None:
    made = scene()
    cells = [cell for row in engine.view(report(made))["matrix"]["rows"] for cell in row["cells"] if cell]
    marks = [mark for cell in cells for line in cell["lines"] for mark in line["marks"]]
    assert len(marks) == len(made["_probes"])
    assert {mark["style"] for mark in marks} == {"reach", "silent"}


def test_the_matrix_reads_along_its_diagonal() -> None:
    made = scene()
    made["_probes"].reverse()
    made["matrix"] = reachability.judge(made["_probes"], made["_results"])
    matrix = engine.view(report(made))["matrix"]
    names = [f"{kind}-{vrf}" for kind in ("site", "guest") for vrf in ("interieur", "finances")]
    assert [row["name"] for row in matrix["rows"]] == names
    assert [column["name"] for column in matrix["columns"]] == names[2:] + names[:2]
