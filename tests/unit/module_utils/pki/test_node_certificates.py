# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The conditions in which a node needs a new certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.cloudwatt.socle.plugins.module_utils.pki import certificates as engine

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NAMES, ADDRESSES = ["ctl1", "ctl1.lab.example"], ["10.99.0.11", "::1"]


def sign(csr_pem: str, authority_key: str, issuer: x509.Name, days: int = 365) -> str:
    """Sign a request like the CA, with extensions."""
    csr = x509.load_pem_x509_csr(csr_pem.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(issuer)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=days))
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    key = serialization.load_pem_private_key(authority_key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(name="site", scope="module")
def a_site() -> dict[str, str]:
    """A CA, the key of a node, and its certificate."""
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca.lab.example")])
    authority_key, key = engine.new_key(), engine.new_key()
    csr = engine.request(key, "ctl1.lab.example", NAMES, ADDRESSES)
    return {
        "authority": sign(engine.request(authority_key, "ca.lab.example", ["ca"], []), authority_key, issuer),
        "key": key,
        "certificate": sign(csr, authority_key, issuer),
        "short": sign(csr, authority_key, issuer, days=20),
        "foreign": sign(csr, engine.new_key(), issuer),
    }


def flaw(site: dict[str, str], certificate: str, *, names: list[str] = NAMES, key: str = "") -> str:
    return engine.flaw(certificate, key or site["key"], site["authority"], names, ADDRESSES, NOW, 30)


def test_a_good_one_is_kept(site: dict[str, str]) -> None:
    assert flaw(site, site["certificate"]) == ""


def test_the_order_of_names_does_not_matter(site: dict[str, str]) -> None:
    assert flaw(site, site["certificate"], names=[*reversed(NAMES), NAMES[0]]) == ""


@pytest.mark.parametrize(
    ("which", "why"),
    [("", "there is none"), ("short", "less than 30 days"), ("foreign", "not issued by the authority")],
)
def test_flaws(site: dict[str, str], which: str, why: str) -> None:
    assert why in flaw(site, site.get(which, ""))


def test_another_key_or_name_needs_another_certificate(site: dict[str, str]) -> None:
    assert "does not belong to the key" in flaw(site, site["certificate"], key=engine.new_key())
    assert "names differ" in flaw(site, site["certificate"], names=[*NAMES, "api.lab.example"])


def test_rubbish_is_a_flaw(site: dict[str, str]) -> None:
    assert "cannot be read" in flaw(site, "-----BEGIN CERTIFICATE-----\nrubbish\n")
