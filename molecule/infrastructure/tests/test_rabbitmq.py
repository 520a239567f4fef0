# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role rabbitmq: AMQP over TLS only, accounts for the services only, and quorum queues."""

from __future__ import annotations

import base64
import json

import pytest

testinfra_hosts = ["ansible://control"]

# The AMQP library of the services, with the same TLS checks.
SPEAK = """
import sys, amqp
host, user, password = sys.argv[1:]
link = amqp.Connection(f"{host}:5671", user, password, virtual_host="openstack", connect_timeout=10,
                       ssl={"ca_certs": "/etc/socle/pki/ca.pem", "server_hostname": "ctl1"})
link.connect()
channel = link.channel()
channel.queue_declare("molecule", durable=True, auto_delete=False)
channel.basic_publish(amqp.Message("hello"), routing_key="molecule")
for _ in range(50):
    if got := channel.basic_get("molecule", no_ack=True):
        break
print(got.body)
channel.queue_delete("molecule")
link.close()
"""


@pytest.fixture(scope="module")
def definitions(host):
    return json.loads(host.check_output("rabbitmqctl -q export_definitions - --format json"))


def test_only_tls_is_served(host, settings):
    listens = [line.split()[3] for line in host.check_output("ss -Hltnp | grep beam").splitlines()]
    assert f"{settings['ansible_host']}:5671" in listens
    assert {name.rsplit(":", 1)[1] for name in listens} == {"5671", "25672"}
    assert host.run("timeout 3 bash -c 'exec 3<>/dev/tcp/%s/5672'", settings["ansible_host"]).rc != 0


def test_old_tls_is_refused(host, settings):
    old = "echo | openssl s_client -tls1_1 -cipher DEFAULT@SECLEVEL=0 -connect %s:5671"
    assert "alert protocol version" in host.run(old, settings["ansible_host"]).stderr


def test_users_and_what_they_may(definitions):
    tags = {user["name"]: user["tags"] for user in definitions["users"]}
    assert tags == {"heat": [], "nova": [], "neutron": [], "admin": ["administrator"]}
    # No account may use the default virtual host of a new broker.
    assert {vhost["name"] for vhost in definitions["vhosts"]} <= {"openstack", "/"}
    assert {(entry["user"], entry["vhost"]) for entry in definitions["permissions"]} == {
        (user, "openstack") for user in tags
    }


def test_messages_pass_by_quorum_queues(host, settings):
    password = settings["secrets"]["rabbitmq_nova"]
    assert host.check_output("python3 -c %s %s nova %s", SPEAK, settings["ansible_host"], password) == "hello"
    config = host.file("/etc/rabbitmq/rabbitmq.conf").content_string
    assert "default_queue_type = quorum" in config


@pytest.mark.parametrize("user", ["nova", "guest"])
def test_a_wrong_password_is_refused(host, settings, user):
    refused = host.run("python3 -c %s %s %s guest", SPEAK, settings["ansible_host"], user)
    assert refused.rc != 0
    assert "ACCESS_REFUSED" in refused.stderr


def test_its_secrets_are_its_own(host):
    cookie = host.file("/var/lib/rabbitmq/.erlang.cookie")
    assert (cookie.user, cookie.mode) == ("rabbitmq", 0o400)
    stored = host.file("/etc/rabbitmq/definitions.json")
    assert (stored.group, stored.mode) == ("rabbitmq", 0o640)


def held_cookie(host) -> str:
    """Return the cookie of the running broker in base64, because Erlang escapes quotes and backslashes."""
    ask = "base64:encode_to_string(atom_to_list(erlang:get_cookie()))."
    told = host.check_output("rabbitmqctl --quiet eval %s", ask)
    return base64.b64decode(told.strip('"')).decode()


def test_a_running_broker_takes_another_cookie(host, service):
    """The change and its reversal need no restart, and the command-line tools use the new cookie."""
    own, new = "/var/lib/rabbitmq/.erlang.cookie", "/etc/rabbitmq/erlang.cookie"
    before, run = host.file(new).content_string, service("rabbitmq-server")["MainPID"]
    assert host.file(own).content_string == before
    try:
        host.run_expect([0], f"printf ANOTHERCOOKIE > {new} && systemctl restart rabbitmq-cookie")
        assert held_cookie(host) == "ANOTHERCOOKIE"
    finally:
        host.run_expect([0], f"printf %%s %s > {new} && systemctl restart rabbitmq-cookie", before)
    assert held_cookie(host) == before
    cookie = host.file(own)
    assert (cookie.user, cookie.mode, cookie.content_string) == ("rabbitmq", 0o400, before)
    assert service("rabbitmq-server")["MainPID"] == run
