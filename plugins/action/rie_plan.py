# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Plan the wiring of all tenants on the control node; plugin_utils/rie/planner.py computes the plan.

This is an action plugin, because the intent and the ledger are on the control node. To start a module, with half a
megabyte of input and more of output, takes longer than to compute the plan.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import files
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.common.yaml_lines import DUMPER, LOADER
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

HEADER = """\
---
# Allocations of the RIE wiring, written by rie_plan; do not edit.
# Keep it in git: it makes a rebuilt site the same.
"""
ARGUMENTS = {
    "intent": {"type": "dict", "required": True},
    "ledger_path": {"type": "path"},
    "gateways": {"type": "list", "elements": "str"},
    "reserved": {"type": "dict", "default": {}},
    "secret_names": {"type": "list", "elements": "str", "no_log": False},
    "allow_documentation": {"type": "bool", "default": False},
    "today": {"type": "str"},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        # The validator copies all of its input, value by value. Of the intent it would check only the type.
        intent = self._task.args.get("intent")
        if isinstance(intent, dict):
            self._task.args = self._task.args | {"intent": {}}
        _checked, options = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # Convert to plain data, as modules receive it: YAML cannot represent Ansible's own types of text and number.
        plain = json.loads(json.dumps(options | {"intent": intent}))
        return result | planned(plain, self._task.check_mode)


def planned(options: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Return the result of the task. Write the ledger if it changes, except in check mode or after violations."""
    path = Path(options["ledger_path"]) if options["ledger_path"] else None
    try:
        before = path.read_text(encoding="utf-8") if path and path.exists() else ""
        ledger = yaml.load(before, LOADER) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date that does not exist
        return failure(f"{path}: cannot be read: {error}")
    today = options["today"] or datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        datetime.date.fromisoformat(today)
    except ValueError as error:
        return failure(f"today: {error}")
    site = {
        "gateways": options["gateways"],
        "reserved": options["reserved"],
        "secrets": options["secret_names"],
        "allow_documentation": options["allow_documentation"],
        "today": today,
    }
    made = planner.plan(options["intent"], ledger, site=site)
    if made.violations:
        told = "the RIE intent has faults, nothing was done:\n" + "\n".join(map(str, made.violations))
        return failure(told, [violation.as_dict() for violation in made.violations])
    changed = path is not None and made.ledger != ledger
    diff = []
    if path is not None and changed:
        after = render(made.ledger)
        diff = [{"before_header": str(path), "after_header": str(path), "before": before, "after": after}]
        if not check_mode:
            try:
                files.write(path, after, owner=None)
            except OSError as error:
                return failure(f"{path}: cannot be written: {error}")
    return {"changed": changed, "plan": made.plan, "violations": [], "diff": diff}


def render(ledger: Mapping[str, Any]) -> str:
    return HEADER + yaml.dump(ledger, Dumper=DUMPER, sort_keys=False, allow_unicode=True)


def failure(text: str, violations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"failed": True, "changed": False, "msg": text, "violations": violations or []}
