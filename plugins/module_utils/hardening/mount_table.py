# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Options of file systems in fstab(5), edited line by line: whoever installed the node owns the rest of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TABLE = "/etc/fstab"
_ENTRY = re.compile(r"(?P<head>\s*[^\s#]\S*\s+(?P<where>\S+)\s+\S+\s+)(?P<options>\S+)(?P<tail>.*)", re.DOTALL)


def with_options(options: str, wanted: Sequence[str]) -> str:
    """``options`` of an entry with the ``wanted``, without their opposites; all others stay where they are."""
    opposites = {name.removeprefix("no") if name.startswith("no") else f"no{name}" for name in wanted}
    kept = [name for name in options.split(",") if name not in opposites]
    return ",".join([*kept, *(name for name in wanted if name not in kept)])


def edits(text: str, mounts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """For each entry that lacks options of ``mounts`` ({path, options}): path, options before and after, whole text.

    Each text has the edits before it as well. What has no entry is passed over.
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
