# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The inventories that come with the project are valid once they have secrets, and their ledgers are complete."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner
from socle import vault
from socle.project import ROOT, Site

SHIPPED = sorted(
    path.parent for where in ("inventories/*", "molecule/*/inventory") for path in ROOT.glob(f"{where}/hosts.yml")
)


@pytest.fixture(params=SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def folder(request, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(site_validate, "fetch", lambda url: "")
    copy = tmp_path / request.param.name
    shutil.copytree(request.param, copy, ignore=shutil.ignore_patterns("secrets.yml", ".vault-password", "pki"))
    return copy


def test_only_secrets_are_missing(folder):
    found = site_validate.violations(folder, folder / ".vault-password")
    assert [(violation["path"], violation["reason"]) for violation in found] == [("secrets", "there are no secrets")]
    assert vault.init(Site(folder))
    assert site_validate.violations(folder, folder / ".vault-password") == []


def test_a_shipped_ledger_holds_what_planning_needs(folder):
    path = folder / "allocations.yml"
    if not path.is_file():
        pytest.skip("the first deployment writes it")
    intent = yaml.safe_load((folder / "group_vars" / "all" / "rie.yml").read_text())
    ledger = yaml.safe_load(path.read_text())
    planned = planner.plan(intent, ledger, site={"gateways": ["gw1", "gw2"], "today": "2025-01-01"})
    assert planned.violations == []
    assert planned.ledger == ledger
