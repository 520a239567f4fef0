# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""AppArmor profiles."""

from __future__ import annotations

from collections.abc import Iterable

from .entries import Entry


def profile_links(names: Iterable[str]) -> list[Entry]:
    """Return links that prevent AppArmor profiles from being loaded."""
    return [{"path": f"/etc/apparmor.d/disable/{name}", "target": f"/etc/apparmor.d/{name}"} for name in names]
