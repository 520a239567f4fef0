# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters for the lab's simulation of the RIE."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import backbone as engine

DOCUMENTATION = r"""
name: backbone
short_description: Provider edges and sites of the lab's RIE
version_added: "0.1.0"
description:
  - Mirrors the intent of the inventory into namespaces, trunks and BIRD configurations of a machine that plays the RIE.
positional: _input
options:
  _input:
    description: The tenants of the inventory (C(rie_tenants)).
    type: list
    elements: dict
    required: true
  uplinks:
    description: By gateway, the provider edge, the bridge and the port that face it (keys C(pe), C(bridge), C(port)).
    type: dict
    required: true
  sites:
    description: Sites (keys C(name), C(vrf), C(v4), C(v6), and C(asn) if not from 65100 upward).
    type: list
    elements: dict
    required: true
  access:
    description: Prefixes (keys C(v4), C(v6)) that the links between provider edges and sites are cut from.
    type: dict
    required: true
  core:
    description: IPv6 prefix that the links between VRFs of a provider edge are cut from.
    type: str
    required: true
  bgp:
    description: Profile of the sessions (C(rie_bgp)).
    type: dict
    required: true
  asn:
    description: AS number of the gateways.
    type: int
    required: true
  secrets:
    description: The secrets of the site, by name.
    type: dict
    required: true
  mtu:
    description: MTU of the links.
    type: int
    default: 1500
  tx_offload:
    description: Whether links into Open vSwitch keep transmit checksum offload.
    type: bool
    default: true
"""

EXAMPLES = r"""
backbone_built: "{{ rie_tenants | cloudwatt.socle.backbone(uplinks=backbone_uplinks, sites=backbone_sites,
  access=backbone_access, core=backbone_core, bgp=rie_bgp, asn=rie_asn, secrets=secrets) }}"
"""

RETURN = r"""
_value:
  description:
    - Keys C(definitions) (namespaces), C(trunks) (VLANs by port) and C(files) (BIRD configurations by namespace).
  type: dict
"""


def backbone(tenants: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """See DOCUMENTATION."""
    try:
        return engine.build(tenants, **options)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    except KeyError as error:
        raise AnsibleFilterError(f"{error} is missing") from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "backbone": backbone,
            "backbone_bridges": engine.bridges,
            "bird_files": engine.bird_files,
            "bird_units": engine.bird_units,
        }
