#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: l3vpn_plan
short_description: Plan the wiring of every tenant into the RIE, offline
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Checks the intent, allocates what it needs from a ledger, and returns the plan of both halves.
  - Reports every violation at once, each with its path in the inventory, and then writes nothing.
  - Needs no network. The same intent and ledger give the same plan, whatever their order.
attributes:
  check_mode: {support: full, description: The ledger is not written.}
  diff_mode: {support: full, description: Of the ledger.}
options:
  intent:
    description: The C(rie_*) variables of the inventory, as a mapping.
    type: dict
    required: true
  ledger_path:
    description: File of the allocations; made when missing. Without it nothing is remembered.
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
  cloudwatt.socle.l3vpn_plan:
    intent:
      rie_asn: "{{ rie_asn }}"
      rie_pools: "{{ rie_pools }}"
      rie_tenants: "{{ rie_tenants }}"
    ledger_path: "{{ rie_allocations_file }}"
    gateways: "{{ groups['gateway'] }}"
  delegate_to: localhost
  run_once: true
  register: rie_plan_result
"""

RETURN = r"""
plan:
  description: C(neutron) is for M(cloudwatt.socle.l3vpn_neutron), C(gateways) has a part for each node.
  returned: success
  type: dict
ledger:
  description: Allocations after this plan.
  returned: success
  type: dict
violations:
  description: Everything wrong with the intent; C(path), C(value), C(reason), C(remedy) each.
  returned: always
  type: list
  elements: dict
"""

import datetime
from pathlib import Path

import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import l3vpn, node_files

HEADER = """\
---
# Allocations of the RIE wiring, written by l3vpn_plan; do not edit.
# Keep it in git: it makes a rebuilt site the same.
"""

ARGUMENTS = {
    "intent": {"type": "dict", "required": True},
    "ledger_path": {"type": "path"},
    "gateways": {"type": "list", "elements": "str"},
    "reserved": {"type": "dict", "default": {}},
    "secret_names": {"type": "list", "elements": "str", "no_log": False},
    "allow_documentation": {"type": "bool", "default": False},
    "today": {"type": "str"},
}


# The loader and dumper in C are several times as fast, and not in every build of PyYAML.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def render(ledger: dict) -> str:
    return HEADER + yaml.dump(ledger, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    path = Path(options["ledger_path"]) if options["ledger_path"] else None
    try:
        before = path.read_text(encoding="utf-8") if path and path.exists() else ""
        ledger = yaml.load(before, Loader) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date that does not exist
        module.fail_json(msg=f"{path}: cannot be read: {error}", violations=[])
    today = options["today"] or datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        datetime.date.fromisoformat(today)
    except ValueError as error:
        module.fail_json(msg=f"today: {error}", violations=[])
    site = {
        "gateways": options["gateways"],
        "reserved": options["reserved"],
        "secrets": options["secret_names"],
        "allow_documentation": options["allow_documentation"],
        "today": today,
    }
    result = l3vpn.plan(options["intent"], ledger, site=site)
    if result.violations:
        module.fail_json(
            msg="the RIE intent has faults, nothing was done:\n" + "\n".join(map(str, result.violations)),
            violations=[violation.as_dict() for violation in result.violations],
        )
    after = render(result.ledger)
    changed = path is not None and result.ledger != ledger
    if changed and not module.check_mode:
        try:
            node_files.write(path, after, owner=None)
        except OSError as error:
            module.fail_json(msg=f"{path}: cannot be written: {error}", violations=[])
    diff = {"before_header": str(path), "after_header": str(path), "before": before, "after": after}
    module.exit_json(
        changed=changed,
        plan=result.plan,
        ledger=result.ledger,
        violations=[],
        diff=[diff] if changed else [],
    )


if __name__ == "__main__":
    main()
