# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Change the election timer of OVN's raft clusters while they run, without a restart of any member.

A cluster reads the timer from its configuration only when it is created. Later only the leader can change it, at most
to twice its value at a time, and the raft log distributes it to all members.

Both a library and a program: on controllers it runs as ``socle-ovn-election.service``, on all of them at once. The
leader acts, the others wait until they have the timer. Standard library only.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

DATABASES = {"OVN_Northbound": "/run/ovn/ovnnb_db.ctl", "OVN_Southbound": "/run/ovn/ovnsb_db.ctl"}
PATIENCE = 120.0
"""Seconds until a database must have the timer."""
PAUSE = 0.3


class Member(NamedTuple):
    """A database server of this node, from ``cluster/status``; ``timer`` and ``pending`` are in milliseconds."""

    leads: bool
    leader: str
    timer: int
    pending: bool


class ElectionError(Exception):
    """The timer does not have the wanted value; the message is for the operator."""


def parse(text: str) -> Member:
    """Parse the output of ``cluster/status``. Raises :class:`ElectionError` if it is invalid."""
    fields = dict(re.findall(r"^([A-Z][\w ]*): (.*)$", text, re.MULTILINE))
    timer = re.match(r"(\d+)(.*)", fields.get("Election timer", ""))
    if not timer or "Role" not in fields:
        raise ElectionError(f"cluster/status shows no election timer: {text[:200]!r}")
    return Member(fields["Role"] == "leader", fields.get("Leader", "unknown"), int(timer[1]), "changing" in timer[2])


def step(member: Member, wanted: int) -> int:
    """Return the timer to request from this member now; 0 if it must only wait."""
    if not member.leads or member.pending or member.timer == wanted:
        return 0
    return min(wanted, member.timer * 2)


def change(
    database: str,
    wanted: int,
    ask: Callable[..., str],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[int]:
    """Bring a database to the timer ``wanted``; return the values that this member requested, in order.

    ``ask(database, *words)`` sends a command to the server and returns its answer. Raises :class:`ElectionError` if
    the timer has another value after :data:`PATIENCE` seconds.
    """
    asked: list[int] = []
    deadline = clock() + PATIENCE
    lack = ""
    while clock() < deadline:
        try:
            member = parse(ask(database, "cluster/status", database))
            if member.timer == wanted:
                return asked
            lack = f"its election timer is {member.timer} ms and not {wanted} ms; its leader is {member.leader}"
            if value := step(member, wanted):
                ask(database, "cluster/change-election-timer", database, str(value))
                asked += [value] if asked[-1:] != [value] else []
        except ElectionError as error:
            lack = str(error)
        sleep(PAUSE)
    raise ElectionError(
        f"{database}: {lack}. Remedy: run the deployment on all controllers, the leader among them; cluster/status"
        " tells whether a majority of them is up"
    )


def appctl(database: str, *words: str) -> str:
    """Return the answer of this node's database server. Raises :class:`ElectionError` if it refuses or does not run."""
    command = ["ovs-appctl", "--timeout=5", "--target", DATABASES[database], *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ElectionError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main(words: list[str]) -> int:
    """Change one database after the other; printed lines go to the journal."""
    wanted = int(words[0])
    try:
        for database in DATABASES:
            for value in change(database, wanted, appctl):
                print(f"{database}: election timer {value} ms", flush=True)
    except ElectionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
