# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role lab: the machines run as defined, admit only the key of the lab, and keep their secrets private."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://all"]


def test_nothing_has_failed(host, eventually):
    eventually(lambda: host.run("systemctl is-system-running").stdout.strip() == "running")


def test_the_machine_has_the_name_of_its_host(host):
    assert host.check_output("hostname") == host.backend.host


def test_it_is_reached_with_the_labs_key_only(host):
    settings = host.check_output("sshd -T")
    assert "permitemptypasswords no" in settings
    assert len(host.file("/root/.ssh/authorized_keys").content_string.splitlines()) == 1


def test_links_have_the_size_that_tunnels_need(host, settings):
    links = settings.get("lab_links", [])
    if not links:
        pytest.skip("this machine has the link of the management network only")
    for link in links:
        assert host.file(f"/sys/class/net/{link['name']}/mtu").content_string.strip() == str(link["mtu"])


def test_no_secret_is_readable_by_everyone(host, settings):
    """Search every world-readable file of /etc for every secret of the site."""
    patterns = "\n".join(value for value in settings["secrets"].values() if len(value) > 8)
    found = host.run(
        "f=$(mktemp) && printf %s > $f && find /etc -xdev -type f -perm /o=r -print0 | xargs -0 grep -lFf $f; rm -f $f",
        patterns,
    )
    readable = [name for name in found.stdout.split() if host.run("runuser -u nobody -- cat %s", name).rc == 0]
    assert readable == []
