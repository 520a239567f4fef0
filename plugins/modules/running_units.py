#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: running_units
short_description: Verify that the units of a node run and answer
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Checks every unit that M(cloudwatt.socle.node_service) has started on this node since it was booted. Fails if one
    has exited, whatever its status, or does not meet its C(ready) any more. Changes nothing.
  - A unit that started less than O(settle) seconds ago is checked again at that age, as some daemons exit only after
    they have reported that they run.
attributes:
  check_mode:
    support: full
    description: Verifies nothing, as what a run would start may not be there.
  diff_mode:
    support: none
    description: It changes nothing.
options:
  patterns:
    description: Further units, as patterns of C(systemctl list-units). Those that are loaded and enabled have to run.
    type: list
    elements: str
    default: []
  settle:
    description: Seconds for which a unit must have run.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Verify that the units of the node run
  cloudwatt.socle.running_units:
    patterns: ['frr@*.service']
"""

RETURN = r"""
units:
  description: Names of the units that were looked at.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_units import UnitError
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_units_host import verify

ARGUMENTS = {
    "patterns": {"type": "list", "elements": "str", "default": []},
    "settle": {"type": "int", "default": 3},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, units=[])
    try:
        units, faults = verify(module.params["patterns"], module.params["settle"])
    except (UnitError, ValueError) as fault:
        module.fail_json(msg=str(fault), units=[])
    if faults:
        count = "1 unit does" if len(faults) == 1 else f"{len(faults)} units do"
        module.fail_json(msg=f"{count} not run as deployed:\n" + "\n".join(faults), units=units)
    module.exit_json(changed=False, units=units)


if __name__ == "__main__":
    main()
