#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: service_units
short_description: Run systemd units, and restart them if and only if what they read has changed
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Enables, starts, restarts, reloads and stops any number of units in one call, side by side, and waits
    until they answer.
  - A unit is restarted (or reloaded) when the content of its unit file, its drop-ins or the files it reads
    differs from what it was when the unit last started, as kept in C(/run/socle/units). There is nothing to
    notify, and a playbook killed between writing a file and restarting a unit is healed by the next run.
  - A masked unit that shall run is unmasked, as node images mask what other units would pull in unconfigured.
  - A unit that something else started (a boot, a crash, a person) is taken as it is when nothing it reads
    is younger than its start, and restarted once otherwise.
attributes:
  check_mode: {support: full, description: Forecasts every restart; a unit not there yet would be started.}
  diff_mode: {support: full, description: One line a unit.}
options:
  units:
    description: Units.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name; C(.service) is added when there is no suffix.
        type: str
        required: true
      reads:
        description: Files, globs and directories (with all below) that the unit reads. They may be missing.
        type: list
        elements: str
        default: []
      on_change:
        description: What to do when they change. A changed unit file or drop-in always means a restart.
        type: str
        choices: [restart, reload]
        default: restart
      test:
        description: Command that must succeed before this unit, or any other of the call, is touched.
          Not run in check mode.
        type: str
      ready:
        description: What must hold before the call returns, also for units that ran before.
        type: dict
        suboptions:
          port: {description: A TCP port that accepts connections., type: int}
          host: {description: The address of the port., type: str, default: 127.0.0.1}
          unix_socket: {description: A socket that accepts connections., type: path}
          url: {description: A URL that answers with a status below 500., type: str}
          command: {description: A shell command that succeeds., type: str}
          timeout: {description: Seconds., type: int, default: 60}
      state:
        description:
          - Whether the unit runs.
          - With V(answering) it is only waited for; so services that take long start side by side in calls of their
            own, and one call at the end waits for all of them.
        type: str
        choices: [started, stopped, answering]
        default: started
      enabled:
        description: Whether it starts at boot. By default it does when O(units[].state=started).
        type: bool
      wave:
        description: Units of a lower wave are ready before those of a higher one are touched.
        type: int
        default: 0
  pending:
    description: Paths just changed, or in check mode about to be changed; used for the forecast only.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Run Glance
  cloudwatt.socle.service_units:
    units:
      - name: glance-api
        reads: [/etc/glance, /etc/socle/pki/node.pem]
        ready: {port: 9292}
    pending: "{{ glance_files.changed_paths }}"
"""

RETURN = r"""
started: &names
  description: Units that were started (in check mode, would be). Likewise the others.
  returned: always
  type: list
  elements: str
restarted: *names
reloaded: *names
stopped: *names
enabled: *names
disabled: *names
reasons:
  description: Unit to the reason why it was touched.
  returned: always
  type: dict
"""

import shlex
import time
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import service_units as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import (
    diff_entry,
    in_parallel,
    lines,
    run,
)

READY = {
    "port": {"type": "int"},
    "host": {"type": "str", "default": "127.0.0.1"},
    "unix_socket": {"type": "path"},
    "url": {"type": "str"},
    "command": {"type": "str"},
    "timeout": {"type": "int", "default": 60},
}
UNIT = {
    "name": {"type": "str", "required": True},
    "reads": {"type": "list", "elements": "str", "default": []},
    "on_change": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
    "test": {"type": "str"},
    "ready": {"type": "dict", "options": READY},
    "state": {"type": "str", "choices": ["started", "stopped", "answering"], "default": "started"},
    "enabled": {"type": "bool"},
    "wave": {"type": "int", "default": 0},
}
ARGUMENTS = {
    "units": {"type": "list", "elements": "dict", "required": True, "options": UNIT},
    "pending": {"type": "list", "elements": "str", "default": []},
}
PAST = {"start": "started", "restart": "restarted", "reload": "reloaded", "stop": "stopped"}


class UnitError(Exception):
    """A unit, or systemd itself, refuses; the message is for the operator."""


class Runner:
    """The call: look, decide, then act wave by wave."""

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
        names = [unit.name for unit in self.units]
        if not names:
            return {}
        shown = run(
            ["systemctl", "show", "--timestamp=unix", f"--property={','.join(engine.PROPERTIES)}", *names]
        )
        if shown.ok:
            return engine.parse_show(shown.stdout, names)
        if (
            self.check
        ):  # no systemd to ask, as in a tree under construction: everything is still to be started
            return {name: engine.Live() for name in names}
        raise UnitError(f"systemctl show failed: {shown.output}")

    def refuse(self) -> None:
        """Units that cannot be started at all are named together, before any is touched."""
        wrong = [
            f"{unit.name} is {load}"
            for unit in self.units
            if (load := self.live[unit.name].load) not in ("loaded", *(("not-found", "masked") if self.check else ()))
            and not (unit.state == "stopped" and load in ("not-found", "masked"))
        ]
        if wrong:
            raise UnitError(f"{'; '.join(wrong)}: is the package installed and the unit file right?")

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
            raise UnitError("\n".join(refused))

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
            raise UnitError("\n".join(map(autopsy, bad)) or said)
        self.stamp([unit for unit in units if self.verdicts[unit.name].verb not in ("none", "stop")])
        waits = [unit for unit in units if unit.ready and unit.state != "stopped"]
        if late := [text for text in in_parallel(wait, waits, workers=32) if text]:
            raise UnitError("\n".join(late))

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
        raise UnitError(f"systemctl {' '.join(argv)} failed: {done.output}")


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


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    units = [engine.Unit.of(item) for item in module.params["units"]]
    try:
        runner = Runner(units, module.params["pending"], module.check_mode)
        if not module.check_mode:
            runner.apply()
    except (UnitError, OSError, ValueError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(**runner.result())


if __name__ == "__main__":
    main()
