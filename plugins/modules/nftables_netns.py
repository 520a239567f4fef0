#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: the nftables rulesets of all VRFs of a gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nftables_netns
short_description: Rulesets of nftables for all VRFs of a gateway
description:
  - "Loads one ruleset per VRF into its namespace: anti-spoofing between cloud and RIE, loose uRPF, GTSM for BGP, and
    an input chain that accepts only BGP, BFD and neighbour discovery."
  - All rulesets are checked before any is loaded, and each is loaded in one transaction. Only rulesets that differ,
    on disk or in the kernel, are loaded.
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
"""

EXAMPLES = r"""
- name: Load the rulesets of the VRFs
  cloudwatt.socle.nftables_netns:
    vrfs: "{{ rie_gateway_plan.vrfs }}"
"""

RETURN = r"""
actions:
  description: Actions by VRF (loaded); empty if there are none.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import told
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import firewall_host, netns


def main() -> None:
    """Read the options, apply the changes, report."""
    module = AnsibleModule(
        argument_spec={"vrfs": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=True,
    )
    try:
        outcome = firewall_host.converge(module.params["vrfs"], module.check_mode)
    except (netns.CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    result = {"changed": bool(outcome.actions), "actions": outcome.actions, "diff": outcome.diff}
    result["invocation"] = told(module.params, "vrfs")
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(outcome.failed.items()))
        module.fail_json(msg=f"Refused, nothing was loaded: {reasons}", failed_vrfs=outcome.failed)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
