#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: node_service
short_description: Files, database schemas and units of a service
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Writes the files that a service reads, creates its database schemas and runs its units, in this order. Each part
    is optional, and is compared with the current state.
  - B(Files) are compared in content, owner, group and mode. All new files are written next to their targets and
    validated before the first is moved into place, so a refused file leaves everything unchanged. A file is managed
    as a whole, and replaced with one C(rename(2)).
  - B(Schema commands) run if the database has no alembic version, or if the package version, the alembic version or
    the commands differ from those of the last complete run, which is recorded in the database C(socle). The next run
    therefore completes a run that was killed. The output of the commands is shown only if one fails.
  - A B(unit) is restarted (or reloaded) if the content of its unit file, its drop-ins or the files it reads differs
    from the content at the last start of the unit, which is recorded in C(/run/socle/units). No handlers are needed,
    and the next run corrects the state if a playbook is killed between writing a file and restarting a unit.
  - A unit that has exited, even with status 0, does not run. It is an error if a unit exits while the call starts it
    or waits for it. M(cloudwatt.socle.running_units) checks the units again at the end of a run.
  - A masked unit that should run is unmasked, as node images mask units that others would start before they are
    configured.
  - A unit that was started by something else (a boot, a crash, a person) is accepted if no file that it reads is
    newer than its start. Otherwise it is restarted once.
attributes:
  check_mode:
    support: full
    description: Complete also on an empty node, where owners, packages, the database and units may not exist yet.
      Every restart is forecast from the files of the same call. It waits for nothing.
  diff_mode:
    support: full
    description: Secrets, and the former value of a rotated one, are masked. One line per command and unit.
options:
  calls:
    description:
      - Options of several services, to be done in this call, before its own options. One call asks the node once; all
        schemas of a wave, and then all units of one, are made side by side, whichever service they are of.
      - This is for the control node; the node does not see it.
    type: list
    elements: dict
    default: []
  phases:
    description:
      - What to do - write files, look for packages, make schemas, run units.
      - In a playbook, those of these names that are tags of the task, as far as C(--tags) chooses them; all when the
        task has none of them.
    type: list
    elements: str
    choices: [configure, install, bootstrap, run]
    default: [configure, install, bootstrap, run]
  directories:
    description: Directories, which are created first, with their parents.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: User name or number., type: str, default: root}
      group: {description: Group name or number., type: str, default: root}
      mode: {description: Quoted octal mode., type: str, default: '0755'}
  files:
    description: Files. Missing parent directories are created, owned by root, with mode 0755.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content:
        description:
          - A string, written as it is; or a structure for the other formats.
          - Without it the file keeps what it has, and only its owner, group and mode are set, as suits one that a
            package brings; where there is no file there will be none.
          - "V(ini): section, then key, then a scalar, or a list (the key is repeated; an empty list writes
            nothing), or V({}) for a key without a value. A section given as a list of mappings is repeated; the
            section V('') has no header. Sections and keys that are null are left out."
          - "V(hosts): address and its names, as in F(/etc/hosts). What the file has for other names is kept."
          - "V(env): variable and scalar, quoted for the shell and for systemd's C(EnvironmentFile). What is null is
            left out."
        type: raw
      format:
        description: How a structure is rendered. V(ini), V(yaml) and V(env) begin with a comment.
        type: str
        choices: [text, ini, yaml, json, env, hosts]
        default: text
      owner: {description: User name or number., type: str, default: root}
      group: {description: Group name or number., type: str, default: root}
      mode: {description: Quoted octal mode., type: str, default: '0644'}
      requires:
        description: A path without which the file is not written, as the folder of a package that need not be there.
        type: path
      keeps:
        description: With format V(hosts), the file whose other names are kept; by default the file itself.
        type: path
      validate:
        description: Command that tests the new file, given as C(%s). When it fails, no file of the call is
          replaced. Not run in check mode.
        type: str
  links:
    description: Symbolic links, which are created last.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path of the link., type: path, required: true}
      target: {description: Target of the link., type: str, required: true}
  absent:
    description: Files, links and empty directories that must not be there.
    type: list
    elements: path
    default: []
  apt_sources:
    description:
      - Sources of Debian's archive. Those that the node has for this suite, in whichever file and format, are replaced
        by F(/etc/apt/sources.list.d/debian.sources); their components are kept besides O(apt_sources.components).
      - Other suites, as backports, and repositories of anybody else stay as they are. A file that then has no source is
        removed.
    type: dict
    suboptions:
      mirror: {description: Mirror of the suite and of its updates., type: str, required: true}
      security_mirror: {description: Mirror of the security updates; empty for none., type: str}
      suite: {description: The suite., type: str, required: true}
      components: {description: Components of every source., type: list, elements: str, required: true}
      keyring: {description: Keyring that must have signed the sources., type: path, required: true}
  packages:
    description:
      - Packages, without version or architecture, without which nothing after the files can be done. When one is not
        installed the call ends there, and tells in RV(missing) what to install before the next.
      - They are looked up in dpkg's own status file, which takes milliseconds.
    type: list
    elements: str
    default: []
  schemas:
    description: Database schemas; those of a wave are created in parallel.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the schema and of its record., type: str, required: true}
      database: {description: Its database; by default of the same name., type: str}
      commands:
        description:
          - Commands in order, each a list of words, or a mapping of C(argv), C(creates_row), C(environment).
          - C(creates_row) is a query; its command runs, on every call, exactly when the query yields no row
            or only zeros (a count), or its table does not exist. It runs again until the query yields one, for
            O(schema_wait) seconds at most.
          - C(environment) is the place for secrets, which do not belong on a command line.
        type: list
        elements: raw
        required: true
      user: {description: The system user that runs them; by default of the same name., type: str}
      package: {description: The package whose version decides., type: str, required: true}
      version_table: {description: Alembic's table., type: str, default: alembic_version}
      wave: {description: Lower waves are complete before higher ones begin., type: int, default: 0}
  schemas_here:
    description: Whether this node makes the schemas. Otherwise another one does, and before this one runs its units
      it waits until they are what the packages installed here need.
    type: bool
    default: true
  environment:
    description: Variables for all schema commands, each of which may add its own.
    type: dict
    default: {}
  schema_timeout: {description: Seconds that one schema command may take., type: int, default: 1800}
  schema_wait:
    description: Seconds to wait for the node that makes the schemas, and for the row that a command creates.
    type: int
    default: 600
  login_unix_socket: {description: The database server's socket., type: path, default: /run/mysqld/mysqld.sock}
  login_user: {description: Who connects to it., type: str, default: root}
  login_password: {description: Not needed if the socket identifies the user., type: str}
  units:
    description: Units of systemd, started and waited for side by side.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name; C(.service) is added when there is no suffix.
        type: str
        required: true
      reads:
        description: Files, globs and directories (with all below) that the unit reads. They may be missing.
        type: list
        elements: str
        default: []
      reloads:
        description: Likewise, but of these a reload is always enough, as of a certificate.
        type: list
        elements: str
        default: []
      on_change:
        description:
          - What to do when O(units[].reads) change. A changed unit file or drop-in means a restart in either case.
          - With V(none) the unit is started if it does not run, and else left to a later call with the same
            O(units[].reads), which may go from node to node; RV(postponed) tells whether it has anything to do. Check
            mode shows here what that one will do.
        type: str
        choices: [restart, reload, none]
        default: restart
      test:
        description: Command that must succeed before this unit, or any other of the call, is touched.
          Not run in check mode.
        type: str
      ready:
        description: Conditions that must be met before the call returns, also for units that ran before.
        type: dict
        suboptions:
          port: {description: A TCP port that accepts connections., type: int}
          host: {description: The address of the port., type: str, default: 127.0.0.1}
          unix_socket: {description: A socket that accepts connections., type: path}
          url: {description: A URL that answers with a status below 500., type: str}
          command: {description: A shell command that succeeds., type: str}
          links:
            description:
              - Links that systemd-networkd configures by these files and that have these addresses, and that neither
                ifupdown nor NetworkManager configures as well. A link that does not exist yet is passed over.
            type: list
            elements: dict
            suboptions:
              name: {description: Name of the link., type: str, required: true}
              file: {description: Its file of systemd.network(5)., type: path, required: true}
              addresses: {description: Its static addresses with their lengths., type: list, elements: str, default: []}
          timeout: {description: Seconds., type: int, default: 60}
      state:
        description: Whether the unit runs.
        type: str
        choices: [started, stopped]
        default: started
      enabled:
        description: Whether it starts at boot. By default it does when O(units[].state=started).
        type: bool
      wave:
        description: Units of a lower wave are ready before those of a higher one are changed.
        type: int
        default: 0
  secrets:
    description: Values masked in the diff and in every result, also where a file has them percent-encoded; those of
      O(environment) and of the commands are in any case. Values shorter than 6 characters are ignored.
    type: list
    elements: str
    default: []
requirements: ["python3-pymysql, for schemas"]
"""

EXAMPLES = r"""
- name: Run Glance
  cloudwatt.socle.node_service:
    directories:
      - {path: /etc/glance/glance-api.conf.d, group: glance, mode: '0750'}
    files:
      - path: /etc/glance/glance-api.conf
        format: ini
        group: glance
        mode: '0640'
        content:
          DEFAULT: {bind_port: 9292, debug: false}
          database:
            connection: "{{ password | cloudwatt.socle.database_url('glance', site_internal_name, 'glance', '') }}"
    schemas:
      - name: glance
        package: glance-common
        commands:
          - [glance-manage, db_sync]
          - argv: [glance-manage, db_load_metadefs]
            creates_row: SELECT COUNT(*) FROM glance.metadef_namespaces
    schemas_here: "{{ inventory_hostname == groups['control'][0] }}"
    units:
      - name: glance-api
        reads: [/etc/glance, /etc/socle/pki/node.pem]
        ready: {port: 9292}
    secrets: "{{ secrets.values() | list }}"
  tags: [configure, bootstrap, run]

- name: Run several services side by side
  cloudwatt.socle.node_service:
    calls: ["{{ glance_service }}", "{{ placement_service }}"]
  tags: [configure, bootstrap, run]
"""

RETURN = r"""
changed_paths:
  description: Paths that differed (in check mode, differ).
  returned: always
  type: list
  elements: str
missing:
  description: Packages that are not installed, sorted.
  returned: always
  type: list
  elements: str
unfinished:
  description: Whether a run was killed while it installed packages. The call ends there as well.
  returned: always
  type: bool
ran:
  description: Schema to the commands that were run (in check mode, would be).
  returned: always
  type: dict
started: &names
  description: Units that were started (in check mode, would be). Likewise the others.
  returned: always
  type: list
  elements: str
restarted: *names
reloaded: *names
stopped: *names
enabled: *names
disabled: *names
postponed:
  description: Units of O(units[].on_change) V(none) that a later call has to look after.
  returned: always
  type: list
  elements: str
reasons:
  description: Schema or unit to the reason why it was touched.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.dpkg_status import missing
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines
from ansible_collections.cloudwatt.socle.plugins.module_utils.database.client import DatabaseError
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import (
    apt_sources,
    config_files,
    package_starts,
    schema_sync_host,
    service_units_host,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.schema_sync import Schema, SchemaError
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_arguments import ARGUMENTS
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_units import Unit, UnitError

DPKG_STATUS = "/var/lib/dpkg/status"


class Call:
    """One call of the module: all options are read first, then each phase adds its changes to ``result``."""

    def __init__(self, options: dict[str, Any], check: bool) -> None:
        self.options = options
        self.check = check
        files, absent = options["files"], options["absent"]
        if sources := options["apt_sources"]:
            more, gone = config_files.rewritten(*apt_sources.plan(sources, apt_sources.read()))
            files, absent = [*files, *more], [*absent, *gone]
        self.entries = config_files.wanted(config_files.kept(files), options["directories"], options["links"], absent)
        self.schemas = [Schema.of(item) for item in options["schemas"]]
        self.units = [Unit.of(item) for item in options["units"]]
        verbs = ("started", "restarted", "reloaded", "stopped", "enabled", "disabled", "postponed")
        self.result: dict[str, Any] = {"changed": False, "changed_paths": [], "missing": [], "ran": {}, "reasons": {}}
        self.result["unfinished"] = False
        self.result |= {"diff": [], **{verb: [] for verb in verbs}}

    @property
    def secrets(self) -> list[str]:
        """Return secrets that are not in options which are secret as a whole."""
        commands = (command for schema in self.schemas for command in schema.commands)
        return [value for command in commands for value in command.environment.values()]

    def add(self, part: dict[str, Any]) -> None:
        """Add the result of a phase."""
        for key, value in part.items():
            have = self.result[key]
            self.result[key] = have + value if isinstance(value, list) else have | value

    def apply(self) -> None:
        """Run the requested phases. Errors of a phase are raised; ``result`` then has the changes of earlier phases."""
        phases = self.options["phases"]
        if "configure" in phases:
            self.configure()
        if "install" in phases and self.options["packages"]:
            self.look_for_packages()
            if (self.result["missing"] or self.result["unfinished"]) and not self.check:
                return
        if self.schemas and self.options["schemas_here"] and "bootstrap" in phases:
            self.bootstrap()
        if "run" in phases:
            if self.schemas and not self.options["schemas_here"] and not self.check:
                self.await_schemas()
            if self.units:
                self.run()

    def configure(self) -> None:
        changes = config_files.differing(self.entries)
        if not self.check:
            config_files.apply(changes)
        secrets = self.options["secrets"]
        parts = [part for before, after in changes for part in config_files.diff(before, after, secrets)]
        self.add({"changed": bool(changes), "changed_paths": [after.path for _, after in changes], "diff": parts})

    def look_for_packages(self) -> None:
        """In check mode, count missing packages as a change: an empty node has no index, so no later task can tell."""
        with open(DPKG_STATUS, encoding="utf-8", errors="replace") as status:
            absent = missing(self.options["packages"], status)
        if package_starts.unfinished():
            self.result["unfinished"] = True
        diff = [diff_entry("packages to install", "", lines(absent))] if absent else []
        self.add({"missing": absent, "changed": bool(absent) and self.check, "diff": diff})

    def bootstrap(self) -> None:
        runner = schema_sync_host.Runner(self.schemas, self.options, self.check)
        if not self.check:
            runner.apply()
        self.add(runner.result())

    def await_schemas(self) -> None:
        schema_sync_host.Waiter(self.schemas, self.options, self.check).apply()

    def run(self) -> None:
        runner = service_units_host.Runner(self.units, self.result["changed_paths"], self.check)
        if not self.check:
            runner.apply()
        self.add(runner.result())


FAULTS = (config_files.ConfigError, SchemaError, DatabaseError, UnitError, OSError, ValueError)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    module.no_log_values = config_files.spellings(module.no_log_values)
    try:
        call = Call(module.params, module.check_mode)
    except FAULTS as fault:
        module.fail_json(msg=str(fault))
    module.no_log_values |= config_files.spellings(call.secrets)
    try:
        call.apply()
    except FAULTS as fault:
        module.fail_json(msg=str(fault), **call.result)
    module.exit_json(**call.result)


if __name__ == "__main__":
    main()
