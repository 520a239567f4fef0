# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role image: the machines start from one image with signed packages only and without data of another machine."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://all"]

SEEN = pytest.StashKey[dict[str, str]]()


def test_the_root_is_a_layer_over_the_image(host):
    kind, options = host.check_output("findmnt -no FSTYPE,OPTIONS /").split(maxsplit=1)
    assert kind == "overlay"
    assert "lowerdir=/var/lib/socle/images/" in options


def test_every_machine_is_somebody(host, request):
    seen = request.config.stash.setdefault(SEEN, {})
    for name in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert seen.setdefault(host.file(name).content_string, host.backend.host) == host.backend.host


def test_packages_are_debians_and_whole(host):
    assert host.check_output(". /etc/os-release && echo $VERSION_CODENAME") == "trixie"
    assert host.check_output("dpkg --audit") == ""
