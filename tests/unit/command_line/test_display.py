# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The output is complete: in a pipe, on a narrow terminal, and with any value."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter

import pytest

from socle import cli, display, project, recorder, report, runs
from socle.recorder import Failure, Task
from socle.runs import Outcome

LONG = "fd66:100:1234:5678:9abc:def0:1234:5678/128"
"""An IPv6 address of full length that contains the names of two emojis of rich."""
NETWORK = {"name": "web", "v4": {"cidr": "10.20.0.0/24"}, "v6": {"cidr": LONG}}
FOUND = {
    "cloud": [{"name": "interieur", "networks": [NETWORK]}],
    "gateways": {
        "gw1": [{"name": "interieur", "rd": "64900:100", "pe": {"asn": 64900, "v4": "100.66.1.1"}}
                | {link: {"vlan": number} for number, link in enumerate(("rie", "cloud", "peer"), 101)}]
    },
    "sessions": [{"gateway": "gw1", "vrf": "interieur", "what": "BGP PE v6", "neighbor": LONG, "state": "Established",
                  "detail": "[bold] is no markup", "ok": True}],
    "routes": [{"gateway": "gw1", "vrf": "interieur", "neighbor": LONG, "accepted": [LONG, "10.128.1.0/24"],
                "refused": [], "announced": ["10.20.0.0/24"] * 30}],
}  # fmt: skip


@pytest.fixture
def show(monkeypatch, tmp_path):
    monkeypatch.setattr(project.Site, "reports", property(lambda self: tmp_path))

    def fake(verb, playbook, site, arguments, console):
        (tmp_path / "rie-show.json").write_text(json.dumps(FOUND))
        return Outcome(verb, site.name, runs.OK, 1.0, str(tmp_path))

    monkeypatch.setattr(runs, "run", fake)
    return lambda: cli.main(["rie", "show", "interieur", "-i", "lab"])


@pytest.mark.parametrize("forced", [{}, {"FORCE_COLOR": "1"}, {"COLUMNS": "40"}, {"TERM": "dumb"}])
def test_a_pipe_gets_whole_values_in_columns_that_tabs_separate(show, capsys, monkeypatch, forced):
    for name, value in forced.items():
        monkeypatch.setenv(name, value)
    assert show() == runs.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Networks",
        "VRF\tnetwork\tIPv4\tIPv6",
        f"interieur\tweb\t10.20.0.0/24\t{LONG}",
        "",
        "Wires",
        "gateway\tVRF\tRD\tVLAN of the PE\tof the cloud\tof the other gateway\tPE",
        "gw1\tinterieur\t64900:100\t101\t102\t103\tAS 64900 100.66.1.1",
        "",
        "Sessions",
        "up\tgateway\tVRF\tsession\tneighbour\tstate\tdetail",
        f"up\tgw1\tinterieur\tBGP PE v6\t{LONG}\tEstablished\t[bold] is no markup",
        "",
        "Routes",
        "gateway\tVRF\tPE\taccepted\trefused\tannounced",
        f"gw1\tinterieur\t{LONG}\t{LONG} 10.128.1.0/24\t\t{' '.join(['10.20.0.0/24'] * 30)}",
        "",
    ]


def on_terminal(monkeypatch, act, width):
    """Return the output of `act` on a terminal with this number of columns."""
    main, other = pty.openpty()
    with os.fdopen(main, "rb", buffering=0) as reader, os.fdopen(other, "w") as terminal:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stdout", terminal)
        act()
        terminal.write("\0")
        terminal.flush()
        said = b""
        while not said.endswith(b"\0"):
            said += reader.read(1024)
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode())


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_gets_all_of_them_too(monkeypatch, width):
    rows = [["up", "interieur", LONG], ["DOWN", "[bold] is no markup", LONG[::-1]]]
    said = on_terminal(monkeypatch, lambda: display.table("", ("", "VRF", "PE"), rows, ["green", "red"]), width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    columns = Counter(re.sub(r"[\s─\0]", "", said))
    for value in (value for row in rows for value in row):
        assert not Counter(value.replace(" ", "")) - columns


@pytest.mark.parametrize("shape", [display.Plain, display.Panel])
def test_lines_of_a_run_are_whole_and_are_no_markup(capsys, monkeypatch, shape):
    monkeypatch.setenv("COLUMNS", "40")
    told = shape(display.console(), "try", recorder.Recorder(), 0)
    task = Task(1, "Play", f"Announce [x] {LONG}", 0.0, 1.0, Counter(changed=1))
    failure = Failure("gw1", "x", f"[no] {LONG} {'word ' * 40}")
    told.show([("task", task), ("failure", failure), ("diff", "a", f"+{LONG}")])
    said = capsys.readouterr().out
    assert f"Announce [x] {LONG}" in said
    assert f"[no] {LONG} {'word ' * 40}".strip() in said
    assert f"+{LONG}\n" in said


def test_closing_lines_are_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    found = {"file": "a.yml", "line": 3, "path": "x", "value": LONG, "reason": "is odd " * 20, "remedy": "[y]"}
    report.show(Outcome("validate", "lab", runs.USAGE, 1.0, "/runs/1", violations=[found]), display.console())
    said = capsys.readouterr().out
    assert f"a.yml:3  x = {LONG}\n" in said
    assert "is odd " * 20 in said
    assert "-> [y]\n" in said


def test_a_character_that_the_output_has_not_is_no_crash():
    code = "from socle import cli, vault; vault.init = lambda *_: ['\\u2192']; cli.main('secrets init -i lab'.split())"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(project.ROOT)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=project.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "added 1: ?" in done.stdout
