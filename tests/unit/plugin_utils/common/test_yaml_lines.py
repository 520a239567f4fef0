# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.common import yaml_lines

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(DATA)
def test_reads_what_pyyaml_reads(data):
    text = yaml.safe_dump(data)
    document = yaml_lines.parse(text)
    assert document.data == data
    assert document.faults == []
    assert set(document.lines.values()) <= set(range(1, text.count("\n") + 2))


@given(st.text(max_size=60))
def test_never_raises(text):
    document = yaml_lines.parse(text)
    assert document.data is None or not [fault for fault in document.faults if "not YAML" in fault.reason]


def test_lines_of_keys_and_items():
    document = yaml_lines.parse("a: 1\nb:\n  - c: 2\n  - d: 3\n")
    assert document.line(("b",)) == 2
    assert document.line(("b", 1, "d")) == 4
    assert document.line(("b", 1, "absent", "deeper")) == 4


def test_a_key_given_twice_is_a_fault():
    [fault] = yaml_lines.parse("a: 1\nb: 2\na: 3\n").faults
    assert (fault.line, fault.remedy) == (3, "keep one")
    assert "first in line 1" in fault.reason


def test_merge_keys_and_ansible_tags():
    document = yaml_lines.parse("base: &base {x: 1, y: 1}\nz:\n  <<: *base\n  y: 2\ns: !unsafe '{{ x }}'\n")
    assert document.faults == []
    assert document.data["z"] == {"x": 1, "y": 2}
    assert document.data["s"] == "{{ x }}"


def test_a_date_that_is_none_is_a_fault():
    [fault] = yaml_lines.parse("a: 1\nday: 2026-02-31\n").faults
    assert fault.line == 2


def test_a_key_with_dots_is_found_by_its_parts():
    document = yaml_lines.parse("links:\n  gw1: {vlan: 1}\n  gw1.fr1.example:\n    vlan: 101\n")
    assert document.line(("links", "gw1", "fr1", "example", "vlan")) == 2, "the nearest that exists by its first part"
    document = yaml_lines.parse("links:\n  gw1.fr1.example:\n    vlan: 101\n  gw2.fr1.example: {}\n")
    assert document.line(("links", "gw1", "fr1", "example", "vlan")) == 3
    assert document.line(("links", "gw2", "fr1", "example", "vlan")) == 4
    assert document.line(("links", "gw3", "fr1")) == 1
