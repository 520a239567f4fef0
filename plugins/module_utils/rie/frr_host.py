# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""FRR instances of a node, one per VRF: compare, check, reload the changed ones, restore the previous state on failure.

The order for a set of VRFs:

1. observe all: files, units, running configurations;
2. check every new configuration (``vtysh -C``, and ``frr-reload.py --test`` against the running one) before any is
   changed;
3. remove instances that are no longer wanted, if pruning;
4. write and reload the changed ones in parallel, first those that announce less than before; start those
   that do not run. An instance that fails gets its previous configuration back; this does not affect the others.

A hash of the daemons' own output shows whether a running configuration has drifted. It is stored under ``/run`` each
time the configuration is known to be right. This takes 7 ms per instance. vtysh, which is started and then combines the
daemons' output, takes 45 ms, and ``frr-reload.py --test`` several times that, so both run only if the hash differs.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.files import make_directory, read, write, write_if_changed
from ..common.parallel import in_parallel
from ..common.results import diff_entry
from . import frr
from .netns import CommandError, run
from .plan_types import GatewayVrf
from .unit_states import unit_states

ETC = Path("/etc/frr")
RUN = Path("/run/frr")
STAMPS = Path("/run/socle/frr")
UNITS = Path("/etc/systemd/system")
DRAINED = Path("/etc/socle/rie/drained")
MARK = "An operator has drained this gateway; `socle rie undrain` ends that.\n"
RELOAD = "/usr/lib/frr/frr-reload.py"
START_TIMEOUT = 30.0
VTY_TIMEOUT = 10.0
LOADS = 5
"""How often a configuration is loaded: mgmtd drops uncommitted changes when any vtysh disconnects."""


def unit_name(name: str) -> str:
    """Return the unit of a VRF's instance.

    FRR's template unescapes the instance name: a bare dash would become a slash.
    """
    return f"frr@{name.replace('-', chr(92) + 'x2d')}.service"


def drop_in_path(name: str) -> Path:
    """Return the path of the drop-in that binds the unit of a VRF's instance to its namespace."""
    return UNITS / f"{unit_name(name)}.d" / "socle.conf"


@dataclass
class Instance:
    """The wanted and the observed state of one VRF's instance.

    ``settled``: the fingerprint matches, so it runs the configuration last known to be right. ``running`` is also None
    if there was no need to read it.
    """

    name: str
    files: dict[str, str]
    before: dict[str, str | None]
    active: bool
    enabled: bool
    settled: bool
    running: str | None
    action: str = ""
    delta: str = ""
    error: str = ""


@dataclass
class Outcome:
    """Result of a run, or its forecast: ``actions`` is ``{vrf: created|reloaded|restarted|started|enabled|removed}``.

    ``waiting``: the instances that need a restart, if this run may not restart them.
    """

    actions: dict[str, str] = field(default_factory=dict)
    diff: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    deltas: dict[str, str] = field(default_factory=dict)
    drained: bool = False
    waiting: list[str] = field(default_factory=list)


def is_drained() -> bool:
    """Return whether an operator has drained this node."""
    return DRAINED.exists()


def fingerprint(name: str) -> str | None:
    """Return a hash of the running configuration of all daemons of an instance, or None unless all of them answer."""
    found = hashlib.sha256()
    daemons = sorted((RUN / name).glob("*.vty"))
    try:
        for path in daemons:
            found.update(path.name.encode() + ask(path, ["show running-config"])[0])
    except OSError:
        return None
    return found.hexdigest() if daemons else None


def ask(path: Path, commands: list[str]) -> list[bytes]:
    """Return a daemon's answers to commands on vtysh's socket; OSError if it does not answer.

    A command ends in NUL, an answer in three NULs and a code.
    """
    answers = []
    with socket.socket(socket.AF_UNIX) as vty:
        vty.settimeout(VTY_TIMEOUT)
        vty.connect(str(path))
        for command in ["enable", *commands]:
            vty.sendall(command.encode() + b"\0")
            answer = bytearray()
            while answer[-4:-1] != b"\0\0\0":
                if not (part := vty.recv(65536)):
                    raise ConnectionResetError(f"{path}: closed")
                answer += part
            answers.append(bytes(answer[:-4]))
    return answers[1:]


def _settled(name: str) -> bool:
    stamp = read(STAMPS / name)
    return stamp is not None and stamp == fingerprint(name)


def _settle(name: str) -> None:
    """Record the running configuration of the instance as right."""
    if now := fingerprint(name):
        write(STAMPS / name, now, 0o600)


def running_config(name: str) -> str | None:
    """Return the running configuration of the instance, or None if it does not answer."""
    text = run(["vtysh", "-N", name, "-c", "show running-config"], check=False)
    return text if "Current configuration" in text else None


def _reload(name: str, path: Path, test: bool) -> str:
    """Run ``frr-reload.py``; with ``test``, return its list of differences ("" if none).

    It logs to no file, because a log would contain passwords. Its socket directory selects the instance, not
    ``-N``: together with ``--confdir``, ``-N`` makes vtysh look for its files one directory too deep.
    """
    argv = ["/usr/bin/python3", RELOAD, "--test" if test else "--reload", "--stdout", "--log-level", "error"]
    argv += ["--confdir", str(ETC / name), "--rundir", str(RUN / name), "--vty_socket", str(RUN / name), str(path)]
    return run(argv).strip()


def _check_syntax(instance: Instance, path: Path) -> str:
    """Return an error text, or "" if FRR accepts the configuration."""
    path.write_text(instance.files["frr.conf"])
    try:
        run(["vtysh", "-C", "-f", str(path)])
    except CommandError as error:
        return frr.masked(str(error))
    return ""


def _observe(vrfs: list[GatewayVrf], passwords: dict[str, str], hostname: str, drain: str) -> list[Instance]:
    states = unit_states(unit_name(vrf["name"]) for vrf in vrfs)
    active = [vrf["name"] for vrf in vrfs if states[unit_name(vrf["name"])]["active"]]
    settled = dict(zip(active, in_parallel(_settled, active), strict=True))
    found = []
    for vrf in vrfs:
        name = vrf["name"]
        files = {
            "frr.conf": frr.render_frr(vrf, passwords.get(name), hostname, drain),
            "daemons": frr.render_daemons(vrf),
            "vtysh.conf": frr.VTYSH,
        }
        before = {file: read(ETC / name / file) for file in files}
        state = states[unit_name(name)]
        found.append(Instance(name, files, before, **state, settled=settled.get(name, False), running=None))
    asked = [item for item in found if item.active and (not item.settled or item.files != item.before)]
    for item, text in zip(asked, in_parallel(lambda item: running_config(item.name), asked), strict=True):
        item.running = text
    return found


def _waits(instance: Instance) -> bool:
    """Return whether a running instance would need a restart; if so, this change of its files is postponed."""
    before = instance.before["daemons"]
    if before is None or before == instance.files["daemons"] or not (instance.running or instance.settled):
        return False
    instance.files["daemons"] = before
    return True


def _decide(instance: Instance, directory: Path) -> None:
    """Set ``action``, ``delta`` and ``error`` of an instance."""
    changed = [file for file in instance.files if instance.files[file] != instance.before[file]]
    candidate = directory / f"{instance.name}.conf"
    if "frr.conf" in changed:
        instance.error = _check_syntax(instance, candidate)
        if instance.error:
            return
    if not instance.active:
        instance.action = "created" if instance.before["frr.conf"] is None else "started"
        return
    if "daemons" in changed or (instance.running is None and not instance.settled):
        instance.action = "restarted"
        return
    if "frr.conf" in changed or not instance.settled:
        if not candidate.exists():
            candidate.write_text(instance.files["frr.conf"])
        try:
            instance.delta = frr.masked(_reload(instance.name, candidate, test=True))
        except CommandError as error:
            instance.error = frr.masked(str(error))
            return
        if instance.delta or "frr.conf" in changed:
            instance.action = "reloaded"
        else:
            _settle(instance.name)
    if not instance.action and (changed or not instance.enabled):
        instance.action = "enabled"


def _write_files(name: str, files: dict[str, str | None]) -> None:
    directory = ETC / name
    if not directory.is_dir():
        make_directory(directory, 0o750)
        shutil.chown(directory, "frr", "frr")
    for file, text in files.items():
        if text is None:
            (directory / file).unlink(missing_ok=True)
        else:
            write(directory / file, text, 0o640, ("frr", "frr"))


def _load(name: str, wanted: str) -> None:
    """Make ``wanted``, which is in the file already, the running configuration. Raises CommandError if that fails."""
    path = ETC / name / "frr.conf"
    prelude = frr.password_prelude(running_config(name) or "", wanted)
    if prelude:
        with tempfile.NamedTemporaryFile("w", prefix="socle-frr-") as handle:
            handle.write(prelude)
            handle.flush()
            run(["vtysh", "-N", name, "-f", handle.name])
    left = ""
    for _attempt in range(LOADS):
        _reload(name, path, test=False)
        left = _reload(name, path, test=True)
        if not left:
            return
    raise CommandError(f"still different after the reload: {left}")


def _reload_instance(instance: Instance) -> None:
    name = instance.name
    try:
        _write_files(name, dict(instance.files))
        _load(name, instance.files["frr.conf"])
    except CommandError as error:
        instance.error = frr.masked(str(error))
        previous = instance.before["frr.conf"]
        _write_files(name, dict(instance.before))
        if previous is not None:
            try:
                _load(name, previous)
                instance.error += "; the previous configuration is back"
            except CommandError as second:
                instance.error += f"; putting the previous one back failed as well: {frr.masked(str(second))}"
                instance.error += f"; `systemctl restart {unit_name(name)}` has FRR read it anew"
        return
    _settle(name)


def _await(instance: Instance) -> None:
    """Wait until a started instance runs its configuration."""
    deadline = time.monotonic() + START_TIMEOUT
    path = ETC / instance.name / "frr.conf"
    left = "it does not answer"
    while time.monotonic() < deadline:
        running = running_config(instance.name)
        if running is not None and "\nrouter bgp" in running:
            try:
                left = _reload(instance.name, path, test=True)
            except CommandError as error:
                left = str(error)
            if not left:
                _settle(instance.name)
                return
        time.sleep(0.2)
    instance.error = f"started, but after {START_TIMEOUT:.0f} s: {frr.masked(left)}"


def _systemctl(verb: str, units: list[str], *options: str) -> None:
    if units:
        run(["systemctl", verb, *options, "--", *units], check=verb not in ("start", "restart", "reset-failed"))


def stale(names: set[str]) -> list[str]:
    """Return the instances that this module made and that are not among ``names``."""
    found = []
    for path in sorted(ETC.glob("*/daemons")):
        if path.parent.name not in names and (read(path) or "").startswith(frr.MANAGED):
            found.append(path.parent.name)
    return found


def remove(names: list[str]) -> None:
    """Stop instances, all at once, and remove all their files."""
    if names:
        run(["systemctl", "disable", "--now", "--", *map(unit_name, names)], check=False)
    for name in names:
        for directory in (ETC / name, RUN / name, drop_in_path(name).parent):
            shutil.rmtree(directory, ignore_errors=True)
        (STAMPS / name).unlink(missing_ok=True)


def converge(
    vrfs: list[GatewayVrf],
    passwords: dict[str, str],
    hostname: str = "",
    prune: bool = True,
    drain: str | None = None,
    restart: bool = True,
    check_mode: bool = False,
) -> Outcome:
    """Bring all instances of the node to the plan; ``failed`` of the result names those that could not be changed.

    restart: whether running instances may be restarted, which ends all their sessions.
    drain: the sides that shall send no traffic to the node, one of frr.DRAINS; None keeps the operator's last decision.
    The node counts as drained until the value is "none": if a run fails between "rie" and "none", the node stays
    drained and the step can be repeated. "rie" is a step of undraining, so it does not change a node that is not
    drained.
    """
    if drain is None or (drain == "rie" and not is_drained()):
        drain = "all" if is_drained() else "none"
    outcome = Outcome(drained=drain != "none")
    if outcome.drained != is_drained():
        before, after = ("", MARK) if outcome.drained else (MARK, "")
        outcome.diff.append(diff_entry(str(DRAINED), before, after))
    drop_ins = {drop_in_path(vrf["name"]): frr.render_drop_in(vrf) for vrf in vrfs}
    drop_ins = {path: text for path, text in drop_ins.items() if read(path) != text}
    instances = _observe(vrfs, passwords, hostname, drain)
    outcome.waiting = [] if restart else [item.name for item in instances if item.active and _waits(item)]
    with tempfile.TemporaryDirectory(prefix="socle-frr-") as directory:
        in_parallel(lambda item: _decide(item, Path(directory)), instances)
    outcome.failed = {item.name: item.error for item in instances if item.error}
    todo = [item for item in instances if item.action]
    gone = stale({vrf["name"] for vrf in vrfs}) if prune else []
    for item in todo:
        outcome.actions[item.name] = item.action
        if item.delta:
            outcome.deltas[item.name] = item.delta
        for file, after in item.files.items():
            if after != item.before[file]:
                header = str(ETC / item.name / file)
                outcome.diff.append(diff_entry(header, frr.masked(item.before[file] or ""), frr.masked(after)))
    for name in gone:
        outcome.actions[name] = "removed"
        outcome.diff.append(diff_entry(str(ETC / name), frr.masked(read(ETC / name / "frr.conf") or ""), ""))
    for path, text in drop_ins.items():
        outcome.diff.append(diff_entry(str(path), read(path), text))
    if outcome.failed or check_mode:
        return outcome
    if outcome.drained:
        write_if_changed(DRAINED, MARK)
    else:
        DRAINED.unlink(missing_ok=True)
    for path, text in drop_ins.items():
        write(path, text)
    reload_them = [item for item in todo if item.action == "reloaded"]
    new = [item for item in todo if not item.enabled]
    for item in new:  # before its unit is enabled: a boot in between must find the files of the instance
        if item not in reload_them:
            _write_files(item.name, dict(item.files))
    disabled = [unit_name(item.name) for item in new]
    _systemctl("enable", disabled, "--no-reload")
    if drop_ins or disabled:  # a single reload for both: it takes half a second if there are hundreds of units
        run(["systemctl", "daemon-reload"])
    remove(gone)
    start = [item for item in todo if item.action in ("created", "started", "restarted")]
    # A prefix that moves between VRFs is first withdrawn from the old one, then announced by the new one.
    losing = [item for item in reload_them if frr.exported(item.running) - frr.exported(item.files["frr.conf"])]
    in_parallel(_reload_instance, losing)
    in_parallel(_reload_instance, [item for item in reload_them if item not in losing])
    for item in todo:
        if item not in reload_them and item not in new:
            _write_files(item.name, dict(item.files))
    _systemctl("reset-failed", [unit_name(item.name) for item in start])
    _systemctl("restart", [unit_name(item.name) for item in start])
    in_parallel(_await, start)
    outcome.failed = {item.name: item.error for item in instances if item.error}
    return outcome
