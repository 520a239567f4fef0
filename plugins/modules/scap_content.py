#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: scap_content
short_description: Take the judges' content out of its Debian package, and tailor it for each node
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Takes the datastream of Debian 13 out of the package C(ssg-debian) and writes a tailoring for each node, without the
    checks that are waived for its groups. Runs on the operator's machine.
attributes:
  check_mode: {support: full}
options:
  package: {description: The package; its content was verified before., type: path, required: true}
  member: {description: Path of the datastream in it., type: str, required: true}
  directory: {description: Where the datastream and the tailorings are put., type: path, required: true}
  nodes: {description: Groups of each node., type: dict, required: true}
  waivers: {description: Waivers (see role site)., type: list, elements: dict, required: true}
  values: {description: Values of the content that the site sets., type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Tailor the content
  cloudwatt.socle.scap_content:
    package: /var/lib/socle/cache/scap/ssg-debian_0.1.82-1_all.deb
    member: ./usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml
    directory: /var/lib/socle/cache/scap
    nodes: {ctl1: [control, nodes]}
    waivers: "{{ site_waivers }}"
"""

RETURN = r"""
content:
  description: Path of the datastream.
  returned: always
  type: str
"""

import io
import os
import subprocess
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import audit as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening_rules import PolicyError, waivers
from ansible_collections.cloudwatt.socle.plugins.module_utils.security_guide import BY_NAME

ARGUMENTS = {
    "package": {"type": "path", "required": True},
    "member": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "nodes": {"type": "dict", "required": True},
    "waivers": {"type": "list", "elements": "dict", "required": True},
    "values": {"type": "dict", "default": {}},
}


def extract(package: str, member: str, target: Path) -> bool:
    """Take a file out of a Debian package, unless it is there already and younger; whether it was taken."""
    if target.exists() and target.stat().st_mtime >= os.stat(package).st_mtime:
        return False
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=False)
    if done.returncode:
        raise engine.AuditError(f"{package}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        try:
            stream = archive.extractfile(member)
        except KeyError:
            raise engine.AuditError(f"{package}: has no {member}") from None
        write(target, stream.read())
    return True


def write(target: Path, content: bytes) -> bool:
    """Replace a file by one rename; whether it differed."""
    if target.exists() and target.read_bytes() == content:
        return False
    temporary = target.with_name(f".{target.name}.new")
    temporary.write_bytes(content)
    temporary.chmod(0o644)
    temporary.rename(target)
    return True


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    params = module.params
    directory = Path(params["directory"])
    content = directory / Path(params["member"]).name
    changed = False
    try:
        known = waivers(params["waivers"])
        if not module.check_mode:
            directory.mkdir(parents=True, exist_ok=True)
            changed = extract(params["package"], params["member"], content)
            read = engine.read_content(str(content))
            lost = sorted({waiver.check for waiver in known} - set(read.checks) - set(BY_NAME))
            if lost:
                raise engine.AuditError(f"waived, and no check of any judge: {', '.join(lost)}")
            for node, groups in params["nodes"].items():
                text = engine.tailoring(read, known, groups, params["values"])
                changed = write(directory / f"tailoring-{node}.xml", text.encode()) or changed
    except (engine.AuditError, PolicyError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(changed=changed, content=str(content))


if __name__ == "__main__":
    main()
