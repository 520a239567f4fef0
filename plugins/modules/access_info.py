#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: access_info
short_description: Facts about the SSH connection to a node, and about its packet filter
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Finds the account, the groups and the port of the SSH connection on the node itself. There they are correct
    whatever their source is, such as the inventory, C(~/.ssh/config), the command line or a forwarded port. Changes
    nothing.
attributes:
  check_mode: {support: full, description: Only reads.}
  diff_mode: {support: none, description: Changes nothing.}
options: {}
"""

EXAMPLES = r"""
- name: Find the account that this connection uses
  cloudwatt.socle.access_info:
  register: access
"""

RETURN = r"""
account:
  description: Account that logged in, before it became root.
  returned: always
  type: str
groups:
  description: Groups that the connection has, by name. A connection keeps those that its account had at login.
  returned: always
  type: list
  elements: str
port:
  description: Port of the node that the connection came in by.
  returned: for a connection by SSH
  type: int
client:
  description: Address that the node sees at the other end.
  returned: for a connection by SSH
  type: str
sudoers:
  description: Accounts that a former hardening let run sudo without a password, and that still exist.
  returned: always
  type: list
  elements: str
hardened:
  description: Whether the packet filter of the node is the hardening's.
  returned: always
  type: bool
filter_knows:
  description: Addresses of nodes that the packet filter was generated for.
  returned: always
  type: list
  elements: str
"""

import contextlib
import grp
import os
import pwd

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import host_firewall, login_session, sudo_rules


def main() -> None:
    module = AnsibleModule({}, supports_check_mode=True)
    session = login_session.find()
    filter_text = read("/etc/nftables.conf")
    found = {"port": session.port, "client": session.client}
    module.exit_json(
        changed=False,
        account=session.account,
        groups=sorted(group_names(session)),
        sudoers=[name for name in sudo_rules.without_password(read("/etc/sudoers")) if exists(name)],
        hardened=host_firewall.is_ours(filter_text),
        filter_knows=host_firewall.nodes_of(filter_text),
        **{key: value for key, value in found.items() if value},
    )


def group_names(session: login_session.Session) -> set[str]:
    """Return the groups of the connection; without SSH, those that a new connection of the account would have."""
    numbers = session.groups
    if numbers is None:
        try:
            numbers = frozenset(os.getgrouplist(session.account, pwd.getpwnam(session.account).pw_gid))
        except KeyError:
            return set()
    names = set()
    for number in numbers:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return names


def exists(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
