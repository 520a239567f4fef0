#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: lockout_guard
short_description: Take changes of a node's access rules back unless they are confirmed
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - V(armed) keeps a copy of files and starts a timer of systemd that puts them back and reloads SSH and the packet
    filter. V(confirmed) stops the timer; run it over a second, new connection.
  - A guard that a killed run left armed keeps its first copy; its time starts again.
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
options:
  state:
    description: Whether the guard is set.
    type: str
    choices: [armed, confirmed]
    required: true
  paths:
    description: Files, which need not exist.
    type: list
    elements: path
    default: []
  seconds:
    description: Time until they are put back.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Take the new rules back in two minutes
  cloudwatt.socle.lockout_guard:
    state: armed
    paths: [/etc/ssh/sshd_config, /etc/nftables.conf]
"""

RETURN = r"""
armed:
  description: Whether a guard is set after the call.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import lockout_guard as engine

ARGUMENTS = {
    "state": {"type": "str", "choices": ["armed", "confirmed"], "required": True},
    "paths": {"type": "list", "elements": "path", "default": []},
    "seconds": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    guard = engine.Guard()
    armed = guard.armed()
    change = (module.params["state"] == "armed" and bool(module.params["paths"])) or (
        module.params["state"] == "confirmed" and armed
    )
    try:
        if change and not module.check_mode:
            if module.params["state"] == "armed":
                guard.arm(module.params["paths"], module.params["seconds"])
            else:
                guard.confirm()
    except (engine.GuardError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(changed=change, armed=guard.armed())


if __name__ == "__main__":
    main()
