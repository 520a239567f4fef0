# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Combine several calls of module ``node_service``: the node is read once, long work runs in parallel. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .phases import PHASES


class CallError(ValueError):
    """Calls that contradict each other."""


def merge(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options of one call with the effect of all ``calls``.

    Lists are joined, without duplicates; mappings are united; ``phases`` are those of all calls. All other options must
    have the same value in all calls that set them. Waves of units and of schemas count over all calls.
    """
    merged: dict[str, Any] = {}
    faults = []
    for call in calls:
        for option, value in call.items():
            have = merged.get(option)
            if have is None:
                merged[option] = value
            elif isinstance(have, list) and isinstance(value, list):
                merged[option] = have + [item for item in value if item not in have]
            elif isinstance(have, Mapping) and isinstance(value, Mapping):
                if clash := sorted(key for key in have if key in value and have[key] != value[key]):
                    faults.append(f"{option}: {', '.join(clash)}")
                merged[option] = {**have, **value}
            elif have != value:
                faults.append(option)
    if faults:
        raise CallError(f"the calls differ in {'; '.join(dict.fromkeys(faults))}")
    if "phases" in merged:
        merged["phases"] = [phase for phase in PHASES if phase in merged["phases"]]
    return merged
