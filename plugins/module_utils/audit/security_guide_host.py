# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The node's side of security_guide: reads packages, units, files and sockets and changes nothing."""

from __future__ import annotations

import dataclasses
import glob
import grp
import os
import pwd
import socket
import ssl
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..common.dpkg_status import present
from ..common.parallel import in_parallel
from .security_guide import evaluate
from .security_guide_facts import Listener, Snapshot, Stat, listening
from .security_guide_services import SERVICES, Service, absent, ports

STATUS = "/var/lib/dpkg/status"
#: systemd's links for enabled units, and the control groups of running ones.
UNITS = ("/etc/systemd/system/*.wants/*.service", "/etc/systemd/system/*.requires/*.service",
         "/sys/fs/cgroup/system.slice/*.service")  # fmt: skip
HANDSHAKE = 5
"""Seconds allowed for a connection to a socket."""


def look(root: str = "") -> Snapshot:
    """Return the snapshot of the node below ``root``.

    :raises OSError: dpkg's status cannot be read; without it nothing is known about the node.
    """
    with open(f"{root}{STATUS}", encoding="utf-8", errors="replace") as stream:
        packages = frozenset(present(stream))
    snapshot = Snapshot(packages, units(root))
    here = [service for service in SERVICES if not absent(service, snapshot)]
    stats: dict[str, Stat] = {}
    texts: dict[str, str] = {}
    faults: dict[str, str] = {}
    for service in here:
        stats |= _stats(service, root)
        for path in _paths(service.patterns, root):
            try:
                texts[path] = Path(f"{root}{path}").read_text(encoding="utf-8")
            except (OSError, UnicodeError) as fault:
                faults[path] = getattr(fault, "strerror", None) or str(fault)
    return dataclasses.replace(snapshot, stats=stats, texts=texts, faults=faults)


def with_sockets(snapshot: Snapshot, probe: Callable[[str, int], Listener] | None = None) -> Snapshot:
    """Return the snapshot with all sockets on the ports of the APIs on this node, each tested."""
    wanted = {port for service in SERVICES if not absent(service, snapshot, True) for port in ports(service, snapshot)}
    known = sorted({item for table in ("tcp", "tcp6") for item in _table(table) if item[1] in wanted})
    tried = in_parallel(lambda item: (probe or shake)(*item), known)
    return dataclasses.replace(
        snapshot, listeners={port: [item for item in tried if item.port == port] for port in wanted}
    )


def units(root: str = "") -> frozenset[str]:
    """Return the services that are enabled or running, without their suffix."""
    found = (path for pattern in UNITS for path in glob.iglob(f"{root}{pattern}"))
    return frozenset(os.path.basename(path).removesuffix(".service") for path in found)


def _stats(service: Service, root: str) -> dict[str, Stat]:
    paths = [service.directory, *(f"{service.directory}/{file}" for file in service.files)]
    found = {}
    for path in paths:
        try:
            info = os.stat(f"{root}{path}")
        except OSError:
            continue
        owner, group = _name(pwd.getpwuid, info.st_uid), _name(grp.getgrgid, info.st_gid)
        found[path] = Stat(owner, group, stat.S_IMODE(info.st_mode))
    return found


def _name(lookup: Callable[[int], tuple[Any, ...]], number: int) -> str:
    try:
        name: str = lookup(number)[0]
        return name
    except KeyError:
        return str(number)


def _paths(patterns: Iterable[str], root: str) -> list[str]:
    found = {path for pattern in patterns for path in glob.iglob(f"{root}{pattern}") if not os.path.isdir(path)}
    return sorted(path.removeprefix(root) for path in found)


def _table(name: str) -> list[tuple[str, int]]:
    try:
        return listening(Path(f"/proc/net/{name}").read_text(encoding="ascii"))
    except FileNotFoundError:  # a kernel without IPv6
        return []


def shake(address: str, port: int) -> Listener:
    """Try a TLS handshake. The certificate's subject and validity are not part of this check."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    try:
        with (
            socket.create_connection((reached, port), timeout=HANDSHAKE) as plain,
            context.wrap_socket(plain) as secured,
        ):
            return Listener(address, port, tls=secured.version() or "")
    except OSError as fault:
        return Listener(address, port, why=getattr(fault, "reason", None) or str(fault))


def judge() -> dict[str, dict[str, Any]]:
    """Return the result of every check on this node (see :func:`security_guide.evaluate`)."""
    return evaluate(with_sockets(look()))
