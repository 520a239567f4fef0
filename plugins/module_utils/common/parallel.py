# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Call a function for several items at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(function: Callable[[T], R], items: Iterable[T], workers: int = 8) -> list[R]:
    """``[function(item) for item in items]``, in parallel; an exception is raised after all calls have ended."""
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    from concurrent.futures import ThreadPoolExecutor  # a tenth of most modules' import time, and most have one item

    with ThreadPoolExecutor(max_workers=min(workers, len(todo))) as pool:
        return list(pool.map(function, todo))
