# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Keys, signing requests and the state of a node's certificate (X.509, RFC 5280), on PEM texts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes


def new_key() -> str:
    """Return a P-256 private key, PKCS #8 PEM without a passphrase."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def alternative_names(names: Sequence[str], addresses: Sequence[str]) -> list[x509.GeneralName]:
    """Return DNS names and IP addresses as subject alternative names, without duplicates. Raises ValueError."""
    return [
        *(x509.DNSName(name) for name in dict.fromkeys(names)),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)),
    ]


def request(key_pem: str, common_name: str, names: Sequence[str], addresses: Sequence[str]) -> str:
    """Return a signing request for a certificate that both servers and clients of TLS present."""
    usage = dict.fromkeys(
        (
            "content_commitment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.SubjectAlternativeName(alternative_names(names, addresses)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
    )
    key = cast("CertificateIssuerPrivateKeyTypes", serialization.load_pem_private_key(key_pem.encode(), password=None))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def flaw(
    certificate_pem: str,
    key_pem: str,
    authority_pem: str,
    names: Sequence[str],
    addresses: Sequence[str],
    now: datetime,
    renew_days: int,
) -> str:
    """Return the reason why a node needs another certificate; empty if the present one is valid.

    ``now`` is an aware datetime. Unreadable texts count as a flaw, never as an error.
    """
    if not certificate_pem:
        return "there is none"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        authority = x509.load_pem_x509_certificate(authority_pem.encode())
        key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    except ValueError:
        return "it, its key or its authority cannot be read"
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return "it was not issued by the authority of the site"
    if certificate.public_key() != key.public_key():
        return "it does not belong to the key"
    if certificate.not_valid_after_utc - now < timedelta(days=renew_days):
        return f"it ends on {certificate.not_valid_after_utc:%Y-%m-%d}, less than {renew_days} days from now"
    try:
        held = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        held = set()
    return "" if held == set(alternative_names(names, addresses)) else "its names differ from the wanted ones"
