# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``schema_sync``: which schema commands have to run.

A schema is settled when the last complete run of its commands, recorded in a stamp on disk, was by the
package version that is installed now, with the same commands, and left the alembic versions that the database
has now.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

STAMPS = "/var/lib/socle/schema"


class SchemaError(Exception):
    """A command failed; the message holds what it printed."""


@dataclass(frozen=True)
class Command:
    """``creates_row``: a query; the command runs if and only if it yields no row, or only zeros and NULLs.

    ``environment`` is where secrets go: unlike ``argv``, it is not in the process list, nor shown.
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
        """A hash of the commands."""
        return hashlib.sha256(json.dumps([command.argv for command in self.commands]).encode()).hexdigest()


@dataclass(frozen=True)
class State:
    """``package``: the installed version, ``alembic``: sorted versions; either may be empty."""

    package: str
    alembic: Sequence[str]
    recipe: str

    def reason(self, stamp: State | None) -> str:
        """Why the commands have to run; empty when they have not."""
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


def satisfied(rows: Sequence[tuple]) -> bool:
    """Whether the rows of ``creates_row`` say that the command has nothing to do."""
    return any(any(rows_value not in (None, 0) for rows_value in row) for row in rows)


def due(schema: Schema, reason: str, there: Mapping[str, bool]) -> list[Command]:
    """Commands to run: those whose row is not ``there``, and with a reason those that have no row."""
    return [
        command
        for command in schema.commands
        if (not there.get(command.creates_row, False) if command.creates_row else bool(reason))
    ]


def parse_packages(text: str) -> dict[str, str]:
    """Installed versions, from lines of status, package and version."""
    words = (line.split() for line in text.splitlines())
    return {line[1]: line[2] for line in words if len(line) == 3 and line[0] == "ii"}


def load_stamp(name: str, folder: str = STAMPS) -> State | None:
    try:
        with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as stream:
            return State(**json.load(stream))
    except (OSError, ValueError, TypeError):
        return None


def save_stamp(name: str, state: State, folder: str = STAMPS) -> None:
    os.makedirs(folder, mode=0o755, exist_ok=True)
    path = os.path.join(folder, f"{name}.json")
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(asdict(state), stream)
    os.replace(f"{path}.new", path)
