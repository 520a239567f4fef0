#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: node_certificate
short_description: Private key and certificate of a node
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Checks the key, the certificate, the CA, the trust store and the users that may read the key in one call, and
    corrects what can be corrected on the node.
  - If a new certificate is needed, RV(csr) contains the signing request. Sign it with
    M(community.crypto.x509_certificate_pipe) and call the module again with O(certificate).
  - The private key never leaves the node.
requirements: [python3-cryptography, ssl-cert]
attributes:
  check_mode: {support: full, description: Complete also on an empty node.}
  diff_mode: {support: full, description: "One line per change, never a key."}
options:
  authority:
    description: Certificate of the CA, PEM; empty if it does not exist yet (check mode).
    type: str
    required: true
  certificate: {description: "The newly signed certificate, PEM.", type: str, default: ''}
  common_name: {description: Subject., type: str, required: true}
  names: {description: DNS names of the certificate., type: list, elements: str, required: true}
  addresses: {description: IP addresses of the certificate., type: list, elements: str, default: []}
  renew_days:
    description: Ask for another one when less than this many days are left.
    type: int
    default: 30
  directory:
    description: Where C(ca.pem), C(node.pem) and C(node.key) are.
    type: path
    default: /etc/socle/pki
  group: {description: Group that may read the key., type: str, default: ssl-cert}
  readers:
    description: Users that are added to that group; those that do not exist are skipped.
    type: list
    elements: str
    default: []
  trust_file:
    description: Where C(update-ca-certificates) finds the authority.
    type: path
    default: /usr/local/share/ca-certificates/socle.crt
"""

EXAMPLES = r"""
- name: Check the certificate of the node
  cloudwatt.socle.node_certificate:
    authority: "{{ lookup('ansible.builtin.file', 'ca.pem') }}"
    common_name: ctl1
    names: [ctl1, ctl1.fr1.example]
    addresses: [192.0.2.11]
    readers: [mysql, rabbitmq]
  register: looked
"""

RETURN = r"""
csr:
  description: Signing request when another certificate is needed, else empty.
  returned: always
  type: str
reason:
  description: Why it is needed.
  returned: always
  type: str
changed_paths:
  description: Files that changed (in check mode, would).
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import tempfile
import traceback
from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.files import make_directory
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import run
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines

try:
    from ansible_collections.cloudwatt.socle.plugins.module_utils.pki import certificates as engine

    LACK = None
except ImportError:
    LACK = traceback.format_exc()

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ARGUMENTS = {
    "authority": {"type": "str", "required": True},
    "certificate": {"type": "str", "default": ""},
    "common_name": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "renew_days": {"type": "int", "default": 30},
    "directory": {"type": "path", "default": "/etc/socle/pki"},
    "group": {"type": "str", "default": "ssl-cert"},
    "readers": {"type": "list", "elements": "str", "default": []},
    "trust_file": {"type": "path", "default": "/usr/local/share/ca-certificates/socle.crt"},
}


class Node:
    """The steps on the node. Each step checks the state, records the change, and makes it unless in check mode."""

    def __init__(self, params: dict, check: bool) -> None:
        self.params = params
        self.check = check
        self.done: list[str] = []
        self.paths: list[str] = []
        self.csr = self.reason = ""
        try:
            self.gid = grp.getgrnam(params["group"]).gr_gid
        except KeyError:
            if not check:
                raise OSError(f"no group {params['group']}: is the package ssl-cert installed?") from None
            self.gid = 0

    def path(self, name: str) -> str:
        return os.path.join(self.params["directory"], name)

    def file(self, path: str, content: str, mode: int, gid: int = 0) -> None:
        """Make sure that a file has this content, group and mode, and that root owns it."""
        try:
            status = os.stat(path)
            same = (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, gid, mode)
        except FileNotFoundError:
            same = False
        if same and read(path) == content:
            return
        self.note(f"write {path}", path)
        if not self.check:
            write(path, content, mode, gid)

    def note(self, text: str, path: str = "") -> None:
        self.done.append(text)
        self.paths += [path] if path else []

    def key(self) -> str:
        """Return the private key; generate it if there is none."""
        held = read(self.path("node.key"))
        content = held or ("" if self.check else engine.new_key())
        if content:
            self.file(self.path("node.key"), content, 0o640, self.gid)
        else:
            self.note("make a private key", self.path("node.key"))
        return content

    def trust(self) -> None:
        """Add the CA to the system's trust store, also if an interrupted run left the bundle without it."""
        authority = self.params["authority"]
        self.file(self.params["trust_file"], authority, 0o644)
        if authority.strip() in read(BUNDLE):
            return
        self.note("update the system's trust store", BUNDLE)
        if not self.check:
            done = run(["update-ca-certificates"])
            if not done.ok:
                raise OSError(f"update-ca-certificates failed: {done.output}")

    def admit(self) -> None:
        """Add the users that read the key to its group."""
        try:
            members = set(grp.getgrnam(self.params["group"]).gr_mem)
        except KeyError:
            members = set()
        for user in self.params["readers"]:
            if user in members or not exists(user):
                continue
            self.note(f"put {user} into group {self.params['group']}")
            if not self.check:
                done = run(["gpasswd", "--add", user, self.params["group"]])
                if not done.ok:
                    raise OSError(f"gpasswd failed: {done.output}")

    def announce(self) -> None:
        """Make the key newer than the certificate: OVN loads a new certificate only if both files have a new time."""
        key, certificate = self.path("node.key"), self.path("node.pem")
        if not self.check and os.stat(key).st_mtime_ns <= os.stat(certificate).st_mtime_ns:
            os.utime(key)

    def settle(self) -> None:
        params = self.params
        authority = params["authority"]
        if not self.check:
            make_directory(params["directory"])
        self.admit()
        key = self.key()
        if authority:
            self.file(self.path("ca.pem"), authority, 0o644)
            self.trust()
        wanted = (params["names"], params["addresses"])
        certificate = params["certificate"] or read(self.path("node.pem"))
        now = datetime.now(UTC)
        self.reason = engine.flaw(certificate, key, authority, *wanted, now, params["renew_days"])
        if not self.reason:
            self.file(self.path("node.pem"), certificate, 0o644)
            self.announce()
        elif params["certificate"] and not self.check:
            raise ValueError(f"the certificate just signed will not do: {self.reason}")
        else:
            self.note(f"have another certificate signed: {self.reason}", self.path("node.pem"))
            self.csr = engine.request(key, params["common_name"], *wanted) if key else ""


def exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, content: str, mode: int, gid: int) -> None:
    """Replace a file in one rename; at no time is it more readable than its mode allows."""
    make_directory(os.path.dirname(path))
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".socle-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        os.fchown(file.fileno(), 0, gid)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if LACK:
        if module.check_mode:
            module.exit_json(changed=True, csr="", reason="python3-cryptography is to be installed", changed_paths=[])
        module.fail_json(msg=missing_required_lib("cryptography"), exception=LACK)
    try:
        node = Node(module.params, module.check_mode)
        node.settle()
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    diff = [diff_entry("certificate of the node", "", lines(node.done))] if node.done else []
    module.exit_json(changed=bool(node.done), csr=node.csr, reason=node.reason, changed_paths=node.paths, diff=diff)


if __name__ == "__main__":
    main()
