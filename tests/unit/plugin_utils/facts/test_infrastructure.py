# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Facts of the infrastructure roles, and the parser of dpkg's status."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.dpkg_status import missing, present
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import infrastructure

STATUS = """\
Package: haproxy
Status: install ok installed
Provides: load-balancer (= 3), proxy

Package: keepalived
Status: deinstall ok config-files

Package: galera-4
Status: install ok unpacked
"""


def test_only_installed_packages_count() -> None:
    assert present(STATUS.splitlines(keepends=True)) == {"haproxy", "load-balancer", "proxy"}
    assert missing(["keepalived", "haproxy", "galera-4", "proxy"], STATUS.splitlines()) == ["galera-4", "keepalived"]


@given(st.text(min_size=1), st.text(min_size=1))
def test_rabbitmq_verifies_the_hash(password: str, user: str) -> None:
    raw = base64.b64decode(infrastructure.rabbitmq_hash(password, user))
    assert raw[4:] == hashlib.sha256(raw[:4] + password.encode()).digest()
    assert infrastructure.rabbitmq_hash(password, user) == base64.b64encode(raw).decode()


def test_users_of_one_password_have_different_hashes() -> None:
    assert infrastructure.rabbitmq_hash("secret", "nova") != infrastructure.rabbitmq_hash("secret", "neutron")


def test_definitions_give_every_user_the_rights_in_one_virtual_host() -> None:
    users: list[dict[str, Any]] = [
        {"name": "nova", "password": "p1"},
        {"name": "admin", "password": "p2", "tags": ["administrator"]},
    ]
    found = infrastructure.rabbitmq_definitions(users, "openstack")
    assert [user["tags"] for user in found["users"]] == [[], ["administrator"]]
    assert [right["user"] for right in found["permissions"]] == ["nova", "admin"]
    assert {right["vhost"] for right in found["permissions"]} == {"openstack"}
    assert "p1" not in str(found)


def test_memory_share_keeps_its_bounds() -> None:
    def share(memory: int) -> int:
        return infrastructure.memory_share({"memtotal_mb": memory}, 10, 256, 65536)

    assert (share(1024), share(24000), share(10_000_000)) == (256, 2400, 65536)


def test_host_names() -> None:
    hostvars = {"ctl1": {"ansible_host": "10.99.0.11"}}
    assert infrastructure.host_names(["ctl1"], hostvars, "x.example") == {"10.99.0.11": ["ctl1.x.example", "ctl1"]}


def test_network_files_match_their_link() -> None:
    (file,) = infrastructure.network_files([{"name": "tun0", "sections": {"Network": {"Address": "10.0.0.1/24"}}}])
    assert file["path"] == "/etc/systemd/network/20-tun0.network"
    assert file["content"] == {"Match": {"Name": "tun0"}, "Network": {"Address": "10.0.0.1/24"}}
