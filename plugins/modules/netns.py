#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: network namespaces described as data."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: netns
short_description: Network namespaces described as data
description:
  - Creates network namespaces with their links, addresses and sysctls, and restores them at boot
    (C(socle-netns@<name>)). A link is a veth pair whose other end is an access port of Open vSwitch or is in another
    namespace.
  - Only namespaces that differ are changed.
version_added: 0.1.0
attributes:
  check_mode: {support: full, description: The result is that of a real run.}
  diff_mode: {support: full, description: "The changes, as text."}
author: ["Cloudwatt, Orange (@cloudwatt)"]
options:
  definitions:
    description: The namespaces, as the engine C(module_utils/rie/netns.py) describes them.
    type: list
    elements: dict
    required: true
  trunks:
    description: VLANs that ports of Open vSwitch may carry, by port.
    type: dict
    default: {}
  prune:
    description: Remove namespaces created by this module that are not in O(definitions).
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Make two namespaces with a link between them
  cloudwatt.socle.netns:
    definitions:
      - {name: left, owner: netns, links: [{name: r, addresses: [192.0.2.0/31], far: {netns: right, name: l}}]}
      - {name: right, owner: netns, links: [{name: l, addresses: [192.0.2.1/31], far: {netns: left, name: r}}]}
"""

RETURN = r"""
actions:
  description: Actions by namespace (created, changed, started, removed); empty if there are none.
  type: dict
  returned: always
steps:
  description: The steps in a readable form, by namespace; those of the node itself have an empty name.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import netns, netns_host


def main() -> None:
    """Read the options, apply the changes, report."""
    module = AnsibleModule(
        argument_spec={
            "definitions": {"type": "list", "elements": "dict", "required": True},
            "trunks": {"type": "dict", "default": {}},
            "prune": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        outcome = netns_host.converge(
            "netns", options["definitions"], options["trunks"], options["prune"], module.check_mode
        )
    except (netns.CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=outcome.changed, actions=outcome.actions, steps=outcome.steps, diff=outcome.diff)


if __name__ == "__main__":
    main()
