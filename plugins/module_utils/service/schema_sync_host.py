# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The schemas of module ``node_service`` on the node: read the database, run what ``schema_sync`` selects."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..common.parallel import in_parallel
from ..common.process import run
from ..common.results import diff_entry, lines
from ..database.client import Database, Unreachable
from . import schema_sync as engine


class Runner:
    """The schemas of a call. The constructor finds the commands to run; :meth:`apply` runs them, wave by wave.

    ``options`` are those of the module (``environment``, the times and the login). Raises
    :class:`.schema_sync.SchemaError`, and :class:`.database.DatabaseError`, except in check mode if no server answers.
    """

    def __init__(self, schemas: Sequence[engine.Schema], options: Mapping[str, Any], check: bool) -> None:
        self.schemas = schemas
        self.options = options
        self.check = check
        self.packages = installed({schema.package for schema in schemas})
        database = Database(options)
        self.reasons = self.look(database)
        self.due = {schema.name: self.forecast(schema, database) for schema in schemas}

    def query(self, database: Database, sql: str) -> Sequence[tuple[Any, ...]]:
        try:
            return database.rows_if_there(sql)
        except Unreachable:
            if self.check:
                return ()
            raise

    def look(self, database: Database) -> dict[str, str]:
        """Return schema to the reason why it is not settled, or to ""."""
        stamps = engine.load_stamps(self.query(database, engine.LOAD_STAMPS))
        return {schema.name: self.state(schema, database).reason(stamps.get(schema.name)) for schema in self.schemas}

    def state(self, schema: engine.Schema, database: Database) -> engine.State:
        rows = self.query(database, engine.alembic_versions(schema))
        return engine.State(self.packages.get(schema.package, ""), [str(row[0]) for row in rows], schema.recipe)

    def forecast(self, schema: engine.Schema, database: Database) -> list[engine.Command]:
        queries = {command.creates_row for command in schema.commands if command.creates_row}
        there = {query: engine.satisfied(self.query(database, query)) for query in queries}
        return engine.due(schema, self.reasons[schema.name], there)

    def apply(self) -> None:
        for wave in sorted({schema.wave for schema in self.schemas}):
            todo = [schema for schema in self.schemas if schema.wave == wave and self.due[schema.name]]
            faults = [text for text in in_parallel(self.sync, todo) if text]
            if faults:
                raise engine.SchemaError("\n".join(faults))

    def sync(self, schema: engine.Schema) -> str:
        """Run the due commands of a schema, on a separate connection; return the fault if a command fails."""
        database = Database(self.options)
        done = []
        for command in self.due[schema.name]:
            if command.creates_row and engine.satisfied(database.rows_if_there(command.creates_row)):
                continue
            if fault := self.perform(schema, command, database):
                return f"{schema.name}: `{shlex.join(command.argv)}` {fault}"
            done.append(command)
        self.due[schema.name] = done
        for statement in (*engine.MAKE_STAMPS, engine.save_stamp(schema.name, self.state(schema, database))):
            database.rows(statement)
        return ""

    def perform(self, schema: engine.Schema, command: engine.Command, database: Database) -> str:
        """Run a command, and repeat it while its row is missing: to create the row, it may need data that another
        service has not written yet. Return the fault, or ""."""
        deadline = time.monotonic() + self.options["schema_wait"]
        while True:
            result = run(
                ["runuser", "-u", schema.user, "--", *command.argv],
                timeout=self.options["schema_timeout"],
                environment={**self.options["environment"], **command.environment},
            )
            if not result.ok:
                return f"ended with {result.rc}:\n{result.output[-4000:]}"
            if not command.creates_row or engine.satisfied(database.rows_if_there(command.creates_row)):
                return ""
            if time.monotonic() > deadline:
                return f"ended well, but {command.creates_row!r} still finds nothing:\n{result.output[-4000:]}"
            time.sleep(2)

    def result(self) -> dict[str, Any]:
        ran = {name: [shlex.join(command.argv) for command in due] for name, due in self.due.items() if due}
        texts = [f"{name}: {command}" for name, commands in ran.items() for command in commands]
        return {
            "changed": bool(ran),
            "ran": ran,
            "reasons": {name: self.reasons[name] or "a row is missing" for name in ran},
            "diff": [diff_entry("schemas", "", lines(texts))] if texts else [],
        }


class Waiter(Runner):
    """The schemas of a call if another node creates them: :meth:`apply` waits until it has.

    The units of this node must not run on a schema that is older than their software, or that is being changed.
    """

    def forecast(self, schema: engine.Schema, database: Database) -> list[engine.Command]:
        return []

    def apply(self) -> None:
        deadline = time.monotonic() + self.options["schema_wait"]
        database = Database(self.options)
        while any(self.reasons.values()):
            if time.monotonic() > deadline:
                raise engine.SchemaError("\n".join(self.late()))
            time.sleep(0.5)
            self.reasons = self.look(database)

    def late(self) -> Iterable[str]:
        for schema in self.schemas:
            if reason := self.reasons[schema.name]:
                version = self.packages.get(schema.package, "")
                yield engine.late(schema, reason, version, self.options["schema_wait"])


def installed(packages: set[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    form = "${db:Status-Abbrev} ${Package} ${Version}\n"
    return engine.parse_packages(run(["dpkg-query", "-W", "-f", form, *sorted(packages)]).stdout)
