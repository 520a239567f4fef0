# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""`socle secrets`: make what is missing of a site's secrets, and new ones, encrypted with Ansible Vault."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret
from cryptography.hazmat.primitives import serialization

from .project import ROOT, Site, UsageError


def init(site: Site) -> list[str]:
    """Write what is missing of the site's vault password and secrets.yml; return the names added."""
    if not site.vault_password_file.exists():
        if site.secrets_file.exists():
            raise UsageError(
                f"{site.secrets_file} exists: restore its password to {site.vault_password_file} first"
            )
        _write(site.vault_password_file, secrets.token_urlsafe(32) + "\n")
    vault = _vault(site)
    held = _read(site, vault)
    added = {name: make() for name, make in _required(site).items() if name not in held}
    if added:
        _save(site, vault, {**held, **added})
    return sorted(added)


def rotate(
    site: Site, names: Sequence[str], everything: bool = False, at_once: bool = False, check: bool = False
) -> list[str]:
    """Give secrets new values; return their names. All of them are written in one step, or none.

    `everything`: all but those that the site shares with others, which have to be named: BGP keys. `at_once`: tokens
    made so far shall be refused. No former file is kept: nothing on the nodes needs a former value to be changed.
    """
    if not (site.vault_password_file.is_file() and site.secrets_file.is_file()):
        raise UsageError(f"{site.name} has no secrets to rotate: make them with `socle secrets init`")
    vault = _vault(site)
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
    # In this order a command that is killed loses nothing: the next one takes the new key, or drops it.
    if key:
        _write(_new_authority_key(site), key.decode())
    _save(site, vault, {**held, **rotated})
    _finish_authority(site, {**held, **rotated})
    return chosen


def what_next(site: Site, rotated: Sequence[str], at_once: bool = False) -> list[str]:
    """What the operator has to do for the new values to be used."""
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


def _chosen(names: Sequence[str], everything: bool, held: Mapping[str, str], makers: Mapping) -> list[str]:
    if bool(names) == everything:
        raise UsageError(f"name what to rotate, or --all; the secrets are: {', '.join(sorted(makers))}")
    if unknown := sorted(set(names) - set(makers)):
        raise UsageError(f"no such secret: {', '.join(unknown)}; there are: {', '.join(sorted(makers))}")
    if missing := sorted(set(names or _catalogue().FIXED) - set(held)):
        raise UsageError(f"not made yet: {', '.join(missing)}; run `socle secrets init`")
    return sorted(set(names or _catalogue().FIXED))


# --- the key of the authority, on the operator's machine ---------------------------------------------------


def _authority_key(site: Site) -> Path:
    return site.path / "pki" / "ca.key"


def _new_authority_key(site: Site) -> Path:
    return site.path / "pki" / "ca.key.new"


def _opened(path: Path, passphrase: str) -> Any:
    """The private key of a file; None when the passphrase does not open it."""
    try:
        return serialization.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except (OSError, ValueError, TypeError):
        return None


def _reencrypted(site: Site, old: str, new: str) -> bytes:
    """The authority's key under another passphrase; empty when the first deployment has still to make one."""
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
    """Put a key in its place that opens with the passphrase in the vault; a run may have been killed before it."""
    new = _new_authority_key(site)
    if not new.exists():
        return
    if _opened(new, held.get(_catalogue().CA_PASSPHRASE, "")):
        new.replace(_authority_key(site))
    else:
        new.unlink()


# --- the encrypted file ------------------------------------------------------------------------------------


def _catalogue() -> ModuleType:
    sys.path.insert(0, str(ROOT / ".ansible" / "collections"))
    from ansible_collections.cloudwatt.socle.plugins.module_utils import secrets as catalogue

    return catalogue


def _required(site: Site) -> dict:
    intent = site.path / "group_vars" / "all" / "rie.yml"
    variables = yaml.safe_load(intent.read_text()) if intent.is_file() else {}
    return _catalogue().required((variables or {}).get("rie_tenants"))


def _vault(site: Site) -> VaultLib:
    return VaultLib([("default", VaultSecret(site.vault_password_file.read_bytes().strip()))])


def _save(site: Site, vault: VaultLib, held: Mapping[str, str]) -> None:
    text = yaml.safe_dump({"secrets": dict(sorted(held.items()))}, explicit_start=True, width=200)
    _write(site.secrets_file, vault.encrypt(text).decode())


def _read(site: Site, vault: VaultLib) -> dict[str, str]:
    if not site.secrets_file.exists():
        return {}
    try:
        content = yaml.safe_load(vault.decrypt(site.secrets_file.read_bytes()))
        return {str(name): str(value) for name, value in content["secrets"].items()}
    except (AnsibleVaultError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        reason = type(error).__name__
        raise UsageError(
            f"{site.secrets_file} cannot be read with {site.vault_password_file}: {reason}"
        ) from None


def _write(path: Path, text: str) -> None:
    """Replace `path` in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
