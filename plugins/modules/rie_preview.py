#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_preview
short_description: Write a preview of the changes that wiring a site into the RIE would make
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Combines the results of the wiring modules in check mode into one readable preview, by tenant and by gateway, with
    the API calls and the session resets that the changes would cost.
  - If a preview that was reviewed is given, the module writes nothing, and fails if the changes now differ from it.
  - A preview is not configuration, so writing it does not count as a change.
attributes:
  check_mode: {support: full, description: "The preview is written in check mode too, as this is its purpose."}
  diff_mode: {support: none, description: Changes nothing.}
options:
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
  cloud:
    description:
      - Results of C(projects) (M(cloudwatt.socle.identity_catalog)), C(neutron) (M(cloudwatt.socle.rie_neutron))
        and C(bfd) (M(cloudwatt.socle.ovn_gateways)).
    type: dict
    default: {}
  netns:
    description: Results of M(cloudwatt.socle.rie_netns) by gateway.
    type: dict
    default: {}
  rulesets:
    description: Results of M(cloudwatt.socle.nftables_netns) by gateway.
    type: dict
    default: {}
  instances:
    description: Results of M(cloudwatt.socle.frr_instance) by gateway.
    type: dict
    default: {}
  sessions:
    description: Results of M(cloudwatt.socle.rie_info) by gateway, stored with the preview as C(states).
    type: dict
    default: {}
  path: {description: File of the preview; its directory is created if it does not exist., type: path, required: true}
  expected:
    description: Whether O(path) holds the preview that was shown, and must still be true. It is then not written.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the wiring preview
  cloudwatt.socle.rie_preview:
    site: lab
    plan: "{{ rie_plan_result.plan }}"
    cloud: {neutron: "{{ rie_cloud_neutron }}"}
    path: .socle/reports/lab/rie-plan.json
  delegate_to: localhost
"""

RETURN = r"""
changes:
  description: How many changes there are.
  returned: success
  type: int
digest:
  description: SHA-256 of the preview.
  returned: success
  type: str
lines:
  description: The preview for a person.
  returned: success
  type: list
  elements: str
"""

import datetime
import difflib
import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import files
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import rie_preview as engine

ARGUMENTS = {
    "site": {"type": "str", "required": True},
    "plan": {"type": "dict", "required": True},
    "ledger": {"type": "list", "elements": "dict", "default": []},
    "cloud": {"type": "dict", "default": {}},
    "netns": {"type": "dict", "default": {}},
    "rulesets": {"type": "dict", "default": {}},
    "instances": {"type": "dict", "default": {}},
    "sessions": {"type": "dict", "default": {}},
    "path": {"type": "path", "required": True},
    "expected": {"type": "bool", "default": False},
}


def moved(path: Path, found: dict) -> str:
    """Return why the preview at ``path`` must not be applied, or "" if it is still correct."""
    try:
        shown = json.loads(path.read_text(encoding="utf-8"))
        before = engine.text(shown)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path} holds no preview ({error}): look at one first, by `socle rie plan`"
    if shown["digest"] == found["digest"]:
        return ""
    change = difflib.unified_diff(before, engine.text(found), "shown", "now", n=0, lineterm="")
    return "\n".join([f"the live state has moved since {path} was made, nothing was done:", *change,
                      "look again, by `socle rie plan`"])  # fmt: skip


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    path = Path(options["path"])
    parts = ("netns", "rulesets", "instances")
    gateways = {name: {part: options[part].get(name, {}) for part in parts} for part in parts for name in options[part]}
    try:
        found = engine.preview(
            options["site"],
            options["plan"],
            ledger=options["ledger"],
            cloud=options["cloud"],
            gateways=gateways,
        )
        if options["expected"]:
            if why := moved(path, found):
                module.fail_json(msg=why)
        else:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            states = [row for result in options["sessions"].values() for row in result.get("sessions", [])]
            document = found | {"made": now, "states": states, "lines": engine.text(found)}
            files.write(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n", owner=None)
    except OSError as error:
        module.fail_json(msg=f"{path}: {error.strerror}")
    module.exit_json(changed=False, changes=found["changes"], digest=found["digest"], lines=engine.text(found))


if __name__ == "__main__":
    main()
