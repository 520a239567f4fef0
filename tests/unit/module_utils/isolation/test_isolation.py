# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The isolation proof: rendered configurations are clean, and each leak is found, named and shown with its evidence."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from hypothesis import given, settings
from hypothesis import strategies as st
from rie_intents import SITE, intent

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import Completed
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation import frr as isolation_frr
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation import nft as isolation_nft
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation import proof as isolation
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation.prefixes import (
    Prefix,
    Routes,
    common,
    merged,
    minus,
    outside,
    parse,
    prefixes,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import firewall, frr, gateway
from ansible_collections.cloudwatt.socle.plugins.modules import rie_evidence
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

LAB = Path(__file__).parents[4] / "molecule" / "shared" / "inventory"
Data = dict[str, Any]


def planned(source: Data) -> Any:
    result = planner.plan(source, {}, site=SITE)
    assert not result.violations, "\n".join(map(str, result.violations))
    return result.plan


def evidence(plan: Data) -> Data:
    """Return the configurations of the gateways as rendered. :func:`proof` lists the rulesets with nft."""
    return {
        "gateways": {
            name: {
                "vrfs": {
                    vrf["name"]: {
                        "frr": frr.render_frr(vrf, "s3cret", "gw"),
                        "nft": firewall.render_ruleset(vrf),
                    }
                    for vrf in part["vrfs"]
                },
                "ports": {"rie0": [], "peer0": [2, 3]}
                | {
                    link["host"]: [link["tag"]]
                    for vrf in part["vrfs"]
                    for link in gateway.definition(vrf, "br-rie")["links"]
                },
            }
            for name, part in plan["gateways"].items()
        },
        "cloud": isolation.cloud_of_plan(plan["neutron"]),
    }


LISTED: dict[str, str] = {}


def list_rulesets(texts: list[str]) -> None:
    """Load rulesets with nft, and store their JSON listing in ``LISTED``."""
    listing = (
        'for file in "$1"/*.nft; do nft --file "$file" && nft --json list table inet rie >"$file.json" || exit; done'
    )
    with tempfile.TemporaryDirectory() as directory:
        for index, text in enumerate(texts):
            Path(directory, f"{index}.nft").write_text("add table inet rie\ndelete table inet rie\n" + text)
        namespace = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
        done = subprocess.run([*namespace, "sh", "-c", listing, "sh", directory], capture_output=True, text=True)
        if "Operation not permitted" in done.stderr:
            pytest.skip("needs root and nf_tables")
        assert not done.returncode, done.stderr
        for index, text in enumerate(texts):
            LISTED[text] = Path(directory, f"{index}.nft.json").read_text()


def as_listed(seen: Data) -> Data:
    """Return the same evidence, with each ruleset as nft lists it after it is loaded."""
    seen = copy.deepcopy(seen)
    vrfs = [vrf for part in seen.get("gateways", {}).values() for vrf in part.get("vrfs", {}).values()]
    rendered = {vrf["nft"] for vrf in vrfs if vrf.get("nft", "{")[0] != "{"}
    if rendered and not shutil.which("nft"):
        pytest.skip("nft is not installed")
    if new := sorted(rendered - LISTED.keys()):
        list_rulesets(new)
    for vrf in vrfs:
        if vrf.get("nft") in rendered:
            vrf["nft"] = LISTED[vrf["nft"]]
    return seen


def proof(plan: Data, seen: Data | None, probes: list[Data] | None = None) -> Data:
    listed = seen and as_listed(seen)
    return isolation.report(plan, listed, site="lab", made="2026-11-21T00:00:00Z", probes=probes)


def pairs(report: Data) -> dict[tuple[str | None, str], Data]:
    return {(item["from_vrf"], item["to_vrf"]): item for item in report["violations"]}


def shared(count: int = 3, networks: int = 2, imports: Any = ()) -> Data:
    """Return an intent in which VRF a imports VRF b for each ``(a, b)``."""
    source = intent(count, networks)
    for one, other in imports:
        vrf = source["rie_tenants"][one]["vrfs"][0]
        vrf["import_targets"].append(f"64900:{other}")
        vrf.setdefault("exchange", []).append(f"v{other}")
    return source


PLAN = planned(shared())
CLEAN = evidence(PLAN)
THEIRS4, THEIRS6 = "10.20.16.0/28", "fd20:1:1:1::/64"
"""The first network of v1."""


# Rendered configurations


def test_the_lab_is_clean() -> None:
    source = yaml.safe_load((LAB / "group_vars/all/rie.yml").read_text())
    ledger = yaml.safe_load((LAB / "allocations.yml").read_text())
    plan: Any = planner.plan(source, ledger, site=SITE | {"secrets": None}).plan
    report = proof(plan, evidence(plan))  # two of its VRFs have the same v4 prefixes
    assert (report["violations"], report["not_examined"]) == ([], [])
    assert report["ok"] and all(report["facts"].values())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_rendered_plan_is_clean(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    both = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    imports = data.draw(st.sets(both, max_size=8)) if count > 1 else set()
    if data.draw(st.booleans()):  # a shared service
        imports |= {pair for other in range(1, count) for pair in ((0, other), (other, 0))}
    source = shared(count, data.draw(st.integers(1, 4)), sorted(imports))
    for tenant in source["rie_tenants"]:
        if data.draw(st.booleans()):
            family = data.draw(st.sampled_from(["v4", "v6"]))
            tenant["vrfs"][0]["accept"][family] = []
            for net in tenant["vrfs"][0]["networks"]:
                del net[family]
    plan = planned(source)
    report = proof(plan, evidence(plan))
    assert (report["violations"], report["not_examined"], report["ok"]) == ([], [], True)
    matrix = report["matrix"]
    assert matrix["talk"] == sum((other, one) in imports for one, other in imports)
    assert matrix["talk"] + matrix["one_way"] == len(imports)
    assert sum(matrix[key] for key in ("talk", "one_way", "isolated")) == matrix["pairs"] == count * (count - 1)
    assert all(set(part["talks_to"]) <= set(part["imports"]) for part in report["graph"].values())


def test_the_report_is_plain_and_has_one_text() -> None:
    report = proof(PLAN, CLEAN)
    assert json.loads(isolation.canonical(report)) == report
    assert isolation.canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}\n'.encode()
    changed = copy.deepcopy(PLAN)
    changed["imports"]["v0"] = ["v1"]
    assert proof(changed, CLEAN)["digest"] != report["digest"] == proof(PLAN, None)["digest"]
    assert "s3cret" not in json.dumps(proof(PLAN, evidence_with(FRR("junk password s3cret"))))


# Leaks


def evidence_with(*changes: Callable[[Data], None]) -> Data:
    seen = copy.deepcopy(CLEAN)
    for change in changes:
        change(seen)
    return seen


def edit(part: str, *pairs_of_texts: str) -> Callable[[Data], None]:
    """Replace texts in the configuration of VRF v0 on gw1. Each of them must exist there."""

    def change(seen: Data) -> None:
        texts = seen["gateways"]["gw1"]["vrfs"]["v0"]
        for old, new in zip(pairs_of_texts[::2], pairs_of_texts[1::2], strict=True):
            assert old in texts[part], old
            texts[part] = texts[part].replace(old, new)

    return change


def FRR(*lines: str) -> Callable[[Data], None]:
    """Insert lines at the beginning."""
    return edit("frr", "log syslog\n", "log syslog\n" + "\n".join(lines) + "\n")


def bgp(*lines: str) -> Callable[[Data], None]:
    start = " bgp reject-as-sets\n"
    return edit("frr", start, start + "\n".join(f" {line}" for line in lines) + "\n")


def af(*lines: str) -> Callable[[Data], None]:
    start = " address-family ipv4 unicast\n"
    return edit("frr", start, start + "\n".join(f"  {line}" for line in lines) + "\n")


def together(*changes: Callable[[Data], None]) -> Callable[[Data], None]:
    def change(seen: Data) -> None:
        for one in changes:
            one(seen)

    return change


def port(name: str, *vlans: int) -> Callable[[Data], None]:
    return lambda seen: seen["gateways"]["gw1"]["ports"].__setitem__(name, list(vlans))


def router(index: int, **parts: list[Data]) -> Callable[[Data], None]:
    def change(seen: Data) -> None:
        for key, items in parts.items():
            seen["cloud"]["routers"][index][key] += items

    return change


def vlan(vrf: int, link: str, on: str = "gw1") -> int:
    return PLAN["gateways"][on]["vrfs"][vrf][link]["vlan"]


PE, PEER = PLAN["gateways"]["gw1"]["vrfs"][0]["pe"]["v4"], PLAN["gateways"]["gw1"]["vrfs"][0]["peer"]["neighbor_v4"]
PE1 = PLAN["gateways"]["gw1"]["vrfs"][1]["pe"]["v4"]
SPOOF = '\t\tiifname { "cloud", "standby" } ip saddr != @export_v4 jump drop_spoofed\n'
TO_RIE = 'iifname { "cloud", "standby", "peer" } oifname "rie" ip saddr @export_v4 accept'
BOTH = {("v0", "v1"), ("v1", "v0")}
IN = {("v1", "v0")}
ANYBODY = {("v1", "v0"), ("v2", "v0")}
STRANGER = {(None, "v0")}
LEAKS: dict[str, tuple[Callable[[Data], None], str, set[Any]]] = {
    "two VRFs in a VLAN": (port("c-v0", vlan(1, "cloud")), "vlan", BOTH),
    "a port on another's uplink": (port("r-v0", vlan(1, "rie")), "vlan", BOTH),
    "a port with every VLAN": (port("p-v0"), "vlan", BOTH | {("v0", "v2"), ("v2", "v0")}),
    "a standby link in the VLAN of another": (port("s-v0", vlan(1, "standby")), "vlan", BOTH),
    "a port with one VLAN more": (port("c-v0", vlan(0, "cloud"), vlan(1, "peer")), "vlan", BOTH),
    "a port with another VLAN": (port("r-v0", 4000), "vlan", STRANGER),
    "another's network announced": (FRR(f"ip prefix-list export-v4 seq 90 permit {THEIRS4}"), "announce", IN),
    "part of another's network announced": (
        FRR("ip prefix-list export-v4 seq 90 permit 10.20.16.8/29"), "announce", IN),
    "another's v6 network announced": (FRR(f"ipv6 prefix-list export-v6 permit {THEIRS6}"), "announce", IN),
    "a supernet announced": (FRR("ip prefix-list export-v4 seq 1 permit 10.20.16.0/20"), "announce", IN),
    "a wide supernet announced": (FRR("ip prefix-list export-v4 permit 10.0.0.0/8"), "announce", ANYBODY),
    "own supernet announced": (FRR("ip prefix-list export-v4 seq 1 permit 10.20.0.0/20"), "announce", STRANGER),
    "default announced": (FRR("ip prefix-list export-v4 seq 1 permit 0.0.0.0/0"), "announce", STRANGER),
    "ge opens a list": (FRR("ip prefix-list export-v4 seq 1 permit 10.20.0.0/16 ge 28"), "announce", ANYBODY),
    "anything announced": (FRR("ip prefix-list export-v4 seq 1 permit any"), "announce", ANYBODY),
    "a list without entries": (
        edit("frr", "prefix-list accept-v4\n", "prefix-list void\n", "log syslog\n",
             "log syslog\nip prefix-list void description permits all\n"), "accept", ANYBODY),
    "default originated": (af(f"neighbor {PE} default-originate"), "announce", STRANGER),
    "default accepted": (FRR("ip prefix-list accept-v4 seq 1 permit 0.0.0.0/0"), "accept", STRANGER),
    "another's network accepted": (FRR(f"ip prefix-list accept-v4 seq 1 permit {THEIRS4}"), "accept", IN),
    "longer prefixes accepted": (edit("frr", "permit 172.20.0.0/16 le 24", "permit 172.20.0.0/16 le 25"),
                                 "accept", STRANGER),
    "a map without match": (edit("frr", "route-map pe-in-v4 permit 10\n match ip address prefix-list accept-v4\n",
                                 "route-map pe-in-v4 permit 10\n"), "accept", ANYBODY),
    "a second entry without match": (FRR("route-map pe-in-v4 permit 20", "exit"), "accept", ANYBODY),
    "a match on something else": (FRR("route-map pe-in-v4 permit 20", " match community X", "exit"), "accept", ANYBODY),
    "no map from the provider": (edit("frr", f"  neighbor {PE} route-map pe-in-v4 in\n", ""),
                                 "no-route-map", STRANGER),
    "no map, no RFC 8212": (
        edit("frr", f"  neighbor {PE} route-map pe-out-v4 out\n", "",
             "frr defaults traditional", "frr defaults datacenter"),
        "no-route-map", ANYBODY),
    "no map from the other gateway": (edit("frr", f"  neighbor {PEER} route-map peer-v4 in\n", ""),
                                      "no-route-map", ANYBODY),
    "a map that does not exist": (edit("frr", "route-map pe-in-v4 in", "route-map typo in"), "no-route-map", STRANGER),
    "another's provider edge": (edit("frr", f"neighbor {PE} ", f"neighbor {PE1} "), "neighbour", IN),
    "an unknown neighbour": (bgp("neighbor 192.0.2.9 remote-as 65010"), "neighbour", STRANGER),
    "whoever connects": (bgp("bgp listen range 0.0.0.0/0 peer-group ANY"), "neighbour", STRANGER),
    "a session active by default": (
        edit("frr", " no bgp default ipv4-unicast\n", " neighbor 192.0.2.9 remote-as 65010\n"),
        "no-route-map", ANYBODY),
    "a group without maps": (
        together(bgp("neighbor G peer-group", "neighbor G remote-as internal", "neighbor 192.0.2.9 peer-group G"),
                 af("neighbor G activate")), "no-route-map", ANYBODY),
    "another's network originated": (af(f"network {THEIRS4}"), "originate", IN),
    "an aggregate": (af("aggregate-address 10.20.16.0/20"), "originate", IN),
    "another table imported": (af("import vrf v1"), "originate", STRANGER),
    "connected redistributed too widely": (
        together(FRR("route-map all permit 10", "exit"), af("redistribute connected route-map all")),
        "originate", ANYBODY),
    "connected redistributed": (af("redistribute connected"), "originate", STRANGER),
    "every static redistributed": (
        edit("frr", "  redistribute static route-map static-v4\n", "  redistribute static\n"), "originate", STRANGER),
    "a static to another's network": (FRR(f"ip route {THEIRS4} 100.64.0.2 cloud tag 100"), "static", IN),
    "a static default": (FRR("ip route 0.0.0.0/0 100.65.0.2 peer"), "static", STRANGER),
    "a static by another link": (FRR("ip route 10.20.0.0/28 eth1"), "static", STRANGER),
    "a static to another table": (FRR("ip route 10.20.0.0/28 100.64.0.2 cloud nexthop-vrf v1"), "static", STRANGER),
    "a static through another's edge": (FRR(f"ip route 10.20.0.0/28 {PE1}"), "static", IN),
    "another's addresses in the set": (
        edit("nft", "elements = { 10.20.0.0/28", f"elements = {{ {THEIRS4}, 10.20.0.0/28"), "spoofing", IN),
    "a link by pattern": (edit("nft", SPOOF, '\t\tiifname "c*" oifname "rie" accept\n' + SPOOF), "spoofing", ANYBODY),
    "a chain that accepts": (
        edit("nft", SPOOF, '\t\tmeta nfproto ipv4 iifname "cloud" goto open\n' + SPOOF,
             "\tchain drop_spoofed {", "\tchain open {\n\t\taccept\n\t}\n\tchain drop_spoofed {"),
        "spoofing", ANYBODY),
    "a range in the set": (edit("nft", "elements = { 10.20.0.0/28", "elements = { 10.20.0.0-10.20.16.9"),
                           "spoofing", IN),
    "no rule against spoofing": (edit("nft", SPOOF, ""), "spoofing", STRANGER),
    "sources of the standby link not bound": (
        edit("nft", SPOOF, SPOOF.replace('{ "cloud", "standby" }', '"cloud"')), "spoofing", STRANGER,
    ),
    "sources not bound": (edit("nft", SPOOF, "", TO_RIE, 'iifname "cloud" oifname "rie" accept'), "spoofing", ANYBODY),
    "a rule ahead of all": (edit("nft", SPOOF, "\t\tct state established accept\n" + SPOOF), "spoofing", ANYBODY),
    "a bypass by return": (
        edit("nft", "hook forward priority filter; policy drop;", "hook forward priority filter; policy accept;",
             SPOOF, '\t\tip saddr 10.0.0.0/8 return\n' + SPOOF), "spoofing", ANYBODY),
    "forward accepts": (edit("nft", "hook forward priority filter; policy drop;",
                             "hook forward priority filter; policy accept;"), "policy", STRANGER),
    "input accepts": (edit("nft", "hook input priority filter; policy drop;", "hook input priority filter;"),
                      "policy", STRANGER),
    "forward not hooked": (edit("nft", "type filter hook forward priority filter; policy drop;", ""),
                           "spoofing", ANYBODY),
    "a router in two VRFs": (router(0, networks=[{"name": "n0", "vrf": "v1"}]), "router", BOTH),
    "a stranger's network": (router(0, networks=[{"name": "wild", "vrf": None}]), "router", STRANGER),
    "a router on another's VLAN": (
        router(0, externals=[{"name": "rie-v1-a", "physical_network": "rie", "vlan": vlan(1, "cloud")}]),
        "vlan", BOTH),
    "a router of a tenant's own": (
        lambda seen: seen["cloud"]["routers"].append(
            {"name": "own", "vrf": None, "externals": [],
             "networks": [{"name": "n0", "vrf": "v0"}, {"name": "n0", "vrf": "v1"}]}), "router", BOTH),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_leak_is_found_and_named(leak: str) -> None:
    change, kind, expected = LEAKS[leak]
    report = proof(PLAN, evidence_with(change))
    found = pairs(report)
    assert {pair for pair, item in found.items() if item["kind"] == kind} >= expected
    assert {pair for pair in found if pair[0]} == {pair for pair in expected if pair[0]}, "nobody else is accused"
    assert not report["ok"]
    for item in found.values():
        assert item["remedy"] and item["reason"] and len(item["path"]) >= 2
        assert item["gateway"] in ("gw1", "gw2", None) and "s3cret" not in str(item)


HARMLESS = {
    "denied before": FRR(
        f"ip prefix-list export-v4 seq 1 deny {THEIRS4}", f"ip prefix-list export-v4 seq 2 permit {THEIRS4}"),
    "order of lines is not that of seq": FRR(
        f"ip prefix-list export-v4 seq 2 permit {THEIRS4}", f"ip prefix-list export-v4 seq 1 deny {THEIRS4}"),
    "denied by the map": FRR(
        f"ip prefix-list no seq 5 permit {THEIRS4}", f"ip prefix-list export-v4 seq 1 permit {THEIRS4}",
        *(f"route-map {name} deny 1\n match ip address prefix-list no\nexit" for name in ("pe-out-v4", "peer-v4"))),
    "a map with a list that does not exist": FRR(
        "route-map pe-in-v4 permit 5", " match ip address prefix-list x", "exit"),
    "a map with a list of the other family": FRR(
        "ipv6 prefix-list all permit any",
        "route-map pe-in-v4 permit 5", " match ipv6 address prefix-list all", "exit"),
    "everything denied": FRR("route-map pe-in-v4 deny 1", "exit"),
    "less announced": edit("frr", "ip prefix-list export-v4 seq 5 permit 10.20.0.0/28", "! nothing"),
    "own part": FRR("ip prefix-list export-v4 seq 1 permit 10.20.0.0/28 le 29"),
    "a stricter rule": edit("nft", SPOOF, SPOOF + '\t\tiifname "cloud" ip saddr 10.20.0.0/29 drop\n'),
}  # fmt: skip


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_shut_is_no_leak(change: str) -> None:
    report = proof(PLAN, evidence_with(HARMLESS[change]))
    assert (report["violations"], report["not_examined"]) == ([], [])


@pytest.mark.parametrize("lines", [
    [f"ip prefix-list export-v4 seq 1 permit {THEIRS4}", f"ip prefix-list export-v4 seq 2 deny {THEIRS4}"],
    [f"ip prefix-list export-v4 seq 1 deny {THEIRS4}", "ip prefix-list export-v4 seq 2 permit 10.20.16.0/24 le 28"],
    ["ip prefix-list no seq 5 deny 10.0.0.0/8", "ip prefix-list no seq 6 permit any",
     f"ip prefix-list export-v4 permit {THEIRS4}",
     "route-map pe-out-v4 deny 1", " match ip address prefix-list no", "exit"],
])  # fmt: skip
def test_a_denial_hides_no_more_than_it_denies(lines: list[str]) -> None:
    assert ("v1", "v0") in pairs(proof(PLAN, evidence_with(FRR(*lines))))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_leak_anywhere_is_found(data: st.DataObject) -> None:
    """A network of another VRF in any list or set is found, with any route targets."""
    count = 4
    one, other = data.draw(st.permutations(range(count)))[:2]
    hub = [(3, 0), (0, 3), (3, 1), (1, 3)] if data.draw(st.booleans()) else []
    plan = planned(shared(count, 2, hub))
    seen, place = evidence(plan), data.draw(st.sampled_from(["gw1", "gw2"]))
    texts = seen["gateways"][place]["vrfs"][f"v{one}"]
    family = data.draw(st.sampled_from(["v4", "v6"]))
    nets = [net[family]["cidr"] for net in plan["neutron"]["vrfs"][other]["networks"]]
    net, word = data.draw(st.sampled_from(nets)), {"v4": "ip", "v6": "ipv6"}[family]
    where = data.draw(st.sampled_from(["export", "accept", "set", "static"]))
    if where == "set":
        texts["nft"] = texts["nft"].replace("elements = { " + ("10." if family == "v4" else "fd"),
                                            f"elements = {{ {net}, " + ("10." if family == "v4" else "fd"))  # fmt: skip
    elif where == "static":
        texts["frr"] = f"{word} route {net} blackhole\n" + texts["frr"]
    else:
        texts["frr"] = f"{word} prefix-list {where}-{family} seq 3 permit {net}\n" + texts["frr"]
    report = proof(plan, seen)
    wanted = where in ("accept", "static") and (one, other) in hub  # it imports that network
    assert set(pairs(report)) == (set() if wanted else {(f"v{other}", f"v{one}")})
    for item in report["violations"]:
        assert (item["prefix"], item["family"], item["gateway"]) == (net, family, place)
        assert net in item["where"] and f"{place} vrf v{one} " in item["where"]


def test_the_counter_example_is_the_smallest() -> None:
    lists = FRR("ip prefix-list export-v4 permit 10.20.16.0/20", "ip prefix-list accept-v4 permit 10.20.16.16/28")
    found = pairs(proof(PLAN, evidence_with(lists)))["v1", "v0"]
    assert (found["kind"], found["prefix"], len(found["path"])) == ("accept", "10.20.16.16/28", 3)
    assert found["path"] == [
        "network n1 of v1 (10.20.16.16/28)", "provider edge of v0 on gw1", "VRF v0 on gw1"]  # fmt: skip
    assert found["more"] == 1
    static = FRR("ip route 10.20.16.0/20 blackhole")
    found = pairs(proof(PLAN, evidence_with(lists, static)))["v1", "v0"]
    assert (found["kind"], len(found["path"]), found["more"]) == ("static", 2, 2)
    assert found["where"] == "gw1 vrf v0 frr.conf: ip route 10.20.16.0/20 blackhole"


def test_wires_are_shown_end_to_end() -> None:
    number = vlan(1, "cloud")
    found = pairs(proof(PLAN, evidence_with(port("c-v0", number))))["v0", "v1"]
    assert found["path"] == ["VRF v0 on gw1", f"VLAN {number} on gw1", "VRF v1 on gw1"]
    assert found["where"] == f"gw1 port c-v0 in VLAN {number}; gw1 port c-v1 in VLAN {number}"
    assert (found["family"], found["prefix"], found["gateway"]) == (None, None, "gw1")
    across = evidence_with(port("p-v0", vlan(1, "peer")))
    del across["gateways"]["gw1"]["ports"]["p-v1"]
    found = pairs(proof(PLAN, across))["v0", "v1"]
    assert found["path"][0] == "VRF v0 on gw1" and found["path"][-1] == "VRF v1 on gw2"


def test_order_of_the_evidence_does_not_matter() -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(item) for key, item in reversed(value.items())}
        return [turned(item) for item in reversed(value)] if isinstance(value, list) else value

    seen = evidence_with(*(LEAKS[name][0] for name in ("a wide supernet announced", "two VRFs in a VLAN")))
    assert isolation.canonical(proof(PLAN, seen)) == isolation.canonical(proof(PLAN, turned(seen)))


# Missing evidence


def without(*keys: Any) -> Callable[[Data], None]:
    def change(seen: Data) -> None:
        for key in keys[:-1]:
            seen = seen[key]
        del seen[keys[-1]]

    return change


@pytest.mark.parametrize(("change", "where"), [
    (without("gateways", "gw2"), "gw2"),
    (without("gateways", "gw1", "vrfs", "v1"), "gw1 vrf v1 frr.conf"),
    (without("gateways", "gw1", "vrfs", "v1", "frr"), "gw1 vrf v1 frr.conf"),
    (without("gateways", "gw1", "vrfs", "v1", "nft"), "gw1 vrf v1 nftables"),
    (without("gateways", "gw1", "ports"), "gw1 ports"),
    (without("gateways", "gw1", "ports", "p-v2"), "gw1 port p-v2"),
    (port("c-gone", 77), "gw1 port c-gone"),
    (without("cloud"), "cloud"),
    (without("cloud", "routers", 1), "cloud router of v1"),
    (without("cloud", "routers", 1, "networks", 0), "cloud router of v1"),
    (FRR("vrf red"), "gw1 vrf v0 frr.conf: vrf red"),
    (bgp("address-family l2vpn evpn"), "gw1 vrf v0 frr.conf: address-family l2vpn evpn"),
    (FRR("ip prefix-list odd seq x permit any"), "gw1 vrf v0 frr.conf: ip prefix-list odd seq x permit any"),
    (edit("frr", "router bgp 65010", "router rip"), "gw1 vrf v0 frr.conf: no `router bgp`"),
    (edit("nft", "table inet rie {", "table inet rie {\n\tmap m {\n\t\ttype ipv4_addr : verdict\n\t}"),
     "gw1 vrf v0 nftables: map m"),
])  # fmt: skip
def test_missing_evidence_is_told(change: Callable[[Data], None], where: str) -> None:
    report = proof(PLAN, evidence_with(change))
    assert where in [item["where"] for item in report["not_examined"]]
    assert not report["ok"] and not report["complete"]


def test_no_evidence_at_all() -> None:
    nothing: Any
    for nothing in (None, {}, {"gateways": {}, "cloud": None}):
        report = proof(PLAN, nothing)
        assert [item["where"] for item in report["not_examined"]][-2:] == ["gw1", "gw2"]
        assert not report["ok"] and not any(report["facts"].values())


# Texts of a running gateway


def live_frr(text: str) -> str:
    """Return the configuration as ``show running-config`` prints it."""
    return "Building configuration...\n\nCurrent configuration:\n!\n" + text.replace("end\n", "!\nend\n")


def ruleset_of(*items: Data) -> isolation_nft.Ruleset:
    meta = {"metainfo": {"version": "1.1.3", "release_name": "Commodore Bullmoose #4", "json_schema_version": 1}}
    return isolation_nft.read(json.dumps({"nftables": [meta, *items]}))


def forward(*rules: list[Data]) -> list[Data]:
    """Return a chain on the hook ``forward`` with policy drop and these rules."""
    hooked = {"name": "forward", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}
    return [{"chain": hooked}, *({"rule": {"chain": "forward", "handle": 9, "expr": rule}} for rule in rules)]


def match(left: Data, right: Any, op: str = "==") -> Data:
    return {"match": {"op": op, "left": left, "right": right}}


def link(way: str, right: Any, op: str = "==") -> Data:
    return match({"meta": {"key": way}}, right, op)


def address(field: str, right: Any, op: str = "==", protocol: str = "ip") -> Data:
    return match({"payload": {"protocol": protocol, "field": field}}, right, op)


ACCEPT, DROP = {"accept": None}, {"drop": None}
OURS = {"prefix": {"addr": "10.20.0.0", "len": 24}}


def test_what_nft_lists_is_understood() -> None:
    ruleset = ruleset_of(
        {"table": {"family": "inet", "name": "rie", "handle": 1}},
        {"counter": {"name": "spoofed", "packets": 3, "bytes": 180}},
        {"set": {"name": "export_v4", "type": "ipv4_addr", "flags": ["interval"], "elem": [
            {"prefix": {"addr": "10.20.0.0", "len": 28}}, {"range": ["10.20.0.16", "10.20.0.30"]},
            {"elem": {"val": "10.20.0.31", "comment": "one"}}]}},
        {"set": {"name": "export_v6", "type": "ipv6_addr", "flags": ["interval"]}},
        {"chain": {"name": "drop_spoofed", "handle": 5}},
        *forward(
            [link("iifname", "cloud"), address("saddr", "@export_v4", "!="), {"jump": {"target": "drop_spoofed"}}],
            [link("iifname", {"set": ["peer", "cloud"]}), link("oifname", "rie"), address("saddr", "@export_v4"),
             {"counter": {"packets": 9, "bytes": 1200}}, ACCEPT],
            [{"jump": {"target": "drop_spoofed"}}],
        ),
        {"rule": {"chain": "drop_spoofed", "expr": [{"limit": {"rate": 5, "burst": 10, "per": "second"}},
                                                    {"log": {"prefix": "rie v0 spoofed: { "}}]}},
        {"rule": {"chain": "drop_spoofed", "comment": "all", "expr": [{"counter": "spoofed"}, DROP]}},
    )  # fmt: skip
    assert not ruleset.strange
    (span,) = merged(span for span, _text in ruleset.sets["export_v4"])
    assert span == (parse("10.20.0.0/27").first, parse("10.20.0.0/27").last)
    (found,) = ruleset.forwarded("v4", "cloud", "rie")
    assert [bound.source for bound in found.src] == ["export_v4", "export_v4"] and found.guards == (1, 0)
    assert found.line == "iifname { peer, cloud } oifname rie ip saddr @export_v4 accept"
    assert list(ruleset.forwarded("v4", "rie", "cloud")) == list(ruleset.forwarded("v6", "cloud", "rie")) == []


@pytest.mark.parametrize("condition", [
    link("iifname", "c*"),
    link("iifname", "@links"),
    link("iifname", "a", ">="),
    match({"meta": {"key": "nfproto"}}, {"set": ["ipv4", "ipv6"]}),
    match({"meta": {"key": "nfproto"}}, "ipv6", "!="),
    match({"ct": {"key": "state"}}, ["established", "related"], "in"),
    match({"fib": {"result": "oif", "flags": ["saddr"]}}, False),
    match({"concat": [{"payload": {"protocol": "ip", "field": "saddr"}}, {"meta": {"key": "mark"}}]}, "@pairs"),
    match({"payload": {"base": "nh", "offset": 96, "len": 32}}, 1),
    address("saddr", "@gone"),
    address("saddr", "10.20.0.0", ">"),
    address("saddr", {"&": ["10.20.0.0", "255.0.0.255"]}),
    address("saddr", 169090600),
    address("ttl", 255),
    {"limit": {"rate": 5, "per": "second"}},
    {"limit": "named"},
], ids=str)  # fmt: skip
def test_an_unknown_condition_may_hold_or_not(condition: Data) -> None:
    """An unknown condition does not restrict a rule that accepts, and a rule that drops with one does not count."""
    rules = [condition, DROP], [condition, address("saddr", OURS, "!="), DROP], [condition, ACCEPT]
    ruleset = ruleset_of(*forward(*rules))
    (found,) = ruleset.forwarded("v4", "cloud", "rie")
    assert (found.src, found.guards, ruleset.strange) == ((), (0, 0), [])


@pytest.mark.parametrize("item", [
    {"map": {"name": "m", "type": "ipv4_addr", "map": "verdict"}},
    {"flowtable": {"name": "f", "hook": "ingress", "prio": 0}},
    {"element": {"name": "m"}},
    {"table": {"name": "rie", "flags": ["dormant"]}},
    {"chain": {"name": "nat", "type": "nat", "hook": "postrouting", "policy": "accept"}},
    {"chain": {"family": "inet"}},
    {"metainfo": {"json_schema_version": 2}},
    {"set": {"name": "s", "type": ["ipv4_addr", "inet_service"], "elem": [{"concat": ["10.0.0.1", 80]}]}},
    {"set": {"name": "s", "type": "mark", "elem": [80]}},
    {"rule": {"chain": "gone", "expr": [ACCEPT]}},
    {"rule": {"chain": "forward"}},
    {"rule": {"chain": "forward", "expr": [{"match": {"op": "=="}}, ACCEPT]}},
    *({"rule": {"chain": "forward", "expr": [*statements]}} for statements in (
        [{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["cloud", ACCEPT]]}}}],
        [{"vmap": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "data": "@m"}}],
        [{"dup": {"addr": "10.0.0.1", "dev": "rie"}}],
        [{"flow": {"op": "add", "flowtable": "@f"}}],
        [{"mangle": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "value": "10.0.0.1"}}],
        [{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 3}}],
        [{"set": {"op": "add", "elem": "10.0.0.1", "set": "@export_v4"}}],
        [{"xt": None}],
        [DROP, ACCEPT],
        [{"one": None, "two": None}],
    )),
], ids=str)  # fmt: skip
def test_an_unknown_object_or_statement_is_reported(item: Data) -> None:
    assert len(ruleset_of(*forward(), item).strange) == 1


@pytest.mark.parametrize("text", ["", "table inet rie {\n}\n", "[]", "{}", '{"nftables": 1}', '{"nftables": [{}, 1]}'])
def test_a_text_that_is_not_json_of_nft_is_reported(text: str) -> None:
    assert isolation_nft.read(text).strange == ["not the JSON of nft"]


def test_two_tables_are_reported() -> None:
    assert ruleset_of({"table": {"name": "rie"}}, {"table": {"name": "more"}}).strange == ["more than one table"]


def test_live_texts_give_the_same_proof() -> None:
    seen = copy.deepcopy(CLEAN)
    for part in seen["gateways"].values():
        for texts in part["vrfs"].values():
            texts["frr"] = live_frr(isolation_frr.without_secrets(texts["frr"]))
    report = proof(PLAN, seen)
    assert (report["violations"], report["not_examined"]) == ([], [])
    assert report["facts"]["sessions"] == 24


def test_secrets_are_taken_out_and_their_lines_stay() -> None:
    text = "password zebra\nenable password 8 hash\n neighbor 192.0.2.1 password s3 cret\n neighbor 192.0.2.1 bfd\n"
    assert isolation_frr.without_secrets(text) == (
        "password ********\nenable password ********\n neighbor 192.0.2.1 password ********\n neighbor 192.0.2.1 bfd\n"
    )


def test_ports_of_the_bridge_of_the_vrfs() -> None:
    def table(headings: list[str], *rows: list[Any]) -> str:
        return json.dumps({"headings": headings, "data": rows})

    text = "\n".join([
        table(["external_ids", "other_config"], [["map", []], ["map", []]]),
        table(["target"]),
        table(["name", "ports"], ["br-rie", ["set", [["uuid", "1"], ["uuid", "2"], ["uuid", "3"]]]],
              ["br-int", ["uuid", "4"]]),
        table(["_uuid", "name", "tag", "trunks"], [["uuid", "1"], "c-v0", 101, ["set", []]],
              [["uuid", "2"], "rie0", ["set", []], ["set", [7, 9]]], [["uuid", "3"], "odd", ["set", []], ["set", []]],
              [["uuid", "4"], "tap", 5, ["set", []]]),
        table(["name"], ["c-v0"]),
    ])  # fmt: skip
    assert rie_evidence.bridge_ports(text, {"c-v0", "r-v0"}) == {"c-v0": [101], "rie0": [7, 9], "odd": []}
    assert rie_evidence.bridge_ports(text, {"c-none"}) == {}


def test_evidence_has_no_secret_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(argv: list[str], timeout: float) -> Completed:
        del timeout
        if argv[0] == "vtysh" and argv[2] == "v1":
            return Completed(argv, 1, "", "line 3: neighbor 192.0.2.1 password s3cret")
        texts = CLEAN["gateways"]["gw1"]["vrfs"]
        if argv[0] == "vtysh":
            return Completed(argv, 0, live_frr(texts[argv[2]]["frr"]), "")
        if argv[0] == "ip":
            return Completed(argv, 0, texts[argv[3].removeprefix("vrf-")]["nft"], "")
        return Completed(argv, 127, "", "ovs-vsctl: no such program")

    monkeypatch.setattr(rie_evidence, "run", answer)
    with patch_module_args({"vrfs": PLAN["gateways"]["gw1"]["vrfs"]}), pytest.raises(SystemExit):
        rie_evidence.main()
    said = capsys.readouterr().out
    assert "s3cret" not in said
    result = json.loads(said)
    assert [item["where"] for item in result["missing"]] == ["vrf v1 running-config", "ports"]
    assert "password ********" in result["evidence"]["vrfs"]["v0"]["frr"]
    seen = copy.deepcopy(CLEAN)
    seen["gateways"]["gw1"] = result["evidence"]
    report = proof(PLAN, seen)
    assert [item["where"] for item in report["not_examined"]] == ["gw1 ports", "gw1 vrf v1 frr.conf"]
    assert not report["violations"]


def test_the_cloud_from_live_lists() -> None:
    networks, ports, routers = [], [], []
    for vrf in PLAN["neutron"]["vrfs"]:
        key = vrf["name"]
        routers.append({"id": key, "name": vrf["router"]["name"], "description": vrf["router"]["tag"]})
        for net in (*vrf["networks"], *vrf["externals"]):
            item = {"id": net["tag"], "name": net["name"], "description": net["tag"], "router:external": "vlan" in net}
            if "vlan" in net:
                item["provider:physical_network"] = net["physical_network"]
                item["provider:segmentation_id"] = net["vlan"]
            networks.append(item)
            owner = "network:router_gateway" if "vlan" in net else "network:router_interface"
            ports += [{"device_id": key, "device_owner": owner, "network_id": net["tag"]}] * 2  # one port per family
    ports.append({"device_id": "v0", "device_owner": "compute:nova", "network_id": "rie:v1:n0"})
    seen = copy.deepcopy(CLEAN)
    seen["cloud"] = isolation.cloud_of_neutron(routers, networks, ports)
    for item in seen["cloud"]["routers"]:
        assert item.pop("id") == item["vrf"]
    assert seen["cloud"] == CLEAN["cloud"]
    assert proof(PLAN, seen)["ok"]
    routers += [{"id": name, "name": "own", "description": None} for name in ("x", "y", "elsewhere")]
    ports += [
        {"device_id": "x", "device_owner": "network:router_interface", "network_id": f"rie:{vrf}:n1"}
        for vrf in ("v1", "v2")
    ]
    ports.append({"device_id": "y", "device_owner": "network:router_interface", "network_id": "rie:v0:n1"})
    seen["cloud"] = isolation.cloud_of_neutron(routers, networks, ports)
    assert set(pairs(proof(PLAN, seen))) == {("v1", "v2"), ("v2", "v1")}


# Packets


def probe(one: str, other: str, seen: str, **more: Any) -> Data:
    return {"id": f"{one}>{other}:{seen}", "from_vrf": one, "to_vrf": other, "seen": seen, "verdict": "ok"} | more


IMPORTS = {"a": ["b"], "b": ["a"], "c": ["a"]}


@pytest.mark.parametrize(("sent", "agrees"), [
    (probe("a", "a", "reach"), True),
    (probe("a", "a", "unreachable"), False),
    (probe("a", "a", "reach", expect_name="g", seen_name="h"), False),
    (probe("a", "b", "reach", expect_name="g", seen_name="g"), True),
    (probe("a", "b", "refused"), False),
    (probe("b", "c", "unreachable"), True),
    (probe("b", "c", "reach"), False),
    (probe("b", "c", "refused"), False),
    (probe("c", "a", "unreachable"), True),  # a has no route back
    (probe("c", "a", "reach"), False),
])  # fmt: skip
def test_probes_agree_with_the_graph(sent: Data, agrees: bool) -> None:
    found = isolation.compare_probes(IMPORTS, [sent])
    assert found["ok"] is agrees
    assert [item["id"] for item in found["disagreements"]] == ([] if agrees else [sent["id"]])


def test_silence_that_proves_nothing_is_no_agreement() -> None:
    sent = [probe("b", "c", "unreachable", verdict="unproven"), probe("a", "c", "error")]
    found = isolation.compare_probes(IMPORTS, sent)
    assert found == {"ok": False, "agree": 0, "unproven": 1, "unmeasured": 1, "pairs": 0, "disagreements": []}
    assert proof(PLAN, CLEAN)["probes"] is None and proof(PLAN, CLEAN)["ok"]
    assert not proof(PLAN, CLEAN, [])["ok"]
    assert proof(PLAN, CLEAN, [probe("v0", "v0", "reach"), probe("v0", "v1", "unreachable")])["ok"]
    assert not proof(PLAN, CLEAN, [probe("v0", "v1", "reach")])["ok"]


# Sets of prefixes


SMALL = st.builds(
    lambda first, length: Prefix("v4", first << 28 >> (32 - length) << (32 - length) if length else 0, length),
    st.integers(0, 15), st.integers(0, 4))  # fmt: skip
RANGE = st.tuples(SMALL, st.integers(0, 4), st.integers(0, 4)).map(
    lambda item: (item[0], max(item[0].length, min(item[1:])), max(item[0].length, max(item[1:]))))  # fmt: skip


def members(prefix: Prefix, low: int, high: int) -> set[Prefix]:
    return {
        Prefix("v4", first << (32 - length), length)
        for length in range(low, high + 1)
        for first in range(1 << length)
        if prefix.first <= first << (32 - length) <= prefix.last
    }


@settings(max_examples=300, deadline=None)
@given(RANGE, st.lists(RANGE, max_size=6))
def test_outside_finds_a_route_exactly_when_there_is_one(asked: Any, ranges: list[Any]) -> None:
    left = members(*asked) - set().union(*(members(*item) for item in ranges))
    found = outside(*asked, Routes(ranges[::2]), Routes(ranges[1::2]))
    assert found in left if left else found is None


SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)).map(lambda item: (item[0], sum(item))), max_size=8)


@given(SPANS, SPANS)
def test_spans(ones: list[Any], others: list[Any]) -> None:
    def flat(spans: Any) -> set[int]:
        return {number for first, last in spans for number in range(first, last + 1)}

    one, other = merged(ones), merged(others)
    assert flat(one) == flat(ones)
    assert flat(common(one, other)) == flat(one) & flat(other)
    assert flat(minus(one, other)) == flat(one) - flat(other)
    for span in one:
        assert flat((part.first, part.last) for part in prefixes("v6", span)) == flat([span])


# Work


def calls(plan: Data) -> int:
    """Return the number of function calls of a proof, a measure that does not depend on the speed of the machine."""
    seen, count = as_listed(evidence(plan)), 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        assert isolation.report(plan, seen, site="lab", made="2026-11-21T00:00:00Z")["ok"]
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(("small", "large"), [
    (shared(8, 4), shared(64, 4)),
    (shared(2, 16), shared(2, 128)),
    (shared(4, 4, [(0, 1)]), shared(32, 4, [(0, other) for other in range(1, 32)])),
], ids=["VRFs", "networks", "a hub"])  # fmt: skip
def test_eight_times_the_plan_is_eight_times_the_work(small: Data, large: Data) -> None:
    assert calls(planned(large)) <= 8 * 1.25 * calls(planned(small))
