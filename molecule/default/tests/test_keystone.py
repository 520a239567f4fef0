# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role keystone: tokens for users with the right password, the catalogue, and keys that only Keystone may read."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://control"]

SEEDS = "/etc/socle/keystone-keys.json"


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
    names = {"keystone", "glance", "placement", "nova", "neutron", "heat"}
    assert set(endpoints) == {(name, interface) for name in names for interface in ("public", "internal")}
    prefix = {"public": "https://api.", "internal": "https://internal."}
    assert all(url.startswith(prefix[interface] + settings["site_domain"]) for (_, interface), url in endpoints.items())


def test_keys_are_keystones_only(host):
    for folder in ("fernet-keys", "credential-keys"):
        keys = host.file(f"/etc/keystone/{folder}")
        assert (keys.user, keys.mode) == ("keystone", 0o700)
        names = keys.listdir()
        assert names
        for name in names:
            assert host.file(f"/etc/keystone/{folder}/{name}").mode == 0o600


def test_its_own_doctor_finds_nothing(host):
    """Keystone's doctor also reads the statistics of the shared cache."""
    done = host.run("runuser -u keystone -- keystone-manage doctor")
    assert [text.splitlines()[0] for text in done.stdout.split("WARNING: ")[1:]] == []
    assert done.rc == 0, done.stderr


@pytest.fixture
def keys(host):
    """`keys(folder)`: file name to key."""

    def read(folder: str) -> dict[str, str]:
        files = host.file(folder).listdir()
        return {name: host.file(f"{folder}/{name}").content_string for name in files if name.isdigit()}

    return read


def test_only_root_reads_the_seeds(host):
    seeds = host.file(SEEDS)
    assert (seeds.user, seeds.mode) == ("root", 0o600)
    assert host.run("runuser -u keystone -- cat %s", SEEDS).rc != 0


def test_a_timer_turns_the_keys(host, service):
    timer = service("socle-keystone-keys.timer")
    assert (timer["ActiveState"], timer["UnitFileState"]) == ("active", "enabled")
    # The service has run once after its start.
    assert service("socle-keystone-keys.service")["Result"] == "success"
    host.run_expect([0], "python3 -I -S /usr/local/lib/socle/keystone_keys.py --check")


def test_a_turn_leaves_the_keys_of_this_moment_and_three_for_credentials(host, keys):
    host.run_expect([0], "systemctl start socle-keystone-keys.service")
    assert 3 <= len(keys("/etc/keystone/fernet-keys")) <= 5
    host.run_expect([0], "systemctl start socle-keystone-keys.service")
    credentials = keys("/etc/keystone/credential-keys")
    assert len(credentials) == 3
    assert not set(credentials.values()) & set(keys("/etc/keystone/fernet-keys").values())


def test_a_token_outlives_a_turn_and_a_lost_repository(host, api, keys):
    """The keys are derived from the seeds, so they are the same after the loss of the repository."""
    folder = "/etc/keystone/fernet-keys"
    before = keys(folder)
    status, token = api.log_in(api.password)
    assert status == 201
    try:
        host.run_expect([0], "systemctl start socle-keystone-keys.service")
        assert api.ask("GET", "identity", "/v3/auth/tokens", **{"X-Subject-Token": token})[0] == 200
        host.run_expect([0], f"rm {folder}/*")
    finally:
        host.run_expect([0], "systemctl start socle-keystone-keys.service")
    assert keys(folder) == before
    assert all(host.file(f"{folder}/{name}").mode == 0o600 for name in before)
    assert api.ask("GET", "identity", "/v3/auth/tokens", **{"X-Subject-Token": token})[0] == 200


def test_credentials_stay_readable_over_a_turn(host, api, keys):
    """An old key is removed only after the credentials that it encrypted are encrypted with a new key."""
    folder = "/etc/keystone/credential-keys"
    user = api.get("identity", "/v3/auth/tokens", **{"X-Subject-Token": api.token})["token"]["user"]["id"]
    body = {"credential": {"user_id": user, "type": "molecule", "blob": "a secret"}}
    # The name of a key contains its age: this one is from 1970, and no controller encrypts with it.
    host.run_expect([0], f"install -o keystone -g keystone -m 0600 {folder}/0 {folder}/86400")
    status, made, _ = api.ask("POST", "identity", "/v3/credentials", body)
    assert status == 201
    path = f"/v3/credentials/{made['credential']['id']}"
    try:
        host.run_expect([0], "systemctl start socle-keystone-keys.service")
        assert "86400" not in keys(folder)
        assert api.get("identity", path)["credential"]["blob"] == "a secret"
    finally:
        api.ask("DELETE", "identity", path)
