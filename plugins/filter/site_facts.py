# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters over module_utils/site_facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.cloudwatt.socle.plugins.module_utils.capacity import overload
from ansible_collections.cloudwatt.socle.plugins.module_utils.site_facts import (
    cell_transport_url,
    transport_url,
    workers,
)


class FilterModule:
    """Derivations of a site's facts."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {
            "cell_transport_url": cell_transport_url,
            "overload": overload,
            "transport_url": transport_url,
            "workers": workers,
        }
