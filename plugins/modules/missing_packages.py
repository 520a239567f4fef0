#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: missing_packages
short_description: Which packages a node still lacks
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Reads dpkg's own status file, which takes milliseconds, so that a node that has everything never
    loads or downloads a package index.
  - Reports C(changed) in check mode when something is missing, because the install that follows needs an
    index which an empty node does not have.
attributes:
  check_mode: {support: full, description: Never changes anything.}
  diff_mode: {support: full, description: The missing packages.}
options:
  names:
    description: Package names, without version or architecture.
    type: list
    elements: str
    required: true
  status_file:
    description: dpkg's status file.
    type: path
    default: /var/lib/dpkg/status
"""

EXAMPLES = r"""
- name: Find the packages that are missing
  cloudwatt.socle.missing_packages:
    names: [haproxy, keepalived]
  register: found
"""

RETURN = r"""
missing:
  description: Names that are not installed, sorted.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import diff_entry, lines
from ansible_collections.cloudwatt.socle.plugins.module_utils.dpkg_status import missing


def main() -> None:
    module = AnsibleModule(
        {
            "names": {"type": "list", "elements": "str", "required": True},
            "status_file": {"type": "path", "default": "/var/lib/dpkg/status"},
        },
        supports_check_mode=True,
    )
    try:
        with open(module.params["status_file"], encoding="utf-8", errors="replace") as status:
            absent = missing(module.params["names"], status)
    except OSError as error:
        module.fail_json(msg=f"{module.params['status_file']}: {error.strerror}; is this a Debian node?")
    diff = [diff_entry("packages to install", "", lines(absent))] if absent else []
    module.exit_json(missing=absent, changed=bool(absent) and module.check_mode, diff=diff)


if __name__ == "__main__":
    main()
