# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from socle import cli, lab, project, report, runs
from socle.project import Site, UsageError, find_site
from socle.runs import Outcome

REPORTS = json.dumps({"verify_report_directory": str(project.STATE / "reports" / "lab")})


@pytest.fixture
def calls(monkeypatch, tmp_path):
    made = []

    def fake(verb, playbook, site, arguments, console):
        made.append((verb, playbook, site.name, arguments))
        return Outcome(verb, site.name, runs.OK, 1.0, str(tmp_path))

    monkeypatch.setattr(runs, "run", fake)
    monkeypatch.delenv("SOCLE_INVENTORY", raising=False)
    return made


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("lab up", ("lab-up", "lab.yml", "lab", [])),
        ("lab down", ("lab-down", "lab_down.yml", "lab", [])),
        ("image build --force", ("image", "image.yml", "lab", ["--extra-vars", "image_rebuild=true"])),
        ("deploy -i lab --check", ("deploy", "deploy.yml", "lab", ["--check", "--diff"])),
        (
            "deploy -i lab -l ctl1 -t run",
            ("deploy", "deploy.yml", "lab", ["--limit", "ctl1", "--tags", "run"]),
        ),
        ("wire -i lab", ("wire", "wire.yml", "lab", [])),
        ("verify -i lab", ("verify", "verify.yml", "lab", ["--extra-vars", REPORTS])),
        ("validate -i lab", ("validate", "validate.yml", "lab", [])),
    ],
)
def test_each_verb_is_a_playbook(calls, words, call):
    assert cli.main(words.split()) == runs.OK
    assert calls == [call]
    assert (project.ROOT / "playbooks" / call[1]).is_file()


def test_a_site_must_be_named(calls, capsys):
    assert cli.main(["deploy"]) == runs.USAGE
    assert "say which site" in capsys.readouterr().err
    assert cli.main(["deploy", "-i", "atlantis"]) == runs.USAGE
    assert "no inventory 'atlantis'" in capsys.readouterr().err
    assert calls == []


def test_a_site_by_path_name_and_environment(monkeypatch, tmp_path):
    assert find_site("lab") == Site(project.ROOT / "inventories" / "lab")
    (tmp_path / "hosts.yml").touch()
    monkeypatch.chdir(tmp_path)
    for words in (str(tmp_path), ".", "hosts.yml"):
        assert find_site(words).path == tmp_path
    monkeypatch.setenv("SOCLE_INVENTORY", str(tmp_path))
    assert find_site(None, "lab").path == tmp_path
    monkeypatch.delenv("SOCLE_INVENTORY")
    with pytest.raises(UsageError):
        find_site(None)


def test_the_lab_is_known_from_any_folder(tmp_path):
    code = "from socle import lab, project; print(*(node.name for node in lab.nodes(project.find_site('lab'))))"
    environment = {key: value for key, value in os.environ.items() if key != "ANSIBLE_CONFIG"}
    environment["PYTHONPATH"] = str(project.ROOT)
    words = [sys.executable, "-c", code]
    answer = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert {"ctl1", "gw2"} <= set(answer.stdout.split()), answer.stderr


def lab_node(tmp_path, monkeypatch, **variables):
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"n": variables}}}))
    monkeypatch.chdir(tmp_path)  # the command changes the folder, and monkeypatch restores it
    (node,) = lab.nodes(Site(tmp_path))
    return node


def test_a_shell_is_of_the_account_and_at_the_port_of_the_inventory(tmp_path, monkeypatch):
    node = lab_node(tmp_path, monkeypatch, ansible_host="192.0.2.9", ansible_user="ops", ansible_port=2222)
    assert node.ssh == ["ssh", "-p", "2222", "ops@192.0.2.9"]
    assert lab._endpoint(node) == ("192.0.2.9", 2222)


def test_what_the_inventory_leaves_open_is_left_to_ssh(tmp_path, monkeypatch):
    """~/.ssh/config may set the account, the address and the port, so the command sets no defaults for them."""
    config = tmp_path / "config"
    config.write_text("Host n\n  HostName 127.0.0.1\n  Port 2022\n  User ops\n")
    node = lab_node(tmp_path, monkeypatch, ansible_ssh_common_args=f"-F {config}")
    assert node.ssh[-1] == "n"
    assert lab._endpoint(node) == ("127.0.0.1", 2022)


def test_json_is_all_of_stdout(calls, capsys):
    assert cli.main(["validate", "-i", "lab", "--json"]) == runs.OK
    assert json.loads(capsys.readouterr().out)["verb"] == "validate"


@pytest.mark.parametrize(
    ("ok", "before", "after"),
    [(False, runs.FAILED, runs.MISMATCH), (True, runs.FAILED, runs.FAILED), (True, runs.OK, runs.OK)],
)
def test_a_wrong_matrix_has_its_own_exit_code(tmp_path, monkeypatch, ok, before, after):
    monkeypatch.setattr(project, "STATE", tmp_path)
    site = Site(tmp_path / "paris")
    outcome = Outcome("verify", "paris", before, 0.1, str(tmp_path))
    site.reports.mkdir(parents=True)
    (site.reports / "verify.json").write_text(json.dumps({"ok": ok}))
    cli._judge(outcome, site, "verify")
    assert outcome.exit_code == after
    assert outcome.reports == [str(site.reports / "verify.json")]


def test_an_old_report_says_nothing_about_this_run(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "STATE", tmp_path)
    site = Site(tmp_path / "paris")
    site.reports.mkdir(parents=True)
    (site.reports / "verify.json").write_text('{"ok": false}')
    time.sleep(1.2)
    run = tmp_path / "run"
    run.mkdir()
    outcome = Outcome("verify", "paris", runs.FAILED, 0.0, str(run))
    cli._judge(outcome, site, "verify")
    assert (outcome.exit_code, outcome.reports) == (runs.FAILED, [])


def test_violations_are_shown_with_place_and_remedy():
    violation = {
        "file": "a.yml",
        "line": 3,
        "path": "x.y",
        "value": "7",
        "reason": "is odd",
        "remedy": "make it even",
    }
    text = "\n".join(report.lines(Outcome("validate", "lab", runs.USAGE, 1.0, "/runs/1", violations=[violation])))
    assert "a.yml:3  x.y = 7\n    is odd\n    -> make it even\n" in text


def test_warnings_are_shown_and_refuse_nothing():
    notice = {"file": "a.yml", "line": 3, "path": "x", "value": "", "reason": "is alone", "remedy": "add one"}
    text = report.lines(Outcome("validate", "lab", runs.OK, 1.0, "/runs/1", notices=[notice]))
    assert text[:3] == ["warning: a.yml:3  x", "    is alone", "    -> add one"]
    assert not any("violation" in line for line in text)


@pytest.fixture
def preview(monkeypatch, tmp_path):
    """Runs that write a preview with this number of changes, or fail; `calls` are the playbooks."""
    monkeypatch.setattr(project.Site, "reports", property(lambda self: tmp_path))
    state: dict[str, Any] = {"changes": 0, "states": [], "code": runs.OK, "calls": []}

    def fake(verb, playbook, site, arguments, console):
        state["calls"].append(playbook)
        variables = json.loads(arguments[-1])
        if state["code"] == runs.OK and playbook == "rie_plan.yml":
            keys = ("site", "made", "ledger", "site_wide", "tenants", "nodes", "orphans")
            found: dict[str, Any] = {key: [] for key in keys} | {"lines": ["VRF a of b", "  cloud  + network x"]}
            found |= {key: state[key] for key in ("changes", "states")}
            Path(variables["rie_preview_file"]).write_text(json.dumps(found))
        return Outcome(verb, site.name, state["code"], 1.0, str(tmp_path))

    monkeypatch.setattr(runs, "run", fake)
    return state


@pytest.mark.parametrize(("changes", "code"), [(0, 0), (3, 2)])
def test_a_plan_tells_changes_by_its_exit_code(preview, capsys, changes, code):
    preview["changes"] = changes
    assert cli.main(["rie", "plan", "-i", "lab"]) == code
    assert "+ network x" in capsys.readouterr().out
    assert cli.main(["rie", "plan", "-i", "lab", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["changes"] == changes


def test_a_plan_that_cannot_be_made_is_never_taken_for_changes(preview):
    for preview["code"] in (runs.FAILED, runs.USAGE, runs.UNREACHABLE):
        assert cli.main(["rie", "plan", "-i", "lab"]) == 1
    assert cli.main(["rie", "plan", "-i", "nowhere"]) == 1
    assert cli.main(["rie", "drift", "-i", "lab"]) == runs.UNREACHABLE


def test_only_a_plan_that_was_shown_is_applied_and_only_once(preview, capsys):
    assert cli.main(["rie", "apply", "-i", "lab"]) == runs.USAGE
    assert "socle rie plan -i lab" in capsys.readouterr().err
    cli.main(["rie", "plan", "-i", "lab"])
    cli.main(["rie", "drift", "-i", "lab"])
    assert cli.main(["rie", "apply", "-i", "lab"]) == runs.OK
    assert preview["calls"] == ["rie_plan.yml", "rie_plan.yml", "rie_apply.yml"]
    assert cli.main(["rie", "apply", "-i", "lab"]) == runs.USAGE


@pytest.mark.parametrize(("changes", "up", "code"), [(0, True, 0), (1, True, 3), (0, False, 3)])
def test_drift_is_what_differs_and_what_is_down(preview, capsys, changes, up, code):
    preview |= {"changes": changes, "states": [{"what": "BGP PE v4", "ok": up}]}
    assert cli.main(["rie", "drift", "-i", "lab"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["changes"], len(found["sessions"])) == (changes, int(not up))


@pytest.mark.parametrize(("verb", "drain"), [("drain", True), ("undrain", False)])
def test_a_gateway_is_drained_by_its_name(calls, verb, drain):
    assert cli.main(["rie", verb, "gw1", "-i", "lab"]) == runs.OK
    [(name, playbook, site, arguments)] = calls
    assert (name, playbook, site) == (f"rie-{verb}", "rie_drain.yml", "lab")
    assert json.loads(arguments[-1]) == {"rie_gateway_name": "gw1", "rie_gateway_drain": drain}


@pytest.mark.parametrize("code", [runs.OK, runs.UNREACHABLE, runs.FAILED])
def test_a_report_that_was_written_is_a_success_whatever_it_says(monkeypatch, tmp_path, capsys, code):
    monkeypatch.setattr(project.Site, "reports", property(lambda self: tmp_path))
    written = {"summary": "40 of 41 sessions", "notes": ["gw2 did not answer"]}

    def fake(verb, playbook, site, arguments, console):
        variables = json.loads(arguments[-1])
        if write:
            Path(variables["rie_report_file"]).write_text("page")
            Path(variables["rie_report_data_file"]).write_text(json.dumps(written))
        return Outcome(verb, site.name, code, 1.0, str(tmp_path))

    monkeypatch.setattr(runs, "run", fake)
    page = tmp_path / "elsewhere.html"
    write = True
    assert cli.main(["rie", "report", "-i", "lab", "-o", str(page)]) == 0
    assert f"40 of 41 sessions\ngw2 did not answer\nreport: {page}" in capsys.readouterr().out
    assert cli.main(["rie", "report", "-i", "lab", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    write = False  # the report of the last run is not the report of this one
    assert cli.main(["rie", "report", "-i", "lab", "-o", str(page)]) == 1
    assert cli.main(["rie", "report", "-i", "nowhere"]) == 1


def test_usage_errors_exit_2():
    for words in ([], ["fly"], ["lab"], ["deploy", "--nonsense"]):
        with pytest.raises(SystemExit) as error:
            cli.main(words)
        assert error.value.code == runs.USAGE
