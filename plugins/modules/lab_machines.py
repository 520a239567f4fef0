#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_machines
short_description: Create, remove, kill or inspect the systemd-nspawn machines of a lab
version_added: "0.1.0"
description:
  - Creates the bridges, the address translation and the machines of a lab on the control node, in one call and in
    parallel.
  - Each machine is a node image with its own writable overlay. systemd-nspawn boots it with its own systemd, in a
    network namespace whose links are veths on the bridges of the lab. If systemd is PID 1 of the host, each machine
    is a transient unit; otherwise it is a process in its own control groups.
  - Machines that run and match their definition are not changed. A machine that died is booted again with its disk,
    as after a power failure. A machine whose definition changed is reported, and created again only with O(recreate).
  - Everything that the module creates is marked (interface aliases, the table C(socle_NAME), notes in O(state_dir)).
    Therefore O(state=absent) removes all of it, also after a crash, and nothing else.
author: ["Cloudwatt, Orange (@cloudwatt)"]
options:
  name:
    description: Name of the lab. Several labs can be up at once if their machines, bridges and prefixes differ.
    type: str
    required: true
  state:
    description:
      - V(present) brings everything up and waits until SSH answers on each machine.
      - V(absent) removes everything, disks included.
      - V(killed) cuts the power of the machines in O(only), or of all of them. Disks stay.
      - V(info) changes nothing and returns what there is.
    type: str
    choices: [present, absent, killed, info]
    default: present
  only:
    description: Names of the machines that V(killed) and a recreation are limited to. Empty means all.
    type: list
    elements: str
    default: []
  recreate:
    description: Make machines anew whose definition changed. With O(only), make those anew in any case.
    type: bool
    default: false
  image:
    description: Directory of the image that machines without one of their own boot from.
    type: path
  bridges:
    description: Bridges of the host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Interface name, at most 15 characters.
        type: str
        required: true
      address:
        description: The host's own address on it, as address/length.
        type: str
      mtu:
        description: MTU in bytes.
        type: int
        default: 1500
  nat:
    description: Lets the machines reach beyond the host, by masquerading. New connections toward them are refused.
    type: dict
    suboptions:
      prefix:
        description: The machines' prefix, e.g. V(10.99.0.0/24).
        type: str
        required: true
      bridge:
        description: The bridge they are on.
        type: str
        required: true
  sysctls:
    description: Settings of the host the lab needs. Their former values come back with O(state=absent).
    type: dict
    default: {}
  machines:
    description: The machines.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Host name.
        type: str
        required: true
      address:
        description: Management address, as address/length, on interface C(host0).
        type: str
        required: true
      gateway:
        description: Default gateway.
        type: str
      bridge:
        description: Bridge of the management interface.
        type: str
        required: true
      mtu:
        description: MTU of the management interface.
        type: int
        default: 1500
      image:
        description: Directory of the image, where it is not the lab's.
        type: path
      links:
        description: Further interfaces.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Interface name inside the machine.
            type: str
            required: true
          bridge:
            description: Bridge it is plugged into.
            type: str
            required: true
          mtu:
            description: MTU in bytes.
            type: int
            default: 1500
          offload:
            description: Keep transmit checksum offload, which must be off on a link into a userspace bridge.
            type: bool
            default: false
      ssh_port:
        description: Port of the SSH server of a machine that is created.
        type: int
        default: 22
      binds:
        description: Further bind mounts, in the syntax of C(systemd-nspawn --bind).
        type: list
        elements: str
        default: []
  domain:
    description: DNS domain of the machines, for their F(/etc/hosts).
    type: str
    default: ""
  nameservers:
    description: Name servers of the machines. Empty means those of the host.
    type: list
    elements: str
    default: []
  masked_units:
    description: Units masked in every machine because they cannot work in one on this host.
    type: list
    elements: str
    default: []
  devices:
    description: Device nodes of the host that every machine gets.
    type: list
    elements: path
    default: [/dev/net/tun]
  state_dir:
    description: Where disks, keys and notes are kept.
    type: path
    default: /var/lib/socle/lab
  ssh_dir:
    description: Where the operator's key C(id_ed25519) and C(known_hosts) are written for Ansible.
    type: path
  timeout:
    description: Seconds a machine has to answer on SSH.
    type: int
    default: 60
attributes:
  check_mode:
    description: Reports the steps it would take.
    support: full
  diff_mode:
    description: Shows the lab's resources before and after.
    support: full
requirements:
  - root
  - systemd-container, iproute2, nftables, openssh-client
"""

EXAMPLES = r"""
- name: Bring up one machine
  cloudwatt.socle.lab_machines:
    name: demo
    image: /var/lib/socle/images/plain
    bridges:
      - name: demo-mgmt
        address: 10.98.0.1/24
    nat:
      prefix: 10.98.0.0/24
      bridge: demo-mgmt
    machines:
      - name: demo1
        address: 10.98.0.11/24
        gateway: 10.98.0.1
        bridge: demo-mgmt

- name: Cut its power
  cloudwatt.socle.lab_machines:
    name: demo
    state: killed
    only: [demo1]
"""

RETURN = r"""
steps:
  description: Actions that were done, or that check mode predicts, in order.
  type: list
  elements: str
  returned: always
machines:
  description: Every machine, defined or found.
  type: list
  elements: dict
  returned: always
  sample:
    - name: ctl1
      address: 10.99.0.11
      state: running
      pid: 4242
      leader: 4245
      ssh: true
      system: running
      failed_units: []
      root: /var/lib/socle/lab/lab/machines/ctl1/root
      log: /var/lib/socle/lab/lab/machines/ctl1/console.log
      image: /var/lib/socle/images/0123456789abcdef
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.host import LabHostError, exclusive
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.plan import LabDefinitionError, parse_lab
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.reconcile import LabManager

LINK_SPEC = {
    "name": {"type": "str", "required": True},
    "bridge": {"type": "str", "required": True},
    "mtu": {"type": "int", "default": 1500},
    "offload": {"type": "bool", "default": False},
}
MACHINE_SPEC = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "gateway": {"type": "str"},
    "bridge": {"type": "str", "required": True},
    "mtu": {"type": "int", "default": 1500},
    "image": {"type": "path"},
    "links": {"type": "list", "elements": "dict", "default": [], "options": LINK_SPEC},
    "ssh_port": {"type": "int", "default": 22},
    "binds": {"type": "list", "elements": "str", "default": []},
}
BRIDGE_SPEC = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str"},
    "mtu": {"type": "int", "default": 1500},
}
ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "killed", "info"], "default": "present"},
    "only": {"type": "list", "elements": "str", "default": []},
    "recreate": {"type": "bool", "default": False},
    "image": {"type": "path"},
    "bridges": {"type": "list", "elements": "dict", "default": [], "options": BRIDGE_SPEC},
    "nat": {
        "type": "dict",
        "options": {"prefix": {"type": "str", "required": True}, "bridge": {"type": "str", "required": True}},
    },
    "sysctls": {"type": "dict", "default": {}},
    "machines": {"type": "list", "elements": "dict", "default": [], "options": MACHINE_SPEC},
    "domain": {"type": "str", "default": ""},
    "nameservers": {"type": "list", "elements": "str", "default": []},
    "masked_units": {"type": "list", "elements": "str", "default": []},
    "devices": {"type": "list", "elements": "path", "default": ["/dev/net/tun"]},
    "state_dir": {"type": "path", "default": "/var/lib/socle/lab"},
    "ssh_dir": {"type": "path"},
    "timeout": {"type": "int", "default": 60},
}


def plan(module: AnsibleModule, manager: LabManager) -> list:
    """Return the steps to the wanted state."""
    params = module.params
    if params["state"] == "present":
        return manager.plan_present(recreate=(params["only"] or True) if params["recreate"] else False)
    if params["state"] == "absent":
        return manager.plan_absent()
    if params["state"] == "killed":
        return manager.plan_killed(params["only"] or manager.known_machines())
    return []


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    down = params["state"] != "present"
    # The link of an image may later point to another tree; a machine keeps the tree that it was made from.
    for owner in (params, *params["machines"]):
        if owner["image"]:
            owner["image"] = os.path.realpath(owner["image"])
    try:
        lab = parse_lab({**params, "machines": [], "bridges": [], "nat": None} if down else params)
    except LabDefinitionError as error:
        module.fail_json(msg="the lab is not well defined:\n" + "\n".join(error.problems), problems=error.problems)
    manager = LabManager(
        lab,
        Path(params["state_dir"]),
        Path(params["ssh_dir"]) if params["ssh_dir"] else None,
        params["nameservers"],
        params["timeout"],
    )
    try:
        if params["state"] == "info":
            module.exit_json(changed=False, steps=[], machines=manager.info())
        with exclusive("lab"):
            before = {item["name"]: item["state"] for item in manager.info(deep=False)}
            steps = plan(module, manager)
            if not module.check_mode:
                manager.apply(steps)
                if params["state"] == "present":
                    manager.wait()
            machines = manager.info(deep=False)
    except LabHostError as error:
        for warning in manager.warnings:
            module.warn(warning)
        module.fail_json(msg=str(error))
    for warning in manager.warnings:
        module.warn(warning)
    names = [str(step) for step in steps]
    diff = (
        {
            "before": {"machines": before},
            "after": {"machines": {m["name"]: m["state"] for m in machines}, "steps": names},
        }
        if names
        else {}
    )
    module.exit_json(changed=bool(steps), steps=names, machines=machines, diff=diff)


if __name__ == "__main__":
    main()
