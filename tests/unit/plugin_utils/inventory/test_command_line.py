# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Variables on the command line of ansible-playbook are checked like those in files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible import context
from ansible.parsing.splitter import parse_kv
from ansible.utils.context_objects import CLIArgs
from plugin_utils.inventory.test_site_rules import RIE, Copy, site  # noqa: F401

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.command_line import (
    CommandLine,
    check_limit,
    check_tags,
)

ROOT = Path(__file__).resolve().parents[4]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def check(site, *variables, scope="site", **more):  # noqa: F811
    given = CommandLine(variables=variables, words=lambda text: dict(parse_kv(text)), **more)
    found = site_validate.findings(site.folder, site.folder / ".vault-password", given=given, scope=scope)
    return [
        f"{v['file'].rsplit('/', 1)[-1]}:{v['line']} {v['path']} = {v['value']}: {v['reason']}; {v['remedy']}"
        for v in found
    ]


@pytest.mark.parametrize("scope", ["site", "command_line"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "hardening_levle=high",
            "command line:1 hardening_levle = high: unknown variable; did you mean hardening_level?",
        ),
        ("hardening_level=hihg", "command line:1 hardening_level = hihg: is not one of the choices"),
        (
            "mariadb_binlog_days=700",
            "command line:1 mariadb_binlog_days = 700: is out of range; use a number from 0 to 99",
        ),
        ("mariadb_binlog_days=7d", "command line:1 mariadb_binlog_days = 7d: is not a whole number"),
        ('{"image_rebiuld": true}', "did you mean image_rebuild?"),
        (
            '{"hardening_lock": {"attempts": 0, "interval": 1, "seconds": 1}}',
            "hardening_lock.attempts = 0: is out of range",
        ),
        ("verify_state=gone", "verify_state = gone: is not one of the choices"),
        ("ansible_usr=ops", "did you mean ansible_user?"),
        ("rie_gateway_tennant=interieur", "did you mean rie_gateway_tenant?"),
    ],
)
def test_a_bad_variable_is_refused(site, scope, given, said):  # noqa: F811
    [found] = check(site, given, scope=scope)
    assert said in found


@pytest.mark.parametrize(
    "given",
    [
        "verify_state=absent", "image_rebuild=true", "guest_image_rebuild=yes", "audit_report_directory=/tmp/reports",
        "ansible_user=ops ansible_port=2222", "mariadb_binlog_days=7", "rie_gateway_tenant=interieur",
        "rie_gateway_name=gw1 rie_gateway_drain=true", '{"lab_only": ["gw1"], "lab_recreate": true}', "socle_mine=1",
        '{"rie_mtu": 1500}', "lab_state=killed", "pki_days=30 pki_renew_days=15", "", "hardening_level=high",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scope", ["site", "command_line"])
def test_what_is_legal_passes(site, scope, given):  # noqa: F811
    assert check(site, given, scope=scope) == []


def test_a_file_is_named_with_its_line(site, tmp_path):  # noqa: F811
    file = tmp_path / "extra.yml"
    file.write_text("---\nhardening_level: high\nhardening_mdss: full\nhardening_rules_off: {R390: it is not there}\n")
    found = check(site, f"@{file}")
    assert [line.partition(" ")[0] for line in found] == ["extra.yml:3", "extra.yml:4"]
    assert "did you mean hardening_mds?" in found[0]


def test_a_file_that_cannot_be_read(site, tmp_path):  # noqa: F811
    [found] = check(site, f"@{tmp_path}/none.yml")
    assert "No such file" in found
    (tmp_path / "broken.yml").write_text("a: [")
    assert "broken.yml:" in check(site, f"@{tmp_path}/broken.yml")[0]


def test_the_command_line_is_the_strongest_of_all_sources(site):  # noqa: F811
    assert check(site, "site_internal_vip=10.99.0.7") == []
    [found] = check(site, "site_internal_vip=10.99.0.255")
    assert "command line:1 site_internal_vip = 10.99.0.255: is not usable" in found
    assert any("is also" in line for line in check(site, "site_internal_vip=10.99.0.31"))
    site.edit(RIE, "rie_mtu: 1500", "rie_mtu: 5")
    assert any("rie_mtu" in line for line in check(site))
    assert check(site, '{"rie_mtu": 1500}') == []


def test_a_number_of_the_intent_says_how_to_write_it(site):  # noqa: F811
    [found] = check(site, "rie_mtu=1400")
    assert "is a text, not a number" in found
    assert """-e '{"rie_mtu": 1400}'""" in found


def test_a_secret_on_the_command_line_is_not_shown(site):  # noqa: F811
    found = check(site, "keystone_fernet_seeds= my_password=tell-no-one", '{"secrets": {"odd": ["tell-no-one"]}}')
    assert found
    assert "tell-no-one" not in str(found)


def test_a_lab_needs_no_complete_inventory(site):  # noqa: F811
    (site.folder / "group_vars" / "all" / "secrets.yml").unlink()
    (site.folder / RIE).unlink()
    assert check(site, scope="command_line") == []
    assert check(site) != []


# --- tags and limit -------------------------------------------------------------------------------------


def tags(playbook, *given):
    line = CommandLine(tags=given, playbooks=(ROOT / "playbooks" / f"{playbook}.yml",))
    return [f"{found.value}: {found.remedy}" for found in check_tags(line, ROOT)]


def test_tags_of_a_playbook_are_known():
    assert (
        tags("deploy", "configure", "run", "install", "bootstrap", "rie", "catalog", "all", "never", "untagged") == []
    )
    assert tags("deploy", "confgure") == ["confgure: did you mean configure?"]
    assert tags("deploy", "infrastructre", "run") == ["infrastructre: did you mean infrastructure?"]
    assert tags("lab", "run") == []
    [found] = tags("lab", "openstack")
    assert found == "openstack: its tags: always, run"


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_tags_of_a_playbook_are_those_that_ansible_lists(playbook):
    command = [sys.executable, "-m", "ansible", "playbook", "--list-tags", "-i", "localhost,", str(playbook)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {
        tag
        for line in told.splitlines()
        if "TASK TAGS" in line
        for tag in line.split("[", 1)[1].rstrip("]").split(", ")
        if tag
    }
    assert tags(playbook.stem, *listed) == []
    [found] = tags(playbook.stem, "no_such_tag")
    if listed:
        assert found == f"no_such_tag: its tags: {', '.join(sorted(listed))}"


def test_a_playbook_of_ones_own_may_have_tags_that_cannot_be_seen(tmp_path):
    playbook = tmp_path / "mine.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "roles": ["a.collection.role"], "tags": ["mine"]}]))
    line = CommandLine(tags=("mine", "theirs", "mien"), playbooks=(playbook,))
    assert [found.value for found in check_tags(line, ROOT)] == ["mien"]


def limit(*given):
    return [
        f"{found.value}: {found.remedy}"
        for found in check_limit(CommandLine(limit=given), ["ctl1", "gw1", "gw2"], ["control", "gateway"])
    ]


def test_each_part_of_a_limit_names_something():
    assert (
        limit("ctl1", "gateway", "all", "!gw1", "&control", "gw*", "~gw[12]", "gateway[0]", "control[0:1]", "localhost")
        == []
    )
    assert limit("gatewya", "ctl1") == ["gatewya: did you mean gateway?"]
    assert limit("!gw9") == ["!gw9: did you mean gw2?"]
    assert limit("storage*") == ["storage*: name a host or a group of the inventory"]
    assert limit("~[") == ["~[: name a host or a group of the inventory"]


def test_what_ansible_was_given_is_taken_over(monkeypatch, tmp_path):
    (tmp_path / "hosts.txt").write_text("gw1\ngw2\n")
    given = {
        "extra_vars": ("a=1", "@b.yml"), "tags": ["run"], "skip_tags": ["rie"], "subset": f"ctl1,@{tmp_path}/hosts.txt",
        "args": (str(ROOT / "playbooks/deploy.yml"), "a.collection.playbook"),
    }  # fmt: skip
    monkeypatch.setattr(context, "CLIARGS", CLIArgs(given))
    line = site_validate.command_line()
    assert line.variables == ("a=1", "@b.yml")
    assert line.tags == ("run", "rie")
    assert line.limit == ("ctl1", "gw1", "gw2")
    assert line.playbooks == (ROOT / "playbooks/deploy.yml",)
    assert line.words("a=1 b='c d'") == {"a": "1", "b": "c d"}


# --- complete runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_checks_what_it_is_given(playbook):
    """The check runs first, with any limit and tags. Some playbooks are parts of others."""
    if playbook.stem in ("certificates", "firewall", "running", "wire_tenants"):
        return
    while "import_playbook" in (first := str(yaml.safe_load(playbook.read_text())[0])):
        playbook = playbook.parent / yaml.safe_load(playbook.read_text())[0]["ansible.builtin.import_playbook"]
    assert "cloudwatt.socle.site_validate" in first
    [play] = yaml.safe_load(playbook.read_text())
    assert play["hosts"] == "all:localhost"
    assert [(task["run_once"], task["tags"]) for task in play["tasks"]] == [(True, ["always"])]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-e", "site_regoin=lab"], "did you mean site_region?"),
        (["-l", "gw1", "-e", "site_regoin=lab"], "did you mean site_region?"),
        (["-t", "confgure"], "did you mean configure?"),
        (["-l", "gw1,clt1"], "did you mean ctl1?"),
    ],
)
def test_plain_ansible_playbook_refuses_before_anything_else(site, arguments, said):  # noqa: F811
    site.add("group_vars/all/new.yml", "base_mirror: file:/nowhere\n")  # the validation sends no request to the mirror
    words = [sys.executable, "-m", "ansible", "playbook", "-i", str(site.folder), "playbooks/deploy.yml", *arguments]
    words += ["--vault-password-file", str(site.folder / ".vault-password")]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stdout
    assert done.stdout.count("TASK [") == 1


def test_socle_refuses_it_as_wrong_usage(site):  # noqa: F811
    site.add("group_vars/all/new.yml", "base_mirror: file:/nowhere\n")
    words = [
        sys.executable,
        "-m",
        "socle.cli",
        "deploy",
        "-i",
        str(site.folder),
        "-e",
        "site_regoin=lab",
        "-t",
        "confgure",
        "--json",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    found = json.loads(done.stdout)["violations"]
    assert {(violation["file"], violation["path"], violation["remedy"]) for violation in found} == {
        ("command line", "site_regoin", "did you mean site_region?"),
        ("command line", "--tags", "did you mean configure?"),
    }
