# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: typed_files
short_description: Convert variables in group_vars and host_vars to the types of their argument specifications
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Adds converted values to the result of P(ansible.builtin.host_group_vars#vars), for those of the roles' variables
    whose type differs from the argument specification. Each file is read once per run.
  - See P(cloudwatt.socle.typed_variables#callback) for variables from other sources.
requirements: [Enable it in ansible.cfg with C(vars_plugins_enabled), after C(host_group_vars).]
"""

from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import vars_loader
from ansible.plugins.vars import BaseVarsPlugin

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.variable_types import convert

FOUND: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}


class VarsModule(BaseVarsPlugin):
    """Calls Ansible's own plugin, so that both read the same files."""

    is_stateless = True

    def get_vars(self, loader: DataLoader, path: str, entities: Any, cache: bool = True) -> dict[str, Any]:
        entities = entities if isinstance(entities, list) else [entities]
        key = path, tuple(f"{entity.base_type} {entity.name}" for entity in entities)
        if not cache or key not in FOUND:
            files = vars_loader.get("ansible.builtin.host_group_vars")
            FOUND[key] = convert(files.get_vars(loader, path, entities, cache))
        return FOUND[key]
