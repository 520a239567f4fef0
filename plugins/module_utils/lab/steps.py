# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A step of a plan, the parallel run of steps, and records in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .host import LabHostError


@dataclass
class Step:
    """One action: ``kind`` and ``name`` describe it, ``action`` performs it."""

    kind: str
    name: str
    action: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def side_by_side(steps: list[Step]) -> list[str]:
    """Run steps in parallel; return the failures in the order of the steps."""
    if not steps:
        return []
    with ThreadPoolExecutor(max_workers=8) as pool:
        futures = [(step, pool.submit(step.action)) for step in steps]
        problems = []
        for step, future in futures:
            try:
                future.result()
            except (LabHostError, OSError) as error:
                problems.append(f"{step}: {error}")
    return problems


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a record, so that a reader sees either the old content or the new one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    temporary.rename(path)
