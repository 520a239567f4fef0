# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters of the RIE's BGP sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: session_passwords
short_description: TCP MD5 keys of the VRFs of a gateway
version_added: "0.1.0"
description:
  - Looks up the secret that each VRF of a gateway's plan names for its sessions to the provider edge.
  - VRFs without such a name are left out. All missing secrets are reported at once.
positional: _input, secrets
options:
  _input:
    description: The VRFs of the gateway, as the plan has them.
    type: list
    elements: dict
    required: true
  secrets:
    description: The secrets of the site, by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
passwords: "{{ rie_gateway_plan.vrfs | cloudwatt.socle.session_passwords(secrets) }}"
"""

RETURN = r"""
_value:
  description: Keys by VRF.
  type: dict
"""


def session_passwords(vrfs: list[dict[str, Any]], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return ``{vrf: password}``, see DOCUMENTATION."""
    names = {vrf["name"]: vrf["pe"]["password_secret"] for vrf in vrfs if vrf.get("pe", {}).get("password_secret")}
    missing = sorted(set(names.values()) - set(secrets))
    if missing:
        raise AnsibleFilterError(f"secrets.yml lacks {', '.join(missing)}, named by password_secret of a link")
    return {vrf: secrets[name] for vrf, name in names.items()}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"session_passwords": session_passwords}
