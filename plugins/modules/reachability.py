#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: reachability
short_description: Test with real packets which tenant endpoints reach each other
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Runs on the host that has the sites of the tenants, each in a network namespace. Sends ICMP and HTTP, IPv4 and
    IPv6, from each site to each guest. The web servers of the guests relay probes from each guest to every other
    guest and to each site.
  - An HTTP answer must come from the right guest, and the guest must have seen the address of the site itself.
  - First sends the probes that expect an answer, until each has one or O(timeout) is over. Then sends those that must
    not be answered in any of O(tries) attempts. A missing answer counts only between endpoints that answered another
    endpoint.
  - Does not fail by itself; M(cloudwatt.socle.verify_report) evaluates the result.
attributes:
  check_mode: {support: full, description: Sends the same probes; they change nothing.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  sites:
    description:
      - Sites with C(name), C(vrf), C(v4) and C(v6), an address or a prefix whose first one it holds.
      - C(netns) is the site's network namespace, C(ce-NAME) when left out.
    type: list
    elements: dict
    required: true
  guests:
    description: RV(cloudwatt.socle.verify_guests#module:guests).
    type: list
    elements: dict
    required: true
  tenants:
    description: The intent (C(rie_tenants)), for its graph of route targets.
    type: list
    elements: dict
    required: true
  mtu:
    description: Bytes of a packet that must pass unfragmented wherever one passes. 0 to leave that out.
    type: int
    default: 0
  timeout: {description: Seconds until every expected answer must have come., type: int, default: 90}
  tries: {description: Tries in which an unreachable target must stay silent., type: int, default: 3}
  wait: {description: Seconds that one try waits., type: float, default: 2}
  workers: {description: Probes in flight at a time., type: int, default: 16}
"""

EXAMPLES = r"""
- name: Send every probe
  cloudwatt.socle.reachability:
    sites: [{name: site-a, vrf: a, v4: 10.128.1.0/24, v6: "fd80:1::/64"}]
    guests: [{tenant: a, vrf: a, name: guest-a, v4: 10.20.0.10, v6: "fd10::10"}]
    tenants: "{{ rie_tenants }}"
  register: verify_reachability_result
"""

RETURN = r"""
matrix:
  description: C(ok), C(counts), C(probes) with what was expected and seen, C(violations), C(unproven).
  returned: always
  type: dict
sites:
  description: The sites with their namespaces and plain addresses.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import reachability as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify.probing import run

ARGUMENTS = {
    "sites": {"type": "list", "elements": "dict", "required": True},
    "guests": {"type": "list", "elements": "dict", "required": True},
    "tenants": {"type": "list", "elements": "dict", "required": True},
    "mtu": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 90},
    "tries": {"type": "int", "default": 3},
    "wait": {"type": "float", "default": 2},
    "workers": {"type": "int", "default": 16},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        policy = engine.policy_from_tenants(params["tenants"])
        sites = engine.complete_sites(params["sites"])
        probes = engine.matrix(params["guests"], sites, policy, params["mtu"])
    except (KeyError, ValueError) as error:
        module.fail_json(msg=f"sites, guests or tenants: {type(error).__name__}: {error}")
    results = run(probes, params["timeout"], params["tries"], params["wait"], params["workers"])
    module.exit_json(changed=False, matrix=engine.judge(probes, results), sites=sites)


if __name__ == "__main__":
    main()
