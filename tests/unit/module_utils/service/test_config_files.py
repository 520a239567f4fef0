# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rendering, redaction and comparison of configuration files."""

from __future__ import annotations

import configparser
import json
import os
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import config_files as engine

WORD = st.text("abcdefghij_", min_size=1, max_size=8)
SCALAR = st.one_of(st.booleans(), st.integers(), st.text("abc:/ %@", max_size=12).map(str.strip))


def test_ini_repeats_lists_and_keeps_bare_keys_and_order():
    text = engine.render(
        {
            "mysqld": {"skip-name-resolve": {}, "bind": "::", "ssl": True},
            "z": {"k": ["b", "a"], "none": []},
        },
        "ini",
    )
    assert text == (engine.HEADER + "\n[mysqld]\nskip-name-resolve\nbind = ::\nssl = true\n\n[z]\nk = b\nk = a\n")


def test_ini_repeats_a_section_and_knows_the_nameless_one():
    text = engine.render({"": {"listeners.tcp": "none"}, "Route": [{"Gateway": "a"}, {"Gateway": "b"}]}, "ini")
    assert (
        text.removeprefix(engine.HEADER) == "\nlisteners.tcp = none\n\n[Route]\nGateway = a\n\n[Route]\nGateway = b\n"
    )


@given(st.dictionaries(WORD, st.dictionaries(WORD, SCALAR, max_size=4), max_size=4))
def test_ini_reads_back(sections):
    parser = configparser.RawConfigParser(delimiters=("=",))
    parser.read_string(engine.render(sections, "ini"))
    assert {name: dict(parser[name]) for name in parser.sections()} == {
        name: {key: engine.scalar(value, "") for key, value in keys.items()} for name, keys in sections.items()
    }


@given(st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(WORD, inner), max_leaves=8))
def test_json_and_yaml_read_back(content):
    if isinstance(content, str):
        content = [content]
    assert json.loads(engine.render(content, "json")) == content
    assert yaml.safe_load(engine.render(content, "yaml")) == content


def test_null_is_left_out_of_sections_keys_and_variables():
    assert engine.render({"s": {"gone": None, "kept": 1}, "gone": None}, "ini") == engine.HEADER + "\n[s]\nkept = 1\n"
    assert engine.render({"GONE": None, "KEPT": 1}, "env") == engine.HEADER + "KEPT=1\n"


BAD_INI = [
    {"s": {"k": "two\nlines"}},
    {"s": {"k": {"a": 1}}},
    {"s": "text"},
    ["s"],
    {"s]": {"k": 1}},
    {"s": {"a=b": 1}},
    {"s": {"a:b": 1}},
    {"s": {"#a": 1}},
    {"s": {"[a": 1}},
    {"s": {" a": 1}},
    {"s": {"": 1}},
    {"s": {"a\nb": 1}},
]


@pytest.mark.parametrize("content", BAD_INI)
def test_ini_refuses_what_it_cannot_write(content):
    with pytest.raises(engine.ConfigError):
        engine.render(content, "ini")


def test_every_fault_is_reported_at_once():
    with pytest.raises(engine.ConfigError) as fault:
        engine.wanted(
            files=[
                {"path": "/a", "content": {"x": 1}, "mode": "0644"},
                {"path": "b", "content": "", "mode": "0644"},
                {"path": "/c", "content": "", "mode": "420"},
                {"path": "/d", "content": "", "mode": "0644", "validate": "true"},
            ],
            absent=["/d"],
        )
    assert all(word in str(fault.value) for word in ("/a:", "b:", "/c:", "%s", "/d: given twice"))


@given(
    secret=st.text("abcXYZ019+/=@:%", min_size=6, max_size=20),
    former=st.text("defUVW345+/=@:%", min_size=6, max_size=20),
)
def test_no_secret_in_a_diff_not_even_the_former_one(secret, former):
    def file(value):
        return engine.render(
            {
                "database": {"connection": f"mysql+pymysql://nova:{quote(value, safe='')}@10.0.0.5/nova"},
                "keystone": {"password": value, "name": "nova"},
            },
            "ini",
        )

    for text in engine.redact(file(former), file(secret), [secret]):
        assert not any(form in text for form in engine.spellings([secret, former]))
        assert "name = nova" in text


def test_a_rotated_secret_still_shows_as_a_change():
    before, after = engine.redact("password = formerly\n", "password = nowadays\n", ["nowadays"])
    assert before == "password = ********\n"
    assert after == "password = ******** (changed)\n"


def test_short_values_are_not_secrets():
    assert engine.redact("", "debug = true\n", ["true", "1"]) == ("", "debug = true\n")


def test_attributes_and_content_are_compared_in_one_pass(tmp_path):
    path = tmp_path / "a.conf"
    path.write_text("x\n")
    path.chmod(0o600)
    present = engine.look(str(path))
    item = {
        "path": str(path),
        "content": "x\n",
        "mode": "0600",
        "owner": present.owner,
        "group": present.group,
    }
    assert not engine.wanted([item])[0].differs(present)
    assert engine.wanted([{**item, "mode": "0640"}])[0].differs(present)
    assert engine.wanted([{**item, "content": "y\n"}])[0].differs(present)
    changed = engine.wanted([{**item, "mode": "0640", "content": "y\n"}])[0]
    assert [part["before"] for part in engine.diff(present, changed, [])] == [
        "x\n",
        f"{present.attributes}\n",
    ]


def test_staging_never_follows_a_planted_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("safe")
    (tmp_path / ".a.conf.socle-new").symlink_to(victim)
    entry = engine.Entry(str(tmp_path / "a.conf"), "file", "new", str(os.getuid()), str(os.getgid()), 0o600)
    os.replace(engine.stage(entry), entry.path)
    assert victim.read_text() == "safe"
    assert engine.look(entry.path).text == "new"
    assert sorted(os.listdir(tmp_path)) == ["a.conf", "victim"]


def test_a_file_in_a_directory_still_to_be_made_is_absent(tmp_path):
    assert engine.look(str(tmp_path / "no" / "such")).kind == "absent"


def test_a_file_without_content_keeps_what_it_has(tmp_path):
    present, lacking = tmp_path / "rootwrap.conf", tmp_path / "other.conf"
    present.write_bytes(b"[DEFAULT]\r\n\xff")
    files = [{"path": str(path), "mode": "0640", "owner": str(os.getuid()), "group": str(os.getgid())}
             for path in (present, lacking)]  # fmt: skip
    changes = engine.differing(engine.wanted(engine.kept(files)))
    engine.apply(changes)
    assert [after.path for _, after in changes] == [str(present)]
    assert (present.read_bytes(), present.stat().st_mode & 0o777) == (b"[DEFAULT]\r\n\xff", 0o640)
    assert not lacking.exists()


# --- tests of files before they are installed -------------------------------------------------------------------------


def _change(path, content, validate):
    item = {"path": str(path), "content": content, "mode": "0600", "owner": str(os.getuid()), "group": str(os.getgid())}
    return engine.differing(engine.wanted([{**item, "validate": validate}]))


def test_a_file_that_its_reader_refuses_is_not_installed_and_no_other_of_the_call(tmp_path):
    good, bad = tmp_path / "good.conf", tmp_path / "bad.conf"
    bad.write_text("former\n")
    changes = _change(good, "good\n", "/bin/true %s") + _change(bad, "bad\n", "/bin/grep -q good %s")
    with pytest.raises(engine.ConfigError) as fault:
        engine.apply(changes)
    assert str(bad) in str(fault.value)
    assert bad.read_text() == "former\n"
    assert sorted(os.listdir(tmp_path)) == ["bad.conf"]


def test_the_reader_is_shown_the_new_content_and_says_why_under_the_files_own_name(tmp_path):
    path = tmp_path / "a.conf"
    with pytest.raises(engine.ConfigError) as fault:
        engine.apply(_change(path, "the new content\n", "/bin/sh -c 'echo \"$1: $(cat $1)\"; exit 1' sh %s"))
    assert f"{path}: the new content" in str(fault.value)
    assert "socle-new" not in str(fault.value)


def test_a_file_whose_reader_is_not_there_is_not_installed(tmp_path):
    with pytest.raises(engine.ConfigError):
        engine.apply(_change(tmp_path / "a.conf", "x\n", "/no/such/program %s"))
    assert os.listdir(tmp_path) == []


def test_a_file_that_passes_its_test_is_installed(tmp_path):
    engine.apply(_change(tmp_path / "a.conf", "good\n", "/bin/grep -q good %s"))
    assert (tmp_path / "a.conf").read_text() == "good\n"
