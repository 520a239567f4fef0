# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters about the lab."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

DOCUMENTATION = r"""
name: lab_nodes
short_description: Machines of a lab from inventory hosts
version_added: "0.1.0"
description:
  - Builds the O(_input) of M(cloudwatt.socle.lab_machines) option O(cloudwatt.socle.lab_machines#module:machines) from
    host variables, so that the inventory says once where a node is.
  - A host gives C(ansible_host), and if it has any C(ansible_port), C(lab_links), C(lab_binds) and C(lab_image).
positional: _input, hostvars, cidr, bridge
options:
  _input:
    description: Names of inventory hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  cidr:
    description: The management prefix. Its length goes with each address, its first address is the gateway.
    type: str
    required: true
  bridge:
    description: The management bridge.
    type: str
    required: true
"""

EXAMPLES = r"""
machines: "{{ groups['all'] | cloudwatt.socle.lab_nodes(hostvars, '10.99.0.0/24', 'sol-mgmt') }}"
"""

RETURN = r"""
_value:
  description: The machines.
  type: list
  elements: dict
"""


def lab_nodes(names: list[str], hostvars: Mapping[str, Any], cidr: str, bridge: str) -> list[dict[str, Any]]:
    """Return the machines for ``names``, see DOCUMENTATION."""
    network = ipaddress.ip_network(cidr)
    machines = []
    for name in names:
        variables = hostvars[name]
        machine: dict[str, Any] = {
            "name": name,
            "address": f"{variables['ansible_host']}/{network.prefixlen}",
            "gateway": str(network.network_address + 1),
            "bridge": bridge,
            "links": list(variables.get("lab_links") or []),
            "binds": list(variables.get("lab_binds") or []),
        }
        if variables.get("ansible_port"):
            machine["ssh_port"] = int(variables["ansible_port"])
        if variables.get("lab_image"):
            machine["image"] = variables["lab_image"]
        machines.append(machine)
    return machines


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"lab_nodes": lab_nodes}
