# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The part of module ``node_service`` that runs on the control node: select phases by tags, and merge calls."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.cloudwatt.socle.plugins.module_utils.service.phases import chosen
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_calls import CallError, merge


class ActionModule(ActionBase):
    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        phases = chosen(self._task.tags, (task_vars or {})["ansible_run_tags"])
        arguments = {"phases": phases, **self._task.args}
        calls = arguments.pop("calls", [])
        try:
            arguments = merge([*calls, arguments])
        except CallError as error:
            raise AnsibleActionFail(str(error)) from error
        return result | self._execute_module(module_args=arguments, task_vars=task_vars)
