# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role placement: every hypervisor has an inventory of its resources."""

from __future__ import annotations

testinfra_hosts = ["ansible://control"]

VERSION = {"OpenStack-API-Version": "placement 1.30"}


def test_unit_and_configuration(guarded):
    guarded(["placement-api"], "/etc/placement/placement.conf", "placement")


def test_every_hypervisor_has_its_inventory(api, eventually):
    providers = eventually(lambda: api.get("placement", "/resource_providers", **VERSION)["resource_providers"])
    assert [provider["name"].split(".")[0] for provider in providers] == ["cmp1"]
    path = f"/resource_providers/{providers[0]['uuid']}/inventories"
    assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= set(api.get("placement", path, **VERSION)["inventories"])


def test_without_a_token_there_is_nothing(api):
    assert api.ask("GET", "placement", "/resource_providers", **{"X-Auth-Token": "forged"})[0] == 401
