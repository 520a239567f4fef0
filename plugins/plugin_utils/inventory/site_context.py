# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The input of the rules about an inventory: the inventory itself, the roles, and the host on which the rules run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..common.shapes import BAD, Faults, Shape
from ..common.yaml_lines import Document
from . import role_specs, shape_kinds
from .host_rules import KNOWN_GROUPS
from .site_model import Inventory, Source, Violation

Fetch = Callable[[str], str]
"""Takes a URL; returns "" when it answers, else the reason why not."""


@dataclass(frozen=True)
class Context:
    inventory: Inventory
    roles: role_specs.Roles
    fetch: Fetch
    today: str
    project: Path
    shapes: dict[str, shape_kinds.Shape] = field(default_factory=dict)
    source_of: Callable[[str], str] = field(default=lambda address: "")
    """Takes an address; returns that of this machine from which it is reached, or ""."""
    shipped_waivers: tuple[tuple[str, set[str]], ...] = ()
    """Check and groups of the project's own waivers."""
    installs: bool = True
    """Whether the run installs packages."""

    def resolved(self, name: str, host: str = "") -> Any:
        """The value that a role will see: of the inventory, else the default. None if only a run can tell it."""
        found = self.inventory.find(name, host)
        if found is not None:
            value = found[1]
        elif self.inventory.view and name in self.roles.defaults:
            defaults = self.project / self.roles.defaults[name][0]
            value = self.inventory.view.derived(name, host or "localhost", defaults)
        else:
            value = self.roles.values.get(name)
        return None if shape_kinds.is_template(value) else value

    def known(self, name: str, host: str = "") -> Any:
        """The value that a role will see, unless another rule refuses it for its shape: then None."""
        value, shape = self.resolved(name, host), self.shapes.get(name)
        return None if shape and any(shape.faults(value, self.names)) else value

    def default(self, name: str) -> Source | None:
        """The place of the default of variable `name` in its role."""
        if name not in self.roles.defaults:
            return None
        file, line, _text = self.roles.defaults[name]
        return Source(file, Document({name: self.roles.values.get(name)}, {(): 1, (name,): line}))

    @cached_property
    def names(self) -> shape_kinds.Names:
        groups = {*self.inventory.groups, *KNOWN_GROUPS}
        return shape_kinds.Names(frozenset(self.inventory.hosts), frozenset(groups), frozenset(self.roles.names))

    def shape(self, shape: Shape, name: str, host: str = "") -> tuple[Any, list[Violation]]:
        """Parse variable `name`; return (parsed or None, violations). Unset and templated give None."""
        found = self.inventory.find(name, host)
        if found is None or "{{" in str(found[1]):
            return None, []
        faults: Faults = []
        parsed = shape(found[1], name, faults)
        wrong = [found[0].violation((name,), found[1], fault.reason, fault.remedy) for fault in faults]
        return (None if parsed is BAD else parsed), wrong
