#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: the network namespaces of all VRFs of a gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rie_netns
short_description: Network namespaces of all VRFs of a gateway
description:
  - Creates one network namespace per VRF, with its links C(cloud), C(rie) and C(peer). Each link is a veth pair whose
    host end (C(c-), C(r-), C(p-) and the name of the VRF) is an access port of an Open vSwitch bridge.
  - Restricts the VLANs that the uplink ports of the bridge carry to those of the plan.
  - Stores each namespace in C(/etc/socle/netns) and enables C(socle-netns@<namespace>), which restores it at boot.
  - Only namespaces that differ from the plan are changed.
version_added: 0.1.0
attributes:
  check_mode: {support: full, description: The result is that of a real run.}
  diff_mode: {support: full, description: "The changes, as text."}
author: ["Cloudwatt, Orange (@cloudwatt)"]
options:
  vrfs:
    description: The VRFs of this gateway, as the plan of M(cloudwatt.socle.rie_plan) has them.
    type: list
    elements: dict
    required: true
  bridge:
    description: The Open vSwitch bridge of the access ports.
    type: str
    default: br-rie
  uplinks:
    description: Ports of the bridge toward the PE (key C(rie)) and toward the other gateway (key C(peer)).
    type: dict
    default: {}
  datapath_type:
    description: Datapath of the bridge. With C(netdev), transmit checksum offload of the veths is turned off.
    type: str
    choices: [system, netdev]
    default: system
  prune:
    description: Remove namespaces created by this module that are not in O(vrfs), after stopping what runs in them.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Create the network namespaces of the VRFs
  cloudwatt.socle.rie_netns:
    vrfs: "{{ rie_gateway_plan.vrfs }}"
    uplinks: {rie: rie0, peer: peer0}
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

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import told
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import gateway, netns, netns_host


def main() -> None:
    """Read the options, apply the changes, report."""
    module = AnsibleModule(
        argument_spec={
            "vrfs": {"type": "list", "elements": "dict", "required": True},
            "bridge": {"type": "str", "default": "br-rie"},
            "uplinks": {"type": "dict", "default": {}},
            "datapath_type": {"type": "str", "choices": ["system", "netdev"], "default": "system"},
            "prune": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    vrfs = options["vrfs"]
    offload = options["datapath_type"] != "netdev"
    try:
        outcome = netns_host.converge(
            "rie_netns",
            [gateway.definition(vrf, options["bridge"], offload) for vrf in vrfs],
            gateway.trunks(vrfs, options["uplinks"]),
            options["prune"],
            module.check_mode,
        )
    except (netns.CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.changed,
        actions=outcome.actions,
        steps=outcome.steps,
        diff=outcome.diff,
        invocation=told(options, "vrfs"),
    )


if __name__ == "__main__":
    main()
