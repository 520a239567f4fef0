# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""`socle secrets`: create missing secrets of a site and replace secrets, encrypted with Ansible Vault."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml
from cryptography.hazmat.primitives import serialization

from . import inventory
from .project import Site, UsageError

if TYPE_CHECKING:
    from ansible.parsing.vault import VaultLib, VaultSecret
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


def init(site: Site, passwords: Sequence[str] = ()) -> list[str]:
    """Create the site's vault password and the secrets that are missing in secrets.yml; return the names added.

    `passwords`: ``[ID@]FILE``, as for ansible-playbook. With a password from these or from the
    environment, the site gets no password file.
    """
    if not inventory.vault_secrets(site, passwords):
        if site.secrets_file.exists():
            raise UsageError(
                f"{site.secrets_file} exists: restore its password to {site.vault_password_file} first, or name it "
                "by --vault-password-file or --vault-id"
            )
        _write(site.vault_password_file, secrets.token_urlsafe(32) + "\n")
    vault = _vault(site, passwords)
    held = _read(site, vault)
    added = {name: make() for name, make in _required(site).items() if name not in held}
    if added:
        _save(site, vault, {**held, **added})
    return sorted(added)


def rotate(
    site: Site,
    names: Sequence[str],
    everything: bool = False,
    at_once: bool = False,
    check: bool = False,
    passwords: Sequence[str] = (),
) -> list[str]:
    """Replace the values of secrets; return their names. All of them are written in one step, or none.

    `everything`: all except those that the site shares with others and that must be named (BGP keys), and those that
    encrypt stored data, which cannot be rotated. `at_once`: refuse existing tokens. The old file is not kept: no change
    on the nodes needs an old value.
    """
    if not site.secrets_file.is_file():
        raise UsageError(f"{site.name} has no secrets to rotate: make them with `socle secrets init`")
    vault = _vault(site, passwords)
    held = _read(site, vault)
    makers = _required(site)
    chosen = _chosen(names, everything, held, makers)
    if not check:
        _finish_authority(site, held)
    rotated = {}
    catalogue = _catalogue()
    for name in chosen:
        try:
            rotated[name] = catalogue.successor(name, held[name], makers[name], at_once)
        except catalogue.keystone_keys.KeyRingError as error:
            raise UsageError(f"{name}: {error}") from None
    passphrase = rotated.get(catalogue.CA_PASSPHRASE)
    key = _reencrypted(site, held[catalogue.CA_PASSPHRASE], passphrase) if passphrase else b""
    if check:
        return chosen
    # In this order, a killed command loses nothing: the next one uses the new key, or removes it.
    if key:
        _write(_new_authority_key(site), key.decode())
    _save(site, vault, {**held, **rotated})
    _finish_authority(site, {**held, **rotated})
    return chosen


def what_next(site: Site, rotated: Sequence[str], at_once: bool = False) -> list[str]:
    """The steps after which the new values are used."""
    catalogue = _catalogue()
    graceful = [name for name in rotated if name in catalogue.SEEDS and not (at_once and name == catalogue.TOKENS)]
    shared = [name for name in rotated if name not in catalogue.FIXED]
    steps = []
    if shared:
        steps.append(f"give {', '.join(shared)} to the other side, and agree on the time")
    if set(rotated) - {catalogue.CA_PASSPHRASE}:
        steps.append(f"socle deploy -i {site.name}")
    if graceful:
        within = catalogue.keystone_keys.DEPLOY_WITHIN // 60
        steps.append(f"within {within} minutes, on every controller: then {', '.join(graceful)} may take over")
    return steps


def _chosen(names: Sequence[str], everything: bool, held: Mapping[str, str], makers: Mapping[str, Any]) -> list[str]:
    if bool(names) == everything:
        raise UsageError(f"name what to rotate, or --all; the secrets are: {', '.join(sorted(makers))}")
    if unknown := sorted(set(names) - set(makers)):
        raise UsageError(f"no such secret: {', '.join(unknown)}; there are: {', '.join(sorted(makers))}")
    catalogue = _catalogue()
    if lasting := sorted(set(names) & set(catalogue.LASTING)):
        raise UsageError(
            f"{', '.join(lasting)} cannot be rotated: it encrypts what a service stores in its database, which could "
            "not be read any more"
        )
    chosen = set(names or catalogue.FIXED.keys() - set(catalogue.LASTING))
    if missing := sorted(chosen - set(held)):
        raise UsageError(f"not made yet: {', '.join(missing)}; run `socle secrets init`")
    return sorted(chosen)


# --- the key of the CA, on the control node ----------------------------------------------------------------


def _authority_key(site: Site) -> Path:
    return site.path / "pki" / "ca.key"


def _new_authority_key(site: Site) -> Path:
    return site.path / "pki" / "ca.key.new"


def _opened(path: Path, passphrase: str) -> PrivateKeyTypes | None:
    """The private key of a file; None if the passphrase does not open it."""
    try:
        return serialization.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except (OSError, ValueError, TypeError):
        return None


def _reencrypted(site: Site, old: str, new: str) -> bytes:
    """The key of the CA, encrypted with another passphrase; empty if the first deployment has not created it yet."""
    path = _authority_key(site)
    if not path.exists():
        return b""
    key = _opened(path, old)
    if key is None:
        raise UsageError(f"{path} does not open with pki_ca_passphrase: put that right first")
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(new.encode()),
    )


def _finish_authority(site: Site, held: Mapping[str, str]) -> None:
    """Install the key that opens with the passphrase in the vault, which a killed run may not have installed."""
    new = _new_authority_key(site)
    if not new.exists():
        return
    if _opened(new, held.get(_catalogue().CA_PASSPHRASE, "")):
        new.replace(_authority_key(site))
    else:
        new.unlink()


# --- the encrypted file ------------------------------------------------------------------------------------


def _catalogue() -> ModuleType:
    inventory.prepare()
    from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import secrets as catalogue

    return catalogue


def _required(site: Site) -> dict[str, Callable[[], str]]:
    intent = site.path / "group_vars" / "all" / "rie.yml"
    variables = yaml.safe_load(intent.read_text()) if intent.is_file() else {}
    required: dict[str, Callable[[], str]] = _catalogue().required((variables or {}).get("rie_tenants"))
    return required


@dataclass
class _Vault:
    """The passwords for secrets.yml, and the one that opened it, with which it is encrypted again."""

    library: VaultLib
    secret: VaultSecret
    label: str = ""
    others: dict[str, Any] = field(default_factory=dict)
    """The content of secrets.yml besides the mapping `secrets`."""


def _vault(site: Site, passwords: Sequence[str]) -> _Vault:
    known = inventory.vault_secrets(site, passwords)
    from ansible.parsing.vault import VaultLib

    if not known:
        raise UsageError(
            f"{site.name} has no vault password: restore {site.vault_password_file}, or name it by "
            "--vault-password-file or --vault-id"
        )
    # The site's own password is the last; a new file is encrypted with it.
    return _Vault(VaultLib(known), known[-1][1], "" if known[-1][0] == "default" else known[-1][0])


def _save(site: Site, vault: _Vault, held: Mapping[str, str]) -> None:
    content = {**vault.others, "secrets": dict(sorted(held.items()))}
    text = yaml.safe_dump(content, explicit_start=True, width=200)
    _write(site.secrets_file, vault.library.encrypt(text, secret=vault.secret, vault_id=vault.label or None).decode())


def _read(site: Site, vault: _Vault) -> dict[str, str]:
    if not site.secrets_file.exists():
        return {}
    from ansible.errors import AnsibleError

    try:
        closed = site.secrets_file.read_bytes()
        opened, _id, vault.secret = vault.library.decrypt_and_get_vault_id(closed)
        content = yaml.safe_load(opened)
        found = {str(name): str(value) for name, value in content["secrets"].items()}
    except (AnsibleError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        reason = "no password that is known opens it" if "Decryption failed" in str(error) else type(error).__name__
        if not closed.startswith(b"$ANSIBLE_VAULT;"):
            reason = "it is not encrypted; run `ansible-vault encrypt` on it"
        raise UsageError(f"{site.secrets_file} cannot be read: {reason}") from None
    # The label is in the first line, after version and cipher.
    vault.label = closed.split(b"\n", 1)[0].decode().strip().partition("AES256")[2].lstrip(";")
    vault.others = {name: value for name, value in content.items() if name != "secrets"}
    return found


def _write(path: Path, text: str) -> None:
    """Replace `path` in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
