# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``node_access``: groups, password ages, files that packages own, mount options, special rights.

Reads the state first and returns a list of :class:`Step`: a sentence for the state before, one for the state after, and
the command. Check mode runs no command. A missing user or file is skipped, because the installed packages differ.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.process import run
from ..service.config_files import parse_mode
from .mount_table import TABLE, edits

SPECIAL = stat.S_ISUID | stat.S_ISGID
PROGRAMS = ("/usr",)
NO_LOGIN = ("/usr/sbin/nologin", "/bin/false", "/usr/bin/false")


class AccessError(Exception):
    """A command failed; the message is for the operator."""


@dataclass(frozen=True)
class Step:
    """A deviation from the wanted state, and its correction: a command, or ``text`` as the new content of ``path``."""

    what: str
    before: str
    after: str
    argv: tuple[str, ...] = ()
    path: str = ""
    text: str = ""


def steps(options: Mapping[str, Any], root: str = "") -> list[Step]:
    """Return the steps for ``options`` (see the module)."""
    return [
        *group_steps(options["groups"], options["inherit"]),
        *shell_steps(options["no_login"]),
        *(age_steps(Ages(**options["ages"]), f"{root}/etc/shadow") if options["ages"] else ()),
        *override_steps(options["overrides"], options["plain"]),
        *mode_steps(options["modes"]),
        *diversion_steps(options["diverted"]),
        *mount_steps(options["mounts"], f"{root}{TABLE}"),
    ]


def group_steps(
    groups: Mapping[str, Sequence[str]], inherit: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Step]:
    """Create groups that must exist and add their members; missing users are skipped, other members are kept.

    ``inherit``: group -> groups whose members are added, too.
    """
    for name, members in groups.items():
        group = _group(name)
        if not group:
            yield Step(f"group {name}", "absent", "present", ("groupadd", "--system", name))
        heirs = [user for other in (inherit or {}).get(name, ()) if (found := _group(other)) for user in found.gr_mem]
        for user in dict.fromkeys([*members, *heirs]):
            if _is_user(user) and not (group and _is_member(user, group)):
                yield Step(f"group {name}: {user}", "no member", "member", ("gpasswd", "--add", user, name))


def _group(name: str) -> grp.struct_group | None:
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def _is_member(user: str, group: grp.struct_group) -> bool:
    """Return whether a user is a member, including by a directory service, whose groups cannot be changed here."""
    return user in group.gr_mem or group.gr_gid in os.getgrouplist(user, pwd.getpwnam(user).pw_gid)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def shell_steps(users: Sequence[str]) -> Iterator[Step]:
    """Remove the login shell of accounts that must not log in."""
    for user in users:
        if _is_user(user) and (shell := pwd.getpwnam(user).pw_shell) not in NO_LOGIN:
            yield Step(f"shell of {user}", shell, NO_LOGIN[0], ("usermod", "--shell", NO_LOGIN[0], user))


NO_LIMIT = 99999
"""Days from which shadow(5) treats an age as unlimited."""


@dataclass(frozen=True)
class Ages:
    """``days``: longest age of passwords of people; 0 for none. ``exempt``: accounts that never get one.
    ``formerly``: ages that a former hardening may have set.
    """

    days: int = 0
    exempt: Sequence[str] = ()
    formerly: Sequence[int] = ()


def age_steps(ages: Ages, shadow: str = "/etc/shadow") -> Iterator[Step]:
    """Set the longest ages of passwords.

    SSH refuses an account with an expired password even if it logs in by key or has no password at all, and cron
    runs no jobs for it. Therefore only accounts that log in by password get an age.
    """
    with open(shadow, encoding="utf-8") as stream:
        accounts = [fields for line in stream if len(fields := line.split(":")) > 4]
    for user, secret, _, _, age, *_ in accounts:
        have = int(age) if age.isdecimal() and int(age) < NO_LIMIT else 0
        usable = bool(secret) and secret[0] not in "!*"
        if ages.days and usable and user not in ages.exempt and _by_password(user):
            wanted = ages.days
        elif user in ages.exempt or not usable or have in ages.formerly:
            wanted = 0
        else:
            continue
        if have != wanted:
            yield Step(f"password of {user}", _age(have), _age(wanted), ("chage", "--maxdays", str(wanted or -1), user))


def _age(days: int) -> str:
    return f"at most {days} days" if days else "at most any number of days"


def _by_password(user: str) -> bool:
    """Return whether an account can log in and has no key for it."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return False
    keys = os.path.join(account.pw_dir, ".ssh", "authorized_keys")
    return account.pw_shell not in NO_LOGIN and not (os.path.isfile(keys) and os.path.getsize(keys))


def override_steps(overrides: Sequence[Mapping[str, str]], plain: Sequence[str]) -> Iterator[Step]:
    """Set modes that must survive package upgrades (dpkg-statoverride); ``plain`` files lose their special rights."""
    listed = {
        fields[3]: fields[:3]
        for line in run(["dpkg-statoverride", "--list"]).stdout.splitlines()
        if len(fields := line.split()) == 4
    }
    wanted = {item["path"]: [item["owner"], item["group"], item["mode"].lstrip("0")] for item in overrides}
    for path in plain:
        if os.path.exists(path) and path not in wanted:
            wanted[path] = ["root", "root", "755"]
    for path, fields in wanted.items():
        if not os.path.exists(path):
            continue
        have = [listed.get(path, ["", "", ""])[0], *listed.get(path, ["", "", ""])[1:]]
        if have[2:]:
            have[2] = have[2].lstrip("0")
        if have != fields:
            argv = ["dpkg-statoverride", "--update", "--force-statoverride-add", "--force-statoverride-remove", "--add"]
            yield Step(path, " ".join(have).strip() or "the package's mode", " ".join(fields), (*argv, *fields, path))


def mode_steps(modes: Sequence[Mapping[str, str]]) -> Iterator[Step]:
    """Limit the rights of files and directories to ``mode``; stricter modes are kept."""
    for item in modes:
        most = parse_mode(item["mode"], item["path"])
        try:
            info = os.stat(item["path"])
        except FileNotFoundError:
            continue
        now = stat.S_IMODE(info.st_mode)
        if now & ~most:
            wanted = now & most
            yield Step(item["path"], f"{now:04o}", f"{wanted:04o}", ("chmod", f"{wanted:04o}", item["path"]))


def diversion_steps(diverted: Mapping[str, bool]) -> Iterator[Step]:
    """Move files of packages aside (true) or back (false), in a way that survives upgrades (dpkg-divert)."""
    for path, aside in diverted.items():
        told = run(["dpkg-divert", "--truename", path]).stdout.strip()
        away = f"{path}{ASIDE}"
        argv = ("dpkg-divert", "--quiet", "--local", "--rename", "--divert", away)
        if aside and told == path:
            yield Step(path, "the package's", f"put aside as {away}", (*argv, "--add", path))
        elif not aside and told == away:
            yield Step(path, f"put aside as {away}", "the package's", (*argv, "--remove", path))


#: Suffix of a file that is moved aside; no program that reads a folder of `.conf` files reads it.
ASIDE = ".package"


def mount_steps(mounts: Sequence[Mapping[str, Any]], table: str = TABLE) -> Iterator[Step]:
    """Add options that file systems of ``mounts`` lack in fstab; a mount without an entry there is skipped."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except FileNotFoundError:
        return
    for path, before, after, whole in edits(text, mounts):
        yield Step(f"{table}: {path}", before, after, path=table, text=whole)


def privileged(folders: Iterable[str] = PROGRAMS) -> list[str]:
    """Return the programs that run with rights of their owner or group, under ``folders`` of one file system."""
    found: list[str] = []
    for folder in folders:
        device = os.stat(folder).st_dev
        stack = [folder]
        while stack:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in SKIPPED:
                            stack.append(entry.path)
                    elif (info := entry.stat(follow_symlinks=False)).st_mode & SPECIAL and info.st_dev == device:
                        found.append(entry.path)
    return sorted(found)


#: Large folders below /usr in which no package installs such programs.
SKIPPED = frozenset({"share", "include", "python3", "dist-packages", "modules", "firmware"})


def apply(todo: Iterable[Step], call: Callable[[Sequence[str]], Any] = run) -> None:
    """Do the steps.

    :raises AccessError: a command failed.
    """
    for step in todo:
        if step.path:
            replace(step.path, step.text)
            continue
        done = call(step.argv)
        if not done.ok:
            raise AccessError(f"{step.what}: `{' '.join(step.argv)}` failed: {done.output}")


def replace(path: str, text: str) -> None:
    """Replace the content of a file with one rename; its owner and mode are kept."""
    info = os.stat(path)
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.socle-new")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
        os.fchmod(stream.fileno(), stat.S_IMODE(info.st_mode))
        os.fchown(stream.fileno(), info.st_uid, info.st_gid)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
