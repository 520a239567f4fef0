# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role nova_control: every service of every cell is up, and the metadata API is internal."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

testinfra_hosts = ["ansible://control"]


def test_units_and_configuration(guarded):
    guarded(["nova-api", "nova-api-metadata", "nova-conductor", "nova-scheduler"], "/etc/nova/nova.conf", "nova")


def test_every_service_is_up(api, eventually):
    def up():
        services = api.get("compute", "/v2.1/os-services")["services"]
        found = {(entry["binary"], entry["host"]) for entry in services if entry["state"] == "up"}
        return found if len(found) == len(services) == 3 else None

    assert eventually(up) == {("nova-conductor", "ctl1"), ("nova-scheduler", "ctl1"), ("nova-compute", "cmp1")}


def test_a_guest_that_fits_nowhere_is_refused(api):
    """An unknown flavor is an error of the request, and not a later failure of the guest."""
    body = {"server": {"name": "none", "flavorRef": "no-such-flavor", "imageRef": "no-such-image", "networks": "none"}}
    assert api.ask("POST", "compute", "/v2.1/servers", body, **{"X-OpenStack-Nova-API-Version": "2.37"})[0] == 400


def test_metadata_is_not_public(settings, api):
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"https://{settings['site_public_vip']}:8775/", timeout=5, context=api.trust)


def test_the_cells_are_kept_without_passwords(host, settings):
    """The mappings are templates: each service inserts its own password, so a rotated password takes effect."""
    rows = host.check_output("mariadb -BNe %s", "SELECT * FROM nova_api.cell_mappings")
    assert rows.count("{username}:{password}@") == 3
    assert not any(settings["secrets"][name] in rows for name in ("nova_database", "rabbitmq_nova"))
