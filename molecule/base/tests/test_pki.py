# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role pki: the certificate of the node, its key, and who may read it."""

from __future__ import annotations

import subprocess

import pytest

testinfra_hosts = ["ansible://control"]

FOLDER = "/etc/socle/pki"


def test_the_chain_leads_to_our_authority(host, inventory):
    assert host.file(f"{FOLDER}/ca.pem").content == (inventory / "pki" / "ca.pem").read_bytes()
    for name in ("internal", "api", "ctl1"):
        host.run_expect(
            [0],
            "openssl verify -x509_strict -purpose sslserver -verify_hostname %s -CAfile %s %s",
            f"{name}.lab.socle.internal",
            f"{FOLDER}/ca.pem",
            f"{FOLDER}/node.pem",
        )
    host.run_expect([0], "openssl verify -purpose sslclient -CAfile %s/ca.pem %s/node.pem", FOLDER, FOLDER)


def test_the_system_trusts_it_too(host):
    host.run_expect([0], f"openssl verify -CApath /etc/ssl/certs {FOLDER}/node.pem")


def test_names_and_addresses(host, settings):
    text = host.check_output(f"openssl x509 -in {FOLDER}/node.pem -noout -ext subjectAltName").splitlines()[1]
    domain = settings["site_domain"]
    assert {entry.strip() for entry in text.split(",")} == {
        *(f"DNS:{name}" for name in ("ctl1", f"ctl1.{domain}", "localhost", f"internal.{domain}", f"api.{domain}")),
        *(f"IP Address:{settings[key]}" for key in ("ansible_host", "site_internal_vip", "site_public_vip")),
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
    }


def test_it_lives_a_year_and_signs_nothing(host):
    host.run_expect([0], f"openssl x509 -in {FOLDER}/node.pem -noout -checkend {300 * 86400}")
    host.run_expect([1], f"openssl x509 -in {FOLDER}/node.pem -noout -checkend {366 * 86400}")
    assert "CA:TRUE" not in host.check_output(f"openssl x509 -in {FOLDER}/node.pem -noout -text")


def test_the_key_is_the_certificates_and_only_its_readers_see_it(host):
    key = host.file(f"{FOLDER}/node.key")
    assert (key.user, key.group, key.mode) == ("root", "ssl-cert", 0o640)
    public = host.check_output(f"openssl pkey -in {FOLDER}/node.key -pubout")
    assert public == host.check_output(f"openssl x509 -in {FOLDER}/node.pem -noout -pubkey")
    host.run_expect([0], f"runuser -u mysql -- cat {FOLDER}/node.key")
    for user in ("nobody", "memcache"):
        host.run_expect([1], f"runuser -u {user} -- cat {FOLDER}/node.key")


def test_no_private_key_is_for_everyone(host):
    found = host.check_output("find /etc /var/lib -xdev -type f -perm /o=r -size -64k -exec grep -lE %s {} +; true",
                              "^-----BEGIN .*PRIVATE KEY-----")  # fmt: skip
    assert found == ""


def test_the_authoritys_key_stays_with_the_operator(host, inventory, settings):
    key = inventory / "pki" / "ca.key"
    assert key.stat().st_mode & 0o077 == 0
    opened = ["openssl", "pkey", "-in", str(key), "-noout", "-passin"]
    assert subprocess.run([*opened, "pass:wrong"], capture_output=True).returncode != 0
    passphrase = f"pass:{settings['secrets']['pki_ca_passphrase']}"
    assert subprocess.run([*opened, passphrase], capture_output=True).returncode == 0
    assert host.check_output("find /etc /var /root /tmp /usr/local -xdev -name ca.key") == ""


@pytest.mark.parametrize("name", ["ctl2.lab.socle.internal", "api.example.org"])
def test_other_names_are_not_vouched_for(host, name):
    host.run_expect([2], "openssl verify -verify_hostname %s -CAfile %s/ca.pem %s/node.pem", name, FOLDER, FOLDER)
