# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Run one playbook through ansible-runner: show its progress, keep its artifacts, return one exit code."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any

import ansible_runner
from rich.console import Console

from . import environment, inventory, passing
from .display import Panel, Plain, Verbatim, interactive
from .project import ROOT, STATE, Site, UsageError
from .recorder import Failure, Recorder

OK, FAILED, USAGE, MISMATCH, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
KEPT_RUNS = 20
ROOM = 1_000_000
"""Bytes of free disk space that a run needs."""
READS_ONLY = ("validate",)


@dataclass
class Outcome:
    """The outcome of a run, as `--json` prints it."""

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
    directory = _new_run_directory(site, verb)
    recorder = Recorder()
    known = STATE / "work" / f"{site.name}-{verb}{_suffix(arguments)}.json"
    shape = Verbatim if _verbose(arguments) else Panel if interactive(console) else Plain
    display = shape(console, f"{verb} {site.name}", recorder, _known_tasks(known))

    def follow(event: dict[str, Any]) -> bool:
        display.raw(event)
        display.show(recorder.handle(event))
        return True  # keep the event among the artifacts

    alone = nullcontext() if verb in READS_ONLY else only_one(site, verb)
    with passing.settled(arguments, site) as settled, alone, display, _Interruption() as interruption:
        runner = ansible_runner.run(
            private_data_dir=str(directory),
            # The operator's current folder: the paths that they name are relative to it.
            project_dir=_current_folder(),
            playbook=str(ROOT / "playbooks" / playbook),
            inventory=str(site.path),
            cmdline=shlex.join(settled),
            envvars=environment.of_ansible(),
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
    if outcome.exit_code == OK and not recorder.tasks:
        display.whole(_said(directory))  # a list of hosts, tags or tasks
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
    """Hold the lock of the site: two runs at once would undo each other's work. A killed run releases it.

    The lock is on the inventory's folder, which every account that runs Socle on the site can at least read.
    """
    handle = os.open(site.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = f"another run on {site.name} is under way{_holder(handle)}"
            raise UsageError(f"{verb} was not begun: {held}") from None
        except OSError as error:
            # On some network file systems a folder cannot be locked.
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    """The process that holds the lock on an open folder, if the kernel tells."""
    inode = str(os.fstat(handle).st_ino)
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode and int(words[4]) > 0:
                process = Path("/proc") / words[4]
                # Without the options: variables among them may be secret.
                command = process.joinpath("cmdline").read_text().split("\0")
                said = " ".join(Path(word).name for word in takewhile(lambda word: not word.startswith("-"), command))
                return f": {said} (process {words[4]} of {_account(process.stat().st_uid)})"
    except (OSError, ValueError, IndexError):
        pass
    return ""


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _explain(outcome: Outcome, site: Site) -> None:
    """Find the reason with the validation rules if Ansible could not start (invalid YAML, a closed vault)."""
    secrets = inventory.vault_secrets(site)
    from ansible_collections.cloudwatt.socle.plugins.action.site_validate import violations

    outcome.violations = violations(site.path, site.vault_password_file, secrets)
    if outcome.violations:
        outcome.exit_code = USAGE


class _Interruption:
    """Pass the first Ctrl-C, SIGTERM or SIGHUP on to ansible, which ends its workers; a second one kills it."""

    def __enter__(self) -> _Interruption:
        self.count = 0
        # Ignored signals stay ignored: nohup, and shells that run commands in the background, rely on it.
        every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heeded = [number for number in every if signal.getsignal(number) != signal.SIG_IGN]
        self.before = {number: signal.signal(number, self._handle) for number in heeded}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(child), signal.SIGINT)


def _facts(site: Site) -> Path:
    """The folder of the facts of the site's nodes, which all runs share."""
    directory = STATE / "facts" / site.name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _current_folder() -> str:
    """The current folder, or the checkout if that folder does not exist any more or this account cannot read it."""
    try:
        folder = os.getcwd()
    except OSError:
        return str(ROOT)
    return folder if os.access(folder, os.R_OK | os.X_OK) else str(ROOT)


def _new_run_directory(site: Site, verb: str) -> Path:
    """Create runs/SITE/<UTC time>-<command> in the state folder, private to its owner, and remove the oldest runs."""
    runs = STATE / "runs" / site.name
    try:
        runs.mkdir(parents=True, exist_ok=True)
        for old in sorted(runs.iterdir())[: -KEPT_RUNS + 1]:
            shutil.rmtree(old, ignore_errors=True)
        directory = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{verb}"
        directory.mkdir(mode=0o700)
        with tempfile.TemporaryFile(dir=directory) as file:  # a full disk shows here, and not in the middle of a run
            file.write(bytes(ROOM))
    except OSError as error:
        remedy = "free space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "let this account write there"
        raise UsageError(
            f"a run cannot be kept in {STATE}: {error.strerror}; {remedy}, or name another folder in $SOCLE_STATE"
        ) from None
    return directory


def _known_tasks(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["tasks"])
    except (OSError, ValueError, KeyError):
        return 0


def _suffix(arguments: list[str]) -> str:
    """A suffix that distinguishes limited and tagged runs, which have fewer tasks, from full ones."""
    return "-partial" if {"--limit", "--tags"} & set(arguments) else ""


def _verbose(arguments: list[str]) -> bool:
    return "--verbose" in arguments or os.environ.get("ANSIBLE_VERBOSITY", "0") not in ("", "0")


def _said(directory: Path) -> str:
    """The whole output of Ansible."""
    stdout = directory / "artifacts" / "ansible" / "stdout"
    return stdout.read_text(encoding="utf-8", errors="replace") if stdout.is_file() else ""


def _last_words(directory: Path) -> str:
    """The output of Ansible outside of any task: usually about a playbook or inventory that does not parse."""
    lines = [line for line in _said(directory).splitlines() if line.strip()]
    # A wrong option is named before, or after, the list of all of them.
    lines = [line for line in lines if " error: " in line] or lines
    return "\n".join(lines[-15:]) or "ansible-playbook ended without a word"
