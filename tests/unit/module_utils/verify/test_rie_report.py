# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The report of the wiring: it is complete, names unknown data, and stays readable with many tenants."""

from __future__ import annotations

import copy
import json
import re
import time
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rie_intents import SITE, full, intent

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie.sessions import judge
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import report_page
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import rie_report as engine
from ansible_collections.cloudwatt.socle.plugins.modules import rie_report as module
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

TEMPLATE = Path(__file__).parents[4] / "roles/rie_report/templates/report.html.j2"
VOID = {"meta", "input", "path", "rect", "circle"}


def planned(source: dict[str, Any]) -> Any:
    result = planner.plan(source, {}, site=SITE)
    assert result.violations == []
    return result.plan


def answer(gateway: str, vrf: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return sessions and routes of a VRF on a gateway, by the engine that evaluates FRR's answers."""
    up = {"state": "Established", "pfxRcd": 2, "pfxSnt": 500, "peerUptime": "01:02:03", "peerUptimeMsec": 3723000}
    bgp: dict[str, Any] = {"ipv4Unicast": {"peers": {}}, "ipv6Unicast": {"peers": {}}}
    bfd = []
    for part, key in (("pe", ""), ("peer", "neighbor_"), ("cloud", "router_")):
        for family, table in (("v4", "ipv4Unicast"), ("v6", "ipv6Unicast")):
            neighbor = vrf[part][key + family].partition("/")[0]
            bgp[table]["peers"][neighbor] = up
            bfd.append({"peer": neighbor, "status": "up", "diagnostic": "ok", "uptime": 90061})
    routes = [
        {
            "gateway": gateway,
            "vrf": vrf["name"],
            "neighbor": vrf["pe"][family],
            "family": family,
            "announced": vrf["export"][family],
            "accepted": [item["prefix"] for item in vrf["accept"][family]],
            "refused": [],
        }
        for family in ("v4", "v6")
    ]
    return judge(gateway, vrf, bgp, bfd), routes


def scene(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the module for a site without faults."""
    sessions = {}
    for gateway, part in plan["gateways"].items():
        told = [answer(gateway, vrf) for vrf in part["vrfs"]]
        rows, routes = ([row for pair in told for row in pair[place]] for place in (0, 1))
        sessions[gateway] = {"sessions": rows, "routes": routes, "drained": False}
    lists: dict[str, list[dict[str, Any]]] = {"routers": [], "networks": [], "ports": []}
    placed = {}
    for vrf in plan["neutron"]["vrfs"]:
        tag = vrf["router"]["tag"]
        lists["routers"].append({"id": tag, "name": vrf["router"]["name"], "description": tag})
        for net in (*vrf["networks"], *vrf["externals"]):
            lists["networks"].append({"id": net["tag"], "name": net["name"], "description": net["tag"]})
        for net in vrf["externals"]:
            port = f"port of {net['tag']}"
            lists["ports"].append({"id": port, "device_id": tag, "network_id": net["tag"]})
            placed[port] = [f"{net['gateway']}.lab"]
    nothing = {"changed": False}
    return {
        "site": "lab",
        "plan": plan,
        "ledger": [],
        "sessions": sessions,
        "cloud": lists,
        "compared": {"projects": nothing, "neutron": nothing, "bfd": nothing | {"placed": placed}},
        **{part: dict.fromkeys(plan["gateways"], nothing) for part in module.PARTS},
        "verified": None,
    }


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return planned(full(3))


@pytest.fixture
def made(plan) -> dict[str, Any]:
    return copy.deepcopy(scene(plan))


def page(made: dict[str, Any]) -> str:
    return report_page.render(TEMPLATE, engine.view(module.document(made), made["plan"]))


class Tags(HTMLParser):
    """Finds elements that are opened but not closed, or closed but not opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_all_is_well(made):
    found = module.document(made)
    assert found["notes"] == []
    assert found["summary"] == (
        "3 VRFs of 3 tenants, 6 networks; 60 of 60 sessions as they should be; 0 differences from the inventory."
    )
    assert all(tenant["ok"] for tenant in found["tenants"])
    assert "✓ All as the inventory wants it" in page(made)
    json.dumps(found)


def test_the_page_has_all_there_is_to_say(made):
    text = page(made)
    for vrf in made["plan"]["neutron"]["vrfs"]:
        for said in (vrf["tenant"], vrf["router"]["name"], vrf["externals"][0]["name"]):
            assert said in text
        for net in vrf["networks"]:
            assert net["v4"]["cidr"] in text and net["v6"]["cidr"] in text
    for part in made["plan"]["gateways"].values():
        for vrf in part["vrfs"]:
            assert vrf["pe"]["v6"] in text and vrf["rd"] in text
    assert "1 h 2 min" in text and "1 d 1 h" in text


def test_a_gateway_and_a_cloud_that_do_not_answer_are_not_taken_for_well(made):
    made["sessions"]["gw2"] = {}
    made["cloud"] = None
    made["compared"]["neutron"] = {"failed": True, "msg": "Keystone is asleep"}
    for part in module.PARTS:
        made[part]["gw2"] = {}
    found = module.document(made)
    assert "cloud, neutron: Keystone is asleep" in found["notes"]
    assert any(note.startswith("gw2 did not answer") for note in found["notes"])
    assert not found["drift"]["known"]
    assert [gateway["answers"] for gateway in found["gateways"]] == [True, False]
    text = page(made)
    assert "✓ All as" not in text and "no answer" in text and "? not known" in text


def test_what_is_down_missing_or_elsewhere_is_marked(made):
    made["sessions"]["gw1"]["sessions"][0] |= {"ok": False, "state": "Active", "detail": "BFD down"}
    made["sessions"]["gw1"]["drained"] = True
    del made["cloud"]["networks"][0]
    made["cloud"]["networks"].append({"id": "x", "name": "old", "description": "rie:v1:old"})
    port = next(iter(made["compared"]["bfd"]["placed"]))
    made["compared"]["bfd"]["placed"][port] = ["gw2.lab"]
    made["instances"]["gw1"] = {"actions": {"v2": "reloaded"}, "deltas": {"v2": "no ip route 10.0.0.0/24 peer"}}
    found = module.document(made)
    by_name = {tenant["name"]: tenant for tenant in found["tenants"]}
    assert [by_name[name]["ok"] for name in ("t0", "t1", "t2")] == [False] * 3
    [first], [second], [third] = (by_name[name]["vrfs"] for name in ("t0", "t1", "t2"))
    assert [net["found"] for net in first["networks"]] == [False, True]
    assert [entry["ok"] for entry in first["ports"]] == [False, True]
    assert second["others"] == ["rie:v1:old"]
    assert third["drift"] == ["gw1: FRR reloaded", "  no ip route 10.0.0.0/24 peer"]
    assert "gw1 drained" in found["summary"]
    assert "✗ missing" in page(made)


def test_who_reaches_whom_is_the_plan_with_what_was_seen(made, tmp_path):
    probe = {"from_vrf": "v0", "to_vrf": "v1", "verdict": "ok"}
    probes = [probe, {**probe, "verdict": "violation"}, {**probe, "from_vrf": "v2", "to_vrf": "v0"}]
    (tmp_path / "verify.json").write_text(json.dumps({"generated": "2026-01-02", "measured": True, "probes": probes}))
    where = {"prefix": "10.1.0.0/24", "where": "gw1 <list>", "reason": "", "remedy": ""}
    leak = {"from_vrf": "v1", "to_vrf": "v2", **where}
    proof = {"made": "2026-01-03", "ok": False, "facts": {}, "not_examined": [], "violations": [leak]}
    (tmp_path / "isolation.json").write_text(json.dumps(proof))
    made["verified"] = str(tmp_path)
    found = module.document(made)
    pairs = {(row["from"], row["to"]): row for row in found["pairs"]}
    assert (pairs["v0", "v1"]["agree"], pairs["v0", "v1"]["wrong"], pairs["v1", "v2"]["leaks"]) == (1, 1, 1)
    for (one, other), row in pairs.items():
        routes = other in made["plan"]["imports"][one]
        back = one in made["plan"]["imports"][other]
        assert row["allowed"] == ("both" if routes and back else "one way" if routes else "no")
    cells = {row["name"]: row["cells"] for row in engine.matrix(found)["rows"]}
    assert [cell["bad"] for cell in cells["v0"]] == [False, True, False]
    assert [cell["bad"] for cell in cells["v1"]] == [False, False, True]
    text = page(made)
    assert "2026-01-02" in text and "2026-01-03" in text and "gw1 &lt;list&gt;" in text


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", '{"probes": 1}'])
def test_a_broken_report_of_a_verification_is_left_out(made, tmp_path, content):
    (tmp_path / "verify.json").write_text(content)
    made["verified"] = str(tmp_path)
    found = module.document(made)
    assert found["verify"] is None
    assert "left out" in found["notes"][0]


def test_nothing_of_a_tenant_gets_out_of_its_text(plan):
    evil = '"><script>alert(1)</script>'
    made = copy.deepcopy(scene(plan))
    made["plan"] = copy.deepcopy(made["plan"])
    for project in made["plan"]["neutron"]["projects"]:
        project["description"] = evil
    made["sessions"]["gw1"]["sessions"][0] |= {"detail": evil, "state": evil, "ok": False}
    made["sessions"]["gw1"]["routes"][0]["refused"] = [evil]
    made["cloud"]["networks"].append({"id": "x", "name": evil, "description": f"rie:v1:{evil}"})
    made["instances"]["gw1"] = {"actions": {"v2": evil}}
    made["netns"]["gw1"] = {"steps": {"": [evil]}}
    text = page(made)
    assert text.count("<script>") == text.count("</script>") == 1
    assert "&lt;script&gt;alert(1)" in text
    assert Tags(text).wrong == []


def test_the_page_fetches_nothing_and_is_well_formed(made):
    text = page(made)
    assert not re.search(r"<link|@import|url\(|(?:src|href)=|https?:", text)
    tags = Tags(text)
    assert (tags.open, tags.wrong) == ([], [])
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_a_state_is_never_told_by_colour_alone(made):
    made["sessions"]["gw1"]["sessions"][0] |= {"ok": False}
    text = page(made)
    marks = re.findall(r'<span class="(?:good|wrong)">(.*?)</span>', text)
    assert {mark[0] for mark in marks} == {"✓", "✗"}
    cells = set(re.findall(r'<td class="(?:own|reach|hears|apart|bad)" title="[^"]+">(.)', text))
    assert cells
    assert cells <= set("·⇄→∅✗")


@pytest.mark.parametrize("vrfs", [1, 12, 13])
def test_every_drawing_stays_inside(vrfs):
    made = scene(planned(intent(vrfs)))
    shown = engine.view(module.document(made), made["plan"])
    assert shown["many"] == (vrfs > 12)
    for sheet in (shown["drawing"], *shown["sheets"].values()):
        for box in sheet["boxes"] + sheet["cells"]:
            assert sheet["left"] <= box["x"] and box["x"] + box["width"] <= sheet["left"] + sheet["width"]
            assert box["y"] >= 0 and box["y"] + box["height"] <= sheet["height"]


def test_the_largest_site_is_one_page_in_seconds():
    made = scene(planned(intent(300, networks=17)))
    begun = time.process_time()
    text = page(made)
    spent = time.process_time() - begun
    assert spent < 15, spent  # measured: 1.6 s of CPU time
    assert text.count('<details class="tenant"') == 300
    assert text.count(" open>") == 0  # all are collapsed, and the page begins with counts
    assert "No VRF shares a route with another." in text
    assert len(text) < 30_000_000


def test_a_matrix_that_would_not_fit_shows_who_has_to_do_with_whom():
    source = intent(engine.MATRIX + 6)
    for one, other in ((3, 20), (20, 3), (7, 20)):
        vrf = source["rie_tenants"][one]["vrfs"][0]
        vrf["import_targets"].append(f"64900:{other}")
        vrf["exchange"] = [f"v{other}"]
    found = module.document(scene(planned(source)))
    shown = engine.matrix(found)
    assert (shown["names"], shown["hidden"]) == (["v20", "v3", "v7"], engine.MATRIX + 3)
    assert [[cell["what"] for cell in row["cells"]] for row in shown["rows"]] == [
        ["own", "reach", "apart"],
        ["reach", "own", "apart"],
        ["hears", "apart", "own"],
    ]
    crowd = module.document(scene(planned(full(engine.MATRIX + 1))))
    assert len(engine.matrix(crowd)["names"]) == engine.MATRIX


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3723, "1 h 2 min"), (90061, "1 d 1 h")],
)
def test_a_duration_in_words(seconds, words):
    assert engine.duration(seconds) == words
