#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: lockout_guard
short_description: Restore the former access rules of a node unless a new connection confirms the new ones
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - V(armed) copies everything that controls access (accounts and the ages of their passwords, groups, PAM, sudo, SSH,
    the packet filter, profiles, kernel parameters, rights of programs), and starts a systemd timer that restores the
    copy. A boot before the confirmation also restores it.
  - V(confirmed) stops the timer. It fails over a connection that was opened before the guard was armed, as such a
    connection does not show that a new one is accepted. V(restored) restores the copy without waiting for the timer.
  - A guard that a killed run left armed keeps its first copy, and its timer starts again.
attributes:
  check_mode: {support: full, description: "Copies nothing, and starts or stops no timer."}
  diff_mode: {support: none, description: The rules themselves are changed by other modules.}
options:
  state:
    description: Whether the guard is set.
    type: str
    choices: [armed, confirmed, restored]
    required: true
  paths:
    description: Files and folders that are also restored, besides those that control access on every node.
    type: list
    elements: path
    default: []
  rights:
    description: Programs and folders whose owner and mode come back.
    type: list
    elements: path
    default: []
  seconds:
    description: Time until the former rules come back.
    type: int
    default: 120
  required:
    description: With V(confirmed), fail if no guard is armed, as the former rules are back then.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Take the new rules back in two minutes
  cloudwatt.socle.lockout_guard:
    state: armed
    rights: [/usr/bin/sudo]
    seconds: 120

- name: Keep the new rules
  cloudwatt.socle.lockout_guard:
    state: confirmed
    required: true
"""

RETURN = r"""
armed:
  description: Whether a guard is set after the call.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import lockout_guard as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import login_session

ARGUMENTS = {
    "state": {"type": "str", "choices": ["armed", "confirmed", "restored"], "required": True},
    "paths": {"type": "list", "elements": "path", "default": []},
    "rights": {"type": "list", "elements": "path", "default": []},
    "seconds": {"type": "int", "default": 120},
    "required": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    guard = engine.Guard()
    state, options = module.params["state"], module.params
    change = state == "armed" or guard.armed() or (state == "confirmed" and options["required"])
    try:
        if change and not module.check_mode:
            if state == "armed":
                guard.arm(options["paths"], options["rights"], options["seconds"])
            elif state == "confirmed":
                guard.confirm(login_session.find())
            else:
                guard.restore()
    except (engine.GuardError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(changed=change, armed=guard.armed())


if __name__ == "__main__":
    main()
