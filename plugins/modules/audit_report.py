#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_report
short_description: Compare the results of an audit with the previous audit, and write the report
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Writes F(audit.json) and F(audit.html). A node that was not audited in this run keeps its previous results.
  - Runs on the control node.
attributes:
  check_mode: {support: full, description: Counts and compares; writes nothing.}
  diff_mode: {support: none, description: Changes nothing on a node.}
options:
  content: {description: The SCAP data stream., type: path, required: true}
  nodes:
    description: "Results of each node: name, groups, places (unsupported settings), checks (their results), lynis,
      guide (see M(cloudwatt.socle.node_audit)), seconds."
    type: list
    elements: dict
    required: true
  waivers: {description: Waivers (see role site)., type: list, elements: dict, required: true}
  gate: {description: "What a node must reach: level, rate, evaluated, lynis.", type: dict, required: true}
  expected:
    description: "Checks that are known to fail: check, groups, reason. Any other check of the gate's level that fails
      is a fault, and so is one of these checks if it passes."
    type: list
    elements: dict
    default: []
  directory: {description: Directory of the report., type: path, required: true}
"""

EXAMPLES = r"""
- name: Report
  cloudwatt.socle.audit_report:
    content: /var/lib/socle/cache/scap/ssg-debian13-ds.xml
    nodes: []
    waivers: "{{ site_waivers }}"
    gate: {level: enhanced, rate: 98, evaluated: 260, lynis: 80}
    directory: .socle/reports/fr1
"""

RETURN = r"""
ok:
  description: Whether every gate is reached and no result is worse than before.
  returned: always
  type: bool
faults:
  description: Conditions that are not met.
  returned: always
  type: list
  elements: str
figures:
  description: Counts of each node, of each level and of the Security Guide.
  returned: always
  type: dict
"""

import datetime
import json
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import audit as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import page as audit_page
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import LEVELS, PolicyError, waivers

ARGUMENTS = {
    "content": {"type": "path", "required": True},
    "nodes": {"type": "list", "elements": "dict", "required": True},
    "waivers": {"type": "list", "elements": "dict", "required": True},
    "gate": {"type": "dict", "required": True},
    "expected": {"type": "list", "elements": "dict", "default": []},
    "directory": {"type": "path", "required": True},
}


def gate(options: dict) -> engine.Gate:
    """Return the gate. Raises AuditError if its options are invalid."""
    try:
        found = engine.Gate(
            str(options["level"]), float(options["rate"]), int(options["evaluated"]), int(options["lynis"])
        )
    except (KeyError, ValueError) as fault:
        raise engine.AuditError(f"audit_gate: give level, rate, evaluated and lynis ({fault})") from None
    if found.level not in LEVELS:
        raise engine.AuditError(f"audit_gate: level {found.level!r} is none of {', '.join(LEVELS)}")
    return found


def read(path: Path) -> dict | None:
    """Return the previous report, or None if there is none or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    os.chmod(temporary, 0o640)
    temporary.rename(path)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    params = module.params
    folder = Path(params["directory"])
    try:
        nodes = [
            engine.Node(
                item["name"],
                tuple(item["groups"]),
                tuple(item["places"]),
                item["checks"],
                item["lynis"],
                item["guide"],
                item["seconds"],
            )
            for item in params["nodes"]
        ]
        if not nodes:
            raise engine.AuditError("no node was judged")
        former = read(folder / "audit.json")
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        content = engine.read_content(params["content"])
        found = engine.report(
            content,
            nodes,
            waivers(params["waivers"]),
            gate(params["gate"]),
            former,
            made,
            engine.expected(params["expected"], content),
        )
        if not module.check_mode:
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / "audit.json", json.dumps(found, indent=1, ensure_ascii=False))
            write(folder / "audit.html", audit_page.page(found))
    except (engine.AuditError, PolicyError, OSError) as fault:
        module.fail_json(msg=str(fault))
    figures = {
        node["name"]: {
            **node["levels"],
            "guide": {key: count for key, count in node["guide"].items() if key != "findings"},
            "lynis": node["lynis"].get("index", 0),
        }
        for node in found["nodes"]
    }
    module.exit_json(changed=False, ok=found["ok"], faults=found["faults"], figures=figures)


if __name__ == "__main__":
    main()
