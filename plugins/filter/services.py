# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters over plugin_utils/facts/services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import services


class FilterModule:
    """Filters that derive facts from the declarations of the services."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "service_apis": services.apis,
            "service_broker_users": services.broker_users,
            "service_catalog": services.catalog,
            "service_databases": services.databases,
            "service_domains": services.domains,
            "service_users": services.users,
        }
