#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: the FRR instances of all VRFs of a gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: frr_instance
short_description: FRR instances of all VRFs of a gateway
description:
  - Runs one FRR instance per VRF in the namespace of the VRF (unit C(frr@<vrf>), configuration in C(/etc/frr/<vrf>)).
  - Every new configuration is checked before any instance is changed. Only changed instances are reloaded, in
    parallel and without a reset of sessions. An instance whose reload fails gets its previous configuration back.
  - A running configuration that was changed manually is detected and corrected.
version_added: 0.1.0
attributes:
  check_mode: {support: full, description: The result is that of a real run.}
  diff_mode: {support: full, description: Secrets are masked.}
author: ["Cloudwatt, Orange (@cloudwatt)"]
options:
  vrfs:
    description: The VRFs of this gateway, as the plan of M(cloudwatt.socle.rie_plan) has them.
    type: list
    elements: dict
    required: true
  passwords:
    description: TCP MD5 keys of the sessions to the PE, by VRF. A VRF that is absent has none.
    type: dict
    default: {}
  hostname:
    description: Host name that FRR reports.
    type: str
    required: true
  drain:
    description:
      - From where this gateway shall get no traffic, while what is still under way is delivered. BGP asks the RIE for
        other paths (RFC 8326), and BFD turns OpenStack's routers to the other gateway (V(all)).
      - V(rie) is the way back from V(all) to V(none), until the BFD sessions with OpenStack's routers are up.
      - Kept on the node until it is V(none); by default it stays as it is.
    type: str
    choices: [all, rie, none]
  restart:
    description:
      - Whether instances that run may be restarted, where their daemons have to be started otherwise. All their
        sessions are lost for that.
      - If not, the rest is done, and RV(waiting) names them.
    type: bool
    default: true
  prune:
    description: Remove instances created by this module that are not in O(vrfs).
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Run the FRR instances of the VRFs
  cloudwatt.socle.frr_instance:
    vrfs: "{{ rie_gateway_plan.vrfs }}"
    passwords: "{{ rie_gateway_passwords }}"
    hostname: "{{ inventory_hostname }}"
"""

RETURN = r"""
actions:
  description: Actions by VRF (created, reloaded, restarted, started, enabled, removed); empty if there are none.
  type: dict
  returned: always
waiting:
  description: The VRFs whose instances have to be restarted, where O(restart) forbids it.
  type: list
  elements: str
  returned: always
drained:
  description: Whether the gateway is drained, or in check mode would be.
  type: bool
  returned: always
deltas:
  description: For reloaded instances, the configuration lines that FRR deletes and adds.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import told
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import frr, frr_host, netns


def main() -> None:
    """Read the options, apply the changes, report."""
    module = AnsibleModule(
        argument_spec={
            "vrfs": {"type": "list", "elements": "dict", "required": True},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
            "hostname": {"type": "str", "required": True},
            "prune": {"type": "bool", "default": True},
            "drain": {"type": "str", "choices": list(frr.DRAINS)},
            "restart": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        outcome = frr_host.converge(
            options["vrfs"],
            options["passwords"],
            options["hostname"],
            options["prune"],
            options["drain"],
            options["restart"],
            module.check_mode,
        )
    except (netns.CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    result = {
        "changed": bool(outcome.actions or outcome.diff),
        "actions": outcome.actions,
        "deltas": outcome.deltas,
        "drained": outcome.drained,
        "waiting": outcome.waiting,
        "diff": outcome.diff,
        "invocation": told(options, "vrfs", "passwords"),
    }
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(outcome.failed.items()))
        module.fail_json(msg=reasons, failed_vrfs=outcome.failed, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
