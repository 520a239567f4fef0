# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""When schema commands run."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils import schema_sync as engine

CELL = {"argv": ["nova-manage", "cell_v2", "create_cell"], "creates_row": "SELECT COUNT(*) FROM cells"}
SCHEMA = engine.Schema.of(
    {"name": "nova", "package": "nova-common", "commands": [["nova-manage", "db", "sync"], CELL]}
)
STATE = engine.State("31.0-1", ["abc"], SCHEMA.recipe)


def argvs(commands):
    return [command.argv[1] for command in commands]


def test_defaults_follow_the_name():
    assert (SCHEMA.database, SCHEMA.user, SCHEMA.version_table) == ("nova", "nova", "alembic_version")


def test_a_settled_schema_has_no_reason():
    assert STATE.reason(STATE) == ""


@pytest.mark.parametrize(
    ("state", "stamp", "word"),
    [
        (dataclasses.replace(STATE, alembic=[]), STATE, "no schema"),
        (STATE, None, "no complete run"),
        (dataclasses.replace(STATE, package="32.0-1"), STATE, "32.0-1 is installed"),
        (dataclasses.replace(STATE, alembic=["abd"]), STATE, "left at abc and is at abd"),
        (dataclasses.replace(STATE, recipe="x"), STATE, "commands"),
    ],
)
def test_reasons(state, stamp, word):
    assert word in state.reason(stamp)


def test_a_command_with_a_row_depends_on_the_row_alone():
    row = CELL["creates_row"]
    assert argvs(engine.due(SCHEMA, "new", {row: False})) == ["db", "cell_v2"]
    assert argvs(engine.due(SCHEMA, "new", {row: True})) == ["db"]
    assert argvs(engine.due(SCHEMA, "", {row: False})) == ["cell_v2"]
    assert argvs(engine.due(SCHEMA, "", {row: True})) == []


@pytest.mark.parametrize(
    ("rows", "there"), [([], False), ([(0,)], False), ([(None,)], False), ([(2,)], True), ([("x", 0)], True)]
)
def test_satisfied(rows, there):
    assert engine.satisfied(rows) is there


@pytest.mark.parametrize("command", ["nova-manage db sync", [], None, {"argv": "a"}, {"argv": ["a"], "x": 1}])
def test_a_command_is_a_list_of_words(command):
    with pytest.raises(engine.SchemaError):
        engine.Command.of(command)


def test_only_installed_packages_count():
    text = "ii  nova-common 2:31.0-1\nrc  glance-common 30\nun  placement-common \n"
    assert engine.parse_packages(text) == {"nova-common": "2:31.0-1"}


states = st.builds(
    engine.State,
    st.sampled_from(["", "1", "2"]),
    st.lists(st.sampled_from("ab"), max_size=2),
    st.sampled_from("xy"),
)


@given(states)
def test_a_recorded_run_survives_its_round_trip_and_settles(tmp_path_factory, state):
    folder = str(tmp_path_factory.mktemp("stamps"))
    engine.save_stamp("nova", state, folder)
    stamp = engine.load_stamp("nova", folder)
    assert bool(state.reason(stamp)) == (not state.alembic)


def test_no_stamp_and_garbage_are_no_record(tmp_path):
    assert engine.load_stamp("nova", str(tmp_path)) is None
    (tmp_path / "nova.json").write_text("[]")
    assert engine.load_stamp("nova", str(tmp_path)) is None
