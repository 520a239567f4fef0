# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Sysctls of the control node that labs set, with records of the former values and of the labs that need them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import host
from .plan import Lab
from .steps import Step, write_json


class Sysctls:
    """The sysctls of one lab; the records are those of all labs.

    :param path: the file of the records.
    """

    def __init__(self, lab: Lab, path: Path) -> None:
        self.lab = lab
        self.path = path

    def plan(self) -> list[Step]:
        """Return steps that set the sysctls of the lab and record the former values."""
        steps = []
        notes = self._notes()
        for key, value in sorted(self.lab.sysctls.items()):
            live = host.read_sysctl(key)
            if live is None:
                continue
            # Already set, but by another lab, which would restore it later.
            shared = key in notes and self.lab.name not in notes[key]["labs"]
            if live.split() != value.split() or shared:
                steps.append(Step("set sysctl", f"{key} = {value}", self._setter(key, value, live)))
        return steps

    def _setter(self, key: str, value: str, live: str) -> Callable[[], None]:
        def apply() -> None:
            notes = self._notes()
            note = notes.setdefault(key, {"before": live, "labs": []})
            note["value"] = value
            note["labs"] = sorted({*note["labs"], self.lab.name})
            self._write(notes)
            host.write_sysctl(key, value)

        return apply

    def plan_back(self) -> list[Step]:
        """Restore sysctls that no other lab needs; a value that somebody has changed since is kept."""
        steps = []
        for key, note in sorted(self._notes().items()):
            if self.lab.name in note["labs"]:
                steps.append(Step("remove sysctl", f"{key} (back to {note['before']})", self._restorer(key)))
        return steps

    def _restorer(self, key: str) -> Callable[[], None]:
        def apply() -> None:
            notes = self._notes()
            note = notes[key]
            note["labs"] = [name for name in note["labs"] if name != self.lab.name]
            if not note["labs"]:
                if host.read_sysctl(key) == note.get("value"):
                    host.write_sysctl(key, note["before"])
                del notes[key]
            self._write(notes)

        return apply

    def _notes(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.path.read_text(encoding="utf-8")))
        return {}

    def _write(self, notes: dict[str, Any]) -> None:
        if notes:
            write_json(self.path, notes)
        else:
            self.path.unlink(missing_ok=True)
