#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: image_store
short_description: Image files of a controller, and the images in Glance's database
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Reads the file store of Glance on this controller and the list of images in the database.
  - From the results of all controllers, the filter P(cloudwatt.socle.image_store_refusals#filter) decides whether one
    of them may serve the images.
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: none, description: It only reads.}
options:
  directory:
    description: State directory of Glance. The images are in its folder V(images).
    type: path
    default: /var/lib/glance
  login_unix_socket: {description: The server's socket., type: path, default: /run/mysqld/mysqld.sock}
  login_user: {description: Who connects., type: str, default: root}
  login_password: {description: Not needed if the socket identifies the user., type: str}
requirements: [python3-pymysql]
"""

EXAMPLES = r"""
- name: List the image files of each controller
  cloudwatt.socle.image_store:
    directory: /var/lib/glance
  register: glance_store
"""

RETURN = r"""
file_system:
  description: Type of the file system that holds the images; empty when it is not known.
  returned: always
  type: str
  sample: nfs4
files:
  description: Names of the files in the store, sorted.
  returned: always
  type: list
  elements: str
images:
  description: Name of the file to the name of the image, for each image that is a file. Empty when no database answers.
  returned: always
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.database.client import (
    OPTIONS,
    Database,
    DatabaseError,
    Unreachable,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import image_store as engine


def main() -> None:
    module = AnsibleModule(
        {"directory": {"type": "path", "default": "/var/lib/glance"}, **OPTIONS}, supports_check_mode=True
    )
    store = os.path.join(module.params["directory"], "images")
    try:
        images = engine.images(Database(module.params).rows_if_there(engine.IMAGES))
    except Unreachable:
        images = {}
    except DatabaseError as error:
        module.fail_json(msg=str(error))
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        kind = engine.file_system(os.path.realpath(store), mounts.read())
    try:
        files = sorted(os.listdir(store))
    except FileNotFoundError:
        files = []
    except OSError as error:
        module.fail_json(msg=f"{store}: {error.strerror}")
    module.exit_json(changed=False, files=files, images=images, file_system=kind)


if __name__ == "__main__":
    main()
