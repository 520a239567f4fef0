# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about the existing CA of a site, checked before it has to sign."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

RESTORE = "restore both files and secrets.yml from one backup"
ANEW = "or move the folder away: the next deployment makes a new authority, and every certificate anew"


class Fault(NamedTuple):
    file: str
    reason: str
    remedy: str


def faults(folder: Path, passphrase: str, now: datetime) -> Iterator[Fault]:
    """Check ca.pem and ca.key of `folder`. Without ca.pem there is no CA yet, which is not a fault.

    `now` is aware of its time zone. Never raises on files that are damaged or cannot be read.
    """
    # Only the operator's machine has the library for certain; nodes import the rules' neighbours without it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    remedy = f"{RESTORE}, {ANEW}"
    if not (folder / "ca.pem").exists():
        return
    certificate = key = None
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except (OSError, ValueError) as error:
        yield Fault("ca.pem", f"is no certificate that can be read: {_first_line(error)}", remedy)
    try:
        key = load_pem_private_key((folder / "ca.key").read_bytes(), passphrase.encode() or None)
    except FileNotFoundError:
        yield Fault("ca.key", "is missing beside ca.pem", remedy)
    except (OSError, ValueError, TypeError) as error:
        reason = f"cannot be opened with secret pki_ca_passphrase: {_first_line(error)}"
        yield Fault("ca.key", reason, remedy)
    if certificate is None:
        return
    if key is not None and key.public_key() != certificate.public_key():
        yield Fault("ca.key", "is not the key of ca.pem", remedy)
    if now >= certificate.not_valid_after_utc:
        yield Fault("ca.pem", f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d}", ANEW[3:])
    try:
        may_sign = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        may_sign = False
    if not may_sign:
        yield Fault("ca.pem", "is not the certificate of an authority", remedy)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
