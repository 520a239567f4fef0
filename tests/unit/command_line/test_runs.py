# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The command line with a real ansible-playbook, on local connections only."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from socle import project, report, runs
from socle.project import Site

PLAYBOOK = """
- name: Try
  hosts: all
  gather_facts: false
  tasks:
    - name: Break
      ansible.builtin.fail: {msg: "it broke"}
      when: mode == 'fail' and inventory_hostname == 'b'
    - name: Refuse
      ansible.builtin.fail: {msg: "bad"}
      when: mode == 'refuse'
    - name: Change
      ansible.builtin.command: "true"
      changed_when: true
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "paris"
    folder.mkdir()
    (folder / "hosts.yml").write_text(
        "all: {hosts: {a: {ansible_connection: local}, b: {ansible_connection: local},"
        " far: {ansible_host: 127.0.0.1, ansible_port: 9, ansible_ssh_retries: 0}}}\n"
    )
    (tmp_path / "try.yml").write_text(PLAYBOOK)
    monkeypatch.setattr(runs, "STATE", tmp_path / "state")
    monkeypatch.setattr(runs, "_explain", lambda outcome, site: None)
    return Site(folder)


def run(site, mode, *arguments, limit="a,b"):
    text = io.StringIO()
    console = Console(file=text, width=200, soft_wrap=True)
    playbook = str(site.path.parent / "try.yml")
    outcome = runs.run("try", playbook, site, ["--limit", limit, "--extra-vars", f"mode={mode}", *arguments], console)
    report.show(outcome, console)
    return outcome, text.getvalue()


def test_a_good_run(site):
    outcome, text = run(site, "none")
    assert outcome.exit_code == runs.OK
    assert outcome.totals == {"ok": 2, "changed": 2, "failed": 0, "unreachable": 0}
    assert "Try | Change  changed=2" in text
    assert text.splitlines()[-1].startswith("ok=2 changed=2 failed=0 in ")
    kept = json.loads((site.path.parent / outcome.artifacts / "outcome.json").read_text())
    assert kept["hosts"]["a"]["changed"] == 1
    _, again = run(site, "none")
    assert "[3/3] Try | Change" in again


def test_a_failed_run_names_host_task_and_message(site):
    outcome, text = run(site, "fail")
    assert outcome.exit_code == runs.FAILED
    assert "failed: b · Break\n  it broke\n" in text
    assert f"artifacts: {outcome.artifacts}" in text
    assert "Traceback" not in text


def test_an_unreachable_host(site):
    outcome, text = run(site, "none", limit="far")
    assert outcome.exit_code == runs.UNREACHABLE
    assert "unreachable: far · Change" in text


def test_a_playbook_that_does_not_parse(site):
    (site.path.parent / "try.yml").write_text("- name: Try\n  hosts: all\n  tasks: [{nonsense: }\n")
    outcome, text = run(site, "none")
    assert outcome.exit_code == runs.USAGE
    assert "failed: ansible" in text


def test_only_the_last_runs_are_kept(site, monkeypatch):
    monkeypatch.setattr(runs, "KEPT_RUNS", 3)
    of_another = runs._new_run_directory(project.Site(site.path.parent / "lyon"), "try")
    kept = [runs._new_run_directory(site, "try") for _ in range(5)]
    assert [path.exists() for path in kept] == [False, False, True, True, True]
    assert of_another.exists()


def test_one_run_at_a_time(site):
    with runs.only_one(site, "deploy"), pytest.raises(project.UsageError, match=r"process \d+ of"):
        run(site, "none")
    assert run(site, "none")[0].exit_code == runs.OK


INTERRUPTED_RUN = """
import sys
from pathlib import Path
from rich.console import Console
from socle import runs
from socle.project import Site
folder = Path(sys.argv[1])
runs.STATE = folder / "state"
outcome = runs.run("try", str(folder / "try.yml"), Site(folder / "paris"), ["--limit", "a"], Console())
sys.exit(outcome.exit_code)
"""

NAP = """
- name: Try
  hosts: all
  gather_facts: false
  tasks:
    - name: Nap
      ansible.builtin.command:
        argv: [sh, -c, 'echo $PPID >STARTED; exec sleep 60']
"""


def test_an_interruption_ends_ansible(tmp_path, site):
    started = tmp_path / "started"
    (tmp_path / "try.yml").write_text(NAP.replace("STARTED", str(started)))
    command = [sys.executable, "-c", INTERRUPTED_RUN, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=project.ROOT)
    while not (started.exists() and started.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=240) == runs.INTERRUPTED
    # The child processes of Ansible end shortly after it.
    deadline = time.monotonic() + 240
    while alive(int(started.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
