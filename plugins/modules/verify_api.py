#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_api
short_description: Check that every API answers over TLS and that every service is up
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Sends a request to each public and internal endpoint of the service catalogue, with the site's CA as the only
    trust anchor, and reads the state of Nova's services and hypervisors and of Neutron's agents.
  - Repeats until all checks pass or O(timeout) is over. Does not fail by itself; M(cloudwatt.socle.verify_report)
    evaluates the result.
attributes:
  check_mode: {support: full, description: Only reads.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  auth:
    description: Credentials of an administrator, as clients of OpenStack take them.
    type: dict
    required: true
    suboptions:
      auth_url: {description: The v3 root of Keystone., type: str, required: true}
      username: {description: User., type: str, required: true}
      password: {description: Password., type: str, required: true}
      project_name: {description: Project., type: str, required: true}
      user_domain_name: {description: Domain of the user., type: str, default: Default}
      project_domain_name: {description: Domain of the project., type: str, default: Default}
      cacert: {description: Certificate authorities; by default those of the system., type: path}
  region: {description: Region of the endpoints., type: str}
  services: {description: Names that the catalogue must have., type: list, elements: str, default: []}
  probes:
    description: Name of a service to the path that is asked for below its endpoint, where the endpoint is no document.
    type: dict
    default: {}
  computes: {description: Hosts that must be hypervisors., type: list, elements: str, default: []}
  chassis: {description: Hosts that must run an OVN controller., type: list, elements: str, default: []}
  timeout: {description: Seconds until all must be well., type: int, default: 60}
"""

EXAMPLES = r"""
- name: Ask every API
  cloudwatt.socle.verify_api:
    auth: "{{ site_openstack_auth }}"
    region: "{{ site_region }}"
    services: [keystone, glance, placement, nova, neutron]
    computes: "{{ groups['compute'] }}"
  register: verify_api_result
"""

RETURN = r"""
checks:
  description: Each check with C(id), C(kind), C(ok), C(detail) and, for an endpoint, C(ms).
  returned: always
  type: list
  elements: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import AUTH_OPTIONS, connect
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify.verify_api import check, survey

NAMES = {"type": "list", "elements": "str", "default": []}
ARGUMENTS = {
    "auth": {"type": "dict", "required": True, "options": AUTH_OPTIONS},
    "region": {"type": "str"},
    "services": NAMES,
    "probes": {"type": "dict", "default": {}},
    "computes": NAMES,
    "chassis": NAMES,
    "timeout": {"type": "int", "default": 60},
}


def look(params: dict) -> list[dict]:
    """Run one round of checks; a check fails if its connection cannot be made."""
    try:
        conn = connect(params["auth"], params["region"])
        return survey(conn, params["services"], params["computes"], params["chassis"], params["probes"])
    except Exception as error:
        return [check("connection", "endpoint", False, f"{type(error).__name__}: {error}")]


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    deadline = time.monotonic() + module.params["timeout"]
    checks = look(module.params)
    while not all(entry["ok"] for entry in checks) and time.monotonic() < deadline:
        time.sleep(2)
        checks = look(module.params)
    module.exit_json(changed=False, checks=checks)


if __name__ == "__main__":
    main()
