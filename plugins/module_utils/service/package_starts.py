# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A policy for services while packages are installed: unconfigured services do not start, other requests are done.

The same holds for the next boot: a unit that packages enabled is disabled again, as in a node image,
until the role that configures it enables it.

A maintainer script asks ``/usr/sbin/policy-rc.d`` (README.policy-rc.d of init-system-helpers) before it starts, stops,
restarts or reloads a service. A policy that refuses everything also refuses actions that other packages need at once:
polkit may own its name on the bus only after the reload of dbus that its package requests.

The policy applies only if :data:`VARIABLE` is set in the environment, which apt passes to the scripts. Therefore a
policy left by a killed run has no effect on others. A policy of the node's own is moved aside, and asked as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..common.files import make_directory
from ..common.process import run
from ..common.results import lines

DPKG = "/var/lib/dpkg"
LOCK_TIMEOUT = 300.0
"""Seconds to wait for another process that installs packages, such as an apt that outlived the run that started it."""
POLICY = "/usr/sbin/policy-rc.d"
KEPT = "/usr/sbin/policy-rc.d.before-socle"
VARIABLE = "SOCLE_HOLD_STARTS"
ASKED = "/var/lib/socle/package-requests"
ENABLED = "/var/lib/socle/enabled-before-packages"
"""Units that were enabled before. Kept on disk until processed, so that the next run after a killed one does it."""
KEEP = frozenset({"apparmor.service", "logrotate.timer"})
"""Units that need no configuration and that a node should always have."""
MARK = "# Written by Ansible (cloudwatt.socle.package_starts)."

SCRIPT = f"""\
#!/bin/sh
{MARK}
# While Ansible installs packages, a service that runs may be reloaded, and restarted unless a role runs it. Nothing
# starts or stops. At any other time this refuses nothing.
kept={KEPT}
if [ -z "${VARIABLE}" ]; then
    if [ -x "$kept" ]; then exec "$kept" "$@"; fi
    exit 0
fi
while [ "${{1#--}}" != "$1" ]; do shift; done
case "$1" in *.*) unit=$1 ;; *) unit=$1.service ;; esac
answer=101
case "$2" in
reload | force-reload | try-restart | restart)
    if systemctl --quiet is-active "$unit"; then
        if [ ! -e "/run/socle/units/$unit.json" ]; then
            answer=0
        elif [ "$2" = reload ] || [ "$2 $(systemctl show --value -p CanReload "$unit")" = "force-reload yes" ]; then
            answer=0
        fi
    fi
    ;;
status) answer=0 ;;
esac
if [ "$answer" = 0 ] && [ -x "$kept" ]; then
    "$kept" "$@" >/dev/null
    case $? in 0 | 1 | 104) ;; *) answer=101 ;; esac
fi
echo "$2 $unit $answer" >> {ASKED}
exit "$answer"
"""

_LINE = re.compile(r"\(?([a-z-]+)\)? (\S+) (0|101)")


@dataclass(frozen=True)
class Paths:
    """The paths of the files; tests use others."""

    policy: str = POLICY
    kept: str = KEPT
    asked: str = ASKED
    enabled: str = ENABLED


def unfinished(paths: Paths = Paths()) -> bool:
    """Return whether packages were installed and :func:`release` was not called since."""
    return os.path.exists(paths.enabled)


def held(paths: Paths = Paths()) -> bool:
    """Return whether the policy is in place and unchanged."""
    try:
        with open(paths.policy, encoding="utf-8", errors="replace") as stream:
            return stream.read() == SCRIPT and os.access(paths.policy, os.X_OK)
    except OSError:
        return False


def hold(paths: Paths = Paths()) -> None:
    """Install the policy, and move a policy of the node's own aside."""
    if os.path.lexists(paths.policy) and not _ours(paths.policy):
        os.replace(paths.policy, paths.kept)
    make_directory(os.path.dirname(paths.asked))
    if not unfinished(paths):
        _write(paths.enabled, lines(enabled()), 0o644)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.asked)
    _write(paths.policy, SCRIPT, 0o755)


def release(paths: Paths = Paths()) -> dict[str, list[str]]:
    """Remove the policy, restore the node's own, and disable the units that packages enabled.

    Returns the requests made meanwhile (see :func:`requests`), and the units that were ``disabled``.
    """
    if os.path.lexists(paths.kept):
        os.replace(paths.kept, paths.policy)
    elif _ours(paths.policy):
        os.unlink(paths.policy)
    try:
        with open(paths.asked, encoding="utf-8") as stream:
            found = requests(stream.read())
        os.unlink(paths.asked)
    except FileNotFoundError:
        found = requests("")
    found["disabled"] = []
    with contextlib.suppress(FileNotFoundError):
        with open(paths.enabled, encoding="utf-8") as stream:
            found["disabled"] = to_disable(stream.read().split(), enabled())
        if found["disabled"]:
            run(["systemctl", "disable", *found["disabled"]])
        os.unlink(paths.enabled)
    return found


def enabled() -> dict[str, bool]:
    """Return the enabled units, and whether each runs."""
    listed = run(["systemctl", "list-unit-files", "--state=enabled", "--plain", "--no-legend"])
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    names = [name for name in names if "@." not in name]
    states = run(["systemctl", "is-active", *names]).stdout.split() if names else []
    return {name: state == "active" for name, state in zip(names, states, strict=True)}


def to_disable(before: Iterable[str], now: Mapping[str, bool]) -> list[str]:
    """Return the units that packages have enabled and nobody has started."""
    return sorted({name for name, active in now.items() if not active} - {*before} - KEEP)


def _write(path: str, text: str, mode: int) -> None:
    new = f"{path}.socle-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
    os.replace(new, path)


def interrupted(folder: str = DPKG) -> bool:
    """Return whether dpkg was killed, so that apt would refuse every action."""
    with contextlib.suppress(FileNotFoundError):
        return any(name.isdigit() for name in os.listdir(os.path.join(folder, "updates")))
    return False


def resume(folder: str = DPKG) -> str:
    """Complete the work of a killed dpkg under the policy; return the fault, if any."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    environment = {VARIABLE: "1", "DEBIAN_FRONTEND": "noninteractive"}
    while interrupted(folder):
        done = run(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"], environment=environment)
        if done.ok:
            break
        if "lock" not in done.stderr or time.monotonic() > deadline:
            return f"`dpkg --configure -a` ended with {done.rc}:\n{done.output[-2000:]}"
        time.sleep(2)
    return ""


def _ours(path: str) -> bool:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return MARK in stream.read(4096)
    return False


def requests(log: str) -> dict[str, list[str]]:
    """Return the requests that were ``allowed`` and ``refused``, each as ``action unit``, once and sorted."""
    found: Mapping[str, set[str]] = {"allowed": set(), "refused": set()}
    for action, unit, answer in _LINE.findall(log):
        found["allowed" if answer == "0" else "refused"].add(f"{action} {unit}")
    return {answer: sorted(asked) for answer, asked in found.items()}
