# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""/etc/hosts of a node: the site's names, and below them the node's entries for other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

HEADER = "# Written by Ansible (role base).\n"
KEPT = "# Other names that this node has:\n"
LOOPBACK = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
_LOOPBACK_NAMES = {"localhost", "ip6-localhost", "ip6-loopback"}


def merge(entries: Mapping[str, Iterable[str]], present: str) -> str:
    """Return the file for ``entries`` (address to names), with the entries of ``present`` for all other names.

    A name on a loopback address is dropped, because installers put the node's own name there. In a file that was
    written here, only the lines below :data:`KEPT` are the node's own, so a name that the site no longer has is
    removed.
    """
    own = _LOOPBACK_NAMES | {name.lower() for names in entries.values() for name in names}
    text = HEADER + LOOPBACK + "".join(f"{address} {' '.join(names)}\n" for address, names in entries.items())
    if present.startswith(HEADER):
        present = present.partition(KEPT)[2]
    lines = []
    for line in present.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        names = [name for name in names if name.lower() not in own]
        if names and not address.startswith("127.") and address != "::1":
            lines.append(f"{address} {' '.join(names)}\n")
    return text + (KEPT + "".join(lines) if lines else "")
