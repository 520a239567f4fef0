# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Keystone's key repositories, computed from a secret seed and the time.

Time is divided into periods. The key of a period is HKDF-Expand (RFC 5869) of the seed and the period's start, so every
controller derives the same keys without communication. A rebuilt controller has the keys at once, and the
next period's key exists a whole period before any controller signs with it (file ``0``, which Keystone calls staged).
A file's name is the start of its period, in seconds of the epoch: the highest one signs.

Both a library and a program: on a controller a timer runs it as ``socle-keystone-keys.service``, and ``--check`` tells
whether the keys are those of the present time. Standard library only.
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
"""Periods for which a seed's predecessor stays valid: a controller may have signed before it received the new seed."""
DEPLOY_WITHIN = 3600
"""Minimum seconds between the creation of a seed and its first period, in which every controller must receive it."""
REMEMBERED = 90 * 86400
"""Seconds after which a seed with a successor is removed: longer than anything it signed is valid."""
CLOCK = 86400
"""Seconds by which the clock may be before the creation of the oldest seed. If it is more, the clock was never set."""
SETTLE = 1.0
"""Seconds within which Keystone finishes reading a repository."""
DOCTOR = ("keystone-manage", "doctor")
ON_PURPOSE = "Caching is not completely configured."
"""Symptom that the doctor reports on a site whose cache does not outlive a request (``keystone_cache_seconds`` 0)."""


class KeyRingError(Exception):
    """The seeds, the configuration or the clock cannot be used; the message is for the operator and contains no key."""


class Seed(NamedTuple):
    """``since``: seconds of the epoch; the seed's keys are used in periods that begin then or later."""

    since: int
    secret: bytes

    def __str__(self) -> str:
        return f"{self.since}:{base64.urlsafe_b64encode(self.secret).decode()}"


def new_seed(since: int) -> Seed:
    return Seed(since, secrets.token_bytes(32))


def parse(text: str) -> list[Seed]:
    """Return seeds from words ``SINCE:BASE64``, oldest first."""
    try:
        pairs = [word.partition(":") for word in text.split()]
        found = sorted(Seed(int(since), base64.urlsafe_b64decode(secret)) for since, _, secret in pairs)
    except (ValueError, binascii.Error):
        found = []
    if not found or any(len(seed.secret) != 32 for seed in found):
        raise KeyRingError("the seeds are not words of the form SECONDS:KEY with keys of 32 bytes in URL-safe base64")
    return found


def succeed(text: str, now: int) -> str:
    """Return the seeds of ``text`` and a new one, which is used from the first period that begins in an hour or later.

    A seed that is not in use yet is replaced.
    """
    first, *others = parse(text)
    reigned = [first, *(seed for seed in others if seed.since <= now)]
    kept = [seed for seed, successor in pairwise(reigned) if successor.since > now - REMEMBERED]
    return " ".join(map(str, [*kept, reigned[-1], new_seed(now + DEPLOY_WITHIN)]))


def derive(seed: Seed, purpose: str, start: int) -> str:
    """Return the key of the period that begins at ``start``, in Keystone's form: 32 bytes in URL-safe base64."""
    info = f"socle keystone {purpose} {start}".encode()
    return base64.urlsafe_b64encode(hmac.digest(seed.secret, info + b"\x01", hashlib.sha256)).decode()


class Ring(NamedTuple):
    """A repository. ``keep``: seconds that a key is kept after its period.

    A repository with no valid key starts with the keys of the last ``reach`` seconds, because the database may be a
    backup. ``retire_after``: command that must succeed before a key is removed.
    """

    purpose: str
    seeds: Sequence[Seed]
    period: int
    keep: int
    directory: str = ""
    reach: int = 0
    retire_after: Sequence[str] = ()

    def reigning(self, start: int) -> int:
        """Return the index of the seed for the period that begins at ``start``; the first also has all before it."""
        return max((place for place, seed in enumerate(self.seeds) if seed.since <= start), default=0)

    def keys(self, start: int) -> dict[str, str]:
        """Return the key of a period and, if its seed is new, under the next lower name its predecessor's key."""
        place = self.reigning(start)
        found = {str(start): derive(self.seeds[place], self.purpose, start)}
        if place and start < self.seeds[place].since + LATE * self.period:
            found[str(start - 1)] = derive(self.seeds[place - 1], self.purpose, start)
        return found

    def wanted(self, now: float, keep: int | None = None) -> dict[str, str]:
        """Return file name to key, as they should be at ``now`` (seconds of the epoch)."""
        keep = self.keep if keep is None else keep
        start = primary = int(now) // self.period * self.period
        following = primary + self.period
        found = {STAGED: derive(self.seeds[self.reigning(following)], self.purpose, following)}
        while start > 0 and start + self.period + keep > now:
            found |= self.keys(start)
            start -= self.period
        return found


class Plan(NamedTuple):
    """Files to add, then those to replace, then those to remove."""

    add: Mapping[str, str]
    replace: Mapping[str, str]
    retire: Sequence[str]


def plan(ring: Ring, present: Mapping[str, str], now: float) -> Plan:
    """Return the changes that bring a repository with the keys ``present`` to the state for ``now``."""
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
    """Return the files that Keystone would read as keys: those with a number as name."""
    return {path.name: path.read_text() for path in Path(directory).iterdir() if _number(path.name) and path.is_file()}


def _number(name: str) -> bool:
    try:
        int(name)
    except ValueError:
        return False
    return True


def write(directory: str, name: str, key: str) -> None:
    """Write a key in one step.

    Keystone opens every file in the folder, so it must be able to read the temporary one too.
    """
    temporary = os.path.join(directory, f"{name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, os.path.join(directory, name))


def turn(ring: Ring, now: float, pause: float = SETTLE) -> tuple[bool, str]:
    """Bring a repository up to date; return whether an existing one was changed, and the error.

    A reader that has listed the files must find every key in use in them, whenever it opens them. Therefore new
    files are added first, and the staged key is replaced only when all earlier readers have finished.
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
    """Return files that differ from the state for ``now``."""
    present = look(ring.directory)
    wrong = [name for name, key in ring.wanted(now).items() if present.get(name) != key]
    return [os.path.join(ring.directory, name) for name in wrong]


def _fault(argv: Sequence[str]) -> str:
    """Run a command; return "" if it succeeds, else its output."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=1800, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {error}"
    said = (done.stdout + done.stderr).strip()[-2000:]
    return f"`{' '.join(argv)}` ended with {done.returncode}: {said}" if done.returncode else ""


def symptoms(argv: Sequence[str]) -> str:
    """Return the doctor's symptoms, except those that are intended; empty if there are none."""
    fault = _fault(argv)
    found = fault.split("WARNING: ")[1:]
    return "" if found and all(text.startswith(ON_PURPOSE) for text in found) else fault


def rings(config: Mapping[str, Any]) -> list[Ring]:
    """Return the repositories of a configuration file."""
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
    """Continue as the owner of the keys, so that root does not follow a link that this user made."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.umask(0o077)


def main(words: Sequence[str]) -> int:
    """Return 0 if every repository is up to date; printed lines go to the journal and start with their priority."""
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
