#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: ovs_switch
short_description: Bridges, ports and settings of Open vSwitch in one transaction
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Reads the database once, compares in memory, and changes what differs in one C(ovs-vsctl) transaction.
  - Settings that are left out are not managed. Mappings are merged key by key; a key with null is removed.
attributes:
  check_mode: {support: full, description: "If no switch answers, everything is reported as created."}
  diff_mode: {support: full, description: One line per command.}
options:
  bridges:
    description: Bridges.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      datapath_type: {description: V(system) (the kernel) or V(netdev)., type: str}
      fail_mode: {description: 'V(secure) or V(standalone); empty for none.', type: str}
      external_ids: {description: Keys to set., type: dict}
      other_config: {description: Keys to set., type: dict}
      ports:
        description: Ports. One of the bridge's own name is its local port.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Name of the port and of its interface., type: str, required: true}
          tag: {description: VLAN of an access port; 0 for none., type: int}
          trunks: {description: VLANs of a trunk; empty for all., type: list, elements: int}
          vlan_mode: {description: Mode; empty for Open vSwitch's choice., type: str}
          type: {description: 'Type of the interface, such as V(internal) or V(patch).', type: str}
          options: {description: Options of the interface., type: dict}
          mtu_request: {description: MTU of an internal interface., type: int}
          external_ids: {description: Keys to set on the port., type: dict}
          interface_ids: {description: Keys to set in C(external_ids) of the interface., type: dict}
          other_config: {description: Keys to set on the port., type: dict}
  external_ids: {description: Keys to set on the switch itself., type: dict}
  other_config: {description: Keys to set on the switch itself., type: dict}
  manager:
    description: Targets of the managers, with spaces; all others are removed. Empty for none.
    type: str
  prune_ports:
    description: Remove ports of these bridges that this module created and that are no longer listed.
    type: bool
    default: false
  timeout: {description: Seconds that the switch may take., type: int, default: 60}
"""

EXAMPLES = r"""
- name: Make the bridge of the RIE
  cloudwatt.socle.ovs_switch:
    bridges:
      - name: br-rie
        datapath_type: "{{ ovs_datapath_type }}"
        fail_mode: secure
        ports: [{name: rie0, trunks: [101, 102]}]
    external_ids: {ovn-bridge-mappings: rie:br-rie}
"""

RETURN = r"""
commands:
  description: The commands of the transaction.
  returned: always
  type: list
  elements: str
interface_errors:
  description: Listed interfaces that the switch could not open, with its reason. Each is also a warning.
  returned: always
  type: dict
"""

import shlex
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import run
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines, list_of
from ansible_collections.cloudwatt.socle.plugins.module_utils.ovs import switch as engine

NAME: dict[str, Any] = {"type": "str", "required": True}
TEXT: dict[str, Any] = {"type": "str"}
NUMBER: dict[str, Any] = {"type": "int"}
MAP: dict[str, Any] = {"type": "dict"}
PORT = {
    "name": NAME,
    "tag": NUMBER,
    "trunks": {"type": "list", "elements": "int"},
    "vlan_mode": TEXT,
    "type": TEXT,
    "options": MAP,
    "mtu_request": NUMBER,
    "external_ids": MAP,
    "interface_ids": MAP,
    "other_config": MAP,
}
BRIDGE = {
    "name": NAME,
    "datapath_type": TEXT,
    "fail_mode": TEXT,
    "external_ids": MAP,
    "other_config": MAP,
    "ports": list_of(PORT),
}
ARGUMENTS = {
    "bridges": list_of(BRIDGE),
    "external_ids": MAP,
    "other_config": MAP,
    "manager": TEXT,
    "prune_ports": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
}


class VsctlError(Exception):
    """``ovs-vsctl`` refuses, or Open vSwitch does not answer."""


def vsctl(timeout: int, *argv: str) -> str:
    done = run(["ovs-vsctl", f"--timeout={timeout}", "--format=json", *argv], timeout=timeout + 10)
    if not done.ok:
        hint = ": is ovs-vswitchd running?" if done.rc == 142 else ""
        raise VsctlError(f"ovs-vsctl ended with {done.rc}{hint}: {done.output}")
    return done.stdout


def look(timeout: int) -> engine.Live:
    return engine.read(vsctl(timeout, *engine.list_arguments()))


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    names = [port["name"] for bridge in options["bridges"] for port in bridge["ports"]]
    try:
        try:
            live = look(options["timeout"])
        except VsctlError:
            if not module.check_mode:
                raise
            live = engine.Live()
        commands = engine.plan(options, live)
        if commands and not module.check_mode:
            vsctl(options["timeout"], *(word for command in commands for word in ("--", *command)))
            live = look(options["timeout"])
    except (engine.SwitchError, VsctlError) as fault:
        module.fail_json(msg=str(fault))
    errors = live.errors(names)
    for name, text in errors.items():
        module.warn(f"port {name}: {text}")
    texts = [shlex.join(command) for command in commands]
    module.exit_json(
        changed=bool(commands),
        commands=texts,
        interface_errors=errors,
        diff=[diff_entry("Open vSwitch", "", lines(texts))] if texts else [],
    )


if __name__ == "__main__":
    main()
