# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role mariadb: a synced cluster without data loss, TLS only, one account per service, recovery after a crash."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://control"]

SERVICES = {
    "keystone": {"keystone"},
    "glance": {"glance"},
    "heat": {"heat"},
    "placement": {"placement"},
    "nova": {"nova", "nova_api", "nova_cell0"},
    "neutron": {"neutron"},
}
LOGIN = "MYSQL_PWD=%s mariadb -BN -h %s -u %s --ssl-ca=/etc/socle/pki/ca.pem --ssl-verify-server-cert -e %s"


@pytest.fixture
def sql(host):
    return lambda query: [tuple(line.split("\t")) for line in host.check_output("mariadb -BNe %s", query).splitlines()]


def test_the_cluster_is_synced(sql):
    status = dict(sql("SHOW STATUS LIKE 'wsrep%'"))
    assert status["wsrep_cluster_status"] == "Primary"
    assert status["wsrep_local_state_comment"] == "Synced"
    assert status["wsrep_cluster_size"] == "1"
    assert status["wsrep_ready"] == "ON"


def test_an_acknowledged_commit_is_on_disk(sql):
    (values,) = sql(
        "SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@log_bin, @@innodb_doublewrite, @@binlog_format"
    )
    assert values == ("1", "1", "1", "ON", "ROW")


def test_replication_speaks_tls(sql):
    options = dict(sql("SHOW VARIABLES LIKE 'wsrep_provider_options'"))["wsrep_provider_options"]
    assert "socket.ssl = YES" in options
    assert "gmcast.listen_addr = ssl://" in options


def test_only_roots_own_sockets_and_services_log_in(sql):
    accounts = sql("SELECT user, host, ssl_type FROM mysql.user")
    local = {user for user, where, _ in accounts if where == "localhost"}
    assert local == {"root", "mysql", "mariadb.sys", "galera_check"}
    assert {user: tls for user, where, tls in accounts if where != "localhost"} == dict.fromkeys(SERVICES, "ANY")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_sees_its_own_databases_only(host, settings, name):
    password = settings["secrets"][f"{name}_database"]
    shown = host.check_output(LOGIN, password, settings["ansible_host"], name, "SHOW DATABASES").split()
    assert set(shown) - {"information_schema"} == SERVICES[name]


def test_a_wrong_password_is_refused(host, settings):
    refused = host.run(LOGIN, "wrong", settings["ansible_host"], "keystone", "SELECT 1")
    assert refused.rc == 1
    assert "ERROR 1045" in refused.stderr


def test_plain_text_is_refused(host, settings):
    password, address = settings["secrets"]["keystone_database"], settings["ansible_host"]
    refused = host.run("MYSQL_PWD=%s mariadb -h %s -u keystone --skip-ssl -e 'SELECT 1'", password, address)
    assert refused.rc == 1
    assert "insecure transport" in refused.stderr


def test_no_password_no_entry(host):
    for user in ("nobody", "memcache"):
        assert host.run("runuser -u %s -- mariadb -u root -e 'SELECT 1'", user).rc != 0


def test_haproxy_learns_whether_the_node_may_be_used(host, settings, eventually):
    status = host.check_output("curl -sS -o /dev/null -w '%%{http_code}' http://%s:9200/", settings["ansible_host"])
    assert status == "200"
    through = LOGIN.replace("--ssl-verify-server-cert", "")
    password = settings["secrets"]["glance_database"]
    words = (through, password, settings["site_internal_vip"], "glance", "SELECT @@hostname")
    # The tests of keepalived remove the VIP, and it takes some time to come back.
    eventually(lambda: host.run(*words).stdout.strip() == "ctl1")


def test_it_survives_a_crash_and_keeps_its_data(host, service, sql, eventually):
    sql("CREATE TABLE keystone.crash (id INT PRIMARY KEY); INSERT INTO keystone.crash VALUES (42)")
    before = service("mariadb")["MainPID"]
    host.check_output("kill -9 %s", before)

    def synced():
        status = host.run("mariadb -BNe %s", "SHOW STATUS LIKE 'wsrep_local_state_comment'").stdout
        return service("mariadb")["MainPID"] not in (before, "0") and "Synced" in status

    eventually(synced)
    assert sql("SELECT id FROM keystone.crash") == [("42",)]
    sql("DROP TABLE keystone.crash")
