#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: database_accounts
short_description: Databases, users and privileges of a MariaDB server
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Reads the state of the server in five queries, compares it in memory, and changes only what differs.
  - Passwords are compared and sent only as C(mysql_native_password) hashes.
  - Manages the given databases and users, and the privileges of each user at the given scopes. Others are not
    changed.
attributes:
  check_mode: {support: full, description: "If no server answers, everything is reported as created."}
  diff_mode: {support: full, description: One line per change.}
options:
  databases:
    description: Databases.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      charset: {description: Default character set., type: str, default: utf8mb4}
      collation: {description: Default collation; by default that of the character set., type: str}
      users:
        description: Users with privileges on this very database (C(_) in its name is no wildcard).
        type: list
        elements: dict
        default: []
        suboptions: &user
          name: {description: Name., type: str, required: true}
          host: {description: Host pattern., type: str, default: '%'}
          password: {description: Password., type: str}
          unix_socket:
            description: Let the system user of the same name in over the socket, without a password.
            type: bool
            default: false
          privileges:
            description: Privileges, with commas; others of this scope are revoked. V(USAGE) stands for none.
            type: str
            default: ALL
          require:
            description: Protection that the connection must use.
            type: str
            choices: [NONE, SSL, X509]
            default: NONE
  users:
    description: Users with privileges on everything (C(*.*)).
    type: list
    elements: dict
    default: []
    suboptions: *user
  absent_users:
    description: Users that must not exist.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      host: {description: Host pattern., type: str, default: '%'}
  login_unix_socket: {description: The server's socket., type: path, default: /run/mysqld/mysqld.sock}
  login_user: {description: Who connects., type: str, default: root}
  login_password: {description: Not needed if the socket identifies the user., type: str}
requirements: [python3-pymysql]
"""

EXAMPLES = r"""
- name: Create the databases of Nova
  cloudwatt.socle.database_accounts:
    databases:
      - name: nova
        users: [{name: nova, password: "{{ secrets.nova_database }}", require: SSL}]
      - name: nova_api
        users: [{name: nova, password: "{{ secrets.nova_database }}", require: SSL}]
    users:
      - {name: monitor, password: "{{ secrets.mariadb_monitor }}", privileges: BINLOG MONITOR}
"""

RETURN = r"""
changes:
  description: The changes in words, without secrets, in the order of application.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines, list_of
from ansible_collections.cloudwatt.socle.plugins.module_utils.database import accounts as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.database.client import (
    OPTIONS,
    Database,
    DatabaseError,
    Unreachable,
)

NAMED: dict[str, dict] = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "default": "%"},
}
USER: dict[str, dict] = {
    **NAMED,
    "password": {"type": "str", "no_log": True},
    "unix_socket": {"type": "bool", "default": False},
    "privileges": {"type": "str", "default": "ALL"},
    "require": {"type": "str", "choices": ["NONE", "SSL", "X509"], "default": "NONE"},
}
DATABASE: dict[str, dict] = {
    "name": {"type": "str", "required": True},
    "charset": {"type": "str", "default": "utf8mb4"},
    "collation": {"type": "str"},
    "users": list_of(USER),
}
ARGUMENTS = {
    "databases": list_of(DATABASE),
    "users": list_of(USER),
    "absent_users": list_of(NAMED),
    **OPTIONS,
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    database = Database(module.params)
    try:
        want = engine.wanted(module.params)
        try:
            live = engine.read({name: database.rows(query) for name, query in engine.QUERIES.items()})
        except Unreachable:
            if not module.check_mode:
                raise
            live = engine.Live()
        changes = engine.plan(want, live)
        if not module.check_mode:
            for change in changes:
                database.rows(change.sql)
    except (engine.AccountError, DatabaseError) as fault:
        module.fail_json(msg=str(fault))
    texts = [change.text for change in changes]
    module.exit_json(
        changed=bool(changes),
        changes=texts,
        diff=[diff_entry("MariaDB accounts", "", lines(texts))] if texts else [],
    )


if __name__ == "__main__":
    main()
