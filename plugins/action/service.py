# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The half of module ``service`` that runs with Ansible: the phases come from the tags of the task and of the run."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.cloudwatt.socle.plugins.module_utils.phases import chosen


class ActionModule(ActionBase):
    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        phases = chosen(self._task.tags, (task_vars or {})["ansible_run_tags"])
        arguments = {"phases": phases, **self._task.args}
        return result | self._execute_module(module_args=arguments, task_vars=task_vars)
