# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role memcached: it listens on loopback only."""

from __future__ import annotations

testinfra_hosts = ["ansible://control"]

SESSION = r"set molecule 0 60 5\r\nsocle\r\nget molecule\r\nquit\r\n"


def test_it_listens_on_loopback_only(host):
    listens = host.check_output("ss -Hlntup | grep memcached").splitlines()
    assert [line.split()[4] for line in listens] == ["127.0.0.1:11211"]


def test_it_keeps_what_it_is_given(host):
    said = host.check_output("printf %s | timeout 5 socat -t 3 - TCP:127.0.0.1:11211", SESSION)
    assert said.splitlines() == ["STORED", "VALUE molecule 0 5", "socle", "END"]


def test_the_shared_cache_is_reached_through_haproxy(host, eventually):
    ask = "printf %s | timeout 5 socat -t 3 - TCP:127.0.0.1:11212"
    stored = ["STORED", "VALUE molecule 0 5", "socle", "END"]
    assert eventually(lambda: host.run(ask, SESSION).stdout.splitlines() == stored, 30)


def test_it_is_not_reached_from_outside(host, settings):
    assert host.run("timeout 3 bash -c 'exec 3<>/dev/tcp/%s/11211'", settings["ansible_host"]).rc != 0
