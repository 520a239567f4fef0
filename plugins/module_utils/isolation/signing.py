# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Detached signatures of files: CMS (RFC 5652) in DER, SHA-256, with a certificate issued by a site's CA.

With the CA's certificate, anybody can verify a signature without this project::

    openssl cms -verify -binary -inform DER -in FILE.p7s -content FILE -CAfile ca.pem -purpose any -out /dev/null

``-purpose any`` is needed because certificates of a site are made for TLS, and openssl expects one made for mail.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7


class SigningError(ValueError):
    """A key or certificate cannot be read, or the two do not match. The message holds no secret."""


def sign(data: bytes, certificate_pem: bytes, key_pem: bytes, passphrase: str | None = None) -> bytes:
    """Return the detached signature of ``data``, DER; it includes the certificates.

    certificate_pem: the signer's certificate, then any intermediate ones. key_pem: its EC or RSA key; ``passphrase``
    decrypts it. Raises SigningError.
    """
    try:
        certificate, *others = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError as error:
        raise SigningError("the certificate cannot be read") from error
    try:
        key = serialization.load_pem_private_key(key_pem, passphrase.encode() if passphrase else None)
    except (TypeError, ValueError) as error:
        raise SigningError("the key cannot be read: no key, or the passphrase is missing, needless or wrong") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SigningError("the key is neither EC nor RSA")
    if key.public_key() != certificate.public_key():
        raise SigningError("the key is not that of the certificate")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(certificate, key, hashes.SHA256())
    for other in others:
        builder = builder.add_certificate(other)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities]
    return builder.sign(serialization.Encoding.DER, options)
