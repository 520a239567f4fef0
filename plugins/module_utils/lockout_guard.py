# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``lockout_guard``: copies of access rules, and the timer that puts them back.

The copy and the script that restores it are in ``/run``: a reboot starts with the new files, and a console is
near whoever reboots.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from .common import run

FOLDER = "/run/socle/guard"
UNIT = "socle-guard"

AFTER = """\
if [ -e /etc/nftables.conf ]; then nft -f /etc/nftables.conf; else nft delete table inet socle_host; fi
sshd -t && systemctl reload ssh.service
rm -rf {folder}
logger -p auth.warning -t socle-guard "access rules were not confirmed by a second connection: the former ones are back"
"""


class GuardError(Exception):
    """systemd refuses the timer; the message is for the operator."""


class Guard:
    """The guard of this node. ``folder`` is where the copies are."""

    def __init__(self, folder: str = FOLDER) -> None:
        self.folder = Path(folder)
        self.script = self.folder / "restore"

    def armed(self) -> bool:
        return self.script.exists()

    def arm(self, paths: Sequence[str], seconds: int) -> None:
        """Copy ``paths``, and start the timer (again).

        :raises GuardError: the timer does not start.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copied = {line for line in self._known() if line}
        for path in paths:
            if path not in copied:
                self._copy(path)
        every = sorted(copied | set(paths))
        (self.folder / "paths").write_text("".join(f"{path}\n" for path in every), encoding="utf-8")
        self.script.write_text(restore_script(self.folder, every), encoding="utf-8")
        self.script.chmod(0o700)
        self._stop()
        started = run(
            [
                "systemd-run",
                f"--unit={UNIT}",
                f"--on-active={seconds}",
                "--timer-property=AccuracySec=1s",
                "--collect",
                "sh",
                str(self.script),
            ]
        )
        if not started.ok:
            raise GuardError(f"the guard against locking this node cannot be set: {started.output}")

    def confirm(self) -> None:
        """The new rules stay."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop(self) -> None:
        run(["systemctl", "stop", f"{UNIT}.timer"])

    def _known(self) -> list[str]:
        try:
            return (self.folder / "paths").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _copy(self, path: str) -> None:
        target = kept(self.folder, path)
        target.unlink(missing_ok=True)
        if os.path.lexists(path):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            run(["cp", "--archive", "--no-dereference", path, str(target)])


def kept(folder: Path, path: str) -> Path:
    """Where the copy of ``path`` is."""
    return folder / "files" / path.lstrip("/")


def restore_script(folder: Path, paths: Sequence[str]) -> str:
    """Puts back what was copied, removes what was not there, and makes it hold."""
    lines = ["#!/bin/sh"]
    for path in paths:
        copy, target = shlex.quote(str(kept(folder, path))), shlex.quote(path)
        lines.append(f"if [ -e {copy} ]; then cp --archive {copy} {target}; else rm -f {target}; fi")
    return "\n".join(lines) + "\n" + AFTER.format(folder=shlex.quote(str(folder)))
