#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_plan
short_description: Plan the wiring of all tenants into the RIE, offline
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Checks the intent, allocates values from a ledger, and returns the plan of both halves.
  - Reports all violations at once, each with its path in the inventory, and then writes nothing.
  - Runs on the control node, whatever the host of the task is, and needs no network.
  - The same intent and ledger always give the same plan, whatever their order.
attributes:
  check_mode: {support: full, description: The ledger is not written.}
  diff_mode: {support: full, description: The changes of the ledger.}
options:
  intent:
    description: The C(rie_*) variables of the inventory, as a mapping.
    type: dict
    required: true
  ledger_path:
    description: File of the allocations; created if it does not exist. Without it, allocations are not stored.
    type: path
  gateways:
    description: Names of the site's gateway nodes. Without it any name will do.
    type: list
    elements: str
  reserved:
    description: Networks that no tenant may touch, by label; a prefix or a list of prefixes each.
    type: dict
    default: {}
  secret_names:
    description: Names of the secrets there are. Without it they are not checked.
    type: list
    elements: str
  allow_documentation:
    description: Whether tenants may use the prefixes reserved for documentation.
    type: bool
    default: false
  today:
    description: The date from which quarantine counts, C(YYYY-MM-DD). Default is the day in UTC.
    type: str
"""

EXAMPLES = r"""
- name: Plan the tenants' wiring
  cloudwatt.socle.rie_plan:
    intent:
      rie_asn: "{{ rie_asn }}"
      rie_pools: "{{ rie_pools }}"
      rie_tenants: "{{ rie_tenants }}"
    ledger_path: "{{ rie_allocations_file }}"
    gateways: "{{ groups['gateway'] }}"
  run_once: true
  register: rie_plan_result
"""

RETURN = r"""
plan:
  description: C(neutron) is for M(cloudwatt.socle.rie_neutron), C(gateways) has a part for each node.
  returned: success
  type: dict
violations:
  description: Everything wrong with the intent; C(path), C(value), C(reason), C(remedy) each.
  returned: always
  type: list
  elements: dict
"""

# The action plugin of the same name does the work. In check mode it does not write the ledger.
