# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters over module_utils/site_facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.node_names import (
    common_name,
    node_names,
    short_name,
)
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts.capacity import overload
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts.site_facts import (
    cell_transport_url,
    transport_url,
    workers,
)


class FilterModule:
    """Filters that derive facts about a site."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "cell_transport_url": cell_transport_url,
            "common_name": common_name,
            "node_names": node_names,
            "overload": overload,
            "short_name": short_name,
            "transport_url": transport_url,
            "workers": workers,
        }
