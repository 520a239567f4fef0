# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The schemas of module ``node_service``: which commands have to run.

A schema is settled if the last complete run of its commands used the package version that is installed here and
the same commands, and left the alembic versions that the database has now. That run is recorded in a *stamp* in the
database server itself, so every member of the cluster sees it, and a backup restores it together with the schemas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..database.client import identifier, quoted

STAMPS = "socle"
"""The database of the stamps."""
MAKE_STAMPS = (
    f"CREATE DATABASE IF NOT EXISTS {STAMPS}",
    f"CREATE TABLE IF NOT EXISTS {STAMPS}.schema_stamp (name VARCHAR(190) PRIMARY KEY, package VARCHAR(190) NOT NULL, "
    "alembic TEXT NOT NULL, recipe CHAR(64) NOT NULL, made TIMESTAMP NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4",
)
LOAD_STAMPS = f"SELECT name, package, alembic, recipe FROM {STAMPS}.schema_stamp"


class SchemaError(Exception):
    """A command failed, or a schema was not created in time; the message is for the operator."""


@dataclass(frozen=True)
class Command:
    """``creates_row``: a query; the command runs if and only if the query yields no row, or only zeros and NULLs.

    Secrets belong in ``environment``: unlike ``argv``, it is not in the process list, and it is not shown.
    """

    argv: Sequence[str]
    creates_row: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Any) -> Command:
        if isinstance(item, Mapping):
            if unknown := sorted(set(item) - {"argv", "creates_row", "environment"}):
                raise SchemaError(f"command with unknown keys: {', '.join(unknown)}")
            words, environment = item.get("argv") or [], item.get("environment") or {}
            return cls(cls.of(words).argv, item.get("creates_row") or "", environment)
        if isinstance(item, str) or not item:
            raise SchemaError(f"command {item!r} is not a list of words")
        return cls(tuple(map(str, item)))


@dataclass(frozen=True)
class Schema:
    name: str
    database: str
    commands: Sequence[Command]
    user: str
    package: str
    version_table: str = "alembic_version"
    wave: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Schema:
        return cls(
            name=item["name"],
            database=item.get("database") or item["name"],
            commands=tuple(Command.of(command) for command in item["commands"]),
            user=item.get("user") or item["name"],
            package=item["package"],
            version_table=item.get("version_table") or "alembic_version",
            wave=item.get("wave") or 0,
        )

    @property
    def recipe(self) -> str:
        """Return a hash of the commands."""
        return hashlib.sha256(json.dumps([command.argv for command in self.commands]).encode()).hexdigest()


@dataclass(frozen=True)
class State:
    """``package``: the installed version, ``alembic``: sorted versions; either may be empty."""

    package: str
    alembic: Sequence[str]
    recipe: str

    def reason(self, stamp: State | None) -> str:
        """Return the reason to run the commands; empty if there is none."""
        if not self.alembic:
            return "the database holds no schema"
        if stamp is None:
            return "no complete run is recorded"
        if stamp.package != self.package:
            return f"{stamp.package} made it, {self.package} is installed"
        if list(stamp.alembic) != list(self.alembic):
            return f"it was left at {_text(stamp.alembic)} and is at {_text(self.alembic)}"
        return "its commands have changed" if stamp.recipe != self.recipe else ""


def _text(versions: Sequence[str]) -> str:
    return ", ".join(versions) or "nothing"


def satisfied(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Return whether the rows of ``creates_row`` show that the command has already done its work."""
    return any(any(rows_value not in (None, 0) for rows_value in row) for row in rows)


def due(schema: Schema, reason: str, there: Mapping[str, bool]) -> list[Command]:
    """The commands to run: those whose row is not ``there`` and, if there is a reason, those that have no row."""
    return [
        command
        for command in schema.commands
        if (not there.get(command.creates_row, False) if command.creates_row else bool(reason))
    ]


def parse_packages(text: str) -> dict[str, str]:
    """Return installed versions, from lines of status, package and version."""
    words = (line.split() for line in text.splitlines())
    return {line[1]: line[2] for line in words if len(line) == 3 and line[0] == "ii"}


def load_stamps(rows: Iterable[Sequence[str]]) -> dict[str, State]:
    """Return stamps by schema, from the rows of :data:`LOAD_STAMPS`."""
    return {name: State(package, alembic.split(), recipe) for name, package, alembic, recipe in rows}


def save_stamp(name: str, state: State) -> str:
    """Return the statement that records a complete run."""
    values = (name, state.package, " ".join(state.alembic), state.recipe)
    columns = "(name, package, alembic, recipe, made)"
    return f"REPLACE INTO {STAMPS}.schema_stamp {columns} VALUES ({', '.join(map(quoted, values))}, NOW())"


def late(schema: Schema, reason: str, installed: str, timeout: float) -> str:
    """Return the message for a schema that another node should have created and has not."""
    return (
        f"after {timeout:g} s the schema {schema.name} is still not the one that {schema.package} "
        f"{installed or '(not installed)'} needs on this node: {reason}. The first controller makes it. See whether "
        "its own task failed; if --limit left it out, or it has another version of the package, deploy both together"
    )


def alembic_versions(schema: Schema) -> str:
    """Return the query for the versions that the database has."""
    table = f"{identifier(schema.database)}.{identifier(schema.version_table)}"
    return f"SELECT version_num FROM {table} ORDER BY version_num"
