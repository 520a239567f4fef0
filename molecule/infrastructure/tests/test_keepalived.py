# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role keepalived: the only controller has both VIPs."""

from __future__ import annotations

import json

testinfra_hosts = ["ansible://control"]


def test_the_virtual_addresses_are_here(host, settings, eventually):
    wanted = {settings["site_internal_vip"], settings["site_public_vip"]}

    def held():
        links = json.loads(host.check_output("ip -j -4 address show dev %s", settings["site_management_interface"]))
        return wanted == {item["local"] for item in links[0]["addr_info"] if item["prefixlen"] == 32}

    assert eventually(held)


def test_the_configuration_is_valid(host):
    host.run_expect([0], "keepalived --config-test")
    file = host.file("/etc/keepalived/keepalived.conf")
    assert (file.user, file.mode & 0o077) == ("root", 0)


def test_it_follows_the_health_of_haproxy(host, service):
    keepalived = service("keepalived")
    assert (keepalived["ActiveState"], keepalived["UnitFileState"]) == ("active", "enabled")
    assert "http://127.0.0.1:8404/health" in host.file("/etc/keepalived/keepalived.conf").content_string


def test_it_comes_back_when_it_was_killed(host, service, eventually):
    before = service("keepalived")["MainPID"]
    host.run_expect([0], "systemctl kill --signal=KILL keepalived")

    def back():
        now = service("keepalived")
        return now["ActiveState"] == "active" and now["MainPID"] not in ("0", before)

    assert eventually(back)
