# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Databases, users and privileges, compared with the state of a server."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.database import accounts as engine

ALL = frozenset({"SELECT", "INSERT", "CREATE TEMPORARY TABLES"})
EMPTY = engine.Live(all_global=ALL | {"SUPER"}, all_database=ALL)


def user(name, password="secret", **other):
    base = {"name": name, "host": "%", "password": password, "unix_socket": False}
    return {**base, "privileges": "ALL", "require": "NONE", **other}


def options(databases=(), users=(), absent=()):
    return {
        "databases": [{"charset": "utf8mb4", "collation": None, "users": [], **item} for item in databases],
        "users": list(users),
        "absent_users": list(absent),
    }


def test_native_hash_is_what_the_server_stores():
    assert engine.native_hash("x") == "*B69027D44F6E5EDC07F1AEAD1477967B16F28227"


def test_the_plan_on_an_empty_server():
    want = engine.wanted(options([{"name": "nova_api", "users": [user("nova", "x", require="SSL")]}]))
    assert [change.sql for change in engine.plan(want, EMPTY)] == [
        "CREATE DATABASE `nova_api` CHARACTER SET utf8mb4",
        "CREATE USER 'nova'@'%' IDENTIFIED VIA mysql_native_password"
        " USING '*B69027D44F6E5EDC07F1AEAD1477967B16F28227' REQUIRE SSL",
        "GRANT ALL ON `nova\\_api`.* TO 'nova'@'%'",
    ]


def test_a_user_of_several_databases_is_one_user():
    want = engine.wanted(options([{"name": name, "users": [user("nova")]} for name in ("nova", "nova_api")]))
    assert list(want.users) == [("nova", "%")]
    assert list(want.users["nova", "%"].grants) == ["nova", "nova\\_api"]


def test_contradictions_are_reported_together():
    given_ = options(
        [{"name": "a", "users": [user("u", "one")]}, {"name": "b", "users": [user("u", "two")]}],
        [user("v", None)],
        [{"name": "u", "host": "%"}],
    )
    with pytest.raises(engine.AccountError) as fault:
        engine.wanted(given_)
    assert all(word in str(fault.value) for word in ("'u'@'%': given twice", "'v'@'%': give", "both wanted"))


def test_read():
    live = engine.read(
        {
            "databases": [("nova", "utf8mb4", "utf8mb4_uca1400_ai_ci")],
            "users": [
                ("root", "localhost", json.dumps({"plugin": "mysql_native_password", "auth_or": [{}, {}]})),
                (
                    "mon",
                    "%",
                    json.dumps({"plugin": "mysql_native_password", "authentication_string": "*A", "ssl_type": 1}),
                ),
                ("mysql", "localhost", json.dumps({"plugin": "unix_socket"})),
            ],
            "grants": [
                ("'root'@'localhost'", "*.*", "SELECT"),
                ("'mon'@'%'", "*.*", "REPLICATION CLIENT"),
                ("'mon'@'%'", "nova\\_x", "INSERT"),
                ("'mysql'@'localhost'", "*.*", "USAGE"),
            ],
            "columns": [("Select_priv",), ("Grant_priv",), ("Create_tmp_table_priv",), ("Lock_tables_priv",)],
            "myself": [("root", "localhost")],
        }
    )
    assert live.all_global == {"SELECT"}
    assert live.all_database == {"SELECT", "CREATE TEMPORARY TABLES", "LOCK TABLES"}
    assert live.users["mon", "%"] == engine.User(
        "*A", "SSL", {"*.*": frozenset({"BINLOG MONITOR"}), "nova\\_x": frozenset({"INSERT"})}
    )
    assert live.users["mysql", "localhost"] == engine.User("unix_socket")


def test_no_secret_in_words():
    want = engine.wanted(options(users=[user("u", "Hunter2!", privileges="select")]))
    live = engine.Live(users={("u", "%"): engine.User(engine.native_hash("former"), "SSL")})
    changes = engine.plan(want, live)
    assert [change.text for change in changes] == [
        "alter user 'u'@'%': authentication, require NONE",
        "grant SELECT on *.* to 'u'@'%'",
    ]
    assert not any("Hunter2" in change.sql for change in changes)


privileges = st.sampled_from(["ALL", "USAGE", "SELECT", "select, insert", "SELECT,CREATE  TEMPORARY TABLES"])
users = st.builds(
    lambda name, rights, require: user(name, f"password of {name}", privileges=rights, require=require),
    st.sampled_from(["a", "b_c", "d'e"]),
    privileges,
    st.just("SSL"),
)
databases = st.lists(
    st.builds(
        lambda name, charset, who: {"name": name, "charset": charset, "users": who},
        st.sampled_from(["nova", "nova_api", "x%"]),
        st.sampled_from(["utf8mb4", "utf8mb3"]),
        st.lists(users, max_size=2, unique_by=lambda item: item["name"]),
    ),
    max_size=3,
    unique_by=lambda item: item["name"],
)
lives = st.builds(
    engine.Live,
    databases=st.dictionaries(st.sampled_from(["nova", "other"]), st.just(("latin1", "latin1_swedish_ci"))),
    users=st.dictionaries(
        st.tuples(st.sampled_from(["a", "z"]), st.just("%")),
        st.builds(
            engine.User,
            st.just("*OLD"),
            st.just("NONE"),
            st.dictionaries(st.sampled_from(["nova", "*.*"]), st.frozensets(st.sampled_from(sorted(ALL)))),
        ),
    ),
    all_global=st.just(ALL | {"SUPER"}),
    all_database=st.just(ALL),
)


def settled(want: engine.Wanted, live: engine.Live) -> engine.Live:
    """Return the expected state of the server, by the meaning of the options."""
    after = dict(live.users)
    for key, item in want.users.items():
        old = live.users.get(key, engine.User()).grants
        new = {scope: live.expand(scope, names) for scope, names in item.grants.items()}
        after[key] = engine.User(item.auth, item.require, {**old, **new})
    made = {name: (charset, "any") for name, (charset, _) in want.databases.items()}
    return engine.Live({**live.databases, **made}, after, live.all_global, live.all_database)


@given(databases, lives)
def test_what_is_settled_needs_no_change(given_, live):
    want = engine.wanted(options(given_))
    assert engine.plan(want, settled(want, live)) == []


@given(databases, lives)
def test_strangers_are_never_touched(given_, live):
    for change in engine.plan(engine.wanted(options(given_)), live):
        assert "'z'" not in change.sql
        assert "other" not in change.sql
