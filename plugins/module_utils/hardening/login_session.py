# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Who is at the other end of this connection: the account that logged in, its groups, and the port it came in by.

The inventory does not know it: the account may come from ``~/.ssh/config``, the command line or the operator's own
name, and a port may be forwarded on the way. The node knows, whatever program gave us root's rights since.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SERVERS = ("sshd-session", "sshd")
UNSET = str(2**32 - 1)
"""What the kernel tells as the login of a process that nobody's login started."""


@dataclass(frozen=True)
class Session:
    """``groups``: numbers of the groups that the connection has. ``port``, ``client``: the node's port, and from which
    address. ``started``: when the connection was made, in seconds since the boot. All but the account may be unknown.
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
    """The session that this process, or another one, belongs to."""
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
    # The name in parentheses may hold anything; the 22nd field of the line is the 20th after it.
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
    """When the connection was made. Above the processes of a connection is the one that listens for all."""
    own = [process for process in servers if process.name == "sshd-session"]
    own = own or [process for process in servers if process.name == "sshd" and process.parent != 1]
    return (own or servers)[-1].started


def _account(process: _Process) -> str:
    """Its name as it logged in: several accounts may share a number."""
    told = process.environment.get("USER", "")
    return told if told and _number(told) == process.uid else _name(process.uid)


def _without_ssh(proc: Path, line: list[_Process]) -> str:
    """A machine that is reached by other means than SSH."""
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
