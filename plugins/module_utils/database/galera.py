# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Select the member that bootstraps a Galera cluster: a pure decision from the state of all members.

A bootstrap on the wrong node would discard committed rows, so an uncertain case is refused: every member must
have been read, the file's own ``safe_to_bootstrap`` is ignored, and only the highest recovered
sequence number of one cluster UUID is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NO_UUID = "00000000-0000-0000-0000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
POSITION = re.compile(rf"Recovered position:\s*({UUID.pattern}):(-?\d+)")


@dataclass(frozen=True)
class Member:
    """The state of one node.

    ``run``: stopped, starting or running. ``status``: wsrep_cluster_status of a running one (Primary,
    non-Primary, Disconnected). ``uuid``: of the cluster that its data belong to, empty if none. ``seqno``:
    of the last committed transaction, None if it must be recovered first. ``databases``: names of those that
    are not MariaDB's own.
    """

    run: str = "stopped"
    status: str = ""
    uuid: str = ""
    seqno: int | None = None
    databases: Sequence[str] = ()

    @property
    def primary(self) -> bool:
        return self.run == "running" and self.status == "Primary"


@dataclass(frozen=True)
class Decision:
    """``none``: a cluster runs, or members join it. ``form``: bootstrap on ``node``, empty if a recovery must
    run first. ``refuse``: ``reason`` has the cause and the remedy."""

    verb: str
    node: str = ""
    reason: str = ""


def decide(members: Mapping[str, Member | None], *, forecast: bool = False) -> Decision:
    """Select the member that bootstraps. None is a member that could not be read. In a tie, earlier members win.

    With ``forecast`` (check mode, which recovers nothing) unknown sequence numbers are no reason to refuse.
    """
    read = {name: member for name, member in members.items() if member is not None}
    if primaries := {name: member for name, member in read.items() if member.primary}:
        if len({member.uuid for member in primaries.values()}) > 1:
            return Decision("refuse", reason=f"{_names(primaries)} run clusters of different UUIDs; stop the wrong one")
        return Decision("none", reason=f"{_names(primaries)} run the primary component")
    if unread := [name for name in members if name not in read]:
        return Decision(
            "refuse",
            reason=f"{', '.join(unread)} could not be read and may hold newer data; bring it back, or take it out "
            "of the inventory when its data are lost for good",
        )
    if alive := {
        name: member
        for name, member in read.items()
        if member.run == "starting" or (member.run == "running" and member.status == "non-Primary")
    }:
        return Decision(
            "refuse",
            reason=f"{_names(alive)} run without a primary component; wait for the members to find one another, "
            "or stop mariadb on all of them and run this again",
        )
    return _form(read, forecast)


def _form(members: Mapping[str, Member], forecast: bool) -> Decision:
    """No member serves: choose by the state on their disks."""
    owners = {name: member for name, member in members.items() if _valid(member.uuid)}
    if not owners:
        return _form_new(members)
    if len({member.uuid for member in owners.values()}) > 1:
        seen = ", ".join(f"{name}: {member.uuid}" for name, member in owners.items())
        return Decision("refuse", reason=f"the members hold data of different clusters ({seen})")
    if unknown := [name for name, member in owners.items() if member.seqno is None]:
        if forecast:
            return Decision("form", reason="the member with the highest recovered sequence number")
        return Decision("refuse", reason=f"no sequence number could be recovered on {', '.join(unknown)}")
    node = max(owners, key=lambda name: owners[name].seqno or 0)
    if (owners[node].seqno or 0) < 0:
        return Decision("refuse", reason="no member knows its sequence number; restore from a backup")
    return Decision("form", node, f"it has the highest sequence number, {owners[node].seqno}")


def _form_new(members: Mapping[str, Member]) -> Decision:
    """No member ever belonged to a cluster. A stand-alone database may still contain data."""
    filled = [name for name, member in members.items() if member.databases]
    if len(filled) > 1:
        return Decision("refuse", reason=f"{', '.join(filled)} each hold databases but belong to no cluster")
    node = (filled or list(members))[0]
    return Decision("form", node, "no member has ever been in a cluster")


def _valid(uuid: str) -> bool:
    return bool(UUID.fullmatch(uuid)) and uuid != NO_UUID


def _names(members: Mapping[str, Member]) -> str:
    return ", ".join(members)


def parse_state(text: str) -> tuple[str, int | None]:
    """Return UUID ('' if none) and sequence number (None if unknown) of a grastate.dat."""
    fields = dict(re.findall(r"^(\w+):\s*(\S+)", text, re.MULTILINE))
    uuid = fields.get("uuid", "")
    seqno = int(fields["seqno"]) if re.fullmatch(r"-?\d+", fields.get("seqno", "")) else -1
    return (uuid, seqno if seqno >= 0 else None) if _valid(uuid) else ("", None)


def parse_position(log: str) -> tuple[str, int] | None:
    """Return UUID and sequence number that ``mariadbd --wsrep-recover`` reports; None if it reports none."""
    found = POSITION.search(log)
    return (found.group(1), int(found.group(3))) if found else None
