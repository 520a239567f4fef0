# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: head_start
type: aggregate
short_description: Load code and build module payloads once instead of for every task
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - A task on a host runs in its own process, a copy of the main process, and each copy loads everything that the main
    process has not loaded. This plugin loads the filters and tests of Jinja before the first task. In a run that
    changes nothing, this saves a seventh of the processor time.
  - Before Ansible sends a module, it searches the module and all its imports for further imports, and packs them.
    Ansible keeps the result only for the length of a run; in a run with few changes, this takes a fifth of the time.
    This plugin keeps the packed modules in C(.ansible/payloads) of the checkout, and points the folder of the run
    there. The folder is named after everything that the result depends on, which is the versions of Python and
    Ansible, the locked collections, and every module and module utility of this collection. A folder that does not
    match is never used.
  - If this is not possible, the run works without it.
requirements: [Enable it in ansible.cfg with C(callbacks_enabled).]
"""

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader
from ansible.release import __version__

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("plugins/modules/*.py", "plugins/module_utils/**/*.py", "requirements-collections.lock")
KEPT = 3


class CallbackModule(CallbackBase):
    """Acts once, when it is loaded, before the first task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cloudwatt.socle.head_start"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        with contextlib.suppress(OSError):
            share(ROOT, Path(constants.DEFAULT_LOCAL_TMP))
        preload()


def preload() -> None:
    """Load the Jinja plugins: a search for the first plugin of a type, or of a collection, loads all of them."""
    with contextlib.suppress(AnsibleError):
        filter_loader.get("dirname")
        filter_loader.get("cloudwatt.socle.workers")
        test_loader.get("exists")


def share(root: Path, temporary: Path) -> None:
    """Let the run whose folder is `temporary` use the payloads that the checkout `root` keeps."""
    folder = root / ".ansible" / "payloads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat()
    # Ansible unpickles the payloads, so no other user may be able to write in this folder.
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
        return
    kept = folder / key(root)
    kept.mkdir(mode=0o700, exist_ok=True)
    os.utime(kept)
    (temporary / "ansiballz_cache").symlink_to(kept)
    for old in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def key(root: Path) -> str:
    """Return a short hash of the sources of the payloads."""
    digest = hashlib.sha256(f"{__version__} {sys.version}".encode())
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
