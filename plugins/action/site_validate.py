# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Validate a site's inventory on the control node; the rules are in plugin_utils/inventory/site_rules.py."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import split_host_pattern
from ansible.parsing.splitter import parse_kv
from ansible.parsing.vault import VaultLib
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import url_logins
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import (
    site_model,
    site_rules,
    variable_types,
    vault_passwords,
)
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.ansible_view import AnsibleView
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.command_line import CommandLine

PROJECT = Path(__file__).resolve().parents[2]
MIRROR_TIMEOUT = 5
ARGUMENTS = {
    "inventory": {"type": "path", "required": True},
    "vault_password_file": {"type": "path"},
    "installs": {"type": "bool", "default": True},
    "scope": {"type": "str", "choices": ["site", "command_line"], "default": "site"},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        known = task_vars or {}
        sources = known["ansible_inventory_sources"]
        # Ansible keeps the hosts, groups and sources in private attributes of hostvars, and passes them to no action.
        hostvars, extra = known["hostvars"], load_extra_vars(self._loader)
        view = AnsibleView(hostvars, hostvars._inventory._inventory, sources, self._loader, extra)
        folder = home(Path(options["inventory"]), view.sources)
        password = Path(options["vault_password_file"] or folder / ".vault-password")
        secrets = self._loader._vault.secrets
        found = findings(folder, password, secrets, view, command_line(), options["scope"], options["installs"])
        found += untyped(known) if options["scope"] == "site" else []
        refused, notices = by_severity(found)
        result |= {"changed": False, "violations": refused, "notices": notices}
        if notices:
            result["warnings"] = [str(site_model.Violation(**notice)) for notice in notices]
        if refused:
            listing = "\n".join(str(site_model.Violation(**violation)) for violation in refused)
            result |= {"failed": True, "msg": f"{len(refused)} violation(s) in {folder}\n{listing}"}
        return result


def command_line() -> CommandLine:
    """Return the options that ansible-playbook got besides the inventory."""
    given = context.CLIARGS
    limit: list[str] = []
    for pattern in split_host_pattern(given.get("subset") or ""):
        # The pattern names a file with one pattern per line.
        limit += Path(pattern[1:]).read_text().split() if pattern.startswith("@") else [pattern]
    return CommandLine(
        variables=tuple(filter(None, map(str, given.get("extra_vars") or ()))),
        tags=(*(given.get("tags") or ()), *(given.get("skip_tags") or ())),
        limit=tuple(limit),
        playbooks=tuple(Path(name) for name in given.get("args") or () if Path(name).is_file()),
        words=lambda text: dict(parse_kv(text)),
    )


def home(given: Path, sources: Sequence[Path]) -> Path:
    """Return the folder of a site with several inventory sources: the one that has its variables, or `given`."""
    near = [path if path.is_dir() else path.parent for path in (given.resolve(), *reversed(sources))]
    return next((path for path in near if (path / "group_vars").is_dir()), near[0]).resolve()


def untyped(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a violation if values have another type than a role declares and no enabled plugin converts them."""
    names = sorted(variable_types.convert(variables))
    if not names:
        return []
    reason = f"the role wants another type than it was given ({', '.join(names)}), and nothing converts it"
    remedy = "run from the project's folder, or let ANSIBLE_CONFIG name its ansible.cfg, which enables typed_variables"
    return [vars(site_model.Violation("command line or inventory", 1, names[0], "", reason, remedy))]


def by_severity(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split findings into errors, which refuse the inventory, and warnings."""
    refused = [violation for violation in found if violation["severity"] == "error"]
    return refused, [violation for violation in found if violation["severity"] != "error"]


def violations(
    folder: Path, password_file: Path, vault_secrets: list[tuple] | None = None, installs: bool = True
) -> list[dict[str, Any]]:
    """Return the findings that refuse the inventory in `folder`; see :func:`findings`."""
    return by_severity(findings(folder, password_file, vault_secrets, installs=installs))[0]


def findings(
    folder: Path,
    password_file: Path,
    vault_secrets: list[tuple] | None = None,
    view: AnsibleView | None = None,
    given: CommandLine | None = None,
    scope: str = "site",
    installs: bool = True,
) -> list[dict[str, Any]]:
    """Return all violations of the inventory in `folder`, with warnings, as mappings. Never raises on bad input.

    `view`: the inventory as Ansible has loaded it; without it, this function loads the inventory.
    `scope`: with ``command_line``, only violations in the options `given` there are returned.
    `installs`: the run installs packages, so a mirror that does not answer is a violation.
    """
    known, unreadable = list(vault_secrets or []), ""
    if not known and password_file.exists():
        try:
            known = [(vault_passwords.DEFAULT_ID, vault_passwords.load(password_file))]
        except vault_passwords.PasswordError as error:
            unreadable = str(error)

    def decrypt(content: bytes, name: str) -> bytes:
        if unreadable:
            raise ValueError(f"is encrypted, and there is {unreadable}")
        if not known:
            raise ValueError(f"is encrypted, and there is no vault password ({password_file} does not exist)")
        try:
            return VaultLib(known).decrypt(content)
        except AnsibleError as error:
            reason = "the vault password does not open it" if "Decryption failed" in str(error) else str(error)
            raise ValueError(f"cannot be decrypted: {reason}") from None

    failures = []
    if view is None:
        sources = [str(path) for path in site_model.inventory_files(folder)]
        try:
            view = AnsibleView.load(sources, known, PROJECT / "playbooks") if sources else None
        except AnsibleError as error:
            failures = [" ".join(str(error).split())]
    given = given or CommandLine()
    if scope == "command_line":
        return [vars(found) for found in site_rules.check_command_line(PROJECT, folder, decrypt, given, view)]
    found = site_rules.check(PROJECT, folder, decrypt, fetch, view, given, source_of, installs)
    if not any(violation.severity == "error" for violation in found):
        # Ansible may fail to read the inventory for reasons that the rules do not cover.
        found += [
            site_model.Violation(str(folder), 1, "", "", f"Ansible cannot read it: {failure}", "correct it")
            for failure in [*failures, *(view.faults if view else [])]
        ]
    return [vars(violation) for violation in found]


def source_of(address: str) -> str:
    """Return the local address that is used to reach `address`, or "". No packet is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 22))
            return probe.getsockname()[0]
    except OSError:
        return ""


def fetch(url: str) -> str:
    """Return "" if `url` answers within MIRROR_TIMEOUT seconds, else the reason why it does not."""
    try:
        with urllib.request.urlopen(url_logins.request(url), timeout=MIRROR_TIMEOUT) as answer:
            answer.read(1)
        return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} for {url_logins.shown(url)}"
    except (OSError, ValueError) as error:
        return f"{getattr(error, 'reason', error)} ({url_logins.shown(url)})"
