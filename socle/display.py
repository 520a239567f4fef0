# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Display of the progress of a run, and of tables: on a terminal, and in a pipe or file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
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


def console(stderr: bool = False) -> Console:
    """A console that prints values as they are: no line is cut, and no part of a value is read as markup or an emoji.

    An IPv6 address may contain `:100:`, which is the name of one.
    """
    return Console(stderr=stderr, soft_wrap=True, markup=False, emoji=False, highlight=False)


def interactive(console: Console) -> bool:
    """Whether the output is a terminal. Colours in a pipe, which FORCE_COLOR requests, do not make it one."""
    return console.file.isatty() and not console.is_dumb_terminal


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], styles: Sequence[str] = ()) -> None:
    """Print a table: aligned on a terminal, where long values are folded, otherwise as columns separated by tabs.

    `styles` are the styles of the first columns of the rows.
    """
    out = console()
    if not interactive(out):
        for row in ([title] if title else [], head, *rows):
            if row:
                print(*(" ".join(str(value).split()) for value in row), sep="\t")
        if title:
            print()
        return
    shown = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD)
    for name in head:
        shown.add_column(name, overflow="fold")
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        shown.add_row(*(Text(str(value), style=style if number == 0 else "") for number, value in enumerate(row)))
    out.print(shown, soft_wrap=False)


class Display:
    """Base class of the displays of a run."""

    def __init__(self, console: Console, title: str, recorder: Recorder, known_tasks: int) -> None:
        self.console, self.title, self.recorder, self.known_tasks = console, title, recorder, known_tasks

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def raw(self, event: dict[str, Any]) -> None:
        """Handle an event of ansible-runner."""

    def show(self, news: list[tuple[Any, ...]]) -> None:
        for kind, *details in news:
            getattr(self, f"on_{kind}")(*details)

    def whole(self, text: str) -> None:
        """Print the whole output of Ansible if it ran no task."""
        self.console.print(text.rstrip("\n"), markup=False, highlight=False, emoji=False, soft_wrap=True)


class Verbatim(Display):
    """For -v: the output of Ansible itself."""

    def raw(self, event: dict[str, Any]) -> None:
        if said := event.get("stdout"):
            self.whole(said.replace("\r\n", "\n").lstrip("\n"))

    def show(self, news: list[tuple[Any, ...]]) -> None:
        pass


class Plain(Display):
    """For pipes and logs: one line per finished task, with the time, its duration and its result."""

    def __enter__(self) -> Plain:
        self._line(self.title)
        return self

    def on_task(self, task: Task) -> None:
        of = f"/{max(self.known_tasks, task.number)}" if self.known_tasks else ""
        self._line(f"[{task.number}{of}] {task.play} | {task.name}  {outcomes(task.outcomes)}  {task.seconds:.1f} s")

    def on_failure(self, failure: Failure) -> None:
        word = "UNREACHABLE" if failure.unreachable else "FAILED"
        self._line(f"{word} {failure.host}: {failure.message.splitlines()[0]}")

    def on_diff(self, host: str, text: str) -> None:
        self._line(f"diff on {host}\n{text}")

    def on_retry(self, host: str, text: str) -> None:
        self._line(f"{host}: {text}")

    def _line(self, text: str) -> None:
        self.whole(f"{datetime.now():%H:%M:%S} {text}")


class Panel(Display):
    """For terminals: changes and failures scroll, and a small panel below them shows the progress of the run."""

    def __init__(self, console: Console, title: str, recorder: Recorder, known_tasks: int) -> None:
        super().__init__(console, title, recorder, known_tasks)
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Panel:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def on_task(self, task: Task) -> None:
        if task.outcomes["changed"] or task.outcomes["failed"] or task.outcomes["unreachable"]:
            now, took = f"[dim]{datetime.now():%H:%M:%S}[/]", f"[dim]{task.seconds:.1f} s[/]"
            line = f"{now} {escape(task.name)}  {outcomes(task.outcomes, markup=True)}  {took}"
            self.console.print(Text.from_markup(line, emoji=False))

    def on_failure(self, failure: Failure) -> None:
        first = escape(failure.message.splitlines()[0])
        self.console.print(Text.from_markup(f"[bold red]{escape(failure.host)}[/]: {first}", emoji=False))

    def on_diff(self, host: str, text: str) -> None:
        self.console.print(Text(host, style="bold"))
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
        head.add_row(Text(self.title, style="bold", overflow="fold"), bar, count, clock(recorder.seconds))
        lines: list[Any] = [head, Text(f"  {recorder.play}", style="bold")]
        if task:
            lines.append(Text(f"  {task.name}  {task.seconds:.0f} s"))
        states = Text("  ")
        for host, state in sorted(recorder.hosts.items()):
            states.append(f"{host} ", style=STYLES.get(state, "bright_black"))
        return Group(*lines, states)


def outcomes(counts: Counter[str], markup: bool = False) -> str:
    """Return "ok=3 changed=1", without the counts that are zero."""
    words = [(name, f"{name}={counts[name]}") for name in STYLES if counts[name]]
    return " ".join(f"[{STYLES[name]}]{word}[/]" if markup else word for name, word in words) or "no host"


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
