# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Faults in an inventory: the lab's inventory with one fault, then with several at once."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import (
    command_line,
    role_specs,
    site_authority,
    site_model,
    site_rules,
)
from socle import vault
from socle.project import ROOT, Site


class Copy:
    """A copy of the lab's inventory that a test may change."""

    def __init__(self, root, folder):
        self.root, self.folder = root, folder
        ignore = shutil.ignore_patterns("secrets.yml", ".vault-password", "pki")
        shutil.copytree(root / "inventories" / "lab", folder, ignore=ignore)
        vault.init(Site(folder))

    def edit(self, name: str, old: str, new: str) -> Copy:
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1))
        return self

    def add(self, name: str, text: str) -> Copy:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text)
        return self

    def check(self) -> list[str]:
        """Return all violations as "file:line path: reason; remedy", with the name of the file without its folder."""
        found = site_validate.violations(self.folder, self.folder / ".vault-password")
        return [f"{v['file'].rsplit('/', 1)[-1]}:{v['line']} {v['path']}: {v['reason']}; {v['remedy']}" for v in found]

    def line(self, name: str, text: str) -> int:
        lines = (self.folder / name).read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture
def site(root, tmp_path, monkeypatch):
    monkeypatch.setattr(site_validate, "fetch", lambda url: "")
    monkeypatch.setattr(site_validate, "source_of", lambda address: "")
    return Copy(root, tmp_path / "lab")


SITE, RIE, HOSTS, SECRETS = (
    "group_vars/all/site.yml",
    "group_vars/all/rie.yml",
    "hosts.yml",
    "group_vars/all/secrets.yml",
)


def test_the_lab_is_valid(site):
    assert site.check() == []


def test_what_molecule_adds_to_an_inventory_and_a_run_is_no_violation(site):
    site.add(SITE, "molecule_file: \"{{ lookup('env', 'MOLECULE_FILE') }}\"\n")
    given = command_line.CommandLine(tags=("molecule-notest", "notest"), playbooks=(ROOT / "playbooks/deploy.yml",))
    assert site_validate.violations(site.folder, site.folder / ".vault-password") == []
    assert list(command_line.check_tags(given, ROOT)) == []


def test_a_warning_is_told_and_refuses_nothing(site, monkeypatch):
    notice = site_model.Violation("hosts.yml", 1, "x", "", "is alone", "add one", "warning")
    monkeypatch.setattr(site_rules, "RULES", (lambda context: [notice],))
    found = site_validate.findings(site.folder, site.folder / ".vault-password")
    assert site_validate.by_severity(found) == ([], [vars(notice)])
    assert site_validate.violations(site.folder, site.folder / ".vault-password") == []


BROKEN = {
    "host in no known group": (
        (HOSTS, "    backbone:", "    spine:"),
        "host rie is in no known group",
        "        rie:",
    ),
    "unknown group": (
        (HOSTS, "        compute:", "        computes:"),
        "did you mean compute?",
        "        computes:",
    ),
    "unknown variable": ((SITE, "site_region:", "site_regoin:"), "did you mean site_region?", "site_regoin"),
    "missing variable": ((SITE, "site_domain: ", "# "), "site_domain: is missing", None),
    "malformed name": ((SITE, "site_name: lab", "site_name: La b"), "is not a site name", "site_name"),
    "malformed network": ((SITE, "10.99.0.0/24", "10.99.0.7/24"), "host bits set", "site_management_cidr"),
    "VIP elsewhere": ((SITE, "10.99.0.5", "10.98.0.5"), "is outside of 10.99.0.0/24", "site_internal_vip"),
    "VIP twice": ((SITE, "10.99.0.6", "10.99.0.5"), "is also site_internal_vip", "site_public_vip"),
    "address twice": ((HOSTS, "10.99.0.32", "10.99.0.31"), "is also ansible_host of gw1", "10.99.0.31"),
    "not an address": ((HOSTS, "10.99.1.21", "10.99.1.521"), "tunnel_address: ", "10.99.1.521"),
    "no address": ((HOSTS, "tunnel_address: 10.99.1.21", "{}"), None, None),
    "wrong type": ((SITE, "site_region: lab", "site_region: [lab]"), "site_region: is not", "site_region"),
    "VLAN out of range": ((RIE, "vlan: 101-1999", "vlan: 101-5000"), "rie_pools.vlan", "vlan: 101-5000"),
    "unknown intent key": ((RIE, "rie_mtu:", "rie_mtuu:"), "did you mean rie_mtu?", "rie_mtuu"),
    "syntax": ((SITE, "site_region: lab", "site_region: [lab"), "is not YAML", None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_wrong(site, name):
    (file, old, new), said, marker = BROKEN[name]
    site.edit(file, old, new)
    found = site.check()
    assert found
    if said:
        [match] = [line for line in found if said in line][:1] or [found]
        assert said in match
        if marker:
            numbers = [n for n, text in enumerate((site.folder / file).read_text().splitlines(), 1) if marker in text]
            assert any(f"{file.rsplit('/', 1)[-1]}:{number} " in line for number in numbers for line in found)


def test_a_site_without_an_intent(site):
    (site.folder / RIE).unlink()
    found = [line for line in site.check() if "rie.yml:1 " in line]
    assert {name for name in ("rie_asn", "rie_pools", "rie_tenants") for line in found if name in line} == {
        "rie_asn",
        "rie_pools",
        "rie_tenants",
    }


def test_all_at_once(site):
    site.edit(SITE, "site_region:", "site_regoin:").edit(HOSTS, "10.99.0.32", "10.99.0.31")
    site.edit(RIE, "vlan: 101-1999", "vlan: 101-5000")
    (site.folder / ".vault-password").write_text("another\n")
    text = "\n".join(site.check())
    for said in (
        "site_regoin",
        "is also ansible_host",
        "rie_pools.vlan",
        "the vault password does not open it",
    ):
        assert said in text


def test_overlap_inside_a_vrf(site):
    old = "          - name: web\n"
    site.edit(RIE, old, f"          - name: other\n            v4: 10.20.0.128/25\n{old}")
    assert any("overlap" in line for line in site.check())


def test_a_missing_secret_and_a_plain_file(site):
    site.folder.joinpath(SECRETS).write_text("---\nsecrets: {mariadb_root: tell-no-one, odd: [1]}\n")
    text = "\n".join(site.check())
    assert "secrets.keystone_admin: is missing" in text
    assert "secrets: is not encrypted" in text
    assert "secrets.odd: is not a text" in text
    assert "tell-no-one" not in text


def test_no_secrets_at_all(site):
    site.folder.joinpath(SECRETS).unlink()
    assert any("there are no secrets; socle secrets init -i lab" in line for line in site.check())


def test_secrets_without_their_password(site):
    (site.folder / ".vault-password").unlink()
    assert any("there is no vault password" in line for line in site.check())


def test_secret_values_are_never_shown(site):
    site.add("host_vars/ctl1.yml", "---\nkeystone_fernet_seeds: {a: tell-no-one}\n")
    found = site_validate.violations(site.folder, site.folder / ".vault-password")
    assert found
    assert "tell-no-one" not in str(found)


def test_variables_for_nobody(site):
    site.add("group_vars/storage.yml", "---\n").add("host_vars/ctl9.yml", "---\n")
    text = "\n".join(site.check())
    assert "storage is no group of the inventory" in text
    assert "ctl9 is no host of the inventory" in text


@pytest.mark.parametrize(
    "text", ["", "[]", "just text", "all: 3", "all: {hosts: [a]}", "\tall:", "all: {children: {x: 1}}"]
)
def test_any_hosts_file_is_judged_without_an_exception(site, text):
    site.folder.joinpath(HOSTS).write_text(text)
    assert site.check()


def test_a_mirror_that_does_not_answer(site, monkeypatch):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/good/dists/trixie/InRelease" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.undo()
    try:
        assert site_validate.fetch(f"{base}/good/dists/trixie/InRelease") == ""
        assert site_validate.fetch(f"{base}/bad/dists/trixie/InRelease").startswith("HTTP 404")
    finally:
        server.shutdown()
        server.server_close()
    assert "refused" in site_validate.fetch(f"{base}/good/dists/trixie/InRelease")


def test_the_mirror_is_asked_for_its_suite(site, monkeypatch, root):
    asked = []

    def fetch(url):
        asked.append(url)
        return "timed out"

    monkeypatch.setattr(site_validate, "fetch", fetch)
    site.add(SITE, "base_mirror: http://mirror.example/debian/\n")
    assert any("base_mirror: does not answer: timed out" in line for line in site.check())
    assert asked == ["http://mirror.example/debian/dists/trixie/InRelease"]


def test_the_default_mirror_is_asked_too(site, monkeypatch):
    monkeypatch.setattr(site_validate, "fetch", lambda url: "timed out")
    [found] = site_validate.violations(site.folder, site.folder / ".vault-password")
    assert (found["file"], found["path"]) == ("roles/base/defaults/main.yml", "base_mirror")


def test_rules_say_what_they_are_for():
    assert all(rule.__doc__ for rule in site_rules.RULES)


def test_a_ledger_edited_by_hand(site):
    site.edit("allocations.yml", "finances/gw1: 101", "finances/gw1: 104")
    line = site.line("allocations.yml", "gw1: 104")
    found = site.check()
    assert any("allocations.yml:" in text and "already held" in text for text in found), (line, found)


def test_the_choices_of_a_list_are_those_of_its_elements():
    spec = {"type": "list", "elements": "str", "choices": ["a", "b"]}
    assert list(role_specs.faults(spec, ["a", "b"])) == []
    assert [(path, value) for path, value, _, _ in role_specs.faults(spec, ["a", "c"])] == [((1,), "c")]


class Authority:
    """The files of a CA, as the role pki creates them."""

    def __init__(self, folder, passphrase="open sesame"):
        self.folder, self.passphrase = folder, passphrase
        self.key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(parents=True)
        self.write()

    def write(self, key=None, days=10, ca=True, passphrase=None):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), 1)
        builder = builder.not_valid_before(NOW - timedelta(20)).not_valid_after(NOW + timedelta(days))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        pem = serialization.Encoding.PEM
        self.folder.joinpath("ca.pem").write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(pem))
        encryption = serialization.BestAvailableEncryption((passphrase or self.passphrase).encode())
        private = (key or self.key).private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption)
        self.folder.joinpath("ca.key").write_bytes(private)

    def faults(self):
        return [
            f"{file}: {reason}" for file, reason, _remedy in site_authority.faults(self.folder, self.passphrase, NOW)
        ]


NOW = datetime(2030, 1, 15, tzinfo=UTC)


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "pki")


def test_an_authority_that_can_sign_is_no_fault_nor_is_none(ca, tmp_path):
    assert ca.faults() == []
    ca.folder.joinpath("ca.pem").unlink()
    assert ca.faults() == [], "role pki makes a new one"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"passphrase": "another"}, "ca.key: cannot be opened with secret pki_ca_passphrase"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "ca.key: is not the key of ca.pem"),
        ({"days": 0}, "ca.pem: has expired on 2030-01-15"),
        ({"ca": False}, "ca.pem: is not the certificate of an authority"),
    ],
)
def test_an_authority_that_cannot_sign(ca, broken, said):
    ca.write(**broken)
    [found] = ca.faults()
    assert found.startswith(said)


def test_damaged_files_of_an_authority_are_all_told(ca):
    ca.folder.joinpath("ca.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense")
    ca.folder.joinpath("ca.key").unlink()
    first, second = ca.faults()
    assert first.startswith("ca.pem: is no certificate that can be read")
    assert second == "ca.key: is missing beside ca.pem"


def test_new_secrets_beside_an_old_authority(site):
    Authority(site.folder / "pki")
    [found] = site.check()
    assert found.startswith("ca.key:1 : cannot be opened with secret pki_ca_passphrase")
    assert "restore both files and secrets.yml from one backup" in found


# --- logins in URLs, and secrets that the operator has chosen ---------------------------------------------------------


def test_a_mirror_with_a_login_is_asked_and_its_password_is_never_shown(site, monkeypatch):
    asked = []

    def fetch(url):
        asked.append(url)
        return f"HTTP 401 for {url}"

    monkeypatch.setattr(site_validate, "fetch", fetch)
    site.add(SITE, "base_mirror: http://user:tell-no%40one@mirror/debian\n")
    (found,) = [line for line in site.check() if "base_mirror" in line]
    assert "user:tell-no%40one@mirror/debian/dists/trixie" in asked[0]
    assert "does not answer: HTTP 401 for http://********@mirror/debian" in found
    text = str(site_validate.violations(site.folder, site.folder / ".vault-password"))
    assert "tell-no" not in text


@pytest.mark.parametrize(
    "line",
    [
        "base_mirror: http://user:tell/none@mirror/debian",
        "base_security_mirror: http://user:tell#none@mirror/debian",
        "base_apt_options: {Acquire::http::Proxy: 'http://user@proxy:3128'}",
        "audit_content_mirror: http://user:tell%20none@mirror/debian",
    ],
)
def test_a_login_that_apt_cannot_be_given_is_refused_and_not_shown(site, line):
    site.add(SITE, f"{line}\n")
    found = "\n".join(site.check())
    assert f"site.yml:{site.line(SITE, line)} {line.partition(':')[0]}" in found
    assert "has a login" in found
    text = str(site_validate.violations(site.folder, site.folder / ".vault-password"))
    assert "tell" not in text


def test_secrets_of_ones_own_choice_are_refused_by_name_where_nobody_could_read_them(site):
    place = Site(site.folder)
    lock = vault._vault(place, ())
    held = vault._read(place, lock)
    good = {"nova_database": "p@ss/w%rd#1:$x", "keystone_admin": "\"quoted\" and 'blank'"}
    bad = {"glance_database": "öffentlich", "keystone_database": "percent%in:it", "rabbitmq_nova": "slash/inside",
           "rabbitmq_erlang_cookie": "TWO WORDS", "bgp_interieur": "two words",
           "keystone_fernet_seed": "no seed", "nova_service": "tell{{none"}  # fmt: skip
    vault._save(place, lock, {**held, **good, **bad})
    found = site.check()
    assert {line.split(" secrets.")[1].partition(":")[0] for line in found} == set(bad)
    assert not any(value in line for line in found for value in bad.values())


# --- types ------------------------------------------------------------------------------------------------------------


def test_text_that_means_a_value_of_the_type_is_accepted(site):
    site.add(SITE, 'mariadb_binlog_days: "7"\nhardening_modules_lock: "no"\nkeepalived_interval: "0.25"\n')
    assert site.check() == []


def test_text_that_means_nothing_of_the_type_is_refused(site):
    site.add(SITE, 'mariadb_binlog_days: "seven"\nhardening_modules_lock: "perhaps"\nsite_region: no\n')
    found = [line for line in site.check() if " is not " in line]
    for name in ("mariadb_binlog_days", "hardening_modules_lock", "site_region"):
        assert any(f" {name}: is not " in line for line in found), name


def test_without_the_plugins_that_convert_text_is_refused():
    (violation,) = site_validate.untyped({"mariadb_binlog_days": "7", "haproxy_connections": 9000, "other": "7"})
    assert "mariadb_binlog_days" in violation["reason"]
    assert "haproxy_connections" not in violation["reason"]
    assert "ansible.cfg" in violation["remedy"]
    assert site_validate.untyped({"mariadb_binlog_days": 7, "hardening_modules_lock": False}) == []


def test_pam_lines_that_could_lock_out_are_told_with_their_line_all_at_once(site):
    lines = {"auth": ["sufficient pam_sss.so", "required pam_sss"], "acount": []}
    site.add("group_vars/nodes.yml", f"hardening_pam_lines: {lines}\n")
    found = [told for told in site.check() if "hardening_pam_lines" in told]
    assert all(told.startswith("nodes.yml:1 hardening_pam_lines") for told in found)
    for reason in ("passes by pam_faillock", "'pam_sss' is no module", "'acount' is no stack"):
        assert any(reason in told for told in found), found


def test_pam_lines_of_a_directory_are_taken(site):
    lines = {"auth": ["[success=end default=ignore] pam_sss.so use_first_pass"], "session": ["optional pam_sss.so"]}
    site.add("group_vars/nodes.yml", f"hardening_pam_lines: {lines}\n")
    assert not [told for told in site.check() if "hardening_pam_lines" in told]
