# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Edit options of file systems in fstab(5) line by line; the rest of the file belongs to the installer of the node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TABLE = "/etc/fstab"
_ENTRY = re.compile(r"(?P<head>\s*[^\s#]\S*\s+(?P<where>\S+)\s+\S+\s+)(?P<options>\S+)(?P<tail>.*)", re.DOTALL)


def with_options(options: str, wanted: Sequence[str]) -> str:
    """Return an entry's ``options`` with ``wanted``, without their opposites; all others keep their position."""
    opposites = {name.removeprefix("no") if name.startswith("no") else f"no{name}" for name in wanted}
    kept = [name for name in options.split(",") if name not in opposites]
    return ",".join([*kept, *(name for name in wanted if name not in kept)])


def edits(text: str, mounts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Return, for each entry that lacks options of ``mounts`` ({path, options}): path, old and new options, whole text.

    Each text includes the previous edits. A mount without an entry is skipped.
    """
    wanted = {item["path"].rstrip("/"): item["options"] for item in mounts}
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        entry = _ENTRY.fullmatch(line)
        path = entry["where"].rstrip("/") if entry else ""
        if not entry or path not in wanted:
            continue
        options = with_options(entry["options"], wanted[path])
        if options != entry["options"]:
            lines[number] = f"{entry['head']}{options}{entry['tail']}"
            yield path, entry["options"], options, "".join(lines)
