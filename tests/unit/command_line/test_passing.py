# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Options of ansible-playbook have the same meaning when `socle` passes them on, in any folder."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from socle import cli, inventory, passing, project, runs
from socle.project import Site, UsageError
from socle.runs import Outcome

HOSTS = """
[control]
ctl1
[compute]
cmp1
[gateway]
gw[1:2]
[nodes:children]
control
compute
gateway
[all:vars]
ansible_connection=local
"""
PLAYBOOK = """
- name: Try
  hosts: all
  gather_facts: false
  tasks:
    - name: Tell
      ansible.builtin.debug: {msg: "{{ inventory_hostname }} {{ word | default('nothing') }}"}
- name: Plan
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Tell
      ansible.builtin.debug: {msg: "planned"}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "paris"
    folder.mkdir()
    (folder / "hosts.ini").write_text(HOSTS)
    (tmp_path / "try.yml").write_text(PLAYBOOK)
    monkeypatch.setattr(runs, "STATE", tmp_path / "state")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return Site(folder)


def run(site, *arguments):
    text = io.StringIO()
    outcome = runs.run("try", str(site.path.parent / "try.yml"), site, list(arguments), Console(file=text, width=200))
    return outcome, text.getvalue()


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("ctl1", "ctl1"),
        ("ctl1,gw2", "ctl1 gw2"),
        ("control:compute", "ctl1 cmp1"),
        ("all:!gw1", "ctl1 cmp1 gw2"),
        ("all,!gateway", "ctl1 cmp1"),
        ("nodes:&gateway:!gw2", "gw1"),
        ("~gw[12]", "gw1 gw2"),
        ("gateway[0]", "gw1"),
        ("gw*", "gw1 gw2"),
        ("@retry", "cmp1 gw1"),
        ("all:!localhost", "ctl1 cmp1 gw1 gw2"),
        ("localhost", ""),
    ],
)
def test_a_limit_chooses_what_ansible_chooses_and_the_controller(site, pattern, hosts):
    Path("retry").write_text("cmp1\ngw1\n")
    found = inventory.limited(site, pattern, [])
    assert sorted(found) == sorted([*hosts.split(), "localhost"])


@pytest.mark.parametrize("pattern", ["ctl9", "nodes:&backbone", "@nowhere", "all:!all"])
def test_a_limit_that_leaves_nothing_is_refused_and_never_a_success(site, pattern):
    with pytest.raises(UsageError, match=r"--limit "):
        inventory.limited(site, pattern, [])


def test_a_limited_run_is_on_these_hosts_and_plans(site):
    outcome, _text = run(site, "--limit", "all:!gateway")
    assert outcome.exit_code == runs.OK
    assert {host for host, counts in outcome.hosts.items() if counts} == {"ctl1", "cmp1", "localhost"}


def test_files_are_those_of_the_current_folder(site):
    Path("more.yml").write_text("word: from-here\n")
    Path("sub").mkdir()
    Path("sub/again.yml").write_text("word: from-below\n")
    for name, word in (("@more.yml", "from-here"), ("@sub/again.yml", "from-below"), ("@./more.yml", "from-here")):
        outcome, text = run(site, "--extra-vars", name, "--limit", "ctl1", "--verbose")
        assert outcome.exit_code == runs.OK, text
        assert f"ctl1 {word}" in text


def test_what_a_pipe_holds_is_passed_on(site):
    reader, writer = os.pipe()
    os.write(writer, b"word: piped\n")
    os.close(writer)
    outcome, text = run(site, "--extra-vars", f"@/dev/fd/{reader}", "--limit", "ctl1", "--verbose")
    assert outcome.exit_code == runs.OK, text
    assert "ctl1 piped" in text


def test_what_a_fifo_holds_is_passed_on(site):
    os.mkfifo("word")
    threading.Thread(target=lambda: Path("word").write_text("word: piped\n"), daemon=True).start()
    with passing.settled(["--extra-vars", "@word"], site) as settled:
        assert Path(settled[1][1:]).read_text() == "word: piped\n"


def test_a_list_of_tasks_is_shown(site):
    outcome, text = run(site, "--list-tasks", "--limit", "ctl1")
    assert outcome.exit_code == runs.OK
    assert "Tell" in text
    assert "TAGS: []" in text


def test_verbose_shows_what_ansible_prints(site):
    assert "msg: cmp1 nothing" in run(site, "--verbose")[1]
    assert "msg: cmp1 nothing" not in run(site)[1]


def test_passwords_are_asked_once_and_handed_on_in_private_files_that_do_not_stay(site):
    words = ["--ask-pass", "--ask-become-pass", "--become", "--vault-id", "prod@prompt"]
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return "" if "BECOME" in prompt else f"s3cret {len(asked)}"

    with passing.settled(words, site, ask) as settled:
        named = dict(zip(settled[0:4:2], settled[1:4:2], strict=True))
        connection, become = named["--connection-password-file"], named["--become-password-file"]
        assert Path(connection).read_text() == "s3cret 1"
        assert Path(become).read_text() == "s3cret 1"  # as in Ansible, an empty password means that of SSH
        assert settled[4:6] == ["--become", "--vault-id"]
        name, _at, vault = settled[6].partition("@")
        assert (name, Path(vault).read_text()) == ("prod", "s3cret 3")
        assert {Path(file).stat().st_mode & 0o777 for file in (connection, become, vault)} == {0o600}
        assert Path(connection).parent.stat().st_mode & 0o777 == 0o700
    assert asked == ["SSH password: ", "BECOME password: ", "Vault password (prod): "]
    assert not Path(connection).parent.exists()


def test_every_option_of_ansible_playbook_is_passed_on_or_named():
    from ansible.cli.playbook import PlaybookCLI

    theirs = PlaybookCLI(["ansible-playbook", "x"])
    theirs.init_parser()
    wanted = {max(action.option_strings, key=len) for action in theirs.parser._actions if action.option_strings}
    tables = (passing.CONNECTING, passing.VAULT, passing.PREVIEW, passing.CHOOSING)
    every = [option for table in tables for option in table]
    assert {max(option.names, key=len) for option in every} == wanted - passing.NOT_PASSED
    takes = {name: action.nargs != 0 for action in theirs.parser._actions for name in action.option_strings}
    for option in every:
        assert {takes[name] for name in option.names} == {bool(option.metavar)}, option.names


@pytest.fixture
def passed(monkeypatch, tmp_path):
    made = []

    def fake(verb, playbook, site, arguments, console):
        made.append(arguments)
        return Outcome(verb, site.name, runs.OK, 1.0, str(tmp_path))

    monkeypatch.setattr(runs, "run", fake)
    return made


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("deploy -i lab -C", ["--check", "--diff"]),
        ("deploy -i lab -CD", ["--check", "--diff"]),
        ("lab up --check", ["--check", "--diff"]),
        ("deploy -i lab -vv -u ops -b", ["--verbose", "--verbose", "--user", "ops", "--become"]),
        ("deploy -i lab -kK", ["--ask-pass", "--ask-become-pass"]),
        ("deploy -i lab --skip-tags run --start-at-task x", ["--skip-tags", "run", "--start-at-task", "x"]),
        ("deploy -i lab -e a=1 -e @b.yml", ["--extra-vars", "a=1", "--extra-vars", "@b.yml"]),
        ("rie drain gw1 -i lab -u ops --check", ["--user", "ops", "--check"]),
        ("deploy -i lab -- -l gw1 --new x", ["--limit", "gw1", "--new", "x"]),
        ("deploy -i lab -l ctl1 -- --forks=3", ["--limit", "ctl1", "--forks", "3"]),
    ],
)
def test_options_keep_their_order_and_their_values(passed, words, arguments):
    assert cli.main(words.split()) == runs.OK
    [given] = passed
    assert given[-len(arguments) :] == arguments


def test_a_second_inventory_is_refused_and_never_ignored(passed, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["deploy", "-i", "lab", "-i", "ha"])
    assert error.value.code == runs.USAGE
    assert "one -i only" in capsys.readouterr().err
    assert passed == []


def test_nothing_is_passed_on_by_a_verb_without_a_playbook(capsys):
    assert cli.main(["lab", "status", "--", "-v"]) == runs.USAGE
    assert "-v" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hosts.yml", "hosts.ini", "hosts"])
def test_a_site_has_its_hosts_in_any_form(tmp_path, monkeypatch, name):
    (tmp_path / name).touch()
    monkeypatch.setenv("SOCLE_INVENTORY", os.path.relpath(tmp_path))
    assert project.find_site(None).path == tmp_path
    assert project.find_site(str(tmp_path / name)).path == tmp_path


def test_an_ignored_signal_stays_ignored(tmp_path):
    """nohup ignores the signal. Otherwise the end of the terminal would end a run that must continue."""
    code = (
        "from signal import *; signal(SIGHUP, SIG_IGN); from socle import runs\n"
        "with runs._Interruption(): print(getsignal(SIGHUP) == SIG_IGN, getsignal(SIGTERM) == SIG_DFL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
