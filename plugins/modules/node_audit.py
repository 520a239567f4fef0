#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: node_audit
short_description: Audit a node with OpenSCAP, Lynis and the OpenStack Security Guide
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Evaluates a tailored profile with C(oscap) and runs C(lynis), both at low priority, and returns their results. The
    exit code of oscap is ignored, as it is 0 also if no rule applies.
  - Also evaluates the 54 active checks of the OpenStack Security Guide, from the files of the services of the node
    and from a TLS handshake with each socket of Keystone and Neutron. A check is not applicable if its service is not
    installed, or is neither enabled nor running.
attributes:
  check_mode: {support: full, description: "Audits the node as in a real run, which changes nothing."}
  diff_mode: {support: none, description: Changes nothing.}
options:
  content: {description: The SCAP data stream., type: path, required: true}
  tailoring: {description: The tailoring., type: path, required: true}
  directory: {description: Directory of the results., type: path, default: /var/lib/socle/audit}
  checks:
    description:
      - Names of the checks of the profile to evaluate. A few checks take seconds instead of minutes. Empty means all.
      - They are evaluated even if the tailoring excludes them.
    type: list
    elements: str
    default: []
  judges:
    description: Scanners that run. A scanner that does not run has no results in the return values.
    type: list
    elements: str
    choices: [openscap, lynis, guide]
    default: [openscap, lynis, guide]
  timeout: {description: Seconds that each scanner may take., type: int, default: 1800}
"""

EXAMPLES = r"""
- name: Audit the node
  cloudwatt.socle.node_audit:
    content: /var/lib/socle/audit/ssg-debian13-ds.xml
    tailoring: /var/lib/socle/audit/tailoring.xml

- name: Check only the arguments of the boot loader
  cloudwatt.socle.node_audit:
    content: /var/lib/socle/audit/ssg-debian13-ds.xml
    tailoring: /var/lib/socle/audit/tailoring.xml
    checks: [grub2_page_poison_argument, grub2_pti_argument]
"""

RETURN = r"""
checks:
  description: Result of each selected check, by its name.
  returned: always
  type: dict
lynis:
  description: Index, warnings and suggestions.
  returned: always
  type: dict
guide:
  description: Result of each check of the Security Guide, by its id.
  returned: always
  type: dict
  contains:
    state:
      description: V(pass), V(fail) or V(notapplicable).
      type: str
    why:
      description: File, option and value that caused the result, and the required value if it differs.
      type: str
    files:
      description: The files, or sockets, it is about.
      type: list
      elements: str
  sample:
    Check-Identity-08:
      state: pass
      why: "/etc/keystone/keystone.conf: [token] provider is fernet"
      files: [/etc/keystone/keystone.conf]
seconds:
  description: How long it took.
  returned: always
  type: float
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import audit as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import security_guide_host
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.parallel import in_parallel
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import run

JUDGES = ["openscap", "lynis", "guide"]
ARGUMENTS = {
    "content": {"type": "path", "required": True},
    "tailoring": {"type": "path", "required": True},
    "directory": {"type": "path", "default": "/var/lib/socle/audit"},
    "checks": {"type": "list", "elements": "str", "default": []},
    "judges": {"type": "list", "elements": "str", "choices": JUDGES, "default": JUDGES},
    "timeout": {"type": "int", "default": 1800},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    params = module.params
    directory = Path(params["directory"])
    results, lynis = directory / "results.xml", directory / "lynis.dat"
    begun = time.monotonic()
    scan = engine.scan_argv(params["content"], params["tailoring"], str(results), params["checks"])
    look = ["lynis", "audit", "system", "--cronjob", "--no-log", "--report-file", str(lynis)]

    def programme(command: list[str], report: Path) -> Path:
        """Run a scanner with low priority, so that it does not slow down services; return the path of its report."""
        report.unlink(missing_ok=True)
        done = run(["nice", "-n", "5", *command], timeout=params["timeout"])
        if not report.exists():
            raise engine.AuditError(done.output[-2000:])
        return report

    def findings(judge: str) -> dict[str, Any]:
        if judge not in params["judges"]:
            return {}
        if judge == "openscap":
            return engine.read_results(str(programme(scan, results)))
        if judge == "lynis":
            return engine.read_lynis(programme(look, lynis).read_text(encoding="utf-8", errors="replace"))
        return security_guide_host.judge()

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found, told, guide = in_parallel(findings, JUDGES)
    except (engine.AuditError, OSError) as fault:
        module.fail_json(msg=str(fault))
    seconds = round(time.monotonic() - begun, 1)
    module.exit_json(changed=False, checks=found, lynis=told, guide=guide, seconds=seconds)


if __name__ == "__main__":
    main()
