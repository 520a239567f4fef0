# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The client of this connection: the account that logged in, its groups, and the port that it used.

The inventory does not know these: the account may come from ``~/.ssh/config``, the command line or the operator's user
name, and a port may be forwarded. The node knows them, whatever program has given us root's rights since.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SERVERS = ("sshd-session", "sshd")
UNSET = str(2**32 - 1)
"""The kernel's login uid for a process that no login started."""


@dataclass(frozen=True)
class Session:
    """``groups``: numbers of the connection's groups. ``port``, ``client``: port of the node, and address of the
    client. ``started``: start of the connection, in seconds since the boot. All except the account may be unknown.
    """

    account: str
    groups: frozenset[int] | None = None
    port: int | None = None
    client: str = ""
    started: float | None = None


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    name: str
    uid: int
    groups: frozenset[int]
    started: float
    environment: dict[str, str] = field(default_factory=dict)


def find(proc: str = "/proc", pid: int | None = None) -> Session:
    """Return the session that this process, or another one, belongs to."""
    line = list(_ancestors(Path(proc), os.getpid() if pid is None else pid))
    inside = next((number for number, process in enumerate(line) if process.name in SERVERS), 0)
    if not inside:
        return Session(_without_ssh(Path(proc), line))
    first = line[inside - 1]
    known = first.environment.get("SSH_CONNECTION", "").split()
    client, port = (known[0], int(known[3])) if len(known) == 4 else ("", None)
    return Session(_account(first), first.groups, port, client, _connected(line[inside:]))


def _ancestors(proc: Path, pid: int) -> Iterator[_Process]:
    while pid > 0:
        try:
            process = _read(proc / str(pid))
        except (OSError, ValueError, KeyError):
            return
        yield process
        pid = process.parent


def _read(folder: Path) -> _Process:
    rows = (line.partition(":") for line in (folder / "status").read_text(errors="replace").splitlines())
    status = {key: value.strip() for key, _, value in rows}
    # The name in parentheses may contain any character; the 22nd field of the line is the 20th after it.
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    try:
        raw = (folder / "environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        raw = ""
    return _Process(
        pid=int(folder.name),
        parent=int(status["PPid"]),
        name=status["Name"],
        uid=int(status["Uid"].split()[0]),
        groups=frozenset(map(int, [*status.get("Groups", "").split(), status["Gid"].split()[0]])),
        started=int(fields[19]) / os.sysconf("SC_CLK_TCK"),
        environment=dict(item.split("=", 1) for item in raw.split("\0") if "=" in item),
    )


def _connected(servers: list[_Process]) -> float:
    """Return the start of the connection. The parent of a connection's processes is the daemon that listens for all."""
    own = [process for process in servers if process.name == "sshd-session"]
    own = own or [process for process in servers if process.name == "sshd" and process.parent != 1]
    return (own or servers)[-1].started


def _account(process: _Process) -> str:
    """Return the login name of the account, because several accounts may share a number."""
    told = process.environment.get("USER", "")
    return told if told and _number(told) == process.uid else _name(process.uid)


def _without_ssh(proc: Path, line: list[_Process]) -> str:
    """Return the session on a machine that is not reached by SSH."""
    try:
        login = (proc / "self" / "loginuid").read_text().strip()
    except OSError:
        login = UNSET
    if login not in ("", UNSET):
        return _name(int(login))
    told = line[0].environment.get("SUDO_USER", "") if line else ""
    return told or _name(os.getuid())


def _number(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
