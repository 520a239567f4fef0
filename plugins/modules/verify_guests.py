#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_guests
short_description: Boot a small guest in the VRFs of all tenants
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Creates the smoke images and the flavor and, for all tenants in parallel, a security group, a port and a server.
    Waits until the server is ACTIVE, and fails with the fault of the server and the end of its console.
  - First waits until Neutron knows that the ports of routers are up. Immediately after many networks were wired,
    Neutron does not notice the ports of guests in time, and Nova would give up.
  - A guest is identified by its name and the description of its port (C(smoke:VRF)). A stopped guest is started. A
    guest in state ERROR, or with another kernel or ramdisk, is replaced.
  - Tenants with the same IPv4 prefix get guests with different host numbers.
attributes:
  check_mode: {support: full, description: "Only reads, and reports the objects that would be created."}
  diff_mode: {support: full, description: The objects that are created or removed.}
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
  vrfs:
    description: C(neutron.vrfs) of RV(cloudwatt.socle.rie_plan#module:plan), the VRFs with their networks.
    type: list
    elements: dict
    required: true
  networks:
    description: Names of the networks that a guest may be on. Empty for the first network of each VRF.
    type: list
    elements: str
    default: []
  kernel: {description: Path of the kernel on the host the module runs on., type: path}
  ramdisk: {description: Path of the initial ramdisk there., type: path}
  flavor:
    description: Size of a guest.
    type: dict
    default: {}
    suboptions:
      ram: {description: Memory in MiB., type: int, default: 192}
      vcpus: {description: Processors., type: int, default: 1}
      disk: {description: Root disk in GiB., type: int, default: 1}
  offset: {description: Host number of a guest in its IPv4 prefix., type: int, default: 10}
  step: {description: Distance of the host numbers of guests whose prefixes overlap., type: int, default: 10}
  timeout:
    description: Seconds to wait for one server, and for Neutron while it gets no further with the ports of routers.
    type: int
    default: 180
  state:
    description: Whether the guests, images and flavor should be there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Ensure the smoke guests
  cloudwatt.socle.verify_guests:
    auth: "{{ site_openstack_auth }}"
    region: "{{ site_region }}"
    vrfs: "{{ rie_plan_result.plan.neutron.vrfs }}"
    kernel: /var/lib/socle/smoke/vmlinuz
    ramdisk: /var/lib/socle/smoke/initrd.img
  register: verify_guests_result
"""

RETURN = r"""
guests:
  description: The guests with C(tenant), C(project), C(vrf), C(name), C(network), C(v4), C(v6), C(status),
    C(host).
  returned: always
  type: list
  elements: dict
changes:
  description: Objects that were created or removed, as text.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import AUTH_OPTIONS, ApiError, connect
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify.smoke import SmokeError, wanted_guests
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify.smoke_client import Smoke

ARGUMENTS = {
    "auth": {"type": "dict", "required": True, "options": AUTH_OPTIONS},
    "region": {"type": "str"},
    "vrfs": {"type": "list", "elements": "dict", "required": True},
    "networks": {"type": "list", "elements": "str", "default": []},
    "kernel": {"type": "path"},
    "ramdisk": {"type": "path"},
    "flavor": {
        "type": "dict",
        "default": {},
        "apply_defaults": True,
        "options": {
            "ram": {"type": "int", "default": 192},
            "vcpus": {"type": "int", "default": 1},
            "disk": {"type": "int", "default": 1},
        },
    },
    "offset": {"type": "int", "default": 10},
    "step": {"type": "int", "default": 10},
    "timeout": {"type": "int", "default": 180},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ["kernel", "ramdisk"])]
    )
    params = module.params
    client = Smoke(
        lambda project: connect(params["auth"], params["region"], project),
        module.check_mode,
        params["timeout"],
    )
    guests: list[dict] = []
    try:
        wanted = wanted_guests(params["vrfs"], params["networks"], params["offset"], params["step"])
        if params["state"] == "absent":
            client.absent(wanted)
        else:
            shared = client.shared(params["kernel"], params["ramdisk"], params["flavor"])
            guests = client.present(wanted, shared)
    except (SmokeError, ApiError, OSError) as error:
        module.fail_json(msg=str(error), changed=bool(client.changes), changes=client.changes)
    module.exit_json(
        changed=bool(client.changes),
        guests=guests,
        changes=client.changes,
        diff={"before": "", "after": "".join(f"{change}\n" for change in client.changes)},
    )


if __name__ == "__main__":
    main()
