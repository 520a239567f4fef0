# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role ovn_central: this node leads the raft clusters, and only clients with a certificate can connect."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://control"]

DATABASES = {"OVN_Northbound": ("nb", 6641, "ovn-nbctl"), "OVN_Southbound": ("sb", 6642, "ovn-sbctl")}
CERTIFICATE = "-c /etc/socle/pki/node.pem -p /etc/socle/pki/node.key"


@pytest.mark.parametrize("database", DATABASES)
def test_the_cluster_has_its_leader(host, settings, database, eventually):
    short = DATABASES[database][0]

    def status():
        text = host.check_output(f"ovs-appctl -t /run/ovn/ovn{short}_db.ctl cluster/status {database}")
        fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        return fields if fields.get("Role") == "leader" else None

    fields = eventually(status)
    assert fields["Status"] == "cluster member"
    assert fields["Address"].startswith(f"ssl:{settings['ansible_host']}:")
    assert fields["Election timer"] == "4000"


@pytest.mark.parametrize("database", DATABASES)
def test_clients_with_our_certificate_are_served(host, settings, database):
    _, port, client = DATABASES[database]
    remote = f"ssl:{settings['ansible_host']}:{port}"
    host.run_expect([0], f"{client} -t 5 --db={remote} {CERTIFICATE} -C /etc/socle/pki/ca.pem show")


@pytest.mark.parametrize("database", DATABASES)
def test_others_are_refused(host, settings, database):
    _, port, client = DATABASES[database]
    address = settings["ansible_host"]
    assert host.run(f"{client} -t 2 --db=tcp:{address}:{port} show").rc != 0
    stranger = host.check_output("mktemp -d")
    host.check_output(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger -days 1"
        f" -keyout {stranger}/key -out {stranger}/pem 2>/dev/null"
    )
    refused = host.run(f"{client} -t 2 --db=ssl:{address}:{port} -c {stranger}/pem -p {stranger}/key"
                       " -C /etc/socle/pki/ca.pem show")  # fmt: skip
    assert refused.rc != 0


def test_northd_works(host, service):
    assert service("ovn-northd")["ActiveState"] == "active"
    assert "active" in host.check_output("ovs-appctl -t /run/ovn/ovn-northd.$(cat /run/ovn/ovn-northd.pid).ctl status")


def test_a_restart_of_northd_leaves_the_databases_alone(host, service):
    servers = ("ovn-ovsdb-server-nb", "ovn-ovsdb-server-sb")
    before = [service(name)["MainPID"] for name in servers]
    host.check_output("systemctl restart ovn-northd")
    assert [service(name)["MainPID"] for name in servers] == before
    assert "0" not in before


def test_it_survives_a_crash(host, service, eventually):
    before = service("ovn-ovsdb-server-nb")["MainPID"]
    host.check_output("kill -9 %s", before)
    eventually(lambda: host.run("ovn-nbctl -t 2 --db=unix:/run/ovn/ovnnb_db.sock show").rc == 0)
