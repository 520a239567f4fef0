# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The units of module ``node_service`` on the node: query systemd, do what ``service_units`` decides, wait."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Sequence
from typing import Any

from ..common.parallel import in_parallel
from ..common.process import run
from ..common.results import diff_entry, lines
from . import service_units as engine

PAST = {"start": "started", "restart": "restarted", "reload": "reloaded", "stop": "stopped"}


class Runner:
    """The units of a call. The constructor reads their state and decides; :meth:`apply` acts, wave by wave.

    ``pending``: paths just written or, in check mode, about to be written; used only for the forecast.
    Raises :class:`.service_units.UnitError`.
    """

    def __init__(self, units: Sequence[engine.Unit], pending: Sequence[str], check: bool) -> None:
        self.units = units
        self.check = check
        self.live = self.look()
        unknown = [name for name, live in self.live.items() if live.load == "not-found"]
        masked = [unit.name for unit in units if self.live[unit.name].load == "masked" and unit.state == "started"]
        if masked and not check:
            systemctl("unmask", *masked)
        if not check and (unknown or masked or any(live.stale for live in self.live.values())):
            systemctl("daemon-reload")
            self.live = self.look()
        self.refuse()
        self.content = {unit.name: engine.content(unit, self.live[unit.name]) for unit in units}
        self.stamps = {unit.name: stamp for unit in units if (stamp := engine.load_stamp(unit.name))}
        self.verdicts = {unit.name: self.verdict(unit, pending) for unit in units}
        self.postponed = [unit.name for unit in units if self.waits(unit)]
        self.enable, self.disable = engine.enabling(units, self.live)

    def waits(self, unit: engine.Unit) -> bool:
        """Return whether this call leaves a unit to a later one that has to restart, reload or adopt it."""
        if unit.on_change != "none" or self.verdicts[unit.name].verb != "none":
            return False
        later = dataclasses.replace(unit, on_change="restart")
        verdict = engine.decide(later, self.live[unit.name], self.content[unit.name], self.stamps.get(unit.name))
        return verdict.verb != "none"

    def look(self) -> dict[str, engine.Live]:
        # The units that they read are included: systemd starts a timer's service in the version it loaded last.
        read = [name for unit in self.units for name in engine.units_read(unit)]
        names = list(dict.fromkeys([*(unit.name for unit in self.units), *read]))
        if not names:
            return {}
        try:
            return show(names)
        except engine.UnitError:
            if self.check:  # no systemd answers, as in a tree under construction: every unit is still to be started
                return {name: engine.Live() for name in names}
            raise

    def refuse(self) -> None:
        """Report all units that cannot be started, before any is changed."""
        wrong = [
            f"{unit.name} is {load}"
            for unit in self.units
            if (load := self.live[unit.name].load) not in ("loaded", *(("not-found", "masked") if self.check else ()))
            and not (unit.state == "stopped" and load in ("not-found", "masked"))
        ]
        if wrong:
            raise engine.UnitError(f"{'; '.join(wrong)}: is the package installed and the unit file right?")

    def verdict(self, unit: engine.Unit, pending: Sequence[str]) -> engine.Verdict:
        live = self.live[unit.name]
        verdict = engine.decide(unit, live, self.content[unit.name], self.stamps.get(unit.name))
        return engine.forecast(unit, verdict, live, pending) if self.check else verdict

    @property
    def touched(self) -> list[engine.Unit]:
        return [unit for unit in self.units if self.verdicts[unit.name].changes]

    def apply(self) -> None:
        self.test()
        if self.enable:
            systemctl("enable", *self.enable)
        if self.disable:
            systemctl("disable", *self.disable)
        for wave in sorted({unit.wave for unit in self.units}):
            self.act([unit for unit in self.units if unit.wave == wave])

    def test(self) -> None:
        tested = [unit for unit in self.touched if unit.test and unit.state == "started"]
        results = in_parallel(lambda unit: run(shlex.split(unit.test)), tested)
        refused = [
            f"{unit.name}: `{unit.test}` refuses its configuration, nothing was restarted:\n{result.output}"
            for unit, result in zip(tested, results, strict=True)
            if not result.ok
        ]
        if refused:
            raise engine.UnitError("\n".join(refused))

    def act(self, units: Sequence[engine.Unit]) -> None:
        by_verb: dict[str, list[str]] = {}
        for unit in units:
            by_verb.setdefault(self.verdicts[unit.name].verb, []).append(unit.name)
        failed = [unit.name for unit in units if self.live[unit.name].active == "failed" and unit.state == "started"]
        if failed:
            systemctl("reset-failed", *failed)
        calls = [(verb, names) for verb, names in by_verb.items() if verb in PAST]
        results = in_parallel(lambda call: run(["systemctl", call[0], *call[1]]), calls)
        if any(not result.ok for result in results):
            states = self.look()
            bad = [unit.name for unit in units if (states[unit.name].active == "active") != (unit.state == "started")]
            said = " ".join(result.output for result in results if not result.ok)
            raise engine.UnitError("\n".join(map(autopsy, bad)) or said)
        self.stamp(units)
        waits = [unit for unit in units if unit.ready and unit.state != "stopped"]
        if late := [text for text in in_parallel(wait, waits, workers=32) if text]:
            raise engine.UnitError("\n".join(late))

    def stamp(self, units: Sequence[engine.Unit]) -> None:
        """Record the files as they were before the start: a change during the start counts as not read.

        A unit that has ended again by now is a fault, even if ``systemctl start`` succeeded.
        """
        for unit in units:
            if unit.state == "stopped":
                engine.drop_stamp(unit.name)
        touched = [unit for unit in units if self.verdicts[unit.name].verb not in ("none", "stop")]
        states = self.look() if touched else {}
        if ended := [unit.name for unit in touched if states[unit.name].ended]:
            raise engine.UnitError("\n".join(map(autopsy, ended)))
        for unit in touched:
            had = self.content[unit.name]
            former = self.stamps.get(unit.name)
            # If two roles have the unit, only one of them says when it is ready.
            ready = unit.ready or (former.ready if former else None)
            engine.save_stamp(unit.name, engine.Stamp(states[unit.name].invocation, had.unit, had.reads, ready))
        for unit in units:
            former = self.stamps.get(unit.name)
            if unit not in touched and unit.state == "started" and former and unit.ready not in (None, former.ready):
                engine.save_stamp(unit.name, dataclasses.replace(former, ready=unit.ready))

    def result(self) -> dict[str, Any]:
        def of(verb: str) -> list[str]:
            return [unit.name for unit in self.units if self.verdicts[unit.name].verb == verb]

        touched = self.touched
        before = [f"{unit.name}: {self.live[unit.name].active}" for unit in touched]
        after = [
            f"{unit.name}: {PAST[verdict.verb]} ({verdict.reason})"
            for unit in touched
            for verdict in [self.verdicts[unit.name]]
        ]
        before += [f"{name}: {self.live[name].file_state}" for name in (*self.enable, *self.disable)]
        after += [f"{name}: enabled" for name in self.enable] + [f"{name}: disabled" for name in self.disable]
        return {
            **{past: of(verb) for verb, past in PAST.items()},
            "enabled": self.enable,
            "disabled": self.disable,
            "postponed": self.postponed,
            "reasons": {unit.name: self.verdicts[unit.name].reason for unit in touched},
            "changed": bool(touched or self.enable or self.disable),
            "diff": [diff_entry("systemd units", lines(before), lines(after))] if after else [],
        }


def systemctl(*argv: str) -> None:
    done = run(["systemctl", *argv])
    if not done.ok:
        raise engine.UnitError(f"systemctl {' '.join(argv)} failed: {done.output}")


def wait(unit: engine.Unit, whole: bool = False) -> str:
    """Poll until the unit is ready; otherwise return the reason, at once if the unit has ended."""
    if unit.ready is None:
        return ""
    deadline = time.monotonic() + unit.ready["timeout"]
    pause = 0.05
    while lack := engine.probe(unit.ready, whole):
        if show([unit.name])[unit.name].ended:
            return autopsy(unit.name)
        if time.monotonic() > deadline:
            return f"{unit.name} is not ready after {unit.ready['timeout']} s: {lack}\n{autopsy(unit.name)}"
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    return ""


def show(names: Sequence[str]) -> dict[str, engine.Live]:
    """Return the state of units in systemd. Raises :class:`.service_units.UnitError` if no systemd answers."""
    shown = run(["systemctl", "show", "--timestamp=us+utc", f"--property={','.join(engine.PROPERTIES)}", *names])
    if not shown.ok:
        raise engine.UnitError(f"systemctl show failed: {shown.output}")
    return engine.parse_show(shown.stdout, names)


def verify(patterns: Sequence[str], settle: float) -> tuple[list[str], list[str]]:
    """Verify the units that roles run on this node, and enabled ones that match ``patterns``: return names and faults.

    Each must run, and all its readiness conditions must hold. A unit that started less than ``settle`` seconds
    ago is checked again at that age: a daemon may end after it has reported its start, even with status 0.
    """
    stamps = engine.stamped()
    names = list(dict.fromkeys([*stamps, *matching(patterns)]))
    if not names:
        return [], []
    live = {
        name: unit
        for name, unit in show(names).items()
        if unit.load != "not-found" and (name in stamps or unit.file_state == "enabled")
    }
    young = [unit.since for unit in live.values() if unit.since > time.time() - settle]
    if young:
        time.sleep(max(0.0, min(settle, max(young) + settle - time.time())))
        before, live = live, show(list(live))
        again = {name for name, unit in live.items() if unit.invocation != before[name].invocation}
    else:
        again = set()
    faults = [
        f"{name} {'ended and was started again' if name in again else 'does not run'} ({unit.state})\n{autopsy(name)}"
        for name, unit in live.items()
        if name in again or unit.ended or unit.sub == "auto-restart"
    ]
    ready = [engine.Unit(name, ready=stamps[name].ready) for name in live if name in stamps and stamps[name].ready]
    faults += [text for text in in_parallel(lambda unit: wait(unit, True), ready, workers=32) if text]
    return sorted(live), list(dict.fromkeys(faults))


def matching(patterns: Sequence[str]) -> list[str]:
    """Return the loaded units that match a pattern."""
    if not patterns:
        return []
    listed = run(["systemctl", "list-units", "--all", "--plain", "--no-legend", *patterns])
    return [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]


def autopsy(name: str) -> str:
    """Return the output that a person would look at next."""
    status = run(["systemctl", "status", "--no-pager", "--full", "--lines=0", name])
    journal = run(["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", f"--unit={name}"])
    return f"{status.output}\n--- last lines of its journal:\n{journal.output}"
