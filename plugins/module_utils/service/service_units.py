# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The units of module ``node_service``: which have to start, restart or reload, and why.

The files that a unit read at its last start are recorded in a *stamp*: the InvocationID of that run and a hash of every
file. A running unit whose files differ from its stamp is restarted, no matter who changed them and when.
Therefore the next run repairs a run that was killed between writing a file and restarting its unit. Stamps are in
``/run``: like InvocationIDs, they do not survive a reboot.

Pure except for :func:`fingerprint`, :func:`load_stamp`, :func:`save_stamp` and :func:`probe`.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Any

from ..common.files import make_directory
from ..common.process import run
from . import network_links

STAMPS = "/run/socle/units"
PROPERTIES = {
    "LoadState": "load",
    "ActiveState": "active",
    "SubState": "sub",
    "UnitFileState": "file_state",
    "FragmentPath": "fragment",
    "DropInPaths": "drop_ins",
    "InvocationID": "invocation",
    "InactiveExitTimestamp": "since",
    "NeedDaemonReload": "stale",
    "Type": "type",
    "Result": "result",
}
NOT_ENABLED = {"disabled", "masked", "enabled-runtime", "linked", "linked-runtime"}


class UnitError(Exception):
    """A unit, or systemd itself, refused an action; the message is for the operator."""


@dataclass(frozen=True)
class Unit:
    """A unit as the task specifies it; ``ready`` is the option's mapping, or None."""

    name: str
    reads: Sequence[str] = ()
    reloads: Sequence[str] = ()
    on_change: str = "restart"
    test: str = ""
    ready: Mapping[str, Any] | None = None
    enabled: bool = True
    state: str = "started"
    wave: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Unit:
        name = item["name"]
        enabled = item.get("enabled")
        return cls(
            name=name if "." in name.rpartition("@")[2] and _suffix(name) else f"{name}.service",
            reads=tuple(item.get("reads") or ()),
            reloads=tuple(item.get("reloads") or ()),
            on_change=item.get("on_change") or "restart",
            test=item.get("test") or "",
            ready=item.get("ready"),
            enabled=item.get("state") != "stopped" if enabled is None else enabled,
            state=item.get("state") or "started",
            wave=item.get("wave") or 0,
        )

    @property
    def patterns(self) -> tuple[str, ...]:
        """Return everything that the unit reads, independent of the effect of a change."""
        return (*self.reads, *self.reloads)

    def verb_for(self, paths: Iterable[str]) -> str:
        """Return the effect of a change of these paths: reload if a reload is enough for each of them."""
        eased = all(any(_covers(pattern, path) for pattern in self.reloads) for path in paths)
        return "reload" if eased else self.on_change.replace("none", "restart")


def _suffix(name: str) -> bool:
    return name.rpartition(".")[2] in {
        "service",
        "socket",
        "timer",
        "path",
        "target",
        "mount",
        "slice",
        "scope",
    }


@dataclass(frozen=True)
class Live:
    """The state of a unit in systemd. ``since``: start of its present run, in seconds of the epoch (0: never)."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    file_state: str = ""
    fragment: str = ""
    drop_ins: Sequence[str] = ()
    invocation: str = ""
    since: float = 0
    stale: bool = False
    type: str = ""
    result: str = ""

    @property
    def unit_files(self) -> list[str]:
        return [path for path in (self.fragment, *self.drop_ins) if path]

    @property
    def running(self) -> bool:
        return self.active in ("active", "reloading", "refreshing", "activating")

    @property
    def ended(self) -> bool:
        """Return whether the unit has ended and is no successful oneshot.

        A daemon that ended with status 0 has ended, too.
        """
        if self.active not in ("inactive", "failed"):
            return False
        return not (self.type == "oneshot" and self.active == "inactive" and self.result == "success" and self.since)

    @property
    def state(self) -> str:
        """Return the state as readable text: ``active/running``, ``inactive/dead``."""
        return f"{self.active}/{self.sub}"


def parse_show(text: str, names: Sequence[str]) -> dict[str, Live]:
    """Parse the output of ``systemctl show --timestamp=us+utc`` for ``names``: a block per unit, in the order asked."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        raise ValueError(f"systemctl show told of {len(blocks)} units, not of {len(names)}")
    found = {}
    for name, block in zip(names, blocks, strict=True):
        raw = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        values: dict[str, Any] = {ours: raw.get(theirs, "") for theirs, ours in PROPERTIES.items()}
        values.update(
            drop_ins=tuple(values["drop_ins"].split()),
            since=moment(values["since"]),
            stale=values["stale"] == "yes",
        )
        found[name] = Live(**values)
    return found


def moment(text: str) -> float:
    """Return such a timestamp in seconds of the epoch, to the microsecond (0: never).

    A lower resolution could make a unit look older than files that were written right before its start.
    """
    if not text:
        return 0.0
    return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=UTC).timestamp()


# --- what a unit reads -------------------------------------------------------------------------------------


def units_read(unit: Unit) -> list[str]:
    """Return the units whose own files ``unit`` reads, such as the service of a timer."""
    here = [path for path in unit.patterns if os.path.dirname(path) == "/etc/systemd/system"]
    return [os.path.basename(path) for path in here if path.endswith((".service", ".socket", ".timer"))]


@dataclass(frozen=True)
class Content:
    """Hashes by path, and the latest change (``st_ctime``, seconds of the epoch) of any of them."""

    unit: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    unit_changed: float = 0.0
    reads_changed: float = 0.0


def content(unit: Unit, live: Live) -> Content:
    unit_hashes, unit_changed = fingerprint(live.unit_files)
    read_hashes, reads_changed = fingerprint(unit.patterns)
    return Content(unit_hashes, read_hashes, unit_changed, reads_changed)


def fingerprint(patterns: Iterable[str]) -> tuple[dict[str, str], float]:
    """Hash every existing file of ``patterns``: paths, globs, directories (with everything below them)."""
    hashes: dict[str, str] = {}
    latest = 0.0
    for path in sorted({path for pattern in patterns for path in _expand(pattern)}):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(path, "rb") as stream:
            hashes[path] = hashlib.file_digest(stream, "sha256").hexdigest()
            latest = max(latest, os.fstat(stream.fileno()).st_ctime)
    return hashes, latest


def _expand(pattern: str) -> Iterable[str]:
    for path in glob.glob(pattern, recursive=True, include_hidden=True) if glob.has_magic(pattern) else [pattern]:
        if os.path.isdir(path):
            yield from (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        else:
            yield path


@dataclass(frozen=True)
class Stamp:
    """The files that a run of a unit has read. ``ready``: conditions while it runs, for the verification at the end."""

    invocation: str
    unit: Mapping[str, str]
    reads: Mapping[str, str]
    ready: Mapping[str, Any] | None = None


def load_stamp(name: str, folder: str = STAMPS) -> Stamp | None:
    try:
        with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as stream:
            return Stamp(**json.load(stream))
    except (OSError, ValueError, TypeError):
        return None


def save_stamp(name: str, stamp: Stamp, folder: str = STAMPS) -> None:
    make_directory(folder)
    path = os.path.join(folder, f"{name}.json")
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(asdict(stamp), stream)
    os.replace(f"{path}.new", path)


def drop_stamp(name: str, folder: str = STAMPS) -> None:
    """Remove the stamp of a unit that is not to run, so that it is not verified."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, f"{name}.json"))


def stamped(folder: str = STAMPS) -> dict[str, Stamp]:
    """Return the stamps of all units that run on this node for a role, by name."""
    with contextlib.suppress(FileNotFoundError):
        names = sorted(name.removesuffix(".json") for name in os.listdir(folder) if name.endswith(".json"))
        return {name: stamp for name in names if (stamp := load_stamp(name, folder))}
    return {}


# --- the decision ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """``verb``: none, adopt (only write a stamp), start, restart, reload or stop; ``reason`` in words."""

    verb: str
    reason: str = ""

    @property
    def changes(self) -> bool:
        return self.verb not in ("none", "adopt")


def decide(unit: Unit, live: Live, now: Content, stamp: Stamp | None) -> Verdict:
    """Decide on the action for a unit. A running unit with ``on_change`` none is left alone, and gets no stamp.

    A unit that was not started by this module (but by a boot, a crash, a person) has no stamp of its present run. It is
    adopted unchanged if no file that it reads has changed since its start, and restarted otherwise.
    """
    if unit.state == "stopped":
        return Verdict("stop", f"was {live.active}") if live.running else Verdict("none")
    if not live.running:
        return Verdict("start", f"was {live.active}")
    if live.active == "activating" and live.sub == "auto-restart":
        return Verdict("restart", "was failing over and over")
    if unit.on_change == "none":
        return Verdict("none")
    if stamp and stamp.invocation == live.invocation:
        if differ := changed(stamp.unit, now.unit):
            return Verdict("restart", f"changed since it started: {', '.join(differ)}")
        # A file that the unit no longer reads is no change.
        asked = {*now.reads, *(path for path in stamp.reads if any(_covers(key, path) for key in unit.patterns))}
        if differ := [path for path in changed(stamp.reads, now.reads) if path in asked]:
            return Verdict(unit.verb_for(differ), f"changed since it read them: {', '.join(differ)}")
        return Verdict("none")
    if stamp and (stamp.unit, stamp.reads) == (now.unit, now.reads):
        return Verdict("adopt")
    if now.unit_changed >= live.since:
        return Verdict("restart", "started before its unit file changed")
    if now.reads_changed >= live.since:
        return Verdict(unit.on_change, "started before what it reads changed")
    return Verdict("adopt")


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return paths that were added, removed or have another content."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def forecast(unit: Unit, verdict: Verdict, live: Live, pending: Iterable[str]) -> Verdict:
    """In check mode, return the verdict as it will be once ``pending`` paths have been written.

    With ``on_change`` none, too, it predicts the later call, which does not have these files.
    """
    if (verdict.changes and verdict.verb != "reload") or unit.state != "started":
        return verdict
    own = [path for path in pending if is_unit_file(unit.name, live, path)]
    if own or live.stale:
        return Verdict("restart", f"will change: {', '.join(own)}" if own else "its unit file changed on disk")
    read = [path for path in pending if any(_covers(pattern, path) for pattern in unit.patterns)]
    return Verdict(unit.verb_for(read), f"will change: {', '.join(read)}") if read and not verdict.changes else verdict


def is_unit_file(name: str, live: Live, path: str) -> bool:
    """Return whether a path is (or will be) the unit file of ``name``, its template, or a drop-in of either."""
    template = name.partition("@")[0] + "@." + name.rpartition(".")[2] if "@" in name else name
    folder, base = os.path.split(path)
    if path in live.unit_files:
        return True
    return "/systemd/" in folder and (
        base in (name, template) or os.path.basename(folder) in (f"{name}.d", f"{template}.d")
    )


def _covers(pattern: str, path: str) -> bool:
    pattern = pattern.rstrip("/")
    return path == pattern or path.startswith(f"{pattern}/") or fnmatch(path, pattern)


def _to_enable(live: Live) -> bool:
    return live.file_state in NOT_ENABLED or live.load == "not-found"


def enabling(units: Sequence[Unit], lives: Mapping[str, Live]) -> tuple[list[str], list[str]]:
    """Return the names to enable and to disable; static, generated and indirect units are left unchanged."""
    enable = [unit.name for unit in units if unit.enabled and _to_enable(lives[unit.name])]
    disable = [
        unit.name
        for unit in units
        if not unit.enabled and lives[unit.name].file_state in ("enabled", "enabled-runtime")
    ]
    return enable, disable


# --- readiness ---------------------------------------------------------------------------------------------


def probe(ready: Mapping[str, Any], whole: bool = False) -> str:
    """Test every condition of ``ready`` once; return "" if all hold, else the conditions that do not.

    ``whole``: the run has done all its work, so a link that is missing now will not appear.
    """
    try:
        if ready.get("links") and (wrong := network_links.faults(ready["links"], *network_links.look(), not whole)):
            return "\n".join(wrong)
        if ready.get("port"):
            where = (ready.get("host") or "127.0.0.1", int(ready["port"]))
            with socket.create_connection(where, timeout=3):
                pass
        if ready.get("unix_socket"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(3)
                client.connect(ready["unix_socket"])
        if ready.get("url"):
            return _probe_url(ready["url"])
        if ready.get("command"):
            done = run(["/bin/sh", "-c", ready["command"]], timeout=30)
            return "" if done.ok else f"`{ready['command']}` ended with {done.rc}: {done.output[-300:]}"
    except OSError as error:
        return f"{describe(ready)}: {error.strerror or error}"
    return ""


def _probe_url(url: str) -> str:
    """Accept any answer below 500: healthy OpenStack services answer 300 or 401 to a request without a token."""
    import urllib.error
    import urllib.request  # this import takes as long as all others together, and most calls probe no URL

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=10).close()
    except urllib.error.HTTPError as answer:
        return f"{url} answered {answer.code}" if answer.code >= 500 else ""
    except (urllib.error.URLError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"
    return ""


def describe(ready: Mapping[str, Any]) -> str:
    port = f"{ready.get('host') or '127.0.0.1'}:{ready['port']}" if ready.get("port") else None
    return ", ".join(str(part) for part in (port, ready.get("unix_socket"), ready.get("url")) if part)
