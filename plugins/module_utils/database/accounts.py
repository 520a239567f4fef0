# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``database_accounts``: compares wanted databases, users and privileges with those of a MariaDB server.

Pure: :func:`read` takes rows, :func:`plan` returns changes with their SQL. Passwords are compared and set as
``mysql_native_password`` hashes, so that no password is sent over the connection or written to a binary log.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .client import identifier, quoted

EVERYTHING = "*.*"
SOCKET = "unix_socket"
REQUIRE = {0: "NONE", 1: "SSL", 2: "X509"}
ALIASES = {
    "ALL PRIVILEGES": "ALL",
    "REPLICATION CLIENT": "BINLOG MONITOR",
    "REPLICA MONITOR": "SLAVE MONITOR",
    "REPLICATION REPLICA": "REPLICATION SLAVE",
    "REPLICATION REPLICA ADMIN": "REPLICATION SLAVE ADMIN",
}
"""Names that MariaDB accepts, to the one that it reports."""

Key = tuple[str, str]
"""Name and host of a user."""

QUERIES = {
    "databases": "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
    " FROM information_schema.SCHEMATA",
    "users": "SELECT User, Host, Priv FROM mysql.global_priv",
    "grants": "SELECT GRANTEE, '*.*', PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES UNION ALL"
    " SELECT GRANTEE, TABLE_SCHEMA, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES",
    "columns": "SELECT COLUMN_NAME FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME = 'db' AND COLUMN_NAME LIKE '%\\_priv'",
    "myself": "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), SUBSTRING_INDEX(CURRENT_USER(), '@', -1)",
}
"""The whole state of a server, in five queries."""


class AccountError(ValueError):
    """Options that contradict each other."""


@dataclass(frozen=True)
class User:
    """``auth``: a password hash, ``unix_socket``, or another method of the server; ``grants`` by scope."""

    auth: str = ""
    require: str = "NONE"
    grants: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """A server.

    ``databases``: name to (charset, collation). ``all_*``: the privileges that ALL means at either scope.
    """

    databases: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    users: Mapping[Key, User] = field(default_factory=dict)
    all_global: frozenset[str] = frozenset()
    all_database: frozenset[str] = frozenset()

    def expand(self, scope: str, privileges: frozenset[str]) -> frozenset[str]:
        if "ALL" not in privileges:
            return privileges
        return (self.all_global if scope == EVERYTHING else self.all_database) or privileges


@dataclass(frozen=True)
class Wanted:
    databases: Mapping[str, tuple[str, str | None]]
    users: Mapping[Key, User]
    absent: Sequence[Key] = ()


@dataclass(frozen=True)
class Change:
    """A change in words, without secrets, and the statement that makes it."""

    text: str
    sql: str


def native_hash(password: str) -> str:
    """Return MariaDB's ``PASSWORD()``: ``*`` and the SHA-1 of the SHA-1, in upper-case hexadecimal."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def scope_of(database: str) -> str:
    """Return the grant scope of one database: ``_`` and ``%`` are wildcards there, and must not match other names."""
    return re.sub(r"([_%])", r"\\\1", database)


def wanted(options: Mapping[str, Any]) -> Wanted:
    """Return the module's options; a user named under several databases is one user."""
    users: dict[Key, User] = {}
    faults = []

    def add(item: Mapping[str, Any], scope: str) -> None:
        key = (item["name"], item["host"])
        if bool(item["password"]) == bool(item["unix_socket"]):
            faults.append(f"{account(key)}: give either password or unix_socket")
        auth = native_hash(item["password"]) if item["password"] else SOCKET
        grants = frozenset(ALIASES.get(name, name) for name in _words(item["privileges"])) - {"USAGE"}
        known = users.setdefault(key, User(auth, item["require"]))
        if (known.auth, known.require) != (auth, item["require"]):
            faults.append(f"{account(key)}: given twice, with another password or another require")
        users[key] = User(auth, item["require"], {**known.grants, scope: grants})

    for database in options["databases"]:
        for item in database["users"]:
            add(item, scope_of(database["name"]))
    for item in options["users"]:
        add(item, EVERYTHING)
    absent = [(item["name"], item["host"]) for item in options["absent_users"]]
    faults += [f"{account(key)}: both wanted and absent" for key in absent if key in users]
    if faults:
        raise AccountError("; ".join(faults))
    databases = {item["name"]: (item["charset"], item["collation"]) for item in options["databases"]}
    return Wanted(databases, users, absent)


def _words(privileges: str) -> Iterable[str]:
    return (" ".join(name.upper().split()) for name in privileges.split(",") if name.strip())


def account(key: Key) -> str:
    return f"{quoted(key[0])}@{quoted(key[1])}"


def read(rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> Live:
    """Return the state of a server from the rows of :data:`QUERIES`."""
    grants: dict[Key, dict[str, set[str]]] = {}
    for grantee, scope, privilege in rows["grants"]:
        found = re.fullmatch(r"'(.*)'@'(.*)'", grantee)
        if found and privilege != "USAGE":
            by_scope = grants.setdefault((found[1], found[2]), {})
            by_scope.setdefault(scope, set()).add(ALIASES.get(privilege, privilege))
    users = {}
    for name, host, text in rows["users"]:
        raw = json.loads(text)
        own = {scope: frozenset(names) for scope, names in grants.get((name, host), {}).items()}
        users[name, host] = User(_auth(raw), REQUIRE.get(raw.get("ssl_type", 0), "other"), own)
    name, host = rows["myself"][0]
    myself = users.get((name, host), User())
    return Live(
        databases={name: (charset, collation) for name, charset, collation in rows["databases"]},
        users=users,
        all_global=myself.grants.get(EVERYTHING, frozenset()),
        all_database=frozenset(_privilege(column) for (column,) in rows["columns"]) - {"GRANT"},
    )


def _auth(raw: Mapping[str, Any]) -> str:
    if raw.get("auth_or"):
        return json.dumps([raw.get("plugin"), raw["auth_or"]])
    if raw.get("plugin") == "mysql_native_password":
        digest: str = raw.get("authentication_string", "")
        return digest
    plugin: str = raw.get("plugin", "")
    return plugin


def _privilege(column: str) -> str:
    name = column.removesuffix("_priv").upper()
    return "CREATE TEMPORARY TABLES" if name == "CREATE_TMP_TABLE" else name.replace("_", " ")


def plan(want: Wanted, live: Live) -> list[Change]:
    """Return changes in the order of application. Users that are not wanted, and grants elsewhere, are left alone."""
    changes = []
    for name, (charset, collation) in want.databases.items():
        present = live.databases.get(name)
        suffix = f" CHARACTER SET {charset}" + (f" COLLATE {collation}" if collation else "")
        if present is None:
            changes.append(Change(f"create database {name}", f"CREATE DATABASE {identifier(name)}{suffix}"))
        elif present[0] != charset or collation not in (None, present[1]):
            text = f"alter database {name}:{suffix.lower()}"
            changes.append(Change(text, f"ALTER DATABASE {identifier(name)}{suffix}"))
    for key in want.absent:
        if key in live.users:
            changes.append(Change(f"drop user {account(key)}", f"DROP USER {account(key)}"))
    for key, user in want.users.items():
        changes += _user(key, user, live)
    return changes


def _user(key: Key, user: User, live: Live) -> Iterable[Change]:
    who = account(key)
    present = live.users.get(key)
    via = SOCKET if user.auth == SOCKET else f"mysql_native_password USING {quoted(user.auth)}"
    if present is None:
        yield Change(f"create user {who}", f"CREATE USER {who} IDENTIFIED VIA {via} REQUIRE {user.require}")
    elif (present.auth, present.require) != (user.auth, user.require):
        facts = [
            "authentication" if present.auth != user.auth else "",
            f"require {user.require}" if present.require != user.require else "",
        ]
        text = f"alter user {who}: {', '.join(filter(None, facts))}"
        yield Change(text, f"ALTER USER {who} IDENTIFIED VIA {via} REQUIRE {user.require}")
    for scope, privileges in user.grants.items():
        should = live.expand(scope, privileges)
        have = present.grants.get(scope, frozenset()) if present else frozenset()
        on = scope if scope == EVERYTHING else f"{identifier(scope)}.*"
        if missing := should - have:
            names = "ALL" if "ALL" in privileges else ", ".join(sorted(missing))
            yield Change(f"grant {names} on {on} to {who}", f"GRANT {names} ON {on} TO {who}")
        if excess := have - should:
            names = ", ".join(sorted(excess))
            yield Change(f"revoke {names} on {on} from {who}", f"REVOKE {names} ON {on} FROM {who}")
