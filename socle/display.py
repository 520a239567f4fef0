# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Two ways to show a run while it goes: a live panel on a terminal, one dated line a task in a pipe."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .recorder import Failure, Recorder, Task

STYLES = {
    "ok": "green",
    "changed": "yellow",
    "failed": "bold red",
    "unreachable": "bold magenta",
    "skipped": "bright_black",
    "running": "cyan",
}


class Plain:
    """For pipes and logs: a line when a task is over, with the time, how long it took and what came out."""

    def __init__(self, console: Console, title: str, recorder: Recorder, known_tasks: int) -> None:
        self.console, self.title, self.recorder, self.known_tasks = console, title, recorder, known_tasks

    def __enter__(self) -> Plain:
        self._line(self.title)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, news: list[tuple]) -> None:
        for kind, *details in news:
            getattr(self, f"on_{kind}")(*details)

    def on_task(self, task: Task) -> None:
        of = f"/{max(self.known_tasks, task.number)}" if self.known_tasks else ""
        self._line(
            f"[{task.number}{of}] {task.play} | {task.name}  {outcomes(task.outcomes)}  {task.seconds:.1f} s"
        )

    def on_failure(self, failure: Failure) -> None:
        word = "UNREACHABLE" if failure.unreachable else "FAILED"
        self._line(f"{word} {failure.host}: {failure.message.splitlines()[0]}")

    def on_diff(self, host: str, text: str) -> None:
        self._line(f"diff on {host}\n{text}")

    def on_retry(self, host: str, text: str) -> None:
        self._line(f"{host}: {text}")

    def _line(self, text: str) -> None:
        self.console.print(f"{datetime.now():%H:%M:%S} {text}", markup=False, highlight=False, soft_wrap=True)


class Panel:
    """For terminals: what changed or failed scrolls by, and a small panel below shows where the run is."""

    def __init__(self, console: Console, title: str, recorder: Recorder, known_tasks: int) -> None:
        self.console, self.title, self.recorder, self.known_tasks = console, title, recorder, known_tasks
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Panel:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def show(self, news: list[tuple]) -> None:
        for kind, *details in news:
            getattr(self, f"on_{kind}")(*details)

    def on_task(self, task: Task) -> None:
        if task.outcomes["changed"] or task.outcomes["failed"] or task.outcomes["unreachable"]:
            now, took = f"[dim]{datetime.now():%H:%M:%S}[/]", f"[dim]{task.seconds:.1f} s[/]"
            line = f"{now} {escape(task.name)}  {outcomes(task.outcomes, markup=True)}  {took}"
            self.console.print(line, highlight=False)

    def on_failure(self, failure: Failure) -> None:
        first = escape(failure.message.splitlines()[0])
        self.console.print(f"[bold red]{escape(failure.host)}[/]: {first}", highlight=False)

    def on_diff(self, host: str, text: str) -> None:
        self.console.print(f"[bold]{escape(host)}[/]", highlight=False)
        for line in text.splitlines():
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            self.console.print(Text(line, style=style))

    def on_retry(self, host: str, text: str) -> None:
        pass

    def _render(self) -> Group:
        recorder, task = self.recorder, self.recorder.task
        head = Table.grid(padding=(0, 2))
        total = max(self.known_tasks, recorder.tasks, 1)
        bar = ProgressBar(total=total, completed=recorder.tasks, width=40, pulse=not self.known_tasks)
        count = f"{recorder.tasks}/{total}" if self.known_tasks else f"{recorder.tasks} tasks"
        head.add_row(Text(self.title, style="bold"), bar, count, clock(recorder.seconds))
        lines: list[Any] = [head, Text(f"  {recorder.play}", style="bold")]
        if task:
            lines.append(Text(f"  {task.name}  {task.seconds:.0f} s"))
        states = Text("  ")
        for host, state in sorted(recorder.hosts.items()):
            states.append(f"{host} ", style=STYLES.get(state, "bright_black"))
        return Group(*lines, states)


def outcomes(counts: Counter[str], markup: bool = False) -> str:
    """Return "ok=3 changed=1", leaving out what did not occur."""
    words = [(name, f"{name}={counts[name]}") for name in STYLES if counts[name]]
    return " ".join(f"[{STYLES[name]}]{word}[/]" if markup else word for name, word in words) or "no host"


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
