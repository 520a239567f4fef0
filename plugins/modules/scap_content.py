#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: scap_content
short_description: Fetch the SCAP content and tailor it for each node
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Extracts the data stream of Debian 13 from the package C(ssg-debian) and writes a tailoring for each node, without
    the checks that are waived for its groups. Runs on the control node.
  - The package is the pinned one, verified by its hash. A mirror removes it soon after the next version appears. Then
    the newest package of O(suite) is used, verified by the hash in the package index, whose hash is in InRelease,
    which must be signed by O(keyring). The result and a warning say so.
attributes:
  check_mode: {support: full, description: Fetches and writes nothing.}
  diff_mode: {support: none, description: Writes packages and generated XML.}
options:
  mirror: {description: Mirror of Debian., type: str, required: true}
  package: {description: Path of the pinned package below the mirror., type: str, required: true}
  sha256: {description: Its SHA-256., type: str, required: true}
  suite: {description: Suite that has a newer one., type: str, default: testing}
  minimum: {description: The oldest version to take from there., type: str, required: true}
  keyring:
    description: Keys of the archive.
    type: path
    default: /usr/share/keyrings/debian-archive-keyring.gpg
  member: {description: Path of the datastream in it., type: str, required: true}
  directory: {description: Where the package and the datastream are put., type: path, required: true}
  tailorings:
    description:
      - Where the tailorings are put. Each site needs a folder of its own, as their names are those of the nodes.
    type: path
    required: true
  nodes: {description: Groups of each node., type: dict, required: true}
  waivers: {description: Waivers (see role site)., type: list, elements: dict, required: true}
  values: {description: Values of the content that the site sets., type: dict, default: {}}
requirements: [apt and dpkg; debian-archive-keyring where the pinned package is gone]
"""

EXAMPLES = r"""
- name: Tailor the content
  cloudwatt.socle.scap_content:
    mirror: http://deb.debian.org/debian
    package: pool/main/s/scap-security-guide/ssg-debian_0.1.82-1_all.deb
    sha256: cfde145916f1f37ec96c0fe2a9ea5f44a2db0ee6f0a2dacfcf86534c0977755a
    minimum: 0.1.82
    member: ./usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml
    directory: /var/lib/socle/cache/scap
    tailorings: /var/lib/socle/cache/scap/fr1
    nodes: {ctl1: [control, nodes]}
    waivers: "{{ site_waivers }}"
"""

RETURN = r"""
content:
  description: Path of the datastream.
  returned: always
  type: str
version:
  description: Version of the package.
  returned: not in check mode
  type: str
note:
  description: Why it is not the pinned package, and what vouches for it; empty when it is.
  returned: not in check mode
  type: str
"""

import io
import subprocess
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import audit as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import debian_archive
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit.security_guide import BY_NAME
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import url_logins
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import PolicyError, waivers

ARGUMENTS = {
    "mirror": {"type": "str", "required": True},
    "package": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
    "suite": {"type": "str", "default": "testing"},
    "minimum": {"type": "str", "required": True},
    "keyring": {"type": "path", "default": debian_archive.KEYRING},
    "member": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "tailorings": {"type": "path", "required": True},
    "nodes": {"type": "dict", "required": True},
    "waivers": {"type": "list", "elements": "dict", "required": True},
    "values": {"type": "dict", "default": {}},
}


def extract(package: Path, member: str, target: Path) -> bool:
    """Extract a file from a Debian package, unless this was done before; return whether it was extracted."""
    stamp = target.with_name(f"{target.name}.from")
    if target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == package.name:
        return False
    stamp.unlink(missing_ok=True)
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=False)
    if done.returncode:
        raise engine.AuditError(f"{package}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        try:
            stream = archive.extractfile(member)
        except KeyError:
            stream = None
        if stream is None:
            raise engine.AuditError(f"{package}: has no {member}")
        write(target, stream.read())
    write(stamp, package.name.encode())
    return True


def write(target: Path, content: bytes) -> bool:
    """Replace a file in one rename; return whether its content changed."""
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
    module.no_log_values |= set(url_logins.passwords(params["mirror"]))
    directory, tailorings = Path(params["directory"]), Path(params["tailorings"])
    content = directory / Path(params["member"]).name
    result = {"changed": False, "content": str(content)}
    try:
        known = waivers(params["waivers"])
        if not module.check_mode:
            directory.mkdir(parents=True, exist_ok=True)
            tailorings.mkdir(parents=True, exist_ok=True)
            pin = debian_archive.Pin(params["package"], params["sha256"])
            package = debian_archive.obtain(
                params["mirror"], pin, params["suite"], params["minimum"], params["keyring"], directory
            )
            if package.note:
                module.warn(package.note)
            changed = extract(package.path, params["member"], content) or package.fetched
            read = engine.read_content(str(content))
            lost = sorted({waiver.check for waiver in known} - set(read.checks) - set(BY_NAME))
            if lost:
                raise engine.AuditError(f"waived, and no check of any judge: {', '.join(lost)}")
            for node, groups in params["nodes"].items():
                text = engine.tailoring(read, known, groups, params["values"])
                changed = write(tailorings / f"tailoring-{node}.xml", text.encode()) or changed
            result |= {"changed": changed, "version": package.version, "note": package.note}
    except (debian_archive.ArchiveError, engine.AuditError, PolicyError, url_logins.LoginError, OSError) as fault:
        module.fail_json(msg=str(fault))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
