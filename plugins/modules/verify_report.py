#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_report
short_description: Evaluate the verification of a site and write its report
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Writes C(verify.json) and C(verify.html), one page without external references, to a directory of the control
    node.
  - Fails, after writing, if any result is not as expected. The message lists every violation.
  - A report is not configuration, so writing it does not count as a change.
requirements: [jinja2]
attributes:
  check_mode: {support: full, description: "Evaluates the results, and writes nothing."}
  diff_mode: {support: none, description: Changes nothing.}
options:
  dest: {description: Directory of the report; created if it does not exist., type: path, required: true}
  template: {description: Jinja2 template of the page., type: path, required: true}
  site: {description: Name of the site., type: str, required: true}
  plan:
    description: RV(cloudwatt.socle.rie_plan#module:plan).
    type: dict
    required: true
  guests:
    description: RV(cloudwatt.socle.verify_guests#module:guests).
    type: list
    elements: dict
    default: []
  sites:
    description: RV(cloudwatt.socle.reachability#module:sites).
    type: list
    elements: dict
    default: []
  api:
    description: RV(cloudwatt.socle.verify_api#module:checks).
    type: list
    elements: dict
    default: []
  sessions:
    description: Sessions with C(gateway), C(vrf), C(what), C(neighbor), C(state), C(ok), C(detail).
    type: list
    elements: dict
    default: []
  errors:
    description: Errors that prevented the guests from running. Each is a violation.
    type: list
    elements: str
    default: []
  isolation:
    description: RV(cloudwatt.socle.isolation_report#module:report).
    type: dict
  matrix:
    description: RV(cloudwatt.socle.reachability#module:matrix). If it is missing, no host could send probes.
    type: dict
"""

EXAMPLES = r"""
- name: Write the wiring report
  cloudwatt.socle.verify_report:
    dest: .socle/reports/lab
    template: "{{ role_path }}/templates/verify.html.j2"
    site: lab
    plan: "{{ rie_plan_result.plan }}"
    guests: "{{ verify_guests_result.guests }}"
  delegate_to: localhost
"""

RETURN = r"""
ok:
  description: Whether all is as expected.
  returned: always
  type: bool
summary:
  description: The verdict in a sentence.
  returned: success
  type: str
notes:
  description: Parts that were not tested, for instance because no probe host exists.
  returned: success
  type: list
  elements: str
files:
  description: The files written.
  returned: always
  type: list
  elements: str
"""

import datetime
import json
import os
import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.files import write
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import report as engine

try:
    import jinja2

    from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import report_page

    NO_JINJA2 = None
except ImportError:
    NO_JINJA2 = traceback.format_exc()

DICTS = {"type": "list", "elements": "dict", "default": []}
ARGUMENTS = {
    "dest": {"type": "path", "required": True},
    "template": {"type": "path", "required": True},
    "site": {"type": "str", "required": True},
    "plan": {"type": "dict", "required": True},
    "guests": DICTS,
    "sites": DICTS,
    "api": DICTS,
    "sessions": DICTS,
    "errors": {"type": "list", "elements": "str", "default": []},
    "matrix": {"type": "dict"},
    "isolation": {"type": "dict"},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if NO_JINJA2:
        module.fail_json(msg=missing_required_lib("jinja2"), exception=NO_JINJA2)
    given = {key: value for key, value in module.params.items() if key in ARGUMENTS}
    dest, template = given.pop("dest"), given.pop("template")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    files: list[str] = []
    try:
        report = engine.assemble(generated=now, **given)
        contents = {
            "verify.json": json.dumps(report, indent=1, ensure_ascii=False) + "\n",
            "verify.html": report_page.render(Path(template), engine.view(report)),
        }
        if not module.check_mode:
            for name, text in contents.items():
                write(Path(dest, name), text, owner=None)
                files.append(os.path.join(dest, name))
    except (OSError, KeyError, TypeError, jinja2.TemplateError) as error:
        module.fail_json(msg=f"report: {type(error).__name__}: {error}", exception=traceback.format_exc())
    result = {
        "changed": False,
        "ok": report["ok"],
        "summary": engine.summary(report),
        "notes": report["notes"],
        "files": files,
    }
    if not report["ok"]:
        lines = [f"  {violation['text']}" for violation in report["violations"]]
        where = [f"Report: {path}" for path in files[1:]]
        message = "\n".join([f"Not as expected: {result['summary']}", *lines, *where])
        module.fail_json(msg=message, ok=False, files=files)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
