# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A connection to the node's own MariaDB, over its socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NO_SUCH_TABLE = 1146
UNKNOWN_DATABASE = 1049
NOT_THERE = frozenset({2002, 2003, 2006, 2013})
"""Client errors that mean that no server answers."""

OPTIONS: dict[str, dict[str, Any]] = {
    "login_unix_socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
    "login_user": {"type": "str", "default": "root"},
    "login_password": {"type": "str", "no_log": True},
}
"""Argument specification of the modules that connect."""


class DatabaseError(Exception):
    """The server refused; ``errno`` is MariaDB's number."""

    def __init__(self, text: str, errno: int = 0) -> None:
        super().__init__(text)
        self.errno = errno


class Unreachable(DatabaseError):
    """No server answers, or the client library is not installed: this part of the node is not installed yet."""


class Database:
    """A connection made at the first query; autocommit; rows are tuples."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options
        self.connection: Any = None

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a statement. Raises :class:`Unreachable` or :class:`DatabaseError`."""
        try:
            import pymysql
        except ImportError:
            raise Unreachable("python3-pymysql is not installed") from None
        try:
            if self.connection is None:
                self.connection = pymysql.connect(
                    unix_socket=self.options["login_unix_socket"],
                    user=self.options["login_user"],
                    password=self.options["login_password"] or "",
                    charset="utf8mb4",
                    autocommit=True,
                    connect_timeout=10,
                )
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                found: Sequence[tuple[Any, ...]] = cursor.fetchall()
                return found
        except pymysql.MySQLError as error:
            errno = error.args[0] if error.args else 0
            kind = Unreachable if errno in NOT_THERE else DatabaseError
            text = f"MariaDB at {self.options['login_unix_socket']}: {error.args[-1] if error.args else error}"
            raise kind(text, errno) from None

    def rows_if_there(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Like :meth:`rows`, but return none if the table or the database does not exist."""
        try:
            return self.rows(sql)
        except DatabaseError as error:
            if error.errno in (NO_SUCH_TABLE, UNKNOWN_DATABASE):
                return ()
            raise


def quoted(text: str) -> str:
    """Return a string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
