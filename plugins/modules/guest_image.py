#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guest_image
short_description: Build the smoke guest, a kernel and an initramfs that test a tenant network
version_added: "0.1.0"
description:
  - Creates F(vmlinuz) (Debian's cloud kernel) and F(initrd) (busybox and three modules) in O(images_dir)/DIGEST, and
    points the link O(images_dir)/current to it. The signatures of the packages are verified.
  - The guest gets its address by DHCPv4 (with the MTU that is offered) and by IPv6 router advertisement, and serves
    C(/cgi-bin/whoami) and C(/cgi-bin/probe?proto=icmp|http&target=ADDRESS) on port 80 of both families. It prints
    C(SOCLE-GUEST-READY) with its addresses on the console. Its name is C(socle.name=) on the command line of the
    kernel, which also needs C(console=ttyS0 rdinit=/init).
author: ["Cloudwatt, Orange (@cloudwatt)"]
options:
  suite:
    description: Debian release.
    type: str
    default: trixie
  mirror:
    description: Debian mirror.
    type: str
    default: http://deb.debian.org/debian
  security_mirror:
    description: Mirror of the security archive. Empty leaves it out.
    type: str
    default: ""
  rebuild:
    description: Build even if the image is there, to take in a newer kernel.
    type: bool
    default: false
  images_dir:
    description: Where guest images are.
    type: path
    default: /var/lib/socle/images/guest
  cache_dir:
    description: Where downloaded packages are kept.
    type: path
    default: /var/lib/socle/cache/apt
attributes:
  check_mode:
    description: Tells whether it would build.
    support: full
  diff_mode:
    description: Shows the digest before and after.
    support: full
requirements:
  - root
  - mmdebstrap, debian-archive-keyring
"""

EXAMPLES = r"""
- name: Build the smoke guest image
  cloudwatt.socle.guest_image:
"""

RETURN = r"""
digest:
  description: Digest that names the image.
  type: str
  returned: always
vmlinuz:
  description: Path of the kernel.
  type: str
  returned: always
initrd:
  description: Path of the initramfs.
  type: str
  returned: always
kernel:
  description: Version of the kernel.
  type: str
  returned: when there is an image
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import url_logins
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.guest_image import PACKAGES, GuestStore, digest
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.host import LabHostError, exclusive, require_tools
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.node_image import TOOLS, ImageSpec

ARGUMENT_SPEC = {
    "suite": {"type": "str", "default": "trixie"},
    "mirror": {"type": "str", "default": "http://deb.debian.org/debian"},
    "security_mirror": {"type": "str", "default": ""},
    "rebuild": {"type": "bool", "default": False},
    "images_dir": {"type": "path", "default": "/var/lib/socle/images/guest"},
    "cache_dir": {"type": "path", "default": "/var/lib/socle/cache/apt"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.no_log_values |= set(url_logins.passwords(module.params))
    params = module.params
    os.umask(0o022)
    spec = ImageSpec(PACKAGES, params["suite"], params["mirror"], params["security_mirror"])
    store = GuestStore(Path(params["images_dir"]), Path(params["cache_dir"]))
    wanted = digest(spec)
    try:
        require_tools(TOOLS)
        with exclusive("image", timeout=1800):
            before = store.current()
            build = params["rebuild"] or store.manifest(wanted) is None
            if not module.check_mode:
                store.clear_unfinished()
                if build:
                    store.build(spec)
                if build or before != wanted:
                    store.point(wanted)
    except (LabHostError, url_logins.LoginError) as error:
        module.fail_json(msg=str(error))
    folder = store.images / wanted
    module.exit_json(
        changed=build or before != wanted,
        digest=wanted,
        vmlinuz=str(folder / "vmlinuz"),
        initrd=str(folder / "initrd"),
        kernel=(store.manifest(wanted) or {}).get("kernel", ""),
        diff={"before": f"guest: {before or 'none'}\n", "after": f"guest: {wanted}\n"},
    )


if __name__ == "__main__":
    main()
