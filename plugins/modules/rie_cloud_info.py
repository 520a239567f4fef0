#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_cloud_info
short_description: Routers, networks and router ports of Neutron, for the isolation proof
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Lists the objects of all projects, in pages, and returns only the fields that M(cloudwatt.socle.isolation_report)
    uses.
attributes:
  check_mode: {support: full, description: Only reads.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  auth:
    description: Credentials of an administrator.
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
  region:
    description: Region of the Neutron.
    type: str
"""

EXAMPLES = r"""
- name: List the wiring in Neutron
  cloudwatt.socle.rie_cloud_info:
    auth: "{{ site_openstack_auth }}"
    region: "{{ site_region }}"
  register: verify_cloud_result
"""

RETURN = r"""
lists:
  description: Lists as O(cloudwatt.socle.isolation_report#module:cloud_lists) takes them.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.keystone_client import Keystone
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_client import NEUTRON_API, NeutronClient
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import AUTH_OPTIONS, ApiError

ARGUMENTS = {"auth": {"type": "dict", "required": True, "options": AUTH_OPTIONS}, "region": {"type": "str"}}
KEPT = {
    "router": ("id", "name", "description"),
    "network": (
        "id",
        "name",
        "description",
        "router:external",
        "provider:physical_network",
        "provider:segmentation_id",
    ),
    "port": ("id", "device_id", "device_owner", "network_id"),
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    try:
        keystone = Keystone(module.params["auth"])
        listed = NeutronClient(keystone.service("network", module.params["region"], NEUTRON_API)).snapshot()
    except (ApiError, OSError) as error:
        module.fail_json(msg=str(error))
    lists = {
        f"{kind}s": [{name: row.get(name) for name in names} for row in listed[kind]] for kind, names in KEPT.items()
    }
    module.exit_json(changed=False, lists=lists)


if __name__ == "__main__":
    main()
