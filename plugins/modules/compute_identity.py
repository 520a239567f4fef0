#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_identity
short_description: Restore the identity of a hypervisor that lost its disk
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - nova-compute keeps the UUID of its host in the file C(compute_id), and refuses to start without the file unless
    the host is new. If the file does not exist, this module gets the UUID of the host from the Nova API and writes
    the file.
  - If the API does not know the host, nothing is written, as nova-compute then creates the identity itself.
  - The API is queried only if the file does not exist.
attributes:
  check_mode:
    support: full
    description: If no API answers, as before the first deployment, no change is reported.
  diff_mode:
    support: full
    description: Shows the UUID.
options:
  auth:
    description: Credentials of a user that may list services and hypervisors.
    type: dict
    required: true
    suboptions: &auth
      auth_url: {description: Keystone's URL with its version., type: str, required: true}
      username: {description: Name of the user., type: str, required: true}
      password: {description: Password of the user., type: str, required: true}
      project_name: {description: Name of the project., type: str, required: true}
      user_domain_name: {description: Domain of the user., type: str, default: Default}
      project_domain_name: {description: Domain of the project., type: str, default: Default}
      cacert: {description: Certificate authorities to trust., type: path}
  region:
    description: Region of the API.
    type: str
  host:
    description: Name of the host as nova-compute has it (option C(host)).
    type: str
    required: true
  state_path:
    description: Folder of the file, which nova-compute owns.
    type: path
    default: /var/lib/nova
  config_directory:
    description: The other folder where nova-compute looks for the file.
    type: path
    default: /etc/nova
  timeout:
    description: Seconds to wait for Keystone.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Restore the identity of the hypervisor
  cloudwatt.socle.compute_identity:
    auth: "{{ site_keystone_auth | combine({'username': 'nova', 'password': secrets.nova_service}) }}"
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
uuid:
  description: The identity of the host; empty for a new one.
  returned: success
  type: str
"""

import os
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import compute_identity as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.keystone_client import Keystone
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import AUTH_OPTIONS, ApiError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "auth": {"type": "dict", "required": True, "options": AUTH_OPTIONS},
    "region": {"type": "str"},
    "host": {"type": "str", "required": True},
    "state_path": {"type": "path", "default": "/var/lib/nova"},
    "config_directory": {"type": "path", "default": "/etc/nova"},
    "timeout": {"type": "int", "default": 60},
}


def ask(options: dict[str, Any], wait: float) -> str:
    """Return the UUID under which the compute API knows the host."""
    keystone = Keystone(options["auth"])
    keystone.sign_in(wait)
    return engine.known(keystone.service("compute", options["region"]), options["host"])


def write(folder: str, uuid: str) -> None:
    """Write the file as nova-compute does: owned by its user, and once."""
    user = pwd.getpwnam("nova")
    path = os.path.join(folder, engine.NAME)
    handle = os.open(f"{path}.socle-new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(uuid)
        os.fchown(file.fileno(), user.pw_uid, user.pw_gid)
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    os.replace(f"{path}.socle-new", path)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options, check = module.params, module.check_mode
    folder = options["state_path"]
    restored = ""
    try:
        uuid = engine.local([options["config_directory"], folder])
        if not uuid:
            try:
                uuid = restored = ask(options, 0 if check else options["timeout"])
            except (ApiError, OSError) as fault:
                if not check:
                    module.fail_json(
                        msg=f"{options['host']} has no identity ({folder}/{engine.NAME}), and Nova's API cannot be "
                        f"asked for it: {fault}. Remedy: deploy the controllers first, or with it"
                    )
        if restored and not check:
            write(folder, restored)
    except (engine.IdentityError, OSError, KeyError) as fault:
        module.fail_json(msg=str(fault))
    diff = [diff_entry(f"{folder}/{engine.NAME}", "", f"{restored}\n")] if restored else []
    module.exit_json(changed=bool(restored), uuid=uuid, diff=diff)


if __name__ == "__main__":
    main()
