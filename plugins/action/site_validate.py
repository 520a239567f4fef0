# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Validate a site's inventory on the operator's machine; the rules are in module_utils/site_rules.py."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret
from ansible.plugins.action import ActionBase

from ansible_collections.cloudwatt.socle.plugins.module_utils import site_rules, url_logins
from ansible_collections.cloudwatt.socle.plugins.plugin_utils import variable_types

PROJECT = Path(__file__).resolve().parents[2]
MIRROR_TIMEOUT = 5


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(
            argument_spec={
                "inventory": {"type": "path", "required": True},
                "vault_password_file": {"type": "path"},
            }
        )
        folder = Path(options["inventory"]).resolve()
        folder = folder.parent if folder.is_file() else folder
        password = Path(options["vault_password_file"] or folder / ".vault-password")
        found = [*findings(folder, password, self._loader._vault.secrets), *untyped(task_vars or {})]
        refused, notices = by_severity(found)
        result |= {"changed": False, "violations": refused, "notices": notices}
        if notices:
            result["warnings"] = [str(site_rules.Violation(**notice)) for notice in notices]
        if refused:
            listing = "\n".join(str(site_rules.Violation(**violation)) for violation in refused)
            result |= {"failed": True, "msg": f"{len(refused)} violation(s) in {folder}\n{listing}"}
        return result


def untyped(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """A violation for values of another type than a role declares, unless the plugins are enabled that convert them."""
    names = sorted(variable_types.convert(variables))
    if not names:
        return []
    reason = f"the role wants another type than it was given ({', '.join(names)}), and nothing converts it"
    remedy = "run from the project's folder, or let ANSIBLE_CONFIG name its ansible.cfg, which enables typed_variables"
    return [vars(site_rules.Violation("command line or inventory", 1, names[0], "", reason, remedy))]


def by_severity(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split findings into those that refuse the inventory, and warnings."""
    refused = [violation for violation in found if violation["severity"] == "error"]
    return refused, [violation for violation in found if violation["severity"] != "error"]


def violations(
    folder: Path, password_file: Path, vault_secrets: list[tuple] | None = None
) -> list[dict[str, Any]]:
    """Return the findings that refuse the inventory in `folder`; see :func:`findings`."""
    return by_severity(findings(folder, password_file, vault_secrets))[0]


def findings(
    folder: Path, password_file: Path, vault_secrets: list[tuple] | None = None
) -> list[dict[str, Any]]:
    """Return all violations of the inventory in `folder`, warnings included, as mappings. Never raises on bad input."""
    known = list(vault_secrets or [])
    if not known and password_file.is_file():
        known = [("default", VaultSecret(password_file.read_bytes().strip()))]

    def decrypt(content: bytes, name: str) -> bytes:
        if not known:
            raise ValueError(f"is encrypted, and there is no vault password ({password_file} does not exist)")
        try:
            return VaultLib(known).decrypt(content)
        except AnsibleVaultError as error:
            reason = (
                "the vault password does not open it" if "Decryption failed" in str(error) else str(error)
            )
            raise ValueError(f"cannot be decrypted: {reason}") from None

    return [vars(found) for found in site_rules.check(PROJECT, folder, decrypt, fetch)]


def fetch(url: str) -> str:
    """Return "" when `url` answers within MIRROR_TIMEOUT seconds, else why not."""
    try:
        with urllib.request.urlopen(url_logins.request(url), timeout=MIRROR_TIMEOUT) as answer:
            answer.read(1)
        return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} for {url_logins.shown(url)}"
    except (OSError, ValueError) as error:
        return f"{getattr(error, 'reason', error)} ({url_logins.shown(url)})"
