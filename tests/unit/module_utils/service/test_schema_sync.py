# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""When schema commands run."""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import schema_sync as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import schema_sync_host as host

CELL: dict[str, Any] = {"argv": ["nova-manage", "cell_v2", "create_cell"], "creates_row": "SELECT COUNT(*) FROM cells"}
SCHEMA = engine.Schema.of({"name": "nova", "package": "nova-common", "commands": [["nova-manage", "db", "sync"], CELL]})
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
    st.sampled_from(["", "1", "2:31.0-1"]),
    st.lists(st.sampled_from(["a", "b1"]), max_size=2),
    st.sampled_from("xy"),
)


@given(states)
def test_a_recorded_run_survives_its_round_trip_and_settles(state):
    """The record passes through SQL as on the server: the values of the statement come back as the row."""
    table = sqlite3.connect(":memory:")
    table.create_function("NOW", 0, lambda: "now")
    table.execute("ATTACH ':memory:' AS socle")
    table.execute("CREATE TABLE socle.schema_stamp (name PRIMARY KEY, package, alembic, recipe, made)")
    for name in ("nova", "o'neill", "nova"):
        table.execute(engine.save_stamp(name, state))
    stamps = engine.load_stamps(table.execute(engine.LOAD_STAMPS).fetchall())
    assert stamps == {"nova": state, "o'neill": state}
    assert bool(state.reason(stamps["nova"])) == (not state.alembic)


def test_what_is_too_late_is_told_with_its_remedy():
    text = engine.late(SCHEMA, STATE.reason(None), "31.0-1", 600)
    assert all(word in text for word in ("nova", "nova-common 31.0-1", "600 s", "no complete run", "--limit"))


class Server:
    """Answers the queries of a waiting node: from the third query on, the first controller has created the schema."""

    looks = 0

    def __init__(self, stamp, after=2):
        self.stamp, self.after = stamp, after

    def rows_if_there(self, sql):
        if "schema_stamp" not in sql:
            return [("abc",)]
        self.looks += 1
        return [("nova", self.stamp.package, " ".join(self.stamp.alembic), self.stamp.recipe)] * (
            self.looks > self.after
        )


@pytest.fixture
def waiter(monkeypatch):
    def make(server, wait):
        monkeypatch.setattr(host, "installed", lambda _: {"nova-common": "31.0-1"})
        monkeypatch.setattr(host, "Database", lambda _: server)
        return host.Waiter([SCHEMA], {"schema_wait": wait}, False)

    return make


def test_a_node_that_makes_no_schema_waits_until_it_is_there(waiter):
    server = Server(STATE)
    waiter(server, 30).apply()
    assert server.looks == 3


def test_a_node_whose_schema_is_there_asks_once(waiter):
    server = Server(STATE, after=0)
    waiter(server, 30).apply()
    assert server.looks == 1


def test_a_schema_of_another_version_is_waited_for_no_longer_than_told(waiter):
    server = Server(dataclasses.replace(STATE, package="30.0-1"), after=0)
    with pytest.raises(engine.SchemaError, match=r"30\.0-1 made it, 31\.0-1 is installed"):
        waiter(server, 0).apply()
