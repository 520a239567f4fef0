#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: node_access
short_description: Groups, password ages, files of packages and mount options of a node
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Creates groups and adds members, sets and removes limits of password ages, and removes rights that are too wide.
    Sets modes of programs through C(dpkg-statoverride), so that an upgrade of the package does not restore the old
    ones.
  - Moves files of packages aside through C(dpkg-divert), and sets the options of file systems in C(/etc/fstab), where
    everything else is kept. File systems that are mounted already are not remounted.
  - Users and files that do not exist on the node are skipped.
attributes:
  check_mode: {support: full, description: The result is that of a real run.}
  diff_mode: {support: full, description: One line per change.}
options:
  groups:
    description: Groups that must exist, each with users that must be members. Other members stay.
    type: dict
    default: {}
  inherit:
    description: Groups of O(groups), each with other groups whose members must be members of it too.
    type: dict
    default: {}
  no_login:
    description: Users that get a shell that lets nobody in.
    type: list
    elements: str
    default: []
  ages:
    description:
      - Longest ages of passwords. Left alone without it.
      - An account that logs in by key, or has no password, is refused once its password is too old. So a limit is set
        only for accounts that can log in by password and have no C(authorized_keys).
    type: dict
    suboptions:
      days: {description: Longest age in days; 0 for none., type: int, default: 0}
      exempt:
        description: Accounts that get no limit, and lose the one that they have, like those without a password.
        type: list
        elements: str
        default: []
      formerly:
        description: Limits that are taken away from any account that logs in by key, as a former hardening set them.
        type: list
        elements: int
        default: []
  overrides:
    description: Programs with another owner, group and mode than their package gives.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: User., type: str, default: root}
      group: {description: Group., type: str, default: root}
      mode: {description: Quoted octal mode., type: str, required: true}
  plain:
    description: Programs that lose the rights of their owner or group.
    type: list
    elements: path
    default: []
  modes:
    description: Paths that may have no more rights than these.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Quoted octal mode., type: str, required: true}
  diverted:
    description: Files of packages, and whether each is put aside, so that it is not read. A false one is put back.
    type: dict
    default: {}
  mounts:
    description: Options that file systems of their own must have in C(/etc/fstab); others stay, but for opposites.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where it is mounted., type: path, required: true}
      options: {description: Its options., type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- name: Only members of a group may run sudo
  cloudwatt.socle.node_access:
    groups: {sudogrp: [nova, neutron]}
    overrides: [{path: /usr/bin/sudo, group: sudogrp, mode: '4110'}]
"""

RETURN = r"""
changes:
  description: Differences that exist, or existed before the call.
  returned: always
  type: list
  elements: str
privileged:
  description: Programs that run with the rights of their owner or group, after the call.
  returned: always
  type: list
  elements: str
lax_profiles:
  description: Files of AppArmor profiles that are shipped unconfined or only to complain, and so confine nothing.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines, list_of
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import apparmor_profiles
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import node_access as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.config_files import ConfigError

PATH = {"type": "path", "required": True}
MODE = {"type": "str", "required": True}
ARGUMENTS = {
    "groups": {"type": "dict", "default": {}},
    "inherit": {"type": "dict", "default": {}},
    "no_login": {"type": "list", "elements": "str", "default": []},
    "ages": {
        "type": "dict",
        "options": {
            "days": {"type": "int", "default": 0},
            "exempt": {"type": "list", "elements": "str", "default": []},
            "formerly": {"type": "list", "elements": "int", "default": []},
        },
    },
    "overrides": list_of(
        {
            "path": PATH,
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": MODE,
        }
    ),
    "plain": {"type": "list", "elements": "path", "default": []},
    "modes": list_of({"path": PATH, "mode": MODE}),
    "diverted": {"type": "dict", "default": {}},
    "mounts": list_of({"path": PATH, "options": {"type": "list", "elements": "str", "required": True}}),
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    try:
        todo = engine.steps(module.params)
        if not module.check_mode:
            engine.apply(todo)
        privileged = engine.privileged()
    except (engine.AccessError, ConfigError, OSError) as fault:
        module.fail_json(msg=str(fault))
    before = lines(f"{step.what}: {step.before}" for step in todo)
    after = lines(f"{step.what}: {step.after}" for step in todo)
    module.exit_json(
        changed=bool(todo),
        changes=[step.what for step in todo],
        privileged=privileged,
        lax_profiles=apparmor_profiles.lax(),
        diff=[diff_entry("access to the node", before, after)] if todo else [],
    )


if __name__ == "__main__":
    main()
