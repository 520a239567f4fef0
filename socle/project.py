# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Where things are in a checkout, and which inventory the operator means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".socle"


class UsageError(Exception):
    """The command line or the checkout is not usable as it is; the message says what to do about it."""


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
    """Return the site that `inventory` (a path or a name), $SOCLE_INVENTORY or `default` means."""
    wanted = inventory or os.environ.get("SOCLE_INVENTORY") or default
    known = sorted(hosts.parent.name for hosts in ROOT.glob("inventories/*/hosts.yml"))
    if not wanted:
        raise UsageError(
            f"say which site: -i INVENTORY, or $SOCLE_INVENTORY (sites here: {', '.join(known)})"
        )
    path = ROOT / "inventories" / wanted if wanted in known else Path(wanted)
    folder = path.parent if path.name == "hosts.yml" else path
    if (folder / "hosts.yml").is_file():
        return Site(folder.resolve())
    raise UsageError(f"no inventory {wanted!r}: no folder with a hosts.yml, nor one of {', '.join(known)}")
