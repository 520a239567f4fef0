# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Restart BFD sessions that OVN's database shows as down although they may be up.

When a router's port moves, two chassis write the state of its sessions. ovn-controller writes a state only when it
changes, so a lost write leaves a working session "down" permanently, and its route out of ECMP. With the state
"admin_down", northd and ovn-controller start the session again. A session that is really down carries no route, so a
restart of it costs only the writes, which become rarer.

Both a library and a program: on a controller it runs as ``socle-bfd-watch.service``. ``ovn-sbctl`` answers only on
the leader of the southbound cluster, so only one controller acts. Standard library only.
"""

from __future__ import annotations

import json
import subprocess
import time
from typing import NamedTuple

INTERVAL = 3.0
FIRST, LAST = 6.0, 384.0
"""Seconds that a session is down before its first restart, and the longest interval between two; intervals double."""


class Down(NamedTuple):
    """A session that is down: time of its next restart, and the seconds to the one after that (monotonic clock)."""

    due: float
    patience: float


def sessions(text: str) -> dict[str, tuple[str, str]]:
    """Return state and destination by uuid, from ``ovn-sbctl --format=json --columns=_uuid,status,dst_ip list BFD``."""
    return {uuid[1]: (status, destination) for uuid, status, destination in json.loads(text)["data"]}


def overdue(found: dict[str, tuple[str, str]], down: dict[str, Down], now: float) -> list[str]:
    """Return uuids of the sessions to restart at ``now`` (seconds); ``down`` is updated."""
    for uuid in set(down) - {uuid for uuid, (status, _) in found.items() if status == "down"}:
        del down[uuid]
    due = []
    for uuid, (status, _) in sorted(found.items()):
        if status == "down" and (known := down.setdefault(uuid, Down(now + FIRST, FIRST))).due <= now:
            patience = min(2 * known.patience, LAST)
            down[uuid] = Down(now + patience, patience)
            due.append(uuid)
    return due


def ask(*words: str) -> str:
    """Return the answer of the leader of the southbound database, "" if there is none here."""
    command = ["ovn-sbctl", "--timeout=5", "--db=unix:/run/ovn/ovnsb_db.sock", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def main() -> None:
    """Run forever; printed lines go to the journal and start with their priority."""
    down: dict[str, Down] = {}
    while True:
        if text := ask("--format=json", "--columns=_uuid,status,dst_ip", "list", "BFD"):
            found = sessions(text)
            for uuid in overdue(found, down, time.monotonic()):
                print(f"<5>BFD to {found[uuid][1]} is down in OVN: it begins anew", flush=True)
                # Not if it has come up in the meantime.
                ask("wait-until", "BFD", uuid, "status=down", "--", "set", "BFD", uuid, "status=admin_down")
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
