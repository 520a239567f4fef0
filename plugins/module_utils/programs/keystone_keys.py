# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Keystone's key repositories as a function of a secret seed and of the time.

Time is cut into periods. The key of a period is HKDF-Expand (RFC 5869) of the seed and the period's start, so every
controller derives the same keys by itself: nothing is sent between them, a rebuilt one has the keys at once, and the
next period's key is there a whole period before anybody signs with it (file ``0``, what Keystone calls staged).
Files are named by the start of their period, in seconds of the epoch: the highest is the one that signs.

Both a library and a program: on a controller a timer runs it as ``socle-keystone-keys.service``, and ``--check`` tells
whether the keys are those of this moment. Standard library only.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import json
import os
import pwd
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

CONFIG = "/etc/socle/keystone-keys.json"
STAGED = "0"
LATE = 2
"""Periods that a seed's predecessor still counts for: what a controller signed that learnt late of the new seed."""
DEPLOY_WITHIN = 3600
"""Seconds at least between making a seed and its first period, in which every controller has to learn of it."""
REMEMBERED = 90 * 86400
"""Seconds after which a seed is forgotten that another one has followed: longer than anything it signed is valid."""
CLOCK = 86400
"""Seconds by which the clock may be behind the making of the oldest seed. More is a clock that was never set."""
SETTLE = 1.0
"""Seconds in which Keystone has read a repository that it began to read."""
DOCTOR = ("keystone-manage", "doctor")
ON_PURPOSE = "Caching is not completely configured."
"""Symptom that the doctor finds on a site without a cache that outlives a request (``keystone_cache_seconds`` 0)."""


class KeyRingError(Exception):
    """The seeds, the configuration or the clock cannot be used; the message is for the operator and names no key."""


class Seed(NamedTuple):
    """``since``: seconds of the epoch; the seed's keys are those of the periods that begin at it or later."""

    since: int
    secret: bytes

    def __str__(self) -> str:
        return f"{self.since}:{base64.urlsafe_b64encode(self.secret).decode()}"


def new_seed(since: int) -> Seed:
    return Seed(since, secrets.token_bytes(32))


def parse(text: str) -> list[Seed]:
    """Seeds from words ``SINCE:BASE64``, oldest first."""
    try:
        pairs = [word.partition(":") for word in text.split()]
        found = sorted(Seed(int(since), base64.urlsafe_b64decode(secret)) for since, _, secret in pairs)
    except (ValueError, binascii.Error):
        found = []
    if not found or any(len(seed.secret) != 32 for seed in found):
        raise KeyRingError("the seeds are not words of the form SECONDS:KEY with keys of 32 bytes in URL-safe base64")
    return found


def succeed(text: str, now: int) -> str:
    """The seeds of ``text`` and a new one, which takes over at the first period that begins in an hour or later.

    One that has not taken over yet is replaced.
    """
    first, *others = parse(text)
    reigned = [first, *(seed for seed in others if seed.since <= now)]
    kept = [seed for seed, successor in pairwise(reigned) if successor.since > now - REMEMBERED]
    return " ".join(map(str, [*kept, reigned[-1], new_seed(now + DEPLOY_WITHIN)]))


def derive(seed: Seed, purpose: str, start: int) -> str:
    """The key of the period that begins at ``start``, as Keystone holds it: 32 bytes in URL-safe base64."""
    info = f"socle keystone {purpose} {start}".encode()
    return base64.urlsafe_b64encode(hmac.digest(seed.secret, info + b"\x01", hashlib.sha256)).decode()


class Ring(NamedTuple):
    """A repository. ``keep``: seconds that a key stays after its period.

    A repository with none of the keys begins with those of ``reach`` seconds, as the database may come from a backup.
    ``retire_after``: command that must succeed before a key is taken away.
    """

    purpose: str
    seeds: Sequence[Seed]
    period: int
    keep: int
    directory: str = ""
    reach: int = 0
    retire_after: Sequence[str] = ()

    def reigning(self, start: int) -> int:
        """The place among the seeds of the one whose period begins at ``start``; the first also has all before it."""
        return max((place for place, seed in enumerate(self.seeds) if seed.since <= start), default=0)

    def keys(self, start: int) -> dict[str, str]:
        """The key of a period, and below it the one that its seed's predecessor has for it where it was late."""
        place = self.reigning(start)
        found = {str(start): derive(self.seeds[place], self.purpose, start)}
        if place and start < self.seeds[place].since + LATE * self.period:
            found[str(start - 1)] = derive(self.seeds[place - 1], self.purpose, start)
        return found

    def wanted(self, now: float, keep: int | None = None) -> dict[str, str]:
        """File name to key, as they should be at ``now`` (seconds of the epoch)."""
        keep = self.keep if keep is None else keep
        start = primary = int(now) // self.period * self.period
        following = primary + self.period
        found = {STAGED: derive(self.seeds[self.reigning(following)], self.purpose, following)}
        while start > 0 and start + self.period + keep > now:
            found |= self.keys(start)
            start -= self.period
        return found


class Plan(NamedTuple):
    """Files to add, then those to replace, then those to take away."""

    add: Mapping[str, str]
    replace: Mapping[str, str]
    retire: Sequence[str]


def plan(ring: Ring, present: Mapping[str, str], now: float) -> Plan:
    """What makes the repository that holds ``present`` the one of this moment."""
    if now < ring.seeds[0].since - CLOCK:
        raise KeyRingError("the clock of this node is before the time when the seeds were made")
    want = ring.wanted(now)
    if all(present.get(name) != key for name, key in want.items()):
        want = ring.wanted(now, max(ring.keep, ring.reach))
    return Plan(
        add={name: key for name, key in want.items() if name not in present},
        replace={name: key for name, key in want.items() if present.get(name, key) != key},
        retire=sorted(set(present) - set(want)),
    )


# --- on the node -------------------------------------------------------------------------------------------


def look(directory: str) -> dict[str, str]:
    """What Keystone would take for keys: files with a number for a name."""
    return {path.name: path.read_text() for path in Path(directory).iterdir() if _number(path.name) and path.is_file()}


def _number(name: str) -> bool:
    try:
        int(name)
    except ValueError:
        return False
    return True


def write(directory: str, name: str, key: str) -> None:
    """Put a key in its place in one step. Keystone opens whatever is in there, so it must be able to read that too."""
    temporary = os.path.join(directory, f"{name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, os.path.join(directory, name))


def turn(ring: Ring, now: float, pause: float = SETTLE) -> tuple[bool, str]:
    """Bring a repository up to date; whether it changed one that was there, and what went wrong.

    A reader that has listed the files finds in them, whenever it opens them, every key that anybody signs with: what
    is new is added first, and only when all who read before have ended, the staged key is replaced.
    """
    present = look(ring.directory)
    todo = plan(ring, present, now)
    for name, key in todo.add.items():
        write(ring.directory, name, key)
    if todo.add and todo.replace:
        time.sleep(pause)
    for name, key in todo.replace.items():
        write(ring.directory, name, key)
    changed = bool(present) and any(todo)
    if todo.retire and ring.retire_after and (fault := _fault(ring.retire_after)):
        return changed, f"{ring.purpose}: {len(todo.retire)} keys of the past stay: {fault}"
    for name in todo.retire:
        os.unlink(os.path.join(ring.directory, name))
    return changed, ""


def lacking(ring: Ring, now: float) -> list[str]:
    """Files that are not as they should be at ``now``."""
    present = look(ring.directory)
    wrong = [name for name, key in ring.wanted(now).items() if present.get(name) != key]
    return [os.path.join(ring.directory, name) for name in wrong]


def _fault(argv: Sequence[str]) -> str:
    """Run a command; empty when it succeeds, else what it says."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=1800, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {error}"
    said = (done.stdout + done.stderr).strip()[-2000:]
    return f"`{' '.join(argv)}` ended with {done.returncode}: {said}" if done.returncode else ""


def symptoms(argv: Sequence[str]) -> str:
    """What the doctor finds that is not so on purpose; empty when there is nothing."""
    fault = _fault(argv)
    found = fault.split("WARNING: ")[1:]
    return "" if found and all(text.startswith(ON_PURPOSE) for text in found) else fault


def rings(config: Mapping[str, Any]) -> list[Ring]:
    """The repositories of a configuration file."""
    try:
        found = [
            Ring(purpose, **{**options, "seeds": parse(options["seeds"])})
            for purpose, options in config["repositories"].items()
        ]
        if any(ring.period < 1 or ring.keep < 0 for ring in found):
            raise KeyRingError("a period is a second at least, and what is kept is kept for no negative time")
    except (KeyError, TypeError, AttributeError) as error:
        raise KeyRingError(f"{CONFIG} is not as the role writes it: {type(error).__name__} {error}") from None
    return found


def become(user: str) -> None:
    """Go on as the owner of the keys: a link that this user left in the way leads root nowhere."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.umask(0o077)


def main(words: Sequence[str]) -> int:
    """0 when every repository is as it should be; the journal takes what is printed, with its priority ahead."""
    try:
        with open(CONFIG, encoding="utf-8") as file:
            config = json.load(file)
            found = rings(config)
            become(config["user"])
            if "--check" in words:
                wrong = [path for ring in found for path in lacking(ring, time.time())]
                print("\n".join(f"not the key of this moment: {path}" for path in wrong))
                return 1 if wrong else 0
            fcntl.flock(file, fcntl.LOCK_EX)
            results = [turn(ring, time.time()) for ring in found]
    except (KeyRingError, OSError, KeyError, ValueError) as error:
        print(f"<3>{error}", flush=True)
        return 2
    faults = [fault for _, fault in results if fault]
    if any(changed for changed, _ in results) and (fault := symptoms(DOCTOR)):
        faults.append(fault)
    print("\n".join(f"<3>{line}" for fault in faults for line in fault.splitlines()), flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
