# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Null removes an option, at every depth and in every role. Configuration files are checked before installation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg

from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import rules as hardening_rules
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import config_files
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.common.overrides import merged
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import files as hardening

ROLES = Path(__file__).resolve().parents[4] / "roles"
VALUES = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
SETTINGS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def nulls(value):
    return value is None or (isinstance(value, dict) and any(nulls(item) for item in value.values()))


@given(SETTINGS, SETTINGS)
def test_no_null_is_left_and_every_other_value_of_the_site_holds(base, overrides):
    result = merged(base, overrides)
    assert not nulls(result)
    for key, value in overrides.items():
        if value is None:
            assert key not in result
        elif not isinstance(value, dict):
            assert result[key] == value
    for key in base.keys() - overrides.keys():
        assert result.get(key) == (merged({"k": base[key]}, {}).get("k"))


def test_sections_and_keys_are_removed_and_the_rest_is_merged():
    base: dict[str, dict[str, Any]] = {"DEFAULT": {"workers": 4, "debug": False}, "cache": {"enabled": True}}
    overrides = {"DEFAULT": {"workers": None, "debug": True}, "cache": None, "new": {"a": 1, "b": None}}
    assert merged(base, overrides) == {"DEFAULT": {"debug": True}, "new": {"a": 1}}
    assert base["DEFAULT"]["workers"] == 4
    assert merged({"mysqld": {"ssl": True}}, {"mysqld": {"ssl": {}}}) == {"mysqld": {"ssl": {}}}


def test_what_oslo_config_could_not_parse_is_never_written(tmp_path):
    path = tmp_path / "nova.conf"
    content = merged({"DEFAULT": {"metadata_workers": 4, "my_ip": "10.0.0.1"}}, {"DEFAULT": {"metadata_workers": None}})
    path.write_text(config_files.render(content, "ini"))
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.IntOpt("metadata_workers"), cfg.StrOpt("my_ip")])
    conf([], project="test", default_config_files=[str(path)])
    assert (conf.metadata_workers, conf.my_ip) == (None, "10.0.0.1")


def calls(node):
    """Yield every call of module ``node_service`` in tasks, also in blocks."""
    for task in node if isinstance(node, list) else []:
        yield from (task[key] for key in task if key == "cloudwatt.socle.node_service")
        for key in ("block", "rescue", "always"):
            yield from calls(task.get(key))


def files_of(role):
    """Yield the files that a role writes, from its tasks and their variables."""
    parts = [yaml.safe_load(path.read_text()) for path in sorted((ROLES / role / "tasks").glob("*.yml"))]
    if (variables := ROLES / role / "vars" / "main.yml").is_file():
        parts.append(yaml.safe_load(variables.read_text()).get(f"{role}_service"))
    for part in parts:
        for found in _mappings(part):
            if isinstance(found.get("path"), str) and "content" in found:
                yield found


def _mappings(node):
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _mappings(item)


MERGED = [
    (path.parents[1], name)
    for path in sorted(ROLES.glob("*/defaults/main.yml"))
    for name in re.findall(r"^(\w+_overrides):", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("role", "name"), MERGED, ids=[name for _role, name in MERGED])
def test_every_override_is_merged_in_the_one_way(role, name):
    paths = [path for folder in ("tasks", "vars") for path in (role / folder).glob("*.yml")]
    uses = [line for path in paths for line in path.read_text().splitlines() if name in line]
    assert uses
    assert [line for line in uses if f"| cloudwatt.socle.merged({name})" not in line] == []


# Files, and the check of each before it is installed: the program that reads it, or its parser.
READERS = {
    r"/etc/(keystone|glance|placement|nova|neutron|heat)/.*\.(conf|ini)": "site_oslo_check",
    r"/etc/mysql/.*\.cnf": "mariadbd",
    r"/etc/rabbitmq/rabbitmq\.conf": "rabbitmq_config_check",
    r"/etc/rabbitmq/(enabled_plugins|.*\.config)": "rabbitmq_terms_check",
    r"/etc/rabbitmq/rabbitmq-env\.conf": "sh -n",
    r"/etc/haproxy/.*\.cfg": "haproxy -c",
    r"/etc/keepalived/.*\.conf": "keepalived --config-test",
    r"/etc/chrony/.*\.conf": "base_chrony_check",
    r"/etc/default/chrony": "sh -n",
    r"/etc/apt/apt\.conf\.d/.*": "apt-config",
}
# Files whose reader accepts any content, has no check, or is tested as a unit.
UNTESTED = (
    r"/etc/(systemd|socle|openvswitch)/.*|/usr/local/.*|/etc/hosts|/etc/sysctl\.d/.*|/etc/memcached\.conf"
    r"|/etc/default/(ovn-central|ovn-host)|/etc/rabbitmq/(erlang\.cookie|definitions\.json)|/etc/apt/auth\.conf\.d/.*|/etc/cloud/.*"
)


def test_every_file_of_a_service_is_tested_by_what_reads_it():
    seen = set()
    for role in sorted(path.name for path in ROLES.iterdir()):
        for file in files_of(role):
            reader = next((reader for path, reader in READERS.items() if re.fullmatch(path, file["path"])), None)
            if reader is None:
                assert re.fullmatch(UNTESTED, file["path"]), f"{role}: what reads {file['path']}?"
            else:
                assert reader in (file.get("validate") or ""), file["path"]
                seen.add(reader)
    assert seen == set(READERS.values())


SSH = "/etc/ssh/sshd_config.d/00-hardening.conf"


def hardened(**changed):
    text = (ROLES / "hardening" / "defaults" / "main.yml").read_text()
    settings = {name.removeprefix("hardening_"): value for name, value in yaml.safe_load(text).items()}
    settings |= {"sudo_users": ["root"], "ssh_root_login": "no", "log_listens": "", "kernel_log": True, "skip": set()}
    policy = hardening_rules.Policy.of("high", {})
    return {entry["path"]: entry for entry in hardening.files(policy, {**settings, **changed})}


def test_the_hardening_removes_by_null_and_writes_booleans_as_each_reader_has_them():
    found = hardened(
        ssh_options={"Banner": None, "X11Forwarding": True, "AllowTcpForwarding": False},
        sysctl={"kernel.sysrq": None, "net.ipv4.ip_forward": True},
    )
    lines = found[SSH]["content"].splitlines()
    assert "X11Forwarding yes" in lines
    assert "AllowTcpForwarding no" in lines
    kernel = found["/etc/sysctl.d/55-hardening.conf"]["content"]
    assert "net.ipv4.ip_forward = 1\n" in kernel
    for text in (found[SSH]["content"], kernel):
        assert not re.search("Banner|sysrq|None|True|False", text)


def test_the_hardening_writes_keys_without_a_value():
    lines = config_files.render(hardened()["/etc/security/faillock.conf"]["content"], "ini").splitlines()
    assert {"audit", "silent", "even_deny_root"} <= set(lines)


@pytest.mark.parametrize(
    ("path", "reader"),
    [(SSH, "sshd -t -f %s"), ("/etc/sudoers", "visudo"), ("/etc/aide/aide.conf", "aide --config-check"),
     ("/etc/rsyslog.conf", "rsyslogd -N1"), ("/etc/usbguard/rules.conf", "usbguard-rule-parser")],
)  # fmt: skip
def test_files_that_lock_out_or_blind_are_tested_first(path, reader):
    assert reader in hardened()[path]["validate"]
