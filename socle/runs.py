# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Run one playbook through ansible-runner: progress while it goes, artifacts kept, one exit code."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import ansible_runner
from rich.console import Console

from .display import Panel, Plain
from .project import ROOT, STATE, Site, UsageError
from .recorder import Failure, Recorder

OK, FAILED, USAGE, MISMATCH, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
KEPT_RUNS = 20
RESULT_KEPT = 16_000_000
"""Characters of a task's result above which ansible-runner forgets it, a failure's message included. The first diff of
Debian's commented configuration files alone is half a million."""
FACTS_KEPT = 3600  # seconds; cores and memory of a node, which change with the machine only
READS_ONLY = ("validate",)


@dataclass
class Outcome:
    """The end of a run, as `--json` prints it."""

    verb: str
    site: str
    exit_code: int
    seconds: float
    artifacts: str
    totals: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    violations: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)
    """Warnings of the validation, in the form of `violations`."""
    units: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)


def run(verb: str, playbook: str, site: Site, arguments: list[str], console: Console) -> Outcome:
    """Run playbooks/`playbook` against `site` with extra ansible-playbook `arguments`."""
    directory = _new_run_directory(verb)
    recorder = Recorder()
    known = STATE / "work" / f"{site.name}-{verb}{_suffix(arguments)}.json"
    shape = Panel if console.is_terminal else Plain
    display = shape(console, f"{verb} {site.name}", recorder, _known_tasks(known))
    if site.vault_password_file.is_file():
        arguments = [*arguments, "--vault-password-file", str(site.vault_password_file)]

    def follow(event: dict[str, Any]) -> bool:
        display.show(recorder.handle(event))
        return True  # keep the event among the artifacts

    alone = nullcontext() if verb in READS_ONLY else only_one(site, verb)
    with alone, display, _Interruption() as interruption:
        runner = ansible_runner.run(
            private_data_dir=str(directory),
            project_dir=str(ROOT),
            playbook=str(ROOT / "playbooks" / playbook),
            inventory=str(site.path),
            cmdline=shlex.join(arguments),
            envvars=_environment(),
            fact_cache=str(_facts(site)),
            quiet=True,
            ident="ansible",
            event_handler=follow,
            cancel_callback=lambda: interruption.count > 1,
        )
    outcome = Outcome(
        verb=verb,
        site=site.name,
        exit_code=INTERRUPTED if interruption.count else _exit_code(runner.rc, recorder),
        seconds=round(recorder.seconds, 1),
        artifacts=str(directory),
        totals={name: recorder.counts[name] for name in ("ok", "changed", "failed", "unreachable")},
        hosts={host: dict(counts) for host, counts in sorted(recorder.per_host.items())},
        failures=[asdict(failure) for failure in recorder.failures],
        violations=recorder.violations,
        notices=recorder.notices,
        units=recorder.units,
    )
    if outcome.exit_code in (FAILED, USAGE) and not outcome.failures:
        outcome.failures = [asdict(Failure(host="", task="", message=_last_words(directory)))]
    if outcome.exit_code in (FAILED, USAGE) and not outcome.violations and recorder.tasks <= 1:
        _explain(outcome, site)
    if outcome.exit_code == OK:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps({"tasks": recorder.tasks, "seconds": outcome.seconds}) + "\n")
    (directory / "outcome.json").write_text(json.dumps(asdict(outcome), indent=2) + "\n")
    return outcome


def _exit_code(rc: int, recorder: Recorder) -> int:
    if rc == 0:
        return OK
    if recorder.violations or not recorder.tasks:
        return USAGE
    if recorder.totals["unreachable"] and not recorder.totals["failed"]:
        return UNREACHABLE
    return FAILED


@contextmanager
def only_one(site: Site, verb: str) -> Iterator[None]:
    """Hold the site's lock: two runs at once would undo each other's work. A killed run lets go of it."""
    lock = STATE / "locks" / f"{site.name}"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(f"another run on {site.name} is under way: {file.read().strip()}") from None
        file.truncate(0)
        file.write(f"{verb}, process {os.getpid()}\n")
        file.flush()
        yield


def _explain(outcome: Outcome, site: Site) -> None:
    """Ansible could not even begin (no YAML, a vault that does not open): ask the rules why."""
    sys.path.insert(0, str(ROOT / ".ansible" / "collections"))
    from ansible_collections.cloudwatt.socle.plugins.action.site_validate import violations

    outcome.violations = violations(site.path, site.vault_password_file)
    if outcome.violations:
        outcome.exit_code = USAGE


class _Interruption:
    """Pass the first Ctrl-C or SIGTERM on to ansible, which ends its workers; a second one kills it."""

    def __enter__(self) -> _Interruption:
        self.count = 0
        self.before = {
            number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(child), signal.SIGINT)


def _environment() -> dict[str, str]:
    return {
        "ANSIBLE_CACHE_PLUGIN_TIMEOUT": str(FACTS_KEPT),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_NOCOLOR": "True",
        "MAX_EVENT_RES": str(RESULT_KEPT),
        "PYTHONDONTWRITEBYTECODE": "",  # else every run, and each of its processes, compiles Ansible anew
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
    }


def _facts(site: Site) -> Path:
    """Folder of the facts of the site's nodes, which the runs share."""
    directory = STATE / "facts" / site.name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _new_run_directory(verb: str) -> Path:
    """Make .socle/runs/<UTC time>-<verb>, private to its owner, and drop the oldest runs."""
    runs = STATE / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir())[: -KEPT_RUNS + 1]:
        shutil.rmtree(old, ignore_errors=True)
    directory = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{verb}"
    directory.mkdir(mode=0o700)
    return directory


def _known_tasks(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["tasks"])
    except (OSError, ValueError, KeyError):
        return 0


def _suffix(arguments: list[str]) -> str:
    """A limited or tagged run has another amount of work than a full one."""
    return "-partial" if {"--limit", "--tags"} & set(arguments) else ""


def _last_words(directory: Path) -> str:
    """What ansible said outside of any task: a playbook or inventory that does not parse, usually."""
    stdout = directory / "artifacts" / "ansible" / "stdout"
    text = stdout.read_text(errors="replace") if stdout.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-15:]) or "ansible-playbook ended without a word"
