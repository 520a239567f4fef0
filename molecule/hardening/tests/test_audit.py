# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role audit: the results of the scanners on a hardened node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

testinfra_hosts = ["ansible://ctl1"]

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = Path(__file__).resolve().parents[1]
EXPECTED = yaml.safe_load((SCENARIO / "expected_failures.yml").read_text())
FAILED = ("fail", "error", "unknown", "missing")


@pytest.fixture(scope="module")
def audited(inventory, tmp_path_factory):
    """Exit code and report of the first audit of new machines, which has no former audit to compare with."""
    folder = tmp_path_factory.mktemp("audit")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "--vault-password-file",
         str(inventory / ".vault-password"), "--limit", "ctl1,gw1,localhost", "playbooks/audit.yml",
         "-e", f"@{SCENARIO / 'vars.yml'}",
         "-e", json.dumps({"audit_report_directory": str(folder)})],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, json.loads((folder / "audit.json").read_text())


def test_the_hardened_nodes_pass(audited):
    """The gate of the role covers the checks of its level, the number of evaluated checks, and the index of Lynis."""
    done, report = audited
    assert done.returncode == 0, done.stdout[-3000:]
    assert (report["compared_with"], report["faults"]) == ("", [])


def test_exactly_the_expected_checks_fail(audited):
    _done, report = audited
    assert {node["name"] for node in report["nodes"]} == {"ctl1", "gw1"}
    for node in report["nodes"]:
        failing = {finding["check"] for finding in node["findings"] if finding["state"] in FAILED}
        wanted = {check for group in node["groups"] for check in EXPECTED.get(group, [])}
        assert failing == wanted, f"{node['name']}: not expected and the other way round: {sorted(failing ^ wanted)}"
