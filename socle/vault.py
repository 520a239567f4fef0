# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""`socle secrets init`: make what is missing of a site's secrets, encrypted with Ansible Vault."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret

from .project import ROOT, Site, UsageError


def init(site: Site) -> list[str]:
    """Write what is missing of the site's vault password and secrets.yml; return the names added."""
    if not site.vault_password_file.exists():
        if site.secrets_file.exists():
            raise UsageError(
                f"{site.secrets_file} exists: restore its password to {site.vault_password_file} first"
            )
        _write(site.vault_password_file, secrets.token_urlsafe(32) + "\n")
    vault = VaultLib([("default", VaultSecret(site.vault_password_file.read_bytes().strip()))])
    held = _read(site, vault)
    added = {name: make() for name, make in _required(site).items() if name not in held}
    if added:
        text = yaml.safe_dump(
            {"secrets": dict(sorted({**held, **added}.items()))}, explicit_start=True, width=200
        )
        _write(site.secrets_file, vault.encrypt(text).decode())
    return sorted(added)


def _required(site: Site) -> dict:
    sys.path.insert(0, str(ROOT / ".ansible" / "collections"))
    from ansible_collections.cloudwatt.socle.plugins.module_utils import secrets as catalogue

    intent = site.path / "group_vars" / "all" / "rie.yml"
    variables = yaml.safe_load(intent.read_text()) if intent.is_file() else {}
    return catalogue.required((variables or {}).get("rie_tenants"))


def _read(site: Site, vault: VaultLib) -> dict[str, str]:
    if not site.secrets_file.exists():
        return {}
    try:
        content = yaml.safe_load(vault.decrypt(site.secrets_file.read_bytes()))
    except (AnsibleVaultError, yaml.YAMLError) as error:
        reason = type(error).__name__
        raise UsageError(
            f"{site.secrets_file} cannot be read with {site.vault_password_file}: {reason}"
        ) from None
    return dict(content["secrets"])


def _write(path: Path, text: str) -> None:
    """Replace `path` in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
