#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: schema_sync
short_description: Create and upgrade database schemas, only when there is something to do
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Runs the schema commands of any number of databases, those of a wave side by side.
  - The commands of a schema run when its database has no alembic version, or when the package version, the
    alembic version or the commands are not those recorded after the last complete run, in
    C(/var/lib/socle/schema). A run that was killed is thus taken up by the next one.
  - What the commands print is shown only when one fails.
attributes:
  check_mode: {support: full, description: When no server answers, everything would run.}
  diff_mode: {support: full, description: One line a command.}
options:
  schemas:
    description: Schemas.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the schema and of its record., type: str, required: true}
      database: {description: Its database; by default of the same name., type: str}
      commands:
        description:
          - Commands in order, each a list of words, or a mapping of C(argv), C(creates_row), C(environment).
          - C(creates_row) is a query; its command runs, on every call, exactly when the query yields no row
            or only zeros (a count), or its table does not exist.
          - C(environment) is the place for secrets, which do not belong on a command line.
        type: list
        elements: raw
        required: true
      user: {description: The system user that runs them; by default of the same name., type: str}
      package: {description: The package whose version decides., type: str, required: true}
      version_table: {description: Alembic's table., type: str, default: alembic_version}
      wave: {description: Lower waves are complete before higher ones begin., type: int, default: 0}
  environment:
    description: Variables for all commands, each of which may add its own.
    type: dict
    default: {}
  secrets:
    description: Values masked in every result; those of each C(environment) are in any case.
    type: list
    elements: str
    default: []
  timeout: {description: Seconds that one command may take., type: int, default: 1800}
  login_unix_socket: {description: The server's socket., type: path, default: /run/mysqld/mysqld.sock}
  login_user: {description: Who connects., type: str, default: root}
  login_password: {description: Not needed where the socket tells who connects., type: str}
requirements: [python3-pymysql]
"""

EXAMPLES = r"""
- name: Create the schemas of Nova
  cloudwatt.socle.schema_sync:
    schemas:
      - name: nova_api
        user: nova
        package: nova-common
        commands:
          - [nova-manage, api_db, sync]
          - argv: [nova-manage, cell_v2, map_cell0]
            creates_row: SELECT COUNT(*) FROM nova_api.cell_mappings WHERE name = 'cell0'
"""

RETURN = r"""
ran:
  description: Schema to the commands that were run (in check mode, would be).
  returned: always
  type: dict
reasons:
  description: Schema to the reason why.
  returned: always
  type: dict
"""

import shlex
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import schema_sync as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import (
    diff_entry,
    in_parallel,
    lines,
    run,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.config_files import spellings
from ansible_collections.cloudwatt.socle.plugins.module_utils.database import (
    OPTIONS,
    Database,
    DatabaseError,
    Unreachable,
    identifier,
)

SCHEMA: dict[str, dict] = {
    "name": {"type": "str", "required": True},
    "database": {"type": "str"},
    "commands": {"type": "list", "elements": "raw", "required": True},
    "user": {"type": "str"},
    "package": {"type": "str", "required": True},
    "version_table": {"type": "str", "default": "alembic_version"},
    "wave": {"type": "int", "default": 0},
}
ARGUMENTS = {
    "schemas": {"type": "list", "elements": "dict", "required": True, "options": SCHEMA},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "timeout": {"type": "int", "default": 1800},
    **OPTIONS,
}


class Runner:
    """The call: read all states, then run what is due, wave by wave."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options = module.params
        self.check = module.check_mode
        self.schemas = [engine.Schema.of(item) for item in self.options["schemas"]]
        commands = (command for schema in self.schemas for command in schema.commands)
        secrets = (value for command in commands for value in command.environment.values())
        module.no_log_values = spellings([*module.no_log_values, *secrets])
        self.packages = installed({schema.package for schema in self.schemas})
        database = Database(self.options)
        self.reasons = {schema.name: self.reason(schema, database) for schema in self.schemas}
        self.due = {schema.name: self.forecast(schema, database) for schema in self.schemas}

    def query(self, database: Database, sql: str) -> Sequence[tuple]:
        try:
            return database.rows_if_there(sql)
        except Unreachable:
            if self.check:
                return ()
            raise

    def state(self, schema: engine.Schema, database: Database) -> engine.State:
        table = f"{identifier(schema.database)}.{identifier(schema.version_table)}"
        rows = self.query(database, f"SELECT version_num FROM {table} ORDER BY version_num")
        return engine.State(
            self.packages.get(schema.package, ""), [str(row[0]) for row in rows], schema.recipe
        )

    def reason(self, schema: engine.Schema, database: Database) -> str:
        return self.state(schema, database).reason(engine.load_stamp(schema.name))

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
        """Run what is due, with a connection of its own; the fault if a command fails."""
        database = Database(self.options)
        done = []
        for command in self.due[schema.name]:
            if command.creates_row and engine.satisfied(database.rows_if_there(command.creates_row)):
                continue
            result = run(
                ["runuser", "-u", schema.user, "--", *command.argv],
                timeout=self.options["timeout"],
                environment={**self.options["environment"], **command.environment},
            )
            if not result.ok:
                said = f"`{shlex.join(command.argv)}` ended with {result.rc}"
                return f"{schema.name}: {said}:\n{result.output[-4000:]}"
            done.append(command)
        self.due[schema.name] = done
        engine.save_stamp(schema.name, self.state(schema, database))
        return ""

    def result(self) -> dict:
        ran = {name: [shlex.join(command.argv) for command in due] for name, due in self.due.items() if due}
        texts = [f"{name}: {command}" for name, commands in ran.items() for command in commands]
        return {
            "changed": bool(ran),
            "ran": ran,
            "reasons": {name: self.reasons[name] or "a row is missing" for name in ran},
            "diff": [diff_entry("schemas", "", lines(texts))] if texts else [],
        }


def installed(packages: set[str]) -> dict[str, str]:
    form = "${db:Status-Abbrev} ${Package} ${Version}\n"
    return engine.parse_packages(run(["dpkg-query", "-W", "-f", form, *sorted(packages)]).stdout)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    try:
        runner = Runner(module)
        if not module.check_mode:
            runner.apply()
    except (engine.SchemaError, DatabaseError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(**runner.result())


if __name__ == "__main__":
    main()
