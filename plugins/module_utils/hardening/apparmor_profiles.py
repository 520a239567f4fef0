# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Find the AppArmor profiles that confine nothing in the state in which their packages ship them (apparmor.d(5))."""

from __future__ import annotations

import os
import re

FOLDER = "/etc/apparmor.d"
#: The head of a top-level profile: it begins at the start of a line, and the profile's content follows it.
_HEAD = re.compile(r"^(?:profile\s+\S|[/\"@{*^]).*\{[ \t]*(?:#.*)?$", re.MULTILINE)
_LAX = re.compile(r"\bflags\s*=\s*\([^)]*\b(?:unconfined|complain)\b[^)]*\)")


def confines_nothing(text: str) -> bool:
    """Return whether a file has profiles, and all of them are unconfined or in complain mode."""
    heads = _HEAD.findall(text)
    return bool(heads) and all(_LAX.search(head) for head in heads)


def lax(folder: str = FOLDER) -> list[str]:
    """Return names of the files in ``folder`` whose profiles confine nothing; empty if AppArmor is not installed."""
    found = []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    for name in names:
        path = os.path.join(folder, name)
        # Files that dpkg and editors leave next to a profile are not loaded.
        if name.startswith(".") or re.search(r"\.dpkg-|~$|\.(?:rej|orig|bak)$", name) or not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as stream:
            if confines_nothing(stream.read()):
                found.append(name)
    return found
