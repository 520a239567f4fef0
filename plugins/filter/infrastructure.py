# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters over module_utils/infrastructure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.image_store import refusals
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.network_links import expected as network_links
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts.infrastructure import (
    host_names,
    memory_share,
    network_files,
    rabbitmq_definitions,
)


class FilterModule:
    """Filters for the roles below OpenStack."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "host_names": host_names,
            "image_store_refusals": refusals,
            "memory_share": memory_share,
            "network_files": network_files,
            "network_links": network_links,
            "rabbitmq_definitions": rabbitmq_definitions,
        }
