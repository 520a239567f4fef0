# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Passwords of Ansible Vault, read as Ansible reads them: from a file, from what a script prints, by vault id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret, get_file_vault_secret

DEFAULT_ID = "default"
Known = Sequence[tuple[str, VaultSecret]]


class PasswordError(ValueError):
    """A password file cannot be read, or its script fails; the message names it."""


def load(file: Path | str, vault_id: str = DEFAULT_ID, known: Known = ()) -> VaultSecret:
    """Return the password that `file` holds, or prints if it is executable.

    `known`: (vault id, password) of those that may open a password file which is encrypted itself.
    """
    loader = DataLoader()
    loader.set_vault_secrets(list(known))
    try:
        secret = get_file_vault_secret(filename=str(file), vault_id=vault_id, loader=loader)
        secret.load()
    except (AnsibleError, OSError, UnicodeError) as error:
        raise PasswordError(f"no vault password from {file}: {error}") from None
    return secret


def split(slug: str) -> tuple[str, str]:
    """Return (vault id, file) of what option --vault-id and a list of vault identities hold: ``[ID@]FILE``."""
    name, at, file = slug.partition("@")
    return (name or DEFAULT_ID, file) if at else (DEFAULT_ID, slug)
