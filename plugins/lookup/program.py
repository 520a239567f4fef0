# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Lookup: the source of a program that runs on nodes by itself."""

from __future__ import annotations

DOCUMENTATION = r"""
name: program
short_description: Text of a program of this collection that runs on nodes without Ansible
version_added: "0.1.0"
description:
  - Reads F(plugins/module_utils/programs/NAME.py). A role installs the text as a file and runs it with a systemd unit.
  - Modules and tests import the same file.
options:
  _terms:
    description: Names of programs, without C(.py).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Install the BFD watcher
  ansible.builtin.copy:
    content: "{{ lookup('cloudwatt.socle.program', 'bfd_watch') }}"
    dest: /usr/local/lib/socle/bfd_watch.py
    mode: "0644"
"""

RETURN = r"""
_raw:
  description: Texts of the programs, in the order of the names.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

PROGRAMS = Path(__file__).resolve().parents[1] / "module_utils" / "programs"


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **_options: Any) -> list[str]:
        known = {path.stem: path for path in PROGRAMS.glob("*.py")}
        if unknown := [str(term) for term in terms if term not in known]:
            raise AnsibleLookupError(
                f"no such program: {', '.join(unknown)}. The programs are {', '.join(sorted(known))}"
            )
        return [known[term].read_text() for term in terms]
