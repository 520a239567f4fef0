# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The folders of a checkout, and the inventory that the operator selects."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class UsageError(Exception):
    """The command line or the checkout cannot be used; the message names the remedy."""


def state_folder(root: Path = ROOT) -> Path:
    """The folder of runs, reports and facts: $SOCLE_STATE, or in the checkout if this account owns it, or in its home.

    Only the operator may read the results of a run, so two accounts never share a state folder.
    """
    if named := os.environ.get("SOCLE_STATE"):
        return Path(named).expanduser().absolute()
    inside = root / ".socle"
    existing = inside if inside.exists() else root
    if os.access(existing, os.W_OK | os.X_OK) and existing.stat().st_uid == os.geteuid():
        return inside
    if existing == root and os.access(root, os.W_OK | os.X_OK):
        return inside  # nobody has used this checkout yet
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home).absolute() / "socle" / f"{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"


STATE = state_folder()


@dataclass(frozen=True)
class Site:
    """One inventory: a folder with hosts.yml and group_vars."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def vault_password_file(self) -> Path:
        return self.path / ".vault-password"

    @property
    def secrets_file(self) -> Path:
        return self.path / "group_vars" / "all" / "secrets.yml"

    @property
    def reports(self) -> Path:
        return STATE / "reports" / self.name


def find_site(inventory: str | None, default: str | None = None) -> Site:
    """Return the site that `inventory` (a path or a name), $SOCLE_INVENTORY or `default` selects."""
    wanted = inventory or os.environ.get("SOCLE_INVENTORY") or default
    known = sorted(folder.name for folder in ROOT.glob("inventories/*") if _is_site(folder))
    if not wanted:
        raise UsageError(f"say which site: -i INVENTORY, or $SOCLE_INVENTORY (sites here: {', '.join(known)})")
    path = ROOT / "inventories" / wanted if wanted in known else Path(wanted).expanduser()
    folder = path.parent if path.name.split(".")[0] == "hosts" and path.is_file() else path
    if _is_site(folder):
        return Site(folder.resolve())
    if path.is_file() and _is_site(path.parent):
        raise UsageError(f"{wanted!r} is one file of an inventory: name its folder, {path.parent}")
    raise UsageError(f"no inventory {wanted!r}: no folder with a hosts.yml, nor one of {', '.join(known)}")


def _is_site(folder: Path) -> bool:
    """Whether a folder is an inventory: it has hosts (YAML, INI or a plugin's file) or variables of groups."""
    return (folder / "group_vars").is_dir() or any(file.is_file() for file in folder.glob("hosts*"))
