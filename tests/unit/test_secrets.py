# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.cloudwatt.socle.plugins.module_utils import secrets
from socle import vault
from socle.project import Site, UsageError

TENANTS = [{"vrfs": [{"name": "red", "links": {"gw1": {"password_secret": "shared"}, "gw2": {}}}]}]


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "paris" / "group_vars" / "all"
    folder.mkdir(parents=True)
    (folder / "rie.yml").write_text(yaml.safe_dump({"rie_tenants": TENANTS}))
    return Site(tmp_path / "paris")


def opened(site: Site) -> dict[str, str]:
    lib = VaultLib([("default", VaultSecret(site.vault_password_file.read_bytes().strip()))])
    return yaml.safe_load(lib.decrypt(site.secrets_file.read_bytes()))["secrets"]


def test_links_name_their_secret_or_take_that_of_the_vrf():
    assert {"shared", "bgp_red"} <= secrets.required(TENANTS).keys()


@pytest.mark.parametrize("broken", [None, "x", [1], [{"vrfs": "x"}], [{"vrfs": [{"links": [1]}]}]])
def test_malformed_intent_asks_for_nothing_more(broken):
    assert secrets.required(broken).keys() == secrets.FIXED.keys()


def test_shapes_of_values():
    made = {name: make() for name, make in secrets.FIXED.items()}
    assert len(set(made.values())) == len(made)
    assert len(base64.urlsafe_b64decode(made["keystone_fernet_0"])) == 32
    assert len(made["keepalived_vrrp"]) == 8
    assert made["rabbitmq_erlang_cookie"].isupper()
    assert all(
        value.isalnum()
        for name, value in made.items()
        if not name.startswith(("keystone_fernet", "keystone_cred"))
    )


def test_init_makes_everything_then_nothing(site):
    added = vault.init(site)
    held = opened(site)
    assert set(added) == held.keys() == secrets.required(TENANTS).keys()
    assert vault.init(site) == []
    assert opened(site) == held
    for path in (site.vault_password_file, site.secrets_file):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not any(value in site.secrets_file.read_text() for value in held.values())


def test_init_adds_only_what_a_new_vrf_needs(site):
    vault.init(site)
    before = opened(site)
    intent = site.path / "group_vars" / "all" / "rie.yml"
    intent.write_text(
        yaml.safe_dump({"rie_tenants": [*TENANTS, {"vrfs": [{"name": "blue", "links": {"gw1": {}}}]}]})
    )
    assert vault.init(site) == ["bgp_blue"]
    assert {name: value for name, value in opened(site).items() if name != "bgp_blue"} == before


def test_init_refuses_a_password_that_does_not_open_the_file(site):
    vault.init(site)
    before = site.secrets_file.read_bytes()
    site.vault_password_file.write_text("another\n")
    with pytest.raises(UsageError, match="cannot be read"):
        vault.init(site)
    site.vault_password_file.unlink()
    with pytest.raises(UsageError, match="restore its password"):
        vault.init(site)
    assert site.secrets_file.read_bytes() == before
