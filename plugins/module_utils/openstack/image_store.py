# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Image files of Glance on several controllers: which controller has which, and which images would be unavailable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlparse

IMAGES = (
    "SELECT i.id, i.name, l.value FROM glance.images i JOIN glance.image_locations l ON l.image_id = i.id"
    " WHERE i.deleted = 0 AND l.deleted = 0 AND l.status = 'active' AND l.value LIKE 'file://%'"
)
"""Id, name and location of every image that is stored as a file."""
LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "squashfs", "vfat"}
)
"""File systems that are local to one node."""


def images(rows: Iterable[tuple[str, str | None, str]]) -> dict[str, str]:
    """Return file name in the store -> name (or id) of the image, from the rows of :data:`IMAGES`."""
    return {os.path.basename(unquote(urlparse(where).path)): name or key for key, name, where in rows}


def file_system(path: str, mounts: str) -> str:
    """Return the type of the file system that contains ``path``, from the text of /proc/self/mounts, or ""."""
    found = ("", "")
    for line in mounts.splitlines():
        where, kind = (word.encode().decode("unicode_escape") for word in line.split()[1:3])
        if os.path.commonpath([path, where]) == where and len(where) >= len(found[0]):
            found = (where, kind)
    return found[1]


def refusals(
    probes: Mapping[str, Mapping[str, Any]], serving: Sequence[str], shared: bool, directory: str
) -> list[str]:
    """Return the reasons why ``serving`` must not serve images, one sentence each; empty if there are none.

    ``probes`` is controller -> ``{files, images, file_system}`` as module ``image_store`` returns them; a controller
    without a probe is not checked. An image that no controller has any more is no reason: nobody can serve it.
    """
    known: dict[str, str] = {}
    for probe in probes.values():
        known |= probe.get("images") or {}
    reasons = []
    for host in (host for host in serving if host in probes):
        probe = probes[host]
        if shared and probe.get("file_system") in LOCAL:
            reasons.append(
                f"{directory} of {host} is on its own {probe['file_system']} file system, and site_image_store_shared"
                " is set. Remedy: mount the shared file system there"
            )
            continue
        here = set(probe.get("files") or ())
        for file, name in sorted(known.items()):
            others = [other for other, seen in probes.items() if file in (seen.get("files") or ())]
            if file not in here and others:
                reasons.append(
                    f"image {name} ({file}) is on {', '.join(others)} and not on {host}, which is to serve it."
                    f" Remedy: copy {directory}/images/{file} to {host} (owner glance), or set site_image_host to a"
                    " controller that has it"
                )
    return reasons
