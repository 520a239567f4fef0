# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import time

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ansible_collections.cloudwatt.socle.plugins.module_utils.programs import keystone_keys
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import secrets
from socle import cli, runs, vault
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
    assert len(keystone_keys.parse(made["keystone_fernet_seed"])) == 1
    assert made["rabbitmq_erlang_cookie"].isupper()
    assert all(value.isalnum() for name, value in made.items() if name not in secrets.SEEDS)


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
    intent.write_text(yaml.safe_dump({"rie_tenants": [*TENANTS, {"vrfs": [{"name": "blue", "links": {"gw1": {}}}]}]}))
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


@pytest.fixture
def pki(site):
    """A deployed site: the secret decrypts the key of its CA."""
    vault.init(site)
    (site.path / "pki").mkdir()
    path = site.path / "pki" / "ca.key"
    path.write_bytes(
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(passphrase(site))
        )
    )
    return path


def passphrase(site: Site) -> bytes:
    return opened(site)["pki_ca_passphrase"].encode()


def number(path, password: bytes) -> int:
    """Return the private number of an encrypted key."""
    key = load_pem_private_key(path.read_bytes(), password)
    assert isinstance(key, EllipticCurvePrivateKey)
    return key.private_numbers().private_value


def test_rotate_all_leaves_what_is_shared_and_the_seeds_of_before(site, pki):
    before, key = opened(site), number(pki, passphrase(site))
    assert vault.rotate(site, [], everything=True) == sorted(secrets.FIXED.keys() - set(secrets.LASTING))
    after = opened(site)
    assert {name for name in before if before[name] == after[name]} == {"shared", "bgp_red", *secrets.LASTING}
    for name in secrets.SEEDS:
        old, new = keystone_keys.parse(after[name])
        assert [old] == keystone_keys.parse(before[name])
        assert new.since >= time.time() + keystone_keys.DEPLOY_WITHIN - 60
    assert number(pki, passphrase(site)) == key
    assert pki.stat().st_mode & 0o777 == site.secrets_file.stat().st_mode & 0o777 == 0o600
    files = {path.name for path in site.path.rglob("*") if path.is_file()}
    assert files == {".vault-password", "secrets.yml", "rie.yml", "ca.key"}


def test_rotate_only_what_is_named(site):
    vault.init(site)
    before = opened(site)
    assert vault.rotate(site, ["shared", "nova_database", "shared"]) == ["nova_database", "shared"]
    after = opened(site)
    assert {name for name in before if before[name] != after[name]} == {"nova_database", "shared"}


def test_a_stolen_seed_is_cut_off(site):
    vault.init(site)
    vault.rotate(site, list(secrets.SEEDS), at_once=True)
    held = opened(site)
    assert [len(keystone_keys.parse(held[name])) for name in secrets.SEEDS] == [1, 2]


def test_check_changes_nothing(site, pki):
    before = {path: path.read_bytes() for path in site.path.rglob("*") if path.is_file()}
    assert vault.rotate(site, [], everything=True, check=True) == sorted(secrets.FIXED.keys() - set(secrets.LASTING))
    assert {path: path.read_bytes() for path in site.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("names", "everything", "told"),
    [([], False, "name what to rotate"), (["nova_database"], True, "name what to rotate"),
     (["nova_datebase"], False, "no such secret: nova_datebase")],
)  # fmt: skip
def test_rotate_refuses_what_it_cannot_tell(site, names, everything, told):
    vault.init(site)
    before = site.secrets_file.read_bytes()
    with pytest.raises(UsageError, match=told):
        vault.rotate(site, names, everything)
    assert site.secrets_file.read_bytes() == before


def test_rotate_needs_secrets(site):
    with pytest.raises(UsageError, match="secrets init"):
        vault.rotate(site, [], everything=True)
    assert not site.vault_password_file.exists()
    vault.init(site)
    save(site, {name: value for name, value in opened(site).items() if name != "nova_database"})
    with pytest.raises(UsageError, match="not made yet: nova_database"):
        vault.rotate(site, [], everything=True)


@pytest.mark.parametrize("content", ["", "a", "secrets:", "secrets: [1]", "[", "a: b"])
def test_a_broken_file_is_refused(site, content):
    vault.init(site)
    lib = VaultLib([("default", VaultSecret(site.vault_password_file.read_bytes().strip()))])
    site.secrets_file.write_bytes(lib.encrypt(content or " "))
    with pytest.raises(UsageError, match="cannot be read"):
        vault.rotate(site, [], everything=True)


def test_a_broken_seed_is_refused_and_not_shown(site):
    vault.init(site)
    save(site, {**opened(site), "keystone_fernet_seed": "1:tell-nobody"})
    with pytest.raises(UsageError, match="keystone_fernet_seed") as refusal:
        vault.rotate(site, [], everything=True)
    assert "tell-nobody" not in str(refusal.value)


def test_an_authority_that_does_not_open_is_refused_before_anything_changes(site, pki):
    save(site, {**opened(site), "pki_ca_passphrase": "another"})
    before = site.secrets_file.read_bytes(), pki.read_bytes()
    with pytest.raises(UsageError, match="does not open"):
        vault.rotate(site, [], everything=True)
    assert (site.secrets_file.read_bytes(), pki.read_bytes()) == before


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_rotation_that_is_killed_leaves_a_key_that_opens(site, pki, monkeypatch, stop):
    """The rotation is killed before its first, second or third file is in place, and a later command continues."""
    key, steps, replace = number(pki, passphrase(site)), iter(range(1, 9)), type(pki).replace

    def killed(path, target):
        if next(steps) == stop:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(pki), "replace", killed)
        vault.rotate(site, ["pki_ca_passphrase"])
    vault.rotate(site, ["nova_database"])
    assert number(pki, passphrase(site)) == key
    assert not (site.path / "pki" / "ca.key.new").exists()


def save(site: Site, held: dict[str, str]) -> None:
    lib = VaultLib([("default", VaultSecret(site.vault_password_file.read_bytes().strip()))])
    site.secrets_file.write_bytes(lib.encrypt(yaml.safe_dump({"secrets": held})))


@pytest.fixture
def command(site, monkeypatch, tmp_path, capsys):
    """`command(words)`: exit code, standard output and error of `socle secrets rotate`."""
    (site.path / "hosts.yml").touch()
    monkeypatch.setattr(runs, "STATE", tmp_path / "state")

    def call(words: str) -> tuple[int, str, str]:
        code = cli.main(["secrets", "rotate", "-i", str(site.path), *words.split()])
        return code, *capsys.readouterr()

    return call


def test_a_key_of_what_is_stored_is_not_rotated(site):
    vault.init(site)
    before = opened(site)
    assert secrets.LASTING
    for name in secrets.LASTING:
        with pytest.raises(UsageError, match=f"{name} cannot be rotated"):
            vault.rotate(site, [name])
    assert opened(site) == before


def test_the_command_names_what_it_rotates_and_what_comes_next(site, command):
    vault.init(site)
    values = set(opened(site).values())
    code, said, _ = command("--all --check")
    assert code == runs.OK
    assert "would rotate 24: " in said
    code, said, _ = command("shared keystone_fernet_seed")
    assert code == runs.OK
    assert "rotated 2: keystone_fernet_seed, shared\nnext: give shared to the other side" in said
    assert "next: socle deploy -i paris\nnext: within 60 minutes" in said
    code, said, _ = command("pki_ca_passphrase --json")
    assert json.loads(said) == {"site": "paris", "check": False, "rotated": ["pki_ca_passphrase"], "next": []}
    assert not any(value in said for value in values | set(opened(site).values()))


def test_the_command_refuses(site, command):
    assert command("--all")[0] == runs.USAGE
    vault.init(site)
    for words in ("", "nobody", "--all nova_database"):
        code, said, told = command(words)
        assert (code, said) == (runs.USAGE, "")
        assert told.startswith("socle: ")
    with runs.only_one(site, "deploy"):
        assert "another run" in command("--all")[2]
