# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Values have the type that the role declares, from any source: in quotes, in a file, or as text of ``-e``."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import role_specs
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.typed_values import typed

# A value of each type, its text with -e, and texts that cannot be converted.
TEXTS = {
    "int": (7, "7", ["", "seven", "7.5", "0x7", "1_000", "7 days", "true"]),
    "float": (0.25, "0.25", ["", "a quarter", "nan", "inf", "1e999", "true"]),
    "bool": (False, "false", ["", "maybe", "2", "none", "falsee"]),
    "list": ([], "[]", ["", "a", "a,b", "{}", "[", "null"]),
    "dict": ({}, "{}", ["", "a", "a=b", "[]", "{", "null"]),
}


def every_option(specs, path=()):
    """Yield the options of all roles at every depth, with their paths."""
    for name, spec in specs.items():
        yield (*path, name), spec
        inner = {"[]": {"type": spec["elements"], "options": spec.get("options")}} if "elements" in spec else None
        yield from every_option(inner or spec.get("options") or {}, (*path, name))


@pytest.fixture(scope="module")
def options():
    return dict(every_option(role_specs.load(site_validate.PROJECT).specs))


def test_the_text_of_every_option_is_converted_or_refused(options):
    """No option stays a text where the role needs a number, a boolean, a list or a mapping."""
    seen = set()
    for path, spec in options.items():
        kind = spec.get("type", "str")
        if kind not in TEXTS:
            continue
        seen.add(kind)
        plain = {key: value for key, value in spec.items() if key not in ("choices", "options")}
        value, text, wrong = TEXTS[kind]
        assert typed(spec, text) == value, path
        assert type(typed(spec, text)) is type(value), path
        assert list(role_specs.faults(plain, text)) == [], path
        for bad in wrong:
            assert typed(spec, bad) == bad, path
            assert list(role_specs.faults(plain, bad)), (path, bad)
    assert seen == set(TEXTS)


def test_every_option_that_is_text_stays_text(options):
    texts = {path: spec for path, spec in options.items() if spec.get("type", "str") == "str"}
    assert len(texts) > 20
    for path, spec in texts.items():
        assert [typed(spec, value) for value in ("7", "false", "[]", 7)] == ["7", "false", "[]", "7"], path
    assert all(list(role_specs.faults({"type": "str"}, value)) for value in (False, 1.10))


@pytest.mark.parametrize("word", ["no", "No", "OFF", "False", "n", "0", " false "])
def test_what_is_false_to_ansible_is_false(word):
    assert typed({"type": "bool"}, word) is False


@given(st.integers(-(10**17), 10**17))
def test_every_whole_number_comes_back(number):
    assert typed({"type": "int"}, str(number)) == number


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_nothing_breaks_it_and_twice_is_once(value):
    for kind in (*TEXTS, "str", "raw", "path"):
        once = typed({"type": kind}, value)
        assert typed({"type": kind}, once) == once


def test_what_is_right_stays_the_very_same_object():
    spec = {"type": "list", "elements": "dict", "options": {"port": {"type": "int"}}}
    given_ = [{"port": 1, "other": "x"}]
    assert typed(spec, given_) is given_
    assert typed(spec, [{"port": "1", "other": "2"}]) == [{"port": 1, "other": "2"}]
    assert typed(spec, '[{"port": "1"}]') == [{"port": 1}]


# --- in runs of Ansible -----------------------------------------------------------------------------------------------

SHOW = (
    """
- hosts: n1
  gather_facts: false
  connection: local
  tasks:
"""
    + "".join(
        f"    - ansible.builtin.import_role: {{name: {role}, rolespec_validate: false}}\n"
        for role in ("site", "mariadb", "haproxy", "keystone", "hardening", "base")
    )
    + """
    - name: Show what the roles make of their variables
      ansible.builtin.debug:
        msg:
          binlog: "{{ mariadb_config.mariadbd.binlog_expire_logs_seconds }}"
          descriptors: "{{ haproxy_connections * 2 + 4096 }}"
          keep: "{{ keystone_fernet_keep }}"
          lock: "{{ hardening_modules_lock }}"
          lock_in_words: "{{ 'closed' if hardening_modules_lock else 'open' }}"
          components: "{{ base_components | join(' ') }}"
          attempts: "{{ hardening_lock.attempts }}"
      tags: [shown]
"""
)
WANTED = {
    "binlog": 604800,
    "descriptors": 22096,
    "keep": 7200 + 172800 + 7200,
    "lock": False,
    "lock_in_words": "open",
    "components": "main contrib",
    "attempts": 5,
}
GIVEN = {
    "mariadb_binlog_days": "7",
    "haproxy_connections": "9000",
    "keystone_token_seconds": "7200",
    "hardening_modules_lock": "no",
    "base_components": '["main","contrib"]',
    "hardening_lock": '{"attempts":"5","interval":"900","seconds":"900"}',
}


@pytest.fixture
def shown(root, tmp_path):
    """Run a play that shows the values in the roles of variables from ``-e`` or the files of an inventory."""

    def run(*arguments, inventory=None, variables=None, config=None):
        play = tmp_path / "show.yml"
        play.write_text(SHOW)
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"control": {"hosts": inventory or {"n1": {}}}}))
        if variables:
            (tmp_path / "group_vars").mkdir()
            (tmp_path / "group_vars" / "control.yml").write_text(yaml.safe_dump(variables))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "json",
                       "ANSIBLE_ROLES_PATH": str(root / "roles"), **(config or {})}  # fmt: skip
        program = root / ".venv" / "bin" / "ansible-playbook"
        done = subprocess.run(
            [program, "-i", tmp_path / "hosts.yml", "--tags", "shown", play, *arguments],
            cwd=root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][-1]["hosts"]["n1"]["msg"]

    return run


def test_extra_variables_are_what_the_roles_declare(shown):
    arguments = [word for name, value in GIVEN.items() for word in ("-e", f"{name}={value}")]
    assert shown(*arguments) == WANTED


def test_files_of_the_inventory_are_what_the_roles_declare(shown):
    assert shown(variables=GIVEN) == WANTED


def test_variables_of_hosts_are_what_the_roles_declare(shown):
    assert shown(inventory={"n1": GIVEN}) == WANTED


def test_what_a_template_gives_is_what_the_roles_declare(shown):
    """Environment variables are text. An expression may be part of the value, or all of it."""
    templates = {
        "mariadb_binlog_days": "{{ lookup('ansible.builtin.env', 'DAYS') }}",
        "haproxy_connections": "{% if true %}9000{% endif %}",
        "keystone_token_seconds": "{{ 2 }}{{ 60 * 10 * 0 }}00",
        "hardening_modules_lock": "{{ 'no' }}",
        "base_components": ["main", "{{ 'contrib' }}"],
        "hardening_lock": {"attempts": "{{ '5' }}", "interval": 900, "seconds": 900},
    }
    found = shown(variables=templates, config={"DAYS": "7"})
    assert found == {**WANTED, "keep": 2000 + 172800 + 7200}
