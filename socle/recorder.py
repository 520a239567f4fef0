# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The state of a run, built from the events of ansible-runner. There is no input or output here: displays read it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

OUTCOMES = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}
TASK_STARTS = ("playbook_on_task_start", "playbook_on_handler_task_start", "playbook_on_cleanup_task_start")


@dataclass
class Failure:
    host: str
    task: str
    message: str
    detail: str = ""
    unreachable: bool = False


@dataclass
class Task:
    number: int
    play: str
    name: str
    started: float
    ended: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started


class Recorder:
    """Feed it events with `handle`; it returns what a display may want to tell about each: a list of
    ("task", Task) when a task is over, ("failure", Failure), ("diff", host, text), ("retry", host, text)."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.play = ""
        self.task: Task | None = None
        self.tasks = 0
        self.hosts: dict[str, str] = {}
        self.totals: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.per_host: dict[str, Counter[str]] = {}
        self.failures: list[Failure] = []
        self.violations: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []
        self.units: dict[str, dict[str, list[str]]] = {}
        self.finished = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def counts(self) -> Counter[str]:
        """Ansible's recap, or the counts so far if the run ended before it."""
        return self.totals if self.finished else self.seen

    def handle(self, event: dict[str, Any]) -> list[tuple[Any, ...]]:
        kind, data = event.get("event", ""), event.get("event_data") or {}
        if kind == "playbook_on_play_start":
            over = self._end_task()
            self.play = data.get("name") or data.get("play") or ""
            return over
        if kind in TASK_STARTS:
            over = self._end_task()
            self.tasks += 1
            self.task = Task(self.tasks, self.play, _task_name(data), time.monotonic())
            self.hosts = dict.fromkeys(self.hosts, "")
            return over
        if kind == "runner_on_start":
            self.hosts[data["host"]] = "running"
        elif kind in OUTCOMES:
            return self._result(OUTCOMES[kind], data)
        elif kind == "runner_on_file_diff" and data.get("diff") and event.get("stdout", "").strip():
            text = [line for line in event["stdout"].splitlines() if line and not line.startswith("TASK [")]
            return [("diff", data["host"], "\n".join(text))]
        elif kind == "runner_retry":
            result = data.get("res") or {}
            return [("retry", data["host"], f"attempt {result.get('attempts')} of {result.get('retries')}")]
        elif kind == "playbook_on_stats":
            over = self._end_task()
            self._stats(data)
            return over
        return []

    def _end_task(self) -> list[tuple[Any, ...]]:
        task, self.task = self.task, None
        if task is None:
            return []
        task.ended = time.monotonic()
        return [("task", task)]

    def _result(self, outcome: str, data: dict[str, Any]) -> list[tuple[Any, ...]]:
        host, result = data["host"], data.get("res") or {}
        if outcome == "ok" and result.get("changed"):
            outcome = "changed"
        elif outcome == "failed" and data.get("ignore_errors"):
            outcome = "ok"
        self.hosts[host] = outcome
        self.seen[outcome] += 1
        self.seen["ok"] += outcome == "changed"
        if self.task:
            self.task.outcomes[outcome] += 1
        for verb in ("started", "restarted", "reloaded"):
            if isinstance(result.get(verb), list):
                self.units.setdefault(host, {}).setdefault(verb, []).extend(map(str, result[verb]))
        self.notices += [found for found in result.get("notices") or [] if isinstance(found, dict)]
        if outcome not in ("failed", "unreachable"):
            return []
        self.violations += [found for found in result.get("violations") or [] if isinstance(found, dict)]
        failure = Failure(host, _task_name(data), *_message(result), unreachable=outcome == "unreachable")
        self.failures.append(failure)
        return [("failure", failure)]

    def _stats(self, data: dict[str, Any]) -> None:
        """Use Ansible's own recap for the result: a rescued task is not a failure."""
        self.finished = True
        names = {"ok": "ok", "changed": "changed", "failures": "failed", "dark": "unreachable"}
        for key, name in names.items():
            for host, count in (data.get(key) or {}).items():
                self.totals[name] += count
                self.per_host.setdefault(host, Counter())[name] += count
        self.failures = [
            failure
            for failure in self.failures
            if self.per_host.get(failure.host, Counter())["unreachable" if failure.unreachable else "failed"]
        ]


def _task_name(data: dict[str, Any]) -> str:
    name = str(data.get("name") or data.get("task") or "")
    role = data.get("role") or ""
    return name if not role or name.startswith(f"{role} : ") else f"{role} : {name}"


def _message(result: dict[str, Any]) -> tuple[str, str]:
    """Return (message, detail) of a failed result: the main message, and the end of the output."""
    message = str(result.get("msg") or "").strip()
    items = [item for item in result.get("results") or [] if isinstance(item, dict) and item.get("failed")]
    if items:
        message = "; ".join(str(item.get("msg") or item.get("stderr") or "failed") for item in items[:3])
    said = str(result.get("stderr") or result.get("module_stderr") or "").strip()
    if not said and result.get("rc"):
        said = str(result.get("stdout") or result.get("module_stdout") or "").strip()
    detail = "\n".join(said.splitlines()[-12:])
    return message or "failed without a message", "" if detail in message else detail
