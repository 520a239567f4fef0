# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Signatures that openssl verifies with the CA of a site, and rejects after any change."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from module_utils.isolation.test_isolation import CLEAN, PLAN, as_listed, evidence_with, port

from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation import signing
from ansible_collections.cloudwatt.socle.plugins.modules import isolation_report

NOW = datetime.datetime.now(datetime.UTC)
DATA = b'{"ok":true}\n\xc3\xa9\r\n'
PASSPHRASE = "correct horse"


def usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**(dict.fromkeys(names, False) | given))


def certificate(name: str, key: Any, issuer: str, issuer_key: Any, *extensions: Any) -> bytes:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key: Any, passphrase: str | None = PASSPHRASE) -> bytes:
    lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def new_key(kind: str) -> Any:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP384R1() if kind == "ec" else ec.SECP256R1())


class Authority:
    """A CA like that of a site, and a TLS certificate that it has issued."""

    def __init__(self, kind: str) -> None:
        self.key, self.node_key = new_key(kind), new_key(kind)
        is_ca = x509.BasicConstraints(ca=True, path_length=0)
        self.pem = certificate("ca", self.key, "ca", self.key, is_ca, usage(key_cert_sign=True, crl_sign=True))
        tls = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        self.node = certificate("node", self.node_key, "ca", self.key, usage(digital_signature=True), tls)


def verify(directory: Path, authority: bytes, data: bytes, signature: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the command of the documentation."""
    (directory / "ca.pem").write_bytes(authority)
    (directory / "report").write_bytes(data)
    (directory / "report.p7s").write_bytes(signature)
    command = "openssl cms -verify -binary -inform DER -in report.p7s -content report -CAfile ca.pem -purpose any"
    assert command.replace("report", "FILE") in " ".join((signing.__doc__ or "").split())
    return subprocess.run(command.split(), cwd=directory, capture_output=True)


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@needs_openssl
@pytest.mark.parametrize("signer", ["authority", "node"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_openssl_accepts_what_was_signed_and_nothing_else(tmp_path: Path, kind: str, signer: str) -> None:
    site = Authority(kind)
    shown, key = (site.pem, site.key) if signer == "authority" else (site.node, site.node_key)
    signature = signing.sign(DATA, shown, pem(key), PASSPHRASE)
    assert DATA not in signature
    done = verify(tmp_path, site.pem, DATA, signature)
    assert (done.returncode, done.stdout) == (0, DATA), done.stderr
    assert verify(tmp_path, site.pem, DATA.replace(b"true", b"false"), signature).returncode
    assert verify(tmp_path, Authority("p256").pem, DATA, signature).returncode


@needs_openssl
def test_certificates_between_are_sent_along(tmp_path: Path) -> None:
    site, between = Authority("p256"), new_key("p256")
    is_ca = x509.BasicConstraints(ca=True, path_length=None)
    site.pem = certificate("ca", site.key, "ca", site.key, is_ca, usage(key_cert_sign=True))
    chain = certificate("between", between, "ca", site.key, is_ca, usage(key_cert_sign=True))
    node = certificate("node", site.node_key, "between", between, usage(digital_signature=True))
    signature = signing.sign(DATA, node + chain, pem(site.node_key, None))
    assert verify(tmp_path, site.pem, DATA, signature).returncode == 0


def test_what_cannot_sign_is_refused_without_showing_it() -> None:
    site, key = Authority("p256"), new_key("p256")
    odd = ed25519.Ed25519PrivateKey.generate()
    for shown, given, passphrase in (
        (b"nonsense", pem(site.key), PASSPHRASE),
        (site.pem, b"nonsense", PASSPHRASE),
        (site.pem, pem(site.key), "wrong"),
        (site.pem, pem(site.key), None),
        (site.pem, pem(site.key, None), "needless"),
        (site.pem, pem(key), PASSPHRASE),
        (site.pem, pem(odd), PASSPHRASE),
    ):
        with pytest.raises(signing.SigningError) as caught:
            signing.sign(DATA, shown, given, passphrase)
        assert PASSPHRASE not in str(caught.value)


# The module


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[Any, dict[str, Any]]:
    given = {"plan": PLAN, "evidence": as_listed(CLEAN), "site": "lab", **options}
    with patch_module_args(given), pytest.raises(SystemExit) as ended:
        isolation_report.main()
    return ended.value.code, json.loads(capsys.readouterr().out)


@needs_openssl
def test_module_writes_a_report_that_openssl_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warned.append(text))
    site, path = Authority("ec"), tmp_path / "made" / "isolation.json"
    (tmp_path / "ca.pem").write_bytes(site.pem)
    (tmp_path / "ca.key").write_bytes(pem(site.key))
    signer = {"certificate_path": str(tmp_path / "ca.pem"), "key_path": str(tmp_path / "ca.key")}
    signer["key_passphrase"] = PASSPHRASE
    code, result = run(capsys, path=str(path), **signer, _ansible_check_mode=True)
    assert (code, result["ok"], path.parent.exists()) == (0, True, False)

    code, result = run(capsys, path=str(path), **signer)
    assert (code, result["ok"], result["changed"], result["violations"]) == (0, True, False, [])
    data, signature = path.read_bytes(), Path(result["signature_path"]).read_bytes()
    assert json.loads(data) == result["report"]
    assert [item.stat().st_mode & 0o777 for item in sorted(path.parent.iterdir())] == [0o644, 0o644]
    assert PASSPHRASE not in json.dumps(result).replace(json.dumps(result["invocation"]), "")
    assert verify(tmp_path, site.pem, data, signature).returncode == 0

    # The module does not fail because of violations, and it removes the signature of another report.
    code, result = run(capsys, path=str(path), evidence=as_listed(evidence_with(port("c-v0", 4000))))
    assert (code, result["ok"], result["signature_path"], len(result["violations"])) == (0, False, "", 1)
    assert ["not signed" in text for text in warned] == [True]
    assert [item.name for item in path.parent.iterdir()] == ["isolation.json"]

    code, result = run(capsys, path=str(path), **signer | {"key_passphrase": "wrong"})
    assert code == 1 and "the key cannot be read" in result["msg"]
