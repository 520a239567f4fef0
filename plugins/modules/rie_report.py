#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_report
short_description: Write a page about the current wiring into the RIE
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Combines the results from the gateways, Neutron and OVN and the last verification, and writes one HTML page
    without external references.
  - A result that is empty or failed is shown as unknown and named in the page. Fails only if the page cannot be
    written.
  - A report is not configuration, so writing it does not count as a change.
requirements: [jinja2]
attributes:
  check_mode: {support: full, description: The report is written in check mode too; it changes nothing on the site.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  path: {description: File of the page; its directory is created if it does not exist., type: path, required: true}
  data_path: {description: The same as JSON. Without it none is written., type: path}
  template: {description: Jinja2 template of the page., type: path, required: true}
  site: {description: Name of the site., type: str, required: true}
  plan:
    description: RV(cloudwatt.socle.rie_plan#module:plan).
    type: dict
    required: true
  ledger:
    description: The C(diff) of M(cloudwatt.socle.rie_plan).
    type: list
    elements: dict
    default: []
  sessions:
    description: Results of M(cloudwatt.socle.rie_info) with routes, by gateway.
    type: dict
    default: {}
  cloud:
    description: RV(cloudwatt.socle.rie_cloud_info#module:lists). Without it Neutron did not answer.
    type: dict
  compared:
    description:
      - Check-mode results of C(projects) (M(cloudwatt.socle.identity_catalog)), C(neutron)
        (M(cloudwatt.socle.rie_neutron)) and C(bfd) (M(cloudwatt.socle.ovn_gateways)).
    type: dict
    default: {}
  netns:
    description: Check-mode results of M(cloudwatt.socle.rie_netns) by gateway.
    type: dict
    default: {}
  rulesets:
    description: Check-mode results of M(cloudwatt.socle.nftables_netns) by gateway.
    type: dict
    default: {}
  instances:
    description: Check-mode results of M(cloudwatt.socle.frr_instance) by gateway.
    type: dict
    default: {}
  verified:
    description: Directory of the last verification, for its C(verify.json) and C(isolation.json), if there are any.
    type: path
"""

EXAMPLES = r"""
- name: Write the wiring report
  cloudwatt.socle.rie_report:
    path: .socle/reports/fr1/rie-report.html
    template: "{{ role_path }}/templates/report.html.j2"
    site: fr1
    plan: "{{ rie_plan_result.plan }}"
    sessions: {gw1: "{{ hostvars.gw1.rie_gateway_shown }}"}
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The page.
  returned: success
  type: str
summary:
  description: State of the wiring, in a sentence.
  returned: success
  type: str
notes:
  description: Parts that could not be read.
  returned: success
  type: list
  elements: str
"""

import datetime
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import files
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import rie_preview
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import rie_report as engine

try:
    import jinja2

    from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import report_page

    NO_JINJA2 = None
except ImportError:
    NO_JINJA2 = traceback.format_exc()

PARTS = ("netns", "rulesets", "instances")
BY_NAME = {"type": "dict", "default": {}}
ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "data_path": {"type": "path"},
    "template": {"type": "path", "required": True},
    "site": {"type": "str", "required": True},
    "plan": {"type": "dict", "required": True},
    "ledger": {"type": "list", "elements": "dict", "default": []},
    "sessions": BY_NAME,
    "cloud": {"type": "dict"},
    "compared": BY_NAME,
    "netns": BY_NAME,
    "rulesets": BY_NAME,
    "instances": BY_NAME,
    "verified": {"type": "path"},
}


def faults(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the reason for each failed result; the keys of ``results`` name their subject."""
    for what, result in results.items():
        if result.get("failed"):
            yield f"{what}: {result.get('msg') or 'failed'}"


def last(directory: str | None, name: str, keys: set[str], notes: list[str]) -> dict | None:
    """Return a report of the last verification, or None if there is none. Add a note if it cannot be read."""
    path = Path(directory, name) if directory else None
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        notes.append(f"{path} cannot be read, and is left out: {error}")
        return None
    if found is not None and not (isinstance(found, dict) and keys <= found.keys()):
        notes.append(f"{path} is no report of a verification, and is left out")
        return None
    return found


def document(options: dict[str, Any]) -> dict[str, Any]:
    """Return the report for the options of the module."""
    known = {
        **{f"cloud, {part}": result for part, result in options["compared"].items()},
        **{f"{gateway}, {part}": result for part in PARTS for gateway, result in options[part].items()},
    }
    notes = list(faults(known | {f"{name}, sessions": result for name, result in options["sessions"].items()}))
    # The result of a node that does not answer is empty. Then the report cannot tell whether anything differs.
    whole = bool(options["compared"]) and all(result and not result.get("failed") for result in known.values())
    usable = {key: {} if not result or result.get("failed") else result for key, result in known.items()}
    bfd = options["compared"].get("bfd", {})
    preview = rie_preview.preview(
        options["site"],
        options["plan"],
        ledger=options["ledger"],
        cloud={part: usable[f"cloud, {part}"] for part in options["compared"]},
        gateways={
            gateway: {part: usable.get(f"{gateway}, {part}", {}) for part in PARTS} for gateway in options["instances"]
        },
    )
    return engine.assemble(
        options["site"],
        datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        options["plan"],
        gateways={name: result for name, result in options["sessions"].items() if "sessions" in result},
        cloud=options["cloud"],
        placed=bfd.get("placed"),
        preview=preview,
        complete=whole,
        verify=last(options["verified"], "verify.json", {"generated", "measured", "probes"}, notes),
        isolation=last(
            options["verified"],
            "isolation.json",
            {"made", "ok", "facts", "not_examined", "violations"},
            notes,
        ),
        faults=notes,
    )


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if NO_JINJA2:
        module.fail_json(msg=missing_required_lib("jinja2"), exception=NO_JINJA2)
    options = module.params
    path = Path(options["path"])
    try:
        found = document(options)
        page = report_page.render(Path(options["template"]), engine.view(found, options["plan"]))
    except (OSError, KeyError, TypeError, ValueError, jinja2.TemplateError) as error:
        module.fail_json(msg=f"report: {type(error).__name__}: {error}", exception=traceback.format_exc())
    try:
        if options["data_path"]:
            text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
            files.write(Path(options["data_path"]), text, owner=None)
        files.write(path, page, owner=None)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or path}: cannot be written: {error.strerror}")
    module.exit_json(changed=False, path=str(path), summary=found["summary"], notes=found["notes"])


if __name__ == "__main__":
    main()
