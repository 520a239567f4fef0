# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Small things several engines do on a node: atomic writes, unit states, the same function over many items."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from .common import make_directory
from .netns import run

UNITS = Path("/etc/systemd/system")

Item = TypeVar("Item")
Value = TypeVar("Value")


def read(path: Path) -> str | None:
    """The text of a file, or None if there is none."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(
    path: Path, content: str | bytes, mode: int = 0o644, owner: tuple[str, str] | None = ("root", "root")
) -> None:
    """Replace a file in one step; it never exists with another mode or owner. Parents are made (0755).

    content: text is written in UTF-8.
    owner: user and group; None leaves the file to whoever runs this, as on an operator's machine.
    """
    make_directory(path.parent)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        if owner:
            shutil.chown(temporary, *owner)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, text: str, check_mode: bool = False) -> bool:
    """Write a root-owned 0644 file unless it holds the text already; True if it did not."""
    if read(path) == text:
        return False
    if not check_mode:
        write(path, text)
    return True


def unit_states(units: Iterable[str]) -> dict[str, dict[str, bool]]:
    """``{unit: {active, enabled}}`` by one call.

    Enabled is a unit that another one wants or requires, by a link on disk: systemd, asked for a property, puts
    together all that it knows of a unit, which takes a third of a second for a hundred of them.
    """
    names = list(units)
    if not names:
        return {}
    states = run(["systemctl", "is-active", "--", *names], check=False).split()
    wanted = {link.name for kind in ("wants", "requires") for link in UNITS.glob(f"*.{kind}/*")}
    found = {name: {"active": False, "enabled": name in wanted} for name in names}
    for name, state in zip(names, states, strict=False):
        found[name]["active"] = state in ("active", "reloading")
    return found


def in_parallel(function: Callable[[Item], Value], items: Iterable[Item], workers: int = 4) -> list[Value]:
    """``[function(item) for item in items]``, several at a time."""
    todo = list(items)
    if not todo:
        return []
    with ThreadPoolExecutor(max_workers=min(workers, len(todo))) as pool:
        return list(pool.map(function, todo))


def diff_entry(name: str, before: str | None, after: str | None) -> dict[str, Any]:
    """One item of a module's ``diff``."""
    return {"before_header": name, "after_header": name, "before": before or "", "after": after or ""}
