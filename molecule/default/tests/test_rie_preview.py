# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rie_preview and its commands: a preview shows exactly the differences, and `apply` makes only these changes.

The tests depend on each other, in the order of this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def rie(inventory):
    """`rie(words)`: exit code, standard output as JSON, and standard error."""

    def run(*words: str) -> tuple[int, dict, str]:
        command = [str(Path(sys.executable).parent / "socle"), "rie", *words, "-i", str(inventory)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    return run


def test_a_wired_site_needs_nothing(rie, eventually):
    def up():
        """Wait for sessions that BFD has lost for a moment on a busy machine. They come back without a change."""
        code, found, said = rie("plan", "--json")
        assert (code, found.get("changes"), found.get("tenants")) == (0, 0, []), said
        assert found["states"]
        return all(state["ok"] for state in found["states"])

    eventually(up)


def test_a_plan_names_what_is_wrong_and_touches_nothing(rie, machine):
    machine("gw1").run_expect([0], "vtysh -N interieur -c 'configure terminal' -c 'no ip prefix-list accept-v4'")
    for _twice in range(2):
        code, found, said = rie("plan", "--json")
        assert (code, found["changes"]) == (2, 1), said
    [tenant] = found["tenants"]
    assert (tenant["vrf"], tenant["cloud"], list(tenant["gateways"])) == ("interieur", [], ["gw1"])
    [part] = tenant["gateways"]["gw1"]
    assert (part["part"], part["action"]) == ("FRR", "reloaded")
    assert any("ip prefix-list accept-v4 seq 5 permit" in line for line in part["lines"])
    assert found["sessions"] == []
    code, drift, said = rie("drift")
    assert (code, drift["changes"], drift["tenants"]) == (3, 1, found["tenants"]), said


def test_what_was_not_shown_is_not_applied(rie, machine):
    machine("gw2").run_expect([0], "ovs-vsctl set Port r-finances tag=4001")
    code, outcome, _said = rie("apply", "--json")
    assert code == 1
    [failure] = outcome["failures"]
    assert "the live state has moved" in failure["message"]
    assert "+    ovs-vsctl set port r-finances tag=" in failure["message"]
    assert machine("gw2").check_output("ovs-vsctl get Port r-finances tag") == "4001"


def test_what_was_shown_is_applied(rie, machine, eventually):
    assert rie("plan", "--json")[0] == 2
    code, outcome, said = rie("apply", "--json")
    assert (code, outcome["failures"]) == (0, []), said
    assert machine("gw2").check_output("ovs-vsctl get Port r-finances tag") != "4001"
    eventually(lambda: rie("drift")[0] == 0)


def test_a_drained_gateway_stays_drained_and_the_other_must_carry_on(rie, machine):
    code, _outcome, said = rie("drain", "gw1", "--json")
    assert code == 0, said
    running = machine("gw1").check_output("vtysh -N interieur -c 'show running-config'")
    assert "bgp graceful-shutdown" in running
    code, outcome, _said = rie("drain", "gw2", "--json")
    assert code == 1
    assert "one of them is drained itself" in outcome["failures"][0]["message"]
    # `socle wire` keeps the gateway drained, so there is no change.
    assert rie("plan", "--json")[0] == 0
    code, outcome, _said = rie("drain", "nobody", "--json")
    assert code == 2
    assert [violation["path"] for violation in outcome["violations"]] == ["rie_gateway_name"]


def test_undrained_it_is_as_before(rie, machine, eventually):
    code, _outcome, said = rie("undrain", "gw1", "--json")
    assert code == 0, said
    assert "graceful-shutdown" not in machine("gw1").check_output("vtysh -N interieur -c 'show running-config'")
    eventually(lambda: rie("drift")[0] == 0)


def test_a_tenant_is_shown(rie, vrfs, eventually):
    # If a session is down for a moment on a busy machine, the exit code reports it.
    eventually(lambda: rie("show", "interieur", "--json")[0] == 0)
    _code, found, _said = rie("show", "interieur", "--json")
    assert [vrf["name"] for vrf in found["cloud"]] == ["interieur"]
    assert {row["vrf"] for row in found["sessions"] + found["routes"]} == {"interieur"}
    announced = {prefix for row in found["routes"] for prefix in row["announced"]}
    assert announced == {net[family] for net in vrfs["interieur"]["networks"] for family in ("v4", "v6")}
    assert rie("show", "nobody", "--json")[0] == 1
