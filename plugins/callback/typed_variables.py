# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: typed_variables
type: aggregate
short_description: Convert extra variables to the types of their argument specifications
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - C(-e name=value) gives text, also if a role needs a number or a boolean. Ansible checks such a value against the
    argument specification of a role, but does not convert it.
  - Before the first task of each play, this plugin converts extra variables, and variables of hosts and groups that
    the inventory itself defines, once for all roles. The vars plugin P(cloudwatt.socle.typed_files#vars) does the
    same for C(group_vars) and C(host_vars).
  - A value that cannot be converted is left unchanged, and M(cloudwatt.socle.site_validate) refuses it.
requirements: [Enable it in ansible.cfg with C(callbacks_enabled).]
"""

from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.variable_types import convert


class CallbackModule(CallbackBase):
    """Acts at the start of each play, because the previous play may have added hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cloudwatt.socle.typed_variables"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_play_start(self, play: Play) -> None:
        manager = play.get_variable_manager()
        inventory = manager._inventory
        entities = [*inventory.groups.values(), *inventory.hosts.values()]
        for variables in (manager.extra_vars, *(entity.vars for entity in entities)):
            variables.update(convert(variables))
