#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: site_validate
short_description: Report all violations in a site's inventory, before any connection to a node
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Takes hosts, groups and variables as Ansible has resolved them from all inventory sources of the run (YAML, INI,
    JSON, scripts, plugins), and finds the file and line in which each is written.
  - Checks groups, hosts and their names, addresses, variable names and types, the length of names, secrets, the
    package mirror, and the intent for the RIE.
  - Reports all violations at once, each with file, line, key, value and remedy. The value of a secret is never shown.
  - Also checks the command line of C(ansible-playbook). Extra variables must satisfy the same rules as those in a
    file, and each tag and each part of the limit must exist; Ansible itself ignores a misspelt one.
  - Runs on the control node as an action plugin and changes nothing.
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: none, description: It only reads.}
options:
  inventory:
    description:
      - Folder that holds V(group_vars), V(host_vars) and the secrets of the site, or an inventory file in it.
      - Where it has no V(group_vars), the last source of the run that has.
    type: path
    required: true
  vault_password_file:
    description:
      - File with the password of the site's vault, or a program that prints it. It is used when Ansible was given
        none.
      - The default is V(.vault-password) in O(inventory).
    type: path
  installs:
    description:
      - Whether the run installs packages. Only then a package mirror that does not answer is a violation; else it is
        one of RV(notices).
    type: bool
    default: true
  scope:
    description:
      - V(site) checks the whole inventory and the command line.
      - V(command_line) checks the command line alone, for playbooks that do not need a complete inventory.
    type: str
    choices: [site, command_line]
    default: site
"""

EXAMPLES = r"""
- name: Assert that the inventory is valid
  cloudwatt.socle.site_validate:
    inventory: "{{ ansible_inventory_sources | first }}"
"""

RETURN = r"""
notices:
  description: Warnings, in the form of RV(violations). They do not refuse the inventory.
  returned: always
  type: list
  elements: dict
violations:
  description: Violations, sorted by file and line; empty if there are none.
  returned: always
  type: list
  elements: dict
  contains:
    file: {description: "File, relative to the project, or V(command line).", type: str}
    line: {description: "Line in the file, from 1.", type: int}
    path: {description: Key path within the file., type: str, sample: "rie_tenants[0].vrfs[0].links.gw1.vlan"}
    value: {description: Current value; empty for secrets and missing values., type: str}
    reason: {description: Reason why the value is refused., type: str}
    remedy: {description: Action that corrects it., type: str}
    severity: {description: "V(error) in this list, V(warning) in RV(notices).", type: str}
"""

# The action plugin of the same name does the work. It only reads, and runs in check mode as well.
