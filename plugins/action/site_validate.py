# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Validate a site's inventory on the operator's machine; the rules are in module_utils/site_rules.py."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.cloudwatt.socle.plugins.module_utils import site_model, site_rules
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.ansible_view import AnsibleView

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
        known = task_vars or {}
        sources = known["ansible_inventory_sources"]
        # Ansible keeps there which hosts, groups and sources it has read, and hands it to no action.
        hostvars, extra = known["hostvars"], load_extra_vars(self._loader)
        view = AnsibleView(hostvars, hostvars._inventory._inventory, sources, self._loader, extra)
        folder = home(Path(options["inventory"]), view.sources)
        password = Path(options["vault_password_file"] or folder / ".vault-password")
        found = findings(folder, password, self._loader._vault.secrets, view)
        refused, notices = by_severity(found)
        result |= {"changed": False, "violations": refused, "notices": notices}
        if notices:
            result["warnings"] = [str(site_rules.Violation(**notice)) for notice in notices]
        if refused:
            listing = "\n".join(str(site_rules.Violation(**violation)) for violation in refused)
            result |= {"failed": True, "msg": f"{len(refused)} violation(s) in {folder}\n{listing}"}
        return result


def home(given: Path, sources: Sequence[Path]) -> Path:
    """Return the folder of a site that has several inventory sources: that of its variables, or the one given."""
    near = [path if path.is_dir() else path.parent for path in (given.resolve(), *reversed(sources))]
    return next((path for path in near if (path / "group_vars").is_dir()), near[0]).resolve()


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
    folder: Path, password_file: Path, vault_secrets: list[tuple] | None = None, view: AnsibleView | None = None
) -> list[dict[str, Any]]:
    """Return all violations of the inventory in `folder`, warnings included, as mappings. Never raises on bad input.

    Without `view`, the inventory as Ansible has loaded it, it is loaded here.
    """
    known = list(vault_secrets or [])
    if not known and password_file.is_file():
        known = [("default", VaultSecret(password_file.read_bytes().strip()))]

    def decrypt(content: bytes, name: str) -> bytes:
        if not known:
            raise ValueError(f"is encrypted, and there is no vault password ({password_file} does not exist)")
        try:
            return VaultLib(known).decrypt(content)
        except AnsibleError as error:
            reason = (
                "the vault password does not open it" if "Decryption failed" in str(error) else str(error)
            )
            raise ValueError(f"cannot be decrypted: {reason}") from None

    failures = []
    if view is None:
        sources = [str(path) for path in site_model.inventory_files(folder)]
        try:
            view = AnsibleView.load(sources, known, PROJECT / "playbooks") if sources else None
        except AnsibleError as error:
            failures = [" ".join(str(error).split())]
    found = site_rules.check(PROJECT, folder, decrypt, fetch, view)
    if not any(violation.severity == "error" for violation in found):
        # Whatever the rules do not know of, Ansible could not read it.
        found += [
            site_rules.Violation(str(folder), 1, "", "", f"Ansible cannot read it: {failure}", "correct it")
            for failure in [*failures, *(view.faults if view else [])]
        ]
    return [vars(violation) for violation in found]


def fetch(url: str) -> str:
    """Return "" when `url` answers within MIRROR_TIMEOUT seconds, else why not."""
    try:
        with urllib.request.urlopen(url, timeout=MIRROR_TIMEOUT) as answer:
            answer.read(1)
        return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} for {url}"
    except (OSError, ValueError) as error:
        return f"{getattr(error, 'reason', error)} ({url})"
