# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A site's inventory as Ansible itself reads it, and the passwords of its vault."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from . import environment
from .project import ROOT, Site, UsageError

if TYPE_CHECKING:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultSecret

CONTROLLER = "localhost"
"""The host on which the inventory is validated and the plan is computed."""


@cache
def prepare() -> None:
    """Set up the environment and the plugin loader of ansible-playbook for Ansible in this process.

    Call it before the first import of Ansible or of a collection: Python itself would find a collection too, but not in
    the way that Ansible expects.
    """
    os.environ.update(environment.of_ansible())
    collections = str(ROOT / ".ansible" / "collections")
    if collections not in sys.path:
        sys.path.insert(0, collections)
    if "ansible_collections" not in sys.modules:
        from ansible.plugins.loader import init_plugin_loader

        init_plugin_loader()


def vault_secrets(site: Site, slugs: Sequence[str] = ()) -> list[tuple[str, VaultSecret]]:
    """Return the passwords that may open the site's vault, as (vault id, password), the site's own last.

    `slugs`: ``[ID@]FILE`` as the options --vault-id and --vault-password-file name them. Those that the environment
    names (ANSIBLE_VAULT_IDENTITY_LIST, ANSIBLE_VAULT_PASSWORD_FILE) are used as well.
    """
    prepare()
    from ansible import constants

    from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import vault_passwords

    named = [*(constants.DEFAULT_VAULT_IDENTITY_LIST or []), *slugs]
    named += [file for file in (constants.DEFAULT_VAULT_PASSWORD_FILE, own_password(site)) if file]
    found: list[tuple[str, VaultSecret]] = []
    for slug in dict.fromkeys(named):
        vault_id, file = vault_passwords.split(slug)
        try:
            found.append((vault_id, vault_passwords.load(file, vault_id, found)))
        except vault_passwords.PasswordError as error:
            raise UsageError(str(error)) from None
    return found


def own_password(site: Site) -> str:
    """The file of the site that contains its vault password, or prints it; empty if there is none."""
    file = site.vault_password_file
    if not file.exists():
        return ""
    if not os.access(file, os.R_OK):
        raise UsageError(f"{file} cannot be read by this account, {getpass.getuser()}: let its owner give access")
    return str(file)


def load(site: Site, secrets: list[tuple[str, VaultSecret]]) -> tuple[DataLoader, InventoryManager]:
    """Read the inventory of a site."""
    prepare()
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader

    loader = DataLoader()
    loader.set_vault_secrets(secrets)
    return loader, InventoryManager(loader=loader, sources=[str(site.path)])


def limited(site: Site, pattern: str, secrets: list[tuple[str, VaultSecret]]) -> list[str]:
    """Return the hosts that the option --limit selects, and the controller, which is in every run.

    A word cannot simply be added to a pattern: colons, exclusions, intersections and files of hosts apply to the whole
    pattern. Therefore Ansible itself resolves the hosts.
    """
    _loader, inventory = load(site, secrets)
    from ansible.errors import AnsibleError

    try:
        inventory.subset(pattern)
        hosts = [host.name for host in inventory.get_hosts(["all", CONTROLLER])]
    except (AnsibleError, OSError, UnicodeError) as error:
        raise UsageError(f"--limit {pattern}: {error}") from None
    if not hosts:
        raise UsageError(f"--limit {pattern}: no host of {site.path} matches")
    return [*hosts, *([] if CONTROLLER in hosts else [CONTROLLER])]
