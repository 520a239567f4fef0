# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role haproxy: TLS on both virtual addresses, health on loopback, back after a crash."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://control"]

VIPS = {"internal": "site_internal_vip", "api": "site_public_vip"}
CLIENT = "openssl s_client -verify_return_error -CAfile /etc/socle/pki/ca.pem -connect %s -verify_hostname %s"


def test_the_configuration_is_valid_and_for_its_users_only(host):
    host.run_expect([0], "haproxy -c -q -f /etc/haproxy/haproxy.cfg")
    file = host.file("/etc/haproxy/haproxy.cfg")
    assert (file.user, file.group, file.mode) == ("root", "haproxy", 0o640)


@pytest.mark.parametrize("name", VIPS)
def test_each_virtual_address_proves_its_name(host, settings, name):
    address, wanted = f"{settings[VIPS[name]]}:5000", f"{name}.{settings['site_domain']}"
    for version in ("-tls1_2", "-tls1_3"):
        host.run_expect([0], f"echo | {CLIENT} {version}", address, wanted)
    host.run_expect([1], f"echo | {CLIENT}", address, "example.org")


@pytest.mark.parametrize("name", VIPS)
def test_old_tls_is_refused_by_us(host, settings, name):
    """A client that still speaks TLS 1.1 gets an alert."""
    address, wanted = f"{settings[VIPS[name]]}:5000", f"{name}.{settings['site_domain']}"
    answer = host.run(f"echo | {CLIENT} -tls1_1 -cipher DEFAULT@SECLEVEL=0", address, wanted)
    assert answer.rc != 0
    assert "alert protocol version" in answer.stderr


def test_without_tls_there_is_no_api(host, settings):
    assert host.run("curl -s --max-time 5 http://%s:5000/", settings["site_public_vip"]).rc != 0


def test_metadata_and_database_are_internal(host):
    listens = host.check_output("ss -Hltn 'sport = 8775 or sport = 3306'")
    public = host.check_output("getent hosts api.lab.socle.internal").split()[0]
    assert listens
    assert f"{public}:" not in listens


def test_health_and_metrics_are_on_loopback(host):
    assert host.check_output("ss -Hltn 'sport = 8404'").split()[3] == "127.0.0.1:8404"
    metrics = host.check_output("curl -sSf --max-time 5 http://127.0.0.1:8404/metrics")
    assert 'haproxy_server_status{proxy="database",server="ctl1",state="UP"} 1' in metrics


def test_it_survives_a_crash(host, service, eventually):
    before = service("haproxy")["MainPID"]
    host.check_output("kill -9 %s", before)
    eventually(lambda: service("haproxy")["MainPID"] not in (before, "0"))
    eventually(lambda: host.run("curl -sSf --max-time 2 http://127.0.0.1:8404/health").rc == 0)
