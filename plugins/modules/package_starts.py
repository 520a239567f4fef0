#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: package_starts
short_description: Prevent services from starting while packages are installed
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Puts a policy in F(/usr/sbin/policy-rc.d) that prevents packages from starting, stopping or restarting services,
    so that no service runs before it is configured. Requests of packages for services that run already are carried
    out at once, such as a reload, or a restart of a service that no role runs. Without the reload of dbus, for
    instance, polkit does not work until the next boot.
  - Units that packages have enabled meanwhile, and that nobody has started, are disabled again. They do not start at
    the next boot either, until the role that configures them enables them.
  - The policy applies only to processes with the variable C(SOCLE_HOLD_STARTS) in their environment. A policy that a
    killed run left behind has no effect on other installations. A policy of the node's own is moved aside and
    restored.
attributes:
  check_mode:
    support: full
    description: It says whether the policy would be put in place or removed.
  diff_mode:
    support: none
    description: The policy is there only while packages are installed.
options:
  state:
    description:
      - V(held) puts the policy in place, and then ends what a killed dpkg began.
      - V(released) removes it, and disables what packages have enabled.
    type: str
    choices: [held, released]
    required: true
"""

EXAMPLES = r"""
- name: Suppress service starts during package installation
  cloudwatt.socle.package_starts:
    state: held

- name: Install HAProxy without starting it
  ansible.builtin.apt:
    name: haproxy
  environment:
    SOCLE_HOLD_STARTS: "1"

- name: Allow service starts again
  cloudwatt.socle.package_starts:
    state: released
"""

RETURN = r"""
allowed:
  description: Requests of packages that were carried out, as C(action unit).
  returned: with O(state=released)
  type: list
  elements: str
refused:
  description: Requests of packages that were not carried out. The roles start the services of a node.
  returned: with O(state=released)
  type: list
  elements: str
disabled:
  description: Units that packages had enabled.
  returned: with O(state=released)
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import package_starts as engine


def main() -> None:
    module = AnsibleModule(
        {"state": {"type": "str", "choices": ["held", "released"], "required": True}}, supports_check_mode=True
    )
    hold = module.params["state"] == "held"
    result: dict[str, Any] = {"changed": hold != engine.held()}
    try:
        if not module.check_mode:
            if hold:
                engine.hold()
                if fault := engine.resume():
                    module.fail_json(msg=fault)
            else:
                result |= engine.release()
    except OSError as fault:
        module.fail_json(msg=f"{engine.POLICY}: {fault.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
