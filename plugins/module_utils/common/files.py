# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Read files, replace them atomically, and make directories."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def make_directory(path: str | os.PathLike[str], mode: int = 0o755) -> None:
    """Create a directory unless it exists; a new one has this mode, missing parents 0755, whatever the umask.

    On a hardened node a session's umask denies access to everybody but root, even if a service has to read the files.
    """
    path = os.fspath(path)
    if not path or os.path.isdir(path):
        return
    make_directory(os.path.dirname(path.rstrip("/")))
    with contextlib.suppress(FileExistsError):  # another thread was faster
        os.mkdir(path)
        os.chmod(path, mode)


def read(path: Path) -> str | None:
    """Return the text of a file, or None if there is none."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(
    path: Path, content: str | bytes, mode: int = 0o644, owner: tuple[str, str] | None = ("root", "root")
) -> None:
    """Replace a file in one step; it never exists with another mode or owner. Missing parents are created (0755).

    content: text is written in UTF-8.
    owner: user and group; None keeps the caller as owner, as on a control node.
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
    """Write a root-owned 0644 file unless it already has the text; return True if it did not."""
    if read(path) == text:
        return False
    if not check_mode:
        write(path, text)
    return True
