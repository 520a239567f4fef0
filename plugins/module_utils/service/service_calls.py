# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Several calls of module ``node_service`` as one: the node is asked once, long work runs side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .phases import PHASES


class CallError(ValueError):
    """Calls that contradict one another."""


def merge(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The options of one call that does what ``calls`` would.

    Lists follow one another, each item once; mappings are united; ``phases`` are those of any. Whatever else several
    say has to be the same. Waves of units and of schemas count over all calls.
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
