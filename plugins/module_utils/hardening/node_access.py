# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``node_access``: groups, ages of passwords, files that packages own, options of mounts, special rights.

Looks first and gives a list of :class:`Step`, each a sentence before, one after, and the command that does it;
check mode is the list without the commands. What is not on the node (a user, a file) is passed over: packages differ.
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
    """A command that refused; the message is for the operator."""


@dataclass(frozen=True)
class Step:
    """One thing that is not as it should be: a command puts it right, or ``text`` as the new content of ``path``."""

    what: str
    before: str
    after: str
    argv: tuple[str, ...] = ()
    path: str = ""
    text: str = ""


def steps(options: Mapping[str, Any], root: str = "") -> list[Step]:
    """What has to be done for ``options`` (see the module)."""
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
    """Groups that must exist, with members; users the node does not have are passed over, others are left in.

    ``inherit``: group -> groups whose members become members too.
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
    """Also by a directory service, whose groups cannot be changed here."""
    return user in group.gr_mem or group.gr_gid in os.getgrouplist(user, pwd.getpwnam(user).pw_gid)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def shell_steps(users: Sequence[str]) -> Iterator[Step]:
    """Accounts with which nobody logs in."""
    for user in users:
        if _is_user(user) and (shell := pwd.getpwnam(user).pw_shell) not in NO_LOGIN:
            yield Step(f"shell of {user}", shell, NO_LOGIN[0], ("usermod", "--shell", NO_LOGIN[0], user))


NO_LIMIT = 99999
"""Days from which shadow(5) takes an age for none."""


@dataclass(frozen=True)
class Ages:
    """``days``: longest age of passwords that people log in with; 0 for none. ``exempt``: accounts that never get one.
    ``formerly``: ages that a former hardening may have set.
    """

    days: int = 0
    exempt: Sequence[str] = ()
    formerly: Sequence[int] = ()


def age_steps(ages: Ages, shadow: str = "/etc/shadow") -> Iterator[Step]:
    """Longest ages of passwords.

    SSH refuses an account whose password is too old even when it logs in by key, or has no password at all, and cron
    runs nothing for it. So an age is only for accounts that log in by password.
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
    """Whether an account can log in, and has no key to do so."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return False
    keys = os.path.join(account.pw_dir, ".ssh", "authorized_keys")
    return account.pw_shell not in NO_LOGIN and not (os.path.isfile(keys) and os.path.getsize(keys))


def override_steps(overrides: Sequence[Mapping[str, str]], plain: Sequence[str]) -> Iterator[Step]:
    """Modes that must outlast upgrades of their packages (dpkg-statoverride); ``plain`` lose their special rights."""
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
    """Files and directories that may have no more rights than ``mode``; stricter is fine."""
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
    """Files of packages that are put aside (true) or back (false), which outlasts upgrades (dpkg-divert)."""
    for path, aside in diverted.items():
        told = run(["dpkg-divert", "--truename", path]).stdout.strip()
        away = f"{path}{ASIDE}"
        argv = ("dpkg-divert", "--quiet", "--local", "--rename", "--divert", away)
        if aside and told == path:
            yield Step(path, "the package's", f"put aside as {away}", (*argv, "--add", path))
        elif not aside and told == away:
            yield Step(path, f"put aside as {away}", "the package's", (*argv, "--remove", path))


#: What the name of a file that is put aside ends in; no program that reads a folder of `.conf` takes it for one.
ASIDE = ".package"


def mount_steps(mounts: Sequence[Mapping[str, Any]], table: str = TABLE) -> Iterator[Step]:
    """Options that file systems of ``mounts`` lack in fstab; what has no entry there is passed over."""
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except FileNotFoundError:
        return
    for path, before, after, whole in edits(text, mounts):
        yield Step(f"{table}: {path}", before, after, path=table, text=whole)


def privileged(folders: Iterable[str] = PROGRAMS) -> list[str]:
    """Programs that run with rights of their owner or group, under ``folders`` of one file system."""
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


#: Large folders below /usr in which no package puts programs of that kind.
SKIPPED = frozenset({"share", "include", "python3", "dist-packages", "modules", "firmware"})


def apply(todo: Iterable[Step], call: Callable[[Sequence[str]], Any] = run) -> None:
    """Do the steps.

    :raises AccessError: a command refused.
    """
    for step in todo:
        if step.path:
            replace(step.path, step.text)
            continue
        done = call(step.argv)
        if not done.ok:
            raise AccessError(f"{step.what}: `{' '.join(step.argv)}` failed: {done.output}")


def replace(path: str, text: str) -> None:
    """Give a file another content by one rename; its owner and mode stay."""
    info = os.stat(path)
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.socle-new")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
        os.fchmod(stream.fileno(), stat.S_IMODE(info.st_mode))
        os.fchown(stream.fileno(), info.st_uid, info.st_gid)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
