# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Arguments and results of modules: the parts that several modules share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def told(options: Mapping[str, Any], *large: str) -> dict[str, Any]:
    """Return the ``invocation`` of a module's result without the options that are ``large`` or secret.

    By default, all options of a module are returned, searched for secrets, and passed to every callback: this takes a
    third of a second for the VRFs of a gateway.
    """
    return {"module_args": {name: value for name, value in options.items() if name not in large}}


def diff_entry(header: str, before: str | None, after: str | None) -> dict[str, str]:
    """Return an entry of a module's ``diff`` list, in the shape that ``ansible --diff`` prints.

    None means it does not exist.
    """
    return {"before_header": header, "after_header": header, "before": before or "", "after": after or ""}


def list_of(options: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Argument specification of a list of mappings, empty by default."""
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def lines(items: Iterable[Any]) -> str:
    """Return items as text, one per line, each line ended."""
    return "".join(f"{item}\n" for item in items)
