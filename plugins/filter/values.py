# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters about values: convert types, merge overrides, and format values for the programs that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import quoting, url_logins
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.common import overrides
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import typed_values


def typed(value: Any, kind: str) -> Any:
    """Return a value as a number or a boolean."""
    given = value.strip() if isinstance(value, str) else str(value)
    converted = typed_values.typed({"type": kind}, given)
    if isinstance(converted, str):
        raise AnsibleFilterError(f"{given[:40]!r} is not of type {kind}")
    return converted


def apt_auth(urls: Iterable[str]) -> str:
    """Return the logins of URLs in the format of apt."""
    try:
        return url_logins.apt_auth(urls)
    except url_logins.LoginError as fault:
        raise AnsibleFilterError(f"the URL of a mirror or proxy {fault}") from fault


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "apt_auth": apt_auth,
            "bare_url": url_logins.bare,
            "database_url": quoting.database_url,
            "merged": overrides.merged,
            "oslo_literals": quoting.oslo_literals,
            "typed": typed,
            "url_passwords": url_logins.passwords,
        }
