# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Requests of packages to services during an installation by Ansible, answered by the real script."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import package_starts as engine

ACTIVE = "dbus.service polkit.service haproxy.service mariadb.service"
MANAGED = ("haproxy.service", "mariadb.service")


class Node:
    """The start policy of a node: ``node(unit, action)`` is its exit status."""

    def __init__(self, paths: engine.Paths, programs: Path) -> None:
        self.paths, self.programs = paths, programs

    def __call__(self, *words: str, held: bool = True) -> int:
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", **({engine.VARIABLE: "1"} if held else {})}
        return subprocess.run([self.paths.policy, *words], env=environment, check=False).returncode


@pytest.fixture
def node(tmp_path, monkeypatch):
    """`node(*words, held=True)`: the exit code of the policy, on a node where some units run."""
    paths = engine.Paths(*(str(tmp_path / name) for name in ("policy-rc.d", "kept", "asked", "enabled")))
    (tmp_path / "units").mkdir()
    for name in MANAGED:
        (tmp_path / "units" / f"{name}.json").touch()
    script = engine.SCRIPT.replace(engine.KEPT, paths.kept).replace(engine.ASKED, paths.asked)
    script = script.replace("/run/socle/units", str(tmp_path / "units"))
    monkeypatch.setattr(engine, "SCRIPT", script)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(
        f'#!/bin/sh\ncase "$1" in show) test "$5" = haproxy.service && echo yes || echo no; exit ;; esac\n'
        f'for unit in {ACTIVE}; do test "$unit" = "$3" && exit 0; done; exit 3\n'
    )
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setattr(engine, "enabled", dict)

    return Node(paths, programs)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("dbus", "reload", "5"), 0),  # the request of polkit
        (("--quiet", "dbus", "force-reload"), 0),
        (("polkit.service", "try-restart"), 0),
        (("dbus.service", "start"), 101),
        (("polkit.service", "stop"), 101),
        (("rsyslog", "try-restart"), 101),  # the unit does not run
        (("haproxy.service", "reload"), 0),
        (("haproxy", "force-reload"), 0),
        (("mariadb", "force-reload"), 101),  # the unit would restart
        (("mariadb.service", "restart"), 101),
        (("nova-api", "(start)"), 101),
        (("mariadb", "status"), 0),
    ],
)
def test_services_that_run_are_reloaded_and_none_starts(node, words, answer):
    engine.hold(node.paths)
    assert node(*words) == answer


def test_it_refuses_nothing_to_others(node):
    engine.hold(node.paths)
    assert node("nova-api", "start", held=False) == 0


def test_what_was_asked_is_told_once(node):
    engine.hold(node.paths)
    for words in [("dbus", "reload"), ("dbus", "reload"), ("nova-api.service", "start")]:
        node(*words)
    found = engine.release(node.paths)
    assert found == {"allowed": ["reload dbus.service"], "refused": ["start nova-api.service"], "disabled": []}
    assert not os.path.exists(node.paths.policy)
    assert engine.release(node.paths) == {"allowed": [], "refused": [], "disabled": []}


def test_a_policy_of_the_node_is_asked_and_comes_back(node):
    with open(node.paths.policy, "w") as stream:
        stream.write('#!/bin/sh\ntest "$1" = polkit.service && exit 101; exit 0\n')
    os.chmod(node.paths.policy, 0o755)
    for _ in range(2):  # the second run follows one that was killed
        engine.hold(node.paths)
    assert node("dbus", "reload") == 0
    assert node("polkit.service", "restart") == 101
    assert (node("polkit.service", "start", held=False), node("nova-api", "start", held=False)) == (101, 0)
    engine.release(node.paths)
    with open(node.paths.policy) as stream:
        assert "exit 101; exit 0" in stream.read()
    assert not os.path.exists(node.paths.kept)


def test_what_packages_enabled_does_not_start_at_the_next_boot(node, monkeypatch):
    calls = []
    monkeypatch.setattr(engine, "run", lambda argv, **_: calls.append(argv))
    monkeypatch.setattr(engine, "enabled", lambda: {"ssh.service": True})
    engine.hold(node.paths)
    # The run is killed after the packages and repeated: the state before the first run counts.
    after = {"ssh.service": True, "usbguard.service": False, "logrotate.timer": False, "polkit.service": True}
    monkeypatch.setattr(engine, "enabled", lambda: after)
    assert engine.unfinished(node.paths)
    engine.hold(node.paths)
    assert engine.release(node.paths)["disabled"] == ["usbguard.service"]
    assert calls == [["systemctl", "disable", "usbguard.service"]]
    assert not engine.unfinished(node.paths)


def test_a_killed_dpkg_is_taken_up(tmp_path, monkeypatch):
    (tmp_path / "updates").mkdir()
    assert engine.resume(str(tmp_path)) == ""
    left = tmp_path / "updates" / "0001"
    left.touch()
    ends = iter([(1, "dpkg: error: dpkg frontend lock was locked by another process"), (0, "")])

    def run(argv, environment):
        assert environment[engine.VARIABLE]
        code, said = next(ends)
        if not code:
            left.unlink()
        return type("Done", (), {"ok": not code, "rc": code, "stderr": said, "output": said})

    monkeypatch.setattr(engine, "run", run)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert engine.resume(str(tmp_path)) == ""
    left.touch()
    ends = iter([(1, "dpkg: error processing package nova-api")])
    assert "nova-api" in engine.resume(str(tmp_path))
