# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rie_report: the page of the deployed lab shows its objects, and the sessions that are down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def report(inventory, tmp_path):
    """`report()`: the data of the page, and its HTML."""

    def run() -> tuple[dict, str]:
        page = tmp_path / "page.html"
        command = [str(Path(sys.executable).parent / "socle"), "rie", "report", "--json", "-o", str(page)]
        command += ["-i", str(inventory)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), page.read_text(encoding="utf-8")

    return run


def test_a_wired_site_is_shown_as_it_is(report, vrfs, eventually):
    def well():
        """Wait for sessions that BFD has lost for a moment on a busy machine."""
        found, page = report()
        return (found, page) if all(tenant["ok"] for tenant in found["tenants"]) else None

    found, page = eventually(well)
    assert found["notes"] == []
    shown = [vrf for tenant in found["tenants"] for vrf in tenant["vrfs"]]
    assert sorted(vrf["name"] for vrf in shown) == sorted(vrfs)
    for vrf in shown:
        assert vrf["sessions"] and all(session["ok"] for session in vrf["sessions"])
        assert [port["chassis"][0] for port in vrf["ports"]] == [port["gateway"] for port in vrf["ports"]]
        assert vrf["name"] in page
    assert "http://" not in page.replace("http://www.w3.org/", "")  # the page loads no external resource


def test_an_instance_that_does_not_run_is_shown_as_down(report, machine, eventually):
    def wrong():
        found, _page = report()
        return [vrf["name"] for tenant in found["tenants"] for vrf in tenant["vrfs"] if not vrf["ok"]]

    try:
        machine("gw2").check_output("systemctl stop frr@interieur")
        eventually(lambda: wrong() == ["interieur"])
    finally:
        machine("gw2").check_output("systemctl start frr@interieur")
