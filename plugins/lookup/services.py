# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Lookup: the declarations of the OpenStack services by their roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: services
short_description: Declarations of the OpenStack services, one per role
version_added: "0.1.0"
description:
  - Reads F(roles/ROLE/meta/service.yml) of every role of this collection that has one.
  - Databases, accounts, the service catalogue, HAProxy, packet filters and checks of capacity follow from them.
options: {}
"""

EXAMPLES = r"""
- name: Show the services
  ansible.builtin.debug:
    msg: "{{ query('cloudwatt.socle.services') | map(attribute='name') }}"
"""

RETURN = r"""
_raw:
  description: Declarations, sorted by role, each with its C(role) and its system C(account).
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts.services import DeclarationError, declared


class LookupModule(LookupBase):
    """The lookup plugin."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the declarations, see DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return declared()
        except DeclarationError as error:
            raise AnsibleLookupError(f"services: {error}") from error
