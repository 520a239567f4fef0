# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role verify: `socle verify` passes on a correct lab and names faults, and `socle wire` repairs them.

The tests depend on each other, in the order of this file.
"""

from __future__ import annotations

import json
from pathlib import Path

# The guests already run, so short timeouts are enough: a probe without an answer shows a fault.
QUICK = ["-e", "verify_probe_timeout=30", "-e", "verify_sessions_timeout=10", "-e", "verify_probe_tries=1"]


def report(outcome):
    return json.loads(next(Path(name) for name in outcome["reports"] if name.endswith(".json")).read_text())


def changes(outcome):
    return {host: counts.get("changed", 0) for host, counts in outcome["hosts"].items() if counts.get("changed", 0)}


def test_a_check_of_a_deployed_site_changes_nothing(socle):
    code, outcome = socle("deploy", "--check")
    assert (code, outcome["failures"]) == (0, [])
    assert changes(outcome) == {}


def test_a_good_site_is_proven(socle, proven, vrfs):
    code, outcome = socle("verify")
    seen = proven(outcome)
    assert (code, seen["ok"]) == (0, True)
    assert seen["measured"]
    assert seen["counts"]["as_expected"] == seen["counts"]["total"] > 0
    reached = [probe for probe in seen["probes"] if probe["expect"] == "reach"]
    assert {(probe["from_vrf"], probe["family"], probe["proto"]) for probe in reached} == {
        (vrf, family, proto) for vrf in vrfs for family in ("v4", "v6") for proto in ("icmp", "http")
    }
    refused = [probe for probe in seen["probes"] if probe["expect"] == "unreachable"]
    assert any(probe["from_vrf"] != probe["to_vrf"] for probe in refused)


def test_broken_wires_are_named(socle, machine):
    """On both gateways, remove the IPv4 accept list of one tenant, and move the other tenant to an unused VLAN."""
    for gateway in map(machine, ("gw1", "gw2")):
        gateway.run_expect([0], "vtysh -N interieur -c 'configure terminal' -c 'no ip prefix-list accept-v4'")
        gateway.run_expect([0], "ovs-vsctl set Port r-finances tag=4001")
    code, outcome = socle("verify", *QUICK)
    seen = report(outcome)
    assert (code, seen["ok"]) == (3, False)
    named = {entry["id"] for entry in seen["violations"] if entry["kind"] == "reachability"}
    leaks = [probe["id"] for probe in seen["probes"] if (probe["expect"], probe["seen"]) == ("unreachable", "reached")]
    assert leaks == []
    # The probes of an unreachable guest have no result. This test counts only the results of the sites.
    broken = {
        (probe["from_vrf"], probe["to_vrf"], probe["family"])
        for probe in seen["probes"]
        if probe["id"] in named and probe["expect"] == "reach" and not probe["via"]
    }
    assert broken == {
        ("interieur", "interieur", "v4"),
        ("finances", "finances", "v4"),
        ("finances", "finances", "v6"),
    }
    texts = " ".join(entry["text"] for entry in seen["violations"])
    assert "site-interieur" in texts
    assert "site-finances" in texts
    # A wrong VLAN ends the sessions of its VRF. The report may also name the missing accept list of the other VRF.
    down = {entry["id"].split()[1] for entry in seen["violations"] if entry["kind"] == "session"}
    assert "finances" in down


def test_wiring_again_mends_them(socle):
    code, outcome = socle("wire")
    assert (code, outcome["failures"]) == (0, [])
    assert set(changes(outcome)) == {"gw1", "gw2"}


def test_then_there_is_nothing_left_to_do(socle):
    code, outcome = socle("deploy")
    assert (code, changes(outcome)) == (0, {})


def test_and_everybody_is_reached_again(socle, proven):
    code, outcome = socle("verify")
    assert proven(outcome)["ok"]
    assert code == 0
