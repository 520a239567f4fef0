# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role base: names, clock, journal, links."""

from __future__ import annotations

import json
import re

testinfra_hosts = ["ansible://control"]


def test_every_node_and_virtual_address_has_its_name(host, hostvars, settings):
    names = {f"{name}.{settings['site_domain']}": values["ansible_host"] for name, values in hostvars.items()}
    names |= {name: values["ansible_host"] for name, values in hostvars.items()}
    names[f"internal.{settings['site_domain']}"] = settings["site_internal_vip"]
    names[f"api.{settings['site_domain']}"] = settings["site_public_vip"]
    answers = host.check_output("getent -s files ahostsv4 %s; " * len(names), *names).splitlines()
    assert {line.split()[0] for line in answers} == set(names.values())
    for name, address in names.items():
        assert host.check_output("getent -s files hosts %s", name).split()[0] == address


def test_the_name_of_the_node_is_not_loopback(host, settings):
    assert settings["ansible_host"] in host.check_output("getent ahostsv4 $(hostname)")


def test_clock(host, service):
    chrony = service("chrony")
    assert (chrony["ActiveState"], chrony["UnitFileState"]) == ("active", "enabled")
    assert host.check_output("timedatectl show -p Timezone --value") == "Etc/UTC"
    servers = [line for line in host.check_output("chronyd -p").splitlines() if line.startswith("server ")]
    assert len(servers) >= 3
    assert host.check_output("systemctl show --property=Restart --value chrony") == "on-failure"
    # chronyd accepts commands from the node itself only.
    assert "0.0.0.0:323" not in host.check_output("ss -Hlun")


def test_the_journal_is_bounded(host):
    merged = host.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert re.search(r"^SystemMaxUse *= *1G$", merged, re.M)
    assert host.service("systemd-journald").is_running


def test_the_network_is_networkds(host, settings):
    links = json.loads(host.check_output("networkctl --json=short list"))["Interfaces"]
    state = {link["Name"]: link["AdministrativeState"] for link in links}
    assert state[settings["site_management_interface"]] == "configured"


def test_every_unit_is_healthy(host, eventually):
    assert eventually(lambda: host.run("systemctl is-system-running").stdout.strip() == "running")
