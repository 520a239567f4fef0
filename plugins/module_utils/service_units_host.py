# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The units of module ``service`` on the node: asks systemd, does what the engine ``service_units`` decides, waits."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from . import service_units as engine
from .common import diff_entry, in_parallel, lines, run

PAST = {"start": "started", "restart": "restarted", "reload": "reloaded", "stop": "stopped"}


class Runner:
    """The units of a call: look and decide when made, act wave by wave on :meth:`apply`.

    ``pending``: paths just written, or in check mode about to be; used for the forecast only.
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
        self.verdicts = {unit.name: self.verdict(unit, pending) for unit in units}
        self.enable, self.disable = engine.enabling(units, self.live)

    def look(self) -> dict[str, engine.Live]:
        # With them the units that they read: systemd starts a timer's service as it has last loaded it.
        read = [name for unit in self.units for name in engine.units_read(unit)]
        names = list(dict.fromkeys([*(unit.name for unit in self.units), *read]))
        if not names:
            return {}
        shown = run(
            ["systemctl", "show", "--timestamp=us+utc", f"--property={','.join(engine.PROPERTIES)}", *names]
        )
        if shown.ok:
            return engine.parse_show(shown.stdout, names)
        if (
            self.check
        ):  # no systemd to ask, as in a tree under construction: everything is still to be started
            return {name: engine.Live() for name in names}
        raise engine.UnitError(f"systemctl show failed: {shown.output}")

    def refuse(self) -> None:
        """Units that cannot be started at all are named together, before any is touched."""
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
        verdict = engine.decide(unit, live, self.content[unit.name], engine.load_stamp(unit.name))
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
        failed = [
            unit.name for unit in units if self.live[unit.name].active == "failed" and unit.state == "started"
        ]
        if failed:
            systemctl("reset-failed", *failed)
        calls = [(verb, names) for verb, names in by_verb.items() if verb in PAST]
        results = in_parallel(lambda call: run(["systemctl", call[0], *call[1]]), calls)
        if any(not result.ok for result in results):
            states = self.look()
            bad = [
                unit.name
                for unit in units
                if (states[unit.name].active == "active") != (unit.state == "started")
            ]
            said = " ".join(result.output for result in results if not result.ok)
            raise engine.UnitError("\n".join(map(autopsy, bad)) or said)
        self.stamp([unit for unit in units if self.verdicts[unit.name].verb not in ("none", "stop")])
        waits = [unit for unit in units if unit.ready and unit.state != "stopped"]
        if late := [text for text in in_parallel(wait, waits, workers=32) if text]:
            raise engine.UnitError("\n".join(late))

    def stamp(self, units: Sequence[engine.Unit]) -> None:
        """Stamped with what was on disk before the start: a change during the start counts as not read."""
        states = self.look() if units else {}
        for unit in units:
            had = self.content[unit.name]
            engine.save_stamp(unit.name, engine.Stamp(states[unit.name].invocation, had.unit, had.reads))

    def result(self) -> dict:
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
            "reasons": {unit.name: self.verdicts[unit.name].reason for unit in touched},
            "changed": bool(touched or self.enable or self.disable),
            "diff": [diff_entry("systemd units", lines(before), lines(after))] if after else [],
        }


def systemctl(*argv: str) -> None:
    done = run(["systemctl", *argv])
    if not done.ok:
        raise engine.UnitError(f"systemctl {' '.join(argv)} failed: {done.output}")


def wait(unit: engine.Unit) -> str:
    """Poll until the unit is ready; the reason if it is not, at once when the unit has died."""
    assert unit.ready is not None
    deadline = time.monotonic() + unit.ready["timeout"]
    pause = 0.05
    while lack := engine.probe(unit.ready):
        if run(["systemctl", "is-failed", "--quiet", unit.name]).ok:
            return autopsy(unit.name)
        if time.monotonic() > deadline:
            return f"{unit.name} is not ready after {unit.ready['timeout']} s: {lack}\n{autopsy(unit.name)}"
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    return ""


def autopsy(name: str) -> str:
    """What a person would look at next."""
    status = run(["systemctl", "status", "--no-pager", "--full", "--lines=0", name])
    journal = run(["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", f"--unit={name}"])
    return f"{status.output}\n--- last lines of its journal:\n{journal.output}"
