#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_evidence
short_description: Running configuration of the VRFs of a gateway, for the isolation proof
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Reads, in parallel, the running configuration of each VRF's FRR instance, the nftables rules of its namespace, and
    the VLANs of the ports of the bridge.
  - Passwords are removed on the gateway; a line that had one remains, as C(password ********).
  - Parts that cannot be read are left out of RV(evidence) and named in RV(missing). Does not fail by itself;
    M(cloudwatt.socle.isolation_report) evaluates the result.
attributes:
  check_mode: {support: full, description: Only reads.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  vrfs:
    description: C(gateways) of RV(cloudwatt.socle.rie_plan#module:plan), the VRFs of this gateway.
    type: list
    elements: dict
    required: true
  timeout: {description: Seconds that one question may take., type: int, default: 20}
"""

EXAMPLES = r"""
- name: Read what the VRFs of the gateway run
  cloudwatt.socle.rie_evidence:
    vrfs: "{{ rie_plan_result.plan.gateways[inventory_hostname].vrfs }}"
  register: isolation_evidence_result
"""

RETURN = r"""
evidence:
  description:
    - C(vrfs), by name a mapping with C(frr), a text, and C(nft), the JSON that nft prints, as text; C(ports), by name
      the VLANs of each port on the bridge of the VRFs, an empty list for one that carries all.
  returned: always
  type: dict
missing:
  description: Parts that could not be read, each with C(where) and C(why).
  returned: always
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.parallel import in_parallel
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import Completed, run
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation.frr import without_secrets
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation.graph import ROLES
from ansible_collections.cloudwatt.socle.plugins.module_utils.ovs import switch as ovs_switch
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie.firewall import TABLE

ARGUMENTS = {
    "vrfs": {"type": "list", "elements": "dict", "required": True},
    "timeout": {"type": "int", "default": 20},
}


def ask(question: tuple[list[str], int]) -> Completed:
    argv, timeout = question
    return run(argv, timeout=timeout)


def reason(done: Completed) -> str:
    """Return why a command failed, without secrets: the output of FRR may contain its configuration."""
    return without_secrets(done.output)[-500:] or f"{done.argv[0]} ended with {done.rc}"


def vlans(port: Mapping[str, Any]) -> list[int]:
    """Return the VLANs that a port of Open vSwitch carries; [] means all of them."""
    trunks = port.get("trunks")
    listed = trunks if isinstance(trunks, list) else [] if trunks is None else [trunks]
    return sorted({*listed, *([] if port.get("tag") is None else [port["tag"]])})


def bridge_ports(text: str, names: set[str]) -> dict[str, list[int]]:
    """Return the VLANs of every port on a bridge that has one of the named ports."""
    live = ovs_switch.read(text)
    bridges = {live.on.get(name) for name in names} - {None}
    return {name: vlans(port) for name, port in live.ports.items() if live.on.get(name) in bridges}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    wired, timeout = module.params["vrfs"], module.params["timeout"]
    questions = [["ovs-vsctl", "--format=json", *ovs_switch.list_arguments()]]
    for vrf in wired:
        questions.append(["vtysh", "-N", vrf["name"], "-c", "show running-config"])
        questions.append(["ip", "netns", "exec", vrf["netns"], "nft", "--json", "list", "table", "inet", TABLE])
    switch, *answers = in_parallel(ask, [(argv, timeout) for argv in questions])
    missing: list[dict[str, str]] = []
    found: dict[str, dict[str, str]] = {}
    for vrf, frr, nft in zip(wired, answers[::2], answers[1::2], strict=True):
        texts = found.setdefault(vrf["name"], {})
        if frr.ok and "Current configuration" in frr.stdout:
            texts["frr"] = without_secrets(frr.stdout)
        else:
            missing.append({"where": f"vrf {vrf['name']} running-config", "why": reason(frr)})
        if nft.ok:
            texts["nft"] = nft.stdout
        else:
            missing.append({"where": f"vrf {vrf['name']} nftables", "why": reason(nft)})
    ports: dict[str, list[int]] = {}
    try:
        ports = bridge_ports(switch.stdout, {f"{letter}-{vrf['name']}" for vrf in wired for letter in ROLES})
    except (ValueError, KeyError, IndexError):
        missing.append({"where": "ports", "why": reason(switch)})
    module.exit_json(changed=False, evidence={"vrfs": found, "ports": ports}, missing=missing)


if __name__ == "__main__":
    main()
