#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_image
short_description: Build the image that nodes start from
version_added: "0.1.0"
description:
  - Creates a Debian tree from a package list with C(mmdebstrap), with verified signatures and without recommended
    packages, in O(images_dir)/DIGEST, and points the link O(images_dir)/O(name) to it.
  - The digest covers the package list, the suite and the recipe, but not the mirror. A tree that exists is not built
    again.
  - Units that packages enabled are disabled, except for the network and SSH, so that no service starts before it is
    configured. Host keys, the machine id and other data of one machine are removed.
  - Downloaded packages are kept in O(cache_dir) for the next build. A build that is killed leaves only a directory
    that the next build removes.
author: ["Cloudwatt, Orange (@cloudwatt)"]
options:
  name:
    description: Name of the image.
    type: str
    default: node
  packages:
    description: Packages to install.
    type: list
    elements: str
    required: true
  plain:
    description:
      - Leave the tree as Debian's packages make it. Only systemd-networkd is enabled, and what belongs to one machine
        is removed. Such a tree stands for a machine that somebody else installed.
    type: bool
    default: false
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
    description: Build even if the tree is there, to take in newer packages.
    type: bool
    default: false
  prune:
    description: Remove trees that no name points to and no machine uses.
    type: bool
    default: true
  images_dir:
    description: Where images are.
    type: path
    default: /var/lib/socle/images
  cache_dir:
    description: Where downloaded packages are kept. Hard links need it on the file system of O(images_dir).
    type: path
    default: /var/lib/socle/cache/apt
  labs_dir:
    description: Directory of the labs. The trees that their machines use are not pruned.
    type: path
    default: /var/lib/socle/lab
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
- name: Build the node image
  cloudwatt.socle.node_image:
    packages: "{{ query('cloudwatt.socle.role_packages') }}"
"""

RETURN = r"""
path:
  description: The tree.
  type: str
  returned: always
digest:
  description: Digest that names the tree.
  type: str
  returned: always
built:
  description: Whether a tree was built (or would be).
  type: bool
  returned: always
seconds:
  description: How long the build of this tree took.
  type: float
  returned: when there is a tree
log:
  description: Output of the build.
  type: str
  returned: always
pruned:
  description: Trees removed.
  type: list
  elements: str
  returned: always
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import url_logins
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.host import LabHostError, exclusive, require_tools
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.node_image import (
    TOOLS,
    ImageSpec,
    ImageStore,
    remove_tree,
)

ARGUMENT_SPEC = {
    "name": {"type": "str", "default": "node"},
    "packages": {"type": "list", "elements": "str", "required": True},
    "plain": {"type": "bool", "default": False},
    "suite": {"type": "str", "default": "trixie"},
    "mirror": {"type": "str", "default": "http://deb.debian.org/debian"},
    "security_mirror": {"type": "str", "default": ""},
    "rebuild": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": True},
    "images_dir": {"type": "path", "default": "/var/lib/socle/images"},
    "cache_dir": {"type": "path", "default": "/var/lib/socle/cache/apt"},
    "labs_dir": {"type": "path", "default": "/var/lib/socle/lab"},
}


def bring_up_to_date(module: AnsibleModule) -> dict:
    """Build the image, set its link and prune old ones as needed; return the module's result."""
    params = module.params
    spec = ImageSpec(
        tuple(params["packages"]), params["suite"], params["mirror"], params["security_mirror"], plain=params["plain"]
    )
    store = ImageStore(Path(params["images_dir"]), Path(params["cache_dir"]))
    name, digest = params["name"], spec.digest()
    before = store.current(name)
    tree = store.find(digest, name)
    build = tree is None or params["rebuild"]
    pruned: list[str] = []
    if not module.check_mode:
        store.clear_unfinished()
        if build or tree is None:
            tree = store.build(spec, name)
        if before != tree.name:
            store.point(name, tree)
        for old in store.prunable(Path(params["labs_dir"])) if params["prune"] else []:
            remove_tree(old)
            pruned.append(str(old))
    after = tree.name if tree and not (build and module.check_mode) else digest
    manifest = store.manifest(store.images / after) or {}
    result = {
        "changed": build or before != after or bool(pruned),
        "path": str(store.images / after),
        "digest": digest,
        "built": build,
        "log": str(store.images / f"{name}.log"),
        "pruned": pruned,
        "diff": {"before": f"{name}: {before or 'none'}\n", "after": f"{name}: {after}\n"},
    }
    if manifest:
        result["seconds"] = manifest["seconds"]
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.no_log_values |= set(url_logins.passwords(module.params))
    os.umask(0o022)
    try:
        require_tools(TOOLS)
        with exclusive("image", timeout=1800):
            result = bring_up_to_date(module)
    except (LabHostError, url_logins.LoginError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
