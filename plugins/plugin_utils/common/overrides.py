# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The site's settings over those of a role. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """``overrides`` over ``base``: mappings are merged at every depth, and null removes a key or a whole section.

    Anything else, lists included, takes the place of what was there.
    """
    result = _without_null(base)
    for key, value in (overrides or {}).items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = _without_null(value) if isinstance(value, Mapping) else value
    return result


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_null(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
