#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: All configuration files of a service in one pass
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Renders and installs every file, directory and link that a service reads, in one module call.
  - Compares content, owner, group and mode. All new files are written beside their place and validated before
    the first one is moved into place, so a refused file leaves everything as it was.
  - A file is owned as a whole. Each is replaced in one C(rename(2)).
attributes:
  check_mode: {support: full, description: Complete also on an empty node, where owners may not exist yet.}
  diff_mode: {support: full, description: Secrets, and the former value of a rotated one, are masked.}
options:
  directories:
    description: Directories, made first, parents included.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      owner: {description: User name or number., type: str, default: root}
      group: {description: Group name or number., type: str, default: root}
      mode: {description: Quoted octal mode., type: str, default: '0755'}
  files:
    description: Files. Parents that are missing are made, root's and 0755.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content:
        description:
          - A string, written as it is; or a structure for the other formats.
          - "V(ini): section, then key, then a scalar, a list (the key is repeated; an empty list writes
            nothing) or null (a bare key). A section given as a list of mappings is repeated; the section
            V('') has no header."
          - "V(env): variable and scalar, quoted for the shell and for systemd's C(EnvironmentFile)."
        type: raw
        required: true
      format:
        description: How a structure is rendered. V(ini), V(yaml) and V(env) begin with a comment.
        type: str
        choices: [text, ini, yaml, json, env]
        default: text
      owner: {description: User name or number., type: str, default: root}
      group: {description: Group name or number., type: str, default: root}
      mode: {description: Quoted octal mode., type: str, default: '0644'}
      validate:
        description: Command that tests the new file, given as C(%s), first of all. Not run in check mode.
        type: str
  links:
    description: Symbolic links, made last.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path of the link., type: path, required: true}
      target: {description: What it points to., type: str, required: true}
  absent:
    description: Files, links and empty directories that must not be there.
    type: list
    elements: path
    default: []
  secrets:
    description: Values masked in the diff and in every result, also where a file has them percent-encoded.
      Values shorter than 6 characters are ignored.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Configure Glance
  cloudwatt.socle.config_files:
    directories:
      - {path: /etc/glance/glance-api.conf.d, group: glance, mode: '0750'}
    files:
      - path: /etc/glance/glance-api.conf
        format: ini
        group: glance
        mode: '0640'
        content:
          DEFAULT: {bind_port: 9292, debug: false}
          database:
            connection: "mysql+pymysql://glance:{{ secrets.glance_database }}@{{ site_internal_vip }}/glance"
    secrets: "{{ secrets.values() | list }}"
  register: glance_files
"""

RETURN = r"""
changed_paths:
  description: Paths that differ, for O(cloudwatt.socle.service_units#module:pending).
  returned: always
  type: list
  elements: str
"""

import contextlib
import os
import shlex

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import config_files as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import list_of, run


def owned(mode: str) -> dict[str, dict]:
    return {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": mode},
    }


ARGUMENTS = {
    "directories": list_of(owned("0755")),
    "files": list_of(
        {
            **owned("0644"),
            "content": {"type": "raw", "required": True},
            "format": {"type": "str", "choices": list(engine.FORMATS), "default": "text"},
            "validate": {"type": "str"},
        }
    ),
    "links": list_of(
        {"path": {"type": "path", "required": True}, "target": {"type": "str", "required": True}}
    ),
    "absent": {"type": "list", "elements": "path", "default": []},
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
}


def apply(changes: list[tuple[engine.Entry, engine.Entry]]) -> None:
    """Directories, then all files staged and validated, then every replacement; no litter."""
    for before, after in changes:
        if after.kind == "directory":
            engine.make_directory(after, before)
    staged: dict[str, str] = {}
    try:
        for before, after in changes:
            if after.kind not in ("directory", "absent") and before.kind in ("directory", "special"):
                raise engine.ConfigError(f"{after.path}: a {before.kind} is in the way of the {after.kind}")
            if after.kind == "file":
                staged[after.path] = engine.stage(after)
        for _before, after in changes:
            if after.validate and after.path in staged:
                test = run([word.replace("%s", staged[after.path]) for word in shlex.split(after.validate)])
                if not test.ok:
                    raise engine.ConfigError(f"{after.path}: refused by `{after.validate}`:\n{test.output}")
        for before, after in changes:
            if after.kind == "file":
                os.replace(staged.pop(after.path), after.path)
            elif after.kind == "link":
                engine.make_link(after)
            elif after.kind == "absent":
                engine.remove(before)
    finally:
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    module.no_log_values = engine.spellings(options["secrets"])
    try:
        entries = engine.wanted(options["files"], options["directories"], options["links"], options["absent"])
        changes = [(before, after) for after in entries if after.differs(before := engine.look(after.path))]
        if not module.check_mode:
            apply(changes)
    except (engine.ConfigError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(
        changed=bool(changes),
        changed_paths=[after.path for _, after in changes],
        diff=[part for before, after in changes for part in engine.diff(before, after, options["secrets"])],
    )


if __name__ == "__main__":
    main()
