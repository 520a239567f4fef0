#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Kill a deployment repeatedly, each time a little later, on machines fresh from their image; then let it finish.

It passes if the uninterrupted run succeeds, the run after it changes nothing, and the reachability matrix is as
expected. The machines are those of the given inventory (inventories/lab); they are made anew and left running.
SIGKILL goes to the whole process group, so that no process can clean up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOCLE = str(ROOT / ".venv" / "bin" / "socle")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("-i", "--inventory", default="lab", help="the site (default: lab)")
    options.add_argument("-n", "--kills", type=int, default=12, help="how many runs are killed (default: 12)")
    options.add_argument("--from", dest="first", type=float, default=6, help="seconds into the first run")
    options.add_argument("--step", type=float, default=6, help="seconds later each time, about")
    options.add_argument("--seed", type=int, default=None, help="of the random part of the moments; printed")
    given = options.parse_args()
    seed = given.seed if given.seed is not None else random.randrange(10**6)
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)
    for verb in ("down", "up"):
        run("lab", verb, "-i", given.inventory)
    moments = [given.first + number * given.step + chance.uniform(0, given.step) for number in range(given.kills)]
    for number, moment in enumerate(moments, 1):
        print(f"kill {number}/{given.kills} after {moment:.1f} s: {killed(given.inventory, moment)}", flush=True)
    finished = run("deploy", "-i", given.inventory)
    again = run("deploy", "-i", given.inventory)
    verified = run("verify", "-i", given.inventory)
    print(f"finished: exit {finished['exit_code']}; again: exit {again['exit_code']}, "
          f"changed={again['totals']['changed']}; verify: exit {verified['exit_code']}")  # fmt: skip
    ends = (finished["exit_code"], again["exit_code"], again["totals"]["changed"], verified["exit_code"])
    return 0 if ends == (0, 0, 0, 0) else 1


def killed(inventory: str, moment: float) -> str:
    """Start a deployment and kill it after ``moment`` seconds; return the last line of its output."""
    process = subprocess.Popen(
        [SOCLE, "deploy", "-i", inventory], cwd=ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        said, _nothing = process.communicate(timeout=moment)
        return f"had ended before: {said.splitlines()[-1]}"
    for pid in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    said, _nothing = process.communicate()
    time.sleep(0.5)
    return said.splitlines()[-1][9:]


def descendants(pid: int) -> list[int]:
    """Return a process and all its descendants: ansible-runner starts ansible in a session of its own."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
    return found


def run(*words: str) -> dict:
    """Return the JSON result of a command; its progress goes to standard error."""
    done = subprocess.run([SOCLE, *words, "--json"], cwd=ROOT, text=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
