# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``lockout_guard``: a copy of all access rules, and the timer that restores it.

The copy is kept on disk with a unit that restores it at boot, because a reset is a common reaction to a lockout.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..common.files import make_directory
from ..common.process import run
from ..common.results import lines
from .login_session import Session

FOLDER = "/var/lib/socle/guard"
UNIT = "socle-guard"
BOOT_UNIT = "/etc/systemd/system/socle-guard-boot.service"
BOOT_LINK = "/etc/systemd/system/sysinit.target.wants/socle-guard-boot.service"

#: Files and folders with rules for access to a node, no matter which role changes them.
ACCESS = (
    *(f"/etc/{name}" for name in ("passwd", "shadow", "group", "gshadow", "shells", "securetty", "nsswitch.conf")),
    *(f"/etc/{name}" for name in ("login.defs", "environment", "profile", "profile.d", "bash.bashrc")),
    *(f"/etc/{name}" for name in ("pam.d", "security", "sudo.conf", "sudoers", "sudoers.d", "cron.allow", "at.allow")),
    *(f"/etc/{name}" for name in ("ssh", "default/ssh", "hosts.allow", "hosts.deny", "nftables.conf", "fstab")),
    *(f"/etc/{name}" for name in ("sysctl.conf", "sysctl.d", "systemd/logind.conf", "systemd/logind.conf.d")),
    *(f"/etc/systemd/system/{name}" for name in ("ssh.service.d", "ssh.socket.d", "sshd.service.d")),
    # Owners and modes of packages' files that dpkg must keep.
    "/var/lib/dpkg/statoverride",
    "/var/lib/dpkg/diversions",
)
#: Programs for login. Their owner and mode are restored; their content belongs to their packages.
PROGRAMS = ("/usr/bin/sudo", "/usr/bin/su", "/usr/bin/login", "/usr/sbin/unix_chkpwd", "/bin/bash", "/bin/dash")
TABLE = "inet socle_host"

SCRIPT = r"""#!/bin/sh
# Puts the former rules of access back. Written by Ansible (module lockout_guard).
cd {folder} || exit 1

put_back() {{
  if [ -e "files$1" ] || [ -L "files$1" ]; then
    cp --archive --no-target-directory "files$1" "$1.socle-guard" && mv -f --no-target-directory "$1.socle-guard" "$1"
  else
    rm -f "$1"
  fi
}}

while IFS= read -r path; do
  if [ -d "$path" ] && ! [ -L "$path" ]; then
    find "$path" ! -type d ! -name '*.socle-guard'
  fi
  if [ -d "files$path" ] && ! [ -L "files$path" ]; then
    (cd "files$path" && find . -type d -exec mkdir -p "$path/{{}}" \;)
    (cd "files$path" && find . ! -type d | sed "s|^\.|$path|")
  elif [ -e "$path" ] || [ -L "$path" ] || [ -e "files$path" ] || [ -L "files$path" ]; then
    [ -d "$path" ] || echo "$path"
  fi
done < paths | sort -u | while IFS= read -r file; do put_back "$file"; done

# Rights of folders and programs. The owner comes first: changing it takes special rights away.
while read -r mode owner path; do
  if [ -e "$path" ]; then chown "$owner" "$path"; chmod "$mode" "$path"; fi
done < rights

if [ "$1" != boot ]; then
  sysctl -a -r '^net\.' 2>/dev/null > now
  grep -vxFf now parameters | sysctl -q -e -p - >/dev/null 2>&1
  {{ echo 'table {table}'; echo 'delete table {table}'; cat filter; }} | nft -f -
  if ! grep -q enabled filter-unit; then systemctl disable nftables.service; fi
  sshd -t && systemctl try-reload-or-restart ssh.service
fi
logger -p auth.warning -t {unit} "access rules were not confirmed by a new connection: the former ones are back"
rm -rf {link} {boot_unit} {folder}
"""

AT_BOOT = """\
# Written by Ansible (module lockout_guard); there only while new rules of access wait for their confirmation.
[Unit]
Description=Put the former rules of access back, as the new ones were not confirmed
DefaultDependencies=no
RequiresMountsFor={folder} /etc /usr
After=local-fs.target
Before=sysinit.target systemd-sysctl.service nftables.service network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {folder}/restore boot
"""


class GuardError(Exception):
    """The guard cannot be armed, or a guarded rule was not copied; the message is for the operator."""


class Guard:
    """The guard of this node. ``folder`` contains the copies."""

    def __init__(self, folder: str = FOLDER) -> None:
        self.folder = Path(folder)
        self.script = self.folder / "restore"

    def armed(self) -> bool:
        return self.script.exists()

    def arm(self, paths: Iterable[str], rights: Iterable[str], seconds: int) -> None:
        """Copy all access rules, including ``paths``, and start the timer (again).

        ``rights``: programs and folders whose owner and mode may change. An armed guard keeps its present copies.

        :raises GuardError: the timer does not start.
        """
        fresh = not self.armed()
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
            make_directory(str(self.folder), 0o700)
        self.keep([*ACCESS, *paths], [*PROGRAMS, *rights])
        if fresh:
            self._keep_live()
        self._at_boot()
        # Written last: this file marks the guard as armed, and everything that it needs exists now.
        self._write("armed", f"{now()}\n")
        self._write("restore", restore_script(self.folder))
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

    def keep(self, paths: Sequence[str], rights: Iterable[str]) -> None:
        """Copy ``paths``, and record the owners and modes of ``rights`` and of every folder below ``paths``.

        Earlier copies and records are not replaced.
        """
        known, noted = self._lines("paths"), self._lines("rights")
        new = [path for path in dict.fromkeys(paths) if path not in known]
        for path in new:
            self._copy(path)
        seen = {line.split(" ", 2)[2] for line in noted}
        asked = dict.fromkeys([*rights, *(folder for path in new for folder in folders(path))])
        noted += [line for path in asked if path not in seen for line in rights_of(path)]
        self._write("paths", lines([*known, *new]))
        self._write("rights", lines(noted))

    def confirm(self, session: Session) -> None:
        """Keep the new rules.

        :raises GuardError: ``session`` started before the new rules and therefore proves nothing, or the former ones
            are back.
        """
        if session.started is not None and session.started < self._armed_at():
            raise GuardError(
                "this connection is older than the new rules of access, so it does not show that a new one "
                "would be let in"
            )
        self._stop()
        if run(["systemctl", "is-active", "--quiet", f"{UNIT}.service"]).ok or not self.armed():
            raise GuardError(GONE)
        for path in (BOOT_LINK, BOOT_UNIT):
            Path(path).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def restore(self) -> None:
        """Restore the former rules now.

        :raises GuardError: the restore script fails.
        """
        self._stop()
        done = run(["sh", str(self.script)])
        if not done.ok:
            raise GuardError(f"the former rules of access could not be put back: {done.output}")

    def _armed_at(self) -> float:
        try:
            return float((self.folder / "armed").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _keep_live(self) -> None:
        """Copy the live state of the kernel and systemd, which is not in files."""
        self._write("parameters", run(["sysctl", "-a", "-r", r"^net\."]).stdout)
        table = run(["nft", "list", "table", *TABLE.split()])
        self._write("filter", table.stdout if table.ok else "")
        self._write("filter-unit", run(["systemctl", "is-enabled", "nftables.service"]).stdout)

    def _at_boot(self) -> None:
        _replace(Path(BOOT_UNIT), AT_BOOT.format(folder=self.folder))
        make_directory(os.path.dirname(BOOT_LINK))
        Path(BOOT_LINK).unlink(missing_ok=True)
        Path(BOOT_LINK).symlink_to(BOOT_UNIT)

    def _stop(self) -> None:
        run(["systemctl", "stop", f"{UNIT}.timer"])

    def _write(self, name: str, text: str) -> None:
        _replace(self.folder / name, text, 0o700 if name == "restore" else 0o600)

    def _copy(self, path: str) -> None:
        target = kept(self.folder, path)
        if os.path.lexists(path):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            done = run(["cp", "--archive", "--no-target-directory", path, str(target)])
            if not done.ok:
                raise GuardError(f"{path} cannot be kept, so nothing was changed: {done.output}")


GONE = (
    "the former rules of access are back, as nothing confirmed the new ones in time: "
    "raise hardening_rollback_seconds and harden again"
)


def now() -> float:
    """Return seconds since the boot, on the clock of the kernel's process start times."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def kept(folder: Path, path: str) -> Path:
    """Return the path of the copy of ``path``."""
    return folder / "files" / path.lstrip("/")


def folders(path: str) -> Iterator[str]:
    """Return ``path`` if it is a folder, and all folders below it."""
    for folder, _, _ in os.walk(path):
        yield folder


def rights_of(path: str) -> Iterator[str]:
    """Return mode, owner and path, one line each; missing paths are left out."""
    try:
        info = os.stat(path)
    except OSError:
        return
    yield f"{stat.S_IMODE(info.st_mode):04o} {info.st_uid}:{info.st_gid} {path}"


def restore_script(folder: Path) -> str:
    """Return a script that restores copied files, removes files that did not exist, and activates both."""
    return SCRIPT.format(folder=folder, unit=UNIT, table=TABLE, link=BOOT_LINK, boot_unit=BOOT_UNIT)


def _replace(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file in one step, so that a power cut leaves the whole content or none of it."""
    new = path.with_name(f"{path.name}.new")
    with open(new, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(new, path)
