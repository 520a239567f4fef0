# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Every reader gets a password of any printable characters unchanged. The tests use the parsers of the readers."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
from sqlalchemy.engine import make_url

from ansible_collections.cloudwatt.socle.plugins.action.site_validate import PROJECT
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import quoting
from ansible_collections.cloudwatt.socle.plugins.module_utils.database import client as database
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import frr
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import config_files
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import infrastructure, site_facts
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import secrets

PRINTABLE = "".join(map(chr, range(32, 127)))
PASSWORDS = st.text(PRINTABLE, min_size=6, max_size=40).filter(lambda text: text == text.strip() and "{" not in text)
NASTY = ["p@ss/w%rd#1:$x", r"\$a$$b\\$c${d}%41", '"quoted"', "'quoted'", "`id`;$(id)&|<>", "#[x]=y ! ?", "100%s %(a)s"]


def read_by_oslo(path, text, *options):
    """Return the values of ``(section, option)`` as a service reads them from a file with this text."""
    path.write_text(text)
    conf = cfg.ConfigOpts()
    for section, option in options:
        conf.register_opt(cfg.StrOpt(option), group=None if section == "DEFAULT" else section)
    conf([], project="test", default_config_files=[str(path)])
    return [conf[option] if section == "DEFAULT" else conf[section][option] for section, option in options]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("oslo") / "service.conf"


@given(value=PASSWORDS | st.sampled_from(NASTY))
def test_oslo_config_reads_the_value_as_it_is(file, value):
    text = config_files.render({"s": {"password": quoting.oslo_literal(value), "x": "interpolated"}}, "ini")
    assert read_by_oslo(file, text, ("s", "password"), ("s", "x")) == [value, "interpolated"]


@given(value=PASSWORDS | st.sampled_from(NASTY))
def test_sqlalchemy_reads_the_password_and_the_host(file, value):
    written = quoting.database_url(value, "nova", "internal.example", "nova_api", "charset=utf8mb4&ssl_ca=/etc/ca.pem")
    text = config_files.render({"database": {"connection": written}}, "ini")
    (connection,) = read_by_oslo(file, text, ("database", "connection"))
    url = make_url(connection)
    assert (url.username, url.password, url.host, url.database) == ("nova", value, "internal.example", "nova_api")
    assert url.query == {"charset": "utf8mb4", "ssl_ca": "/etc/ca.pem"}
    # Nova inserts the parts of its own URL into the template of a cell, without a change of their quoting.
    parts = urlsplit(connection)
    cell = "{scheme}://{username}:{password}@{hostname}/{path}_cell0?{query}".format(
        scheme=parts.scheme, username=parts.username, password=parts.password, hostname=parts.hostname,
        path=parts.path.lstrip("/"), query=parts.query,
    )  # fmt: skip
    assert make_url(cell).password == value


@given(value=PASSWORDS | st.sampled_from(NASTY))
def test_oslo_messaging_reads_the_password_of_every_node(file, value):
    text = config_files.render(
        {"DEFAULT": {"transport_url": site_facts.transport_url(["10.0.0.1", "10.0.0.2"], "nova", value, "openstack")}},
        "ini",
    )
    (url,) = read_by_oslo(file, text, ("DEFAULT", "transport_url"))
    nodes = urlsplit(url).netloc.split(",")
    assert [unquote(node.rpartition("@")[0]) for node in nodes] == [f"nova:{value}"] * 2
    assert [node.rpartition("@")[2] for node in nodes] == ["10.0.0.1:5671", "10.0.0.2:5671"]


@given(PASSWORDS | st.sampled_from(NASTY))
def test_a_shell_reads_the_value(value):
    text = config_files.render({"PASSWORD": value}, "env")
    assert shlex.split(text.splitlines()[-1]) == [f"PASSWORD={value}"]


@given(PASSWORDS | st.sampled_from(NASTY))
def test_json_and_sql_and_rabbitmq_read_the_value(value):
    assert json.loads(config_files.render({"seeds": value}, "json")) == {"seeds": value}
    literal = database.quoted(value)
    assert literal[0] == literal[-1] == "'"
    assert literal[1:-1].replace("''", "'").replace("\\\\", "\\") == value
    (user,) = infrastructure.rabbitmq_definitions([{"name": "nova", "password": value}], "openstack")["users"]
    assert user["password_hash"] == infrastructure.rabbitmq_hash(value, "nova")


@given(PASSWORDS | st.sampled_from(NASTY))
def test_no_form_of_a_value_is_shown(value):
    if set(value) == {"*"}:
        return  # the mask itself
    lines = {
        "s": {"password": quoting.oslo_literal(value), "key": quoting.oslo_literal(value)},
        "d": {"connection": quoting.database_url(value, "nova", "host", "nova", "")},
    }
    for side in config_files.redact("", config_files.render(lines, "ini"), [value]):
        assert value not in side
        assert quoting.url_part(value) not in side


# --- values that a site may choose -----------------------------------------------------------------------------------


def session_keys():
    return st.text([sign for sign in PRINTABLE if sign not in ' "'], min_size=1, max_size=80)


@given(PASSWORDS | st.sampled_from(NASTY))
def test_every_printable_password_is_accepted(value):
    names = secrets.FIXED.keys() - set(secrets.SEEDS) - set(secrets.UNQUOTED) - set(secrets.LASTING)
    refused = {name for name in names if secrets.fault(name, value)}
    allowed = {"rabbitmq_erlang_cookie"} if " " in value else set()
    assert refused <= allowed | (set(secrets.WITHOUT_SLASH) if "/" in value else set())


@given(PASSWORDS | st.sampled_from(NASTY))
def test_keystones_own_database_password_is_refused_if_a_url_has_to_quote_it(value):
    """keystone-manage reads the URL with configparser, which interprets a % as the start of an expression."""
    url = quoting.database_url(value, "keystone", "host", "keystone", "")
    if secrets.fault("keystone_database", value) is None:
        assert "%" not in url
    elif re.fullmatch(r"[A-Za-z0-9._~-]{6,255}", value):
        raise AssertionError(value)


@given(session_keys())
def test_a_session_key_is_one_word_of_frr_and_one_string_of_bird(key):
    if any(mark in key for mark in ("{{", "{%", "{#")):
        return
    assert secrets.fault("bgp_x", key, session_key=True) is None
    lines = ["router bgp 65000", " neighbor 10.0.0.1 remote-as 65001", f" neighbor 10.0.0.1 password {key}", ""]
    assert frr._router("\n".join(lines))[1] == {"10.0.0.1": key}
    assert key not in frr.masked("\n".join(lines)) or len(key) < 9
    assert f'"{key}"'.count('"') == 2


REFUSED = {
    "not printable": ("nova_database", "tab\tinside", "printable"),
    "two lines": ("nova_database", "one line\nand another", "printable"),
    "not ASCII": ("keystone_admin", "motdepassé", "printable"),
    "a blank in front": ("keystone_admin", " in front", "blank"),
    "a blank behind": ("keystone_admin", "behind ", "blank"),
    "too short to be masked": ("nova_service", "short", "5 characters"),
    "too long": ("nova_service", "x" * 256, "256 characters"),
    "an expression": ("nova_database", "pass{{word", "{{"),
    "a statement": ("nova_database", "pass{%word", "{%"),
    "a comment": ("nova_database", "pass{#word", "{#"),
    "a cookie of two words": ("rabbitmq_erlang_cookie", "two words", "blank"),
    "a key of another length": ("heat_encryption_key", "x" * 31, "31 characters"),
    "no seed": ("keystone_fernet_seed", "p@ss/w%rd#1:$x", "seeds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_reader_could_take_is_refused_by_name(name):
    secret, value, said = REFUSED[name]
    fault = secrets.fault(secret, value)
    assert fault
    reason, remedy = fault
    assert said in reason
    assert remedy
    assert value not in reason + remedy


@pytest.mark.parametrize("key", ["two words", 'a"quote', "x" * 81, ""])
def test_session_keys_that_a_router_could_not_take_are_refused(key):
    assert secrets.fault("bgp_x", key, session_key=True)


def test_a_secret_may_come_from_elsewhere():
    assert (
        secrets.fault("nova_database", "{{ lookup('community.hashi_vault.vault_kv2_get', 'nova').secret.db }}") is None
    )


def test_the_secrets_that_we_make_are_accepted():
    for name, make in secrets.FIXED.items():
        assert secrets.fault(name, make()) is None


# --- the roles -------------------------------------------------------------------------------------------------------

FILES = {
    "keystone": ["keystone_config"],
    "glance": ["glance_config"],
    "heat": ["heat_config"],
    "placement": ["placement_config"],
    "neutron": ["neutron_config", "neutron_ml2_config"],
    "nova_control": ["nova_control_config"],
    "nova_compute": ["nova_compute_config", "nova_compute_metadata_config"],
}
# An option of a file, and the secret that its reader must get.
OPTIONS = {
    "keystone_config": {("database", "connection"): "keystone_database"},
    "glance_config": {
        ("database", "connection"): "glance_database",
        ("keystone_authtoken", "password"): "glance_service",
    },
    "heat_config": {
        ("DEFAULT", "transport_url"): "rabbitmq_heat",
        ("DEFAULT", "auth_encryption_key"): "heat_encryption_key",
        ("DEFAULT", "stack_domain_admin_password"): "heat_domain",
        ("database", "connection"): "heat_database",
        ("keystone_authtoken", "password"): "heat_service",
        ("trustee", "password"): "heat_service",
    },
    "placement_config": {
        ("placement_database", "connection"): "placement_database",
        ("keystone_authtoken", "password"): "placement_service",
    },
    "neutron_config": {
        ("DEFAULT", "transport_url"): "rabbitmq_neutron",
        ("database", "connection"): "neutron_database",
        ("keystone_authtoken", "password"): "neutron_service",
        ("nova", "password"): "nova_service",
        ("placement", "password"): "neutron_service",
    },
    "neutron_ml2_config": {},
    "nova_control_config": {
        ("DEFAULT", "transport_url"): "rabbitmq_nova",
        ("api_database", "connection"): "nova_database",
        ("database", "connection"): "nova_database",
        ("keystone_authtoken", "password"): "nova_service",
        ("neutron", "password"): "nova_service",
        ("neutron", "metadata_proxy_shared_secret"): "metadata_shared",
        ("placement", "password"): "nova_service",
        ("service_user", "password"): "nova_service",
    },
    "nova_compute_config": {
        ("DEFAULT", "transport_url"): "rabbitmq_nova",
        ("neutron", "password"): "nova_service",
        ("placement", "password"): "nova_service",
        ("service_user", "password"): "nova_service",
    },
    "nova_compute_metadata_config": {("DEFAULT", "metadata_proxy_shared_secret"): "metadata_shared"},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The configuration of every service with the most difficult secrets, and these secrets."""
    folder = tmp_path_factory.mktemp("site")
    held = {name: f"{''.join(NASTY)}{index}" for index, name in enumerate(sorted(secrets.FIXED))}
    variables = {
        "secrets": held, "site_name": "x", "site_domain": "x.example", "site_management_cidr": "10.0.0.0/24",
        "site_internal_vip": "10.0.0.5", "site_public_vip": "10.0.0.6", "site_workers": 1, "ansible_host": "10.0.0.11",
    }  # fmt: skip
    (folder / "hosts.yml").write_text(yaml.safe_dump({"control": {"hosts": {"n1": {}}, "vars": variables}}))
    names = [name for files in FILES.values() for name in files]
    play = {
        "hosts": "n1", "gather_facts": False, "connection": "local",
        "tasks": [
            *({"ansible.builtin.import_role": {"name": role, "rolespec_validate": False}} for role in ("site", *FILES)),
            {"ansible.builtin.debug": {"msg": {name: f"{{{{ {name} }}}}" for name in names}}, "tags": ["shown"]},
        ],
    }  # fmt: skip
    (folder / "show.yml").write_text(yaml.safe_dump([play]))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "json"}
    program = PROJECT / ".venv" / "bin" / "ansible-playbook"
    done = subprocess.run(
        [program, "-i", folder / "hosts.yml", "--tags", "shown", folder / "show.yml"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["plays"][0]["tasks"][-1]["hosts"]["n1"]["msg"], held


@pytest.mark.parametrize("name", [name for name, options in OPTIONS.items() if options])
def test_every_service_reads_the_secrets_that_the_site_has(rendered, file, name):
    configurations, held = rendered
    text = config_files.render(configurations[name], "ini")
    values = read_by_oslo(file, text, *OPTIONS[name])
    assert values
    for option, value in zip(OPTIONS[name], values, strict=True):
        secret = held[OPTIONS[name][option]]
        if option[1] == "connection":
            url = make_url(value)
            assert (url.password, url.host) == (secret, "internal.x.example"), option
        elif option[1] == "transport_url":
            assert unquote(urlsplit(value).netloc.rpartition("@")[0].partition(":")[2]) == secret, option
        else:
            assert value == secret, option


def test_no_secret_stands_anywhere_but_in_the_options_that_were_read(rendered):
    """A secret in an option that the test above does not list would be untested."""
    configurations, held = rendered
    forms = config_files.spellings(held.values())
    secret = {
        (name, section, option)
        for name, sections in configurations.items()
        for section, options in sections.items()
        for option, value in options.items()
        if isinstance(value, str) and any(form in value for form in forms)
    }
    read = {(name, *option) for name in configurations for option in OPTIONS[name]}
    assert secret >= read
    assert {(section, option) for _name, section, option in secret - read} <= {
        ("keystone_authtoken", "memcache_secret_key")
    }
