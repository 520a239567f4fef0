# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role keystone: tokens for those who know the password, the catalogue, keys for Keystone's eyes only."""

from __future__ import annotations

testinfra_hosts = ["ansible://control"]


def test_unit_and_configuration(guarded):
    guarded(["keystone"], "/etc/keystone/keystone.conf", "keystone")


def test_a_wrong_password_gets_no_token(api):
    assert api.log_in("wrong") == (401, "")


def test_nobody_reads_users_without_a_token(api):
    assert api.ask("GET", "identity", "/v3/users", **{"X-Auth-Token": "forged"})[0] == 401


def test_the_catalogue(api, settings):
    services = {entry["id"]: entry["name"] for entry in api.get("identity", "/v3/services")["services"]}
    endpoints = {(services[entry["service_id"]], entry["interface"]): entry["url"]
                 for entry in api.get("identity", "/v3/endpoints")["endpoints"]}  # fmt: skip
    names = {"keystone", "glance", "placement", "nova", "neutron"}
    assert set(endpoints) == {(name, interface) for name in names for interface in ("public", "internal")}
    prefix = {"public": "https://api.", "internal": "https://internal."}
    assert all(url.startswith(prefix[interface] + settings["site_domain"]) for (_, interface), url in endpoints.items())


def test_keys_are_keystones_only(host):
    for folder in ("fernet-keys", "credential-keys"):
        keys = host.file(f"/etc/keystone/{folder}")
        assert (keys.user, keys.mode) == ("keystone", 0o700)
        for name in keys.listdir():
            assert host.file(f"/etc/keystone/{folder}/{name}").mode == 0o600


def test_its_own_doctor_finds_nothing(host):
    host.run_expect([0], "runuser -u keystone -- keystone-manage doctor")
