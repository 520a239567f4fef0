# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about single variables: each is known, and has the type and the shape that its reader accepts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from ..common.yaml_lines import Vaulted
from . import ansible_variables, role_specs
from .host_rules import ROLE_GROUPS
from .shape_kinds import Fault
from .site_context import Context
from .site_model import Inventory, Source, Violation

OTHER_KEYS = {"secrets", "tunnel_address", "ovs_datapath_type", "lab_binds", "lab_image", "lab_links"}
"""Variables that belong to the site or host rather than to one role."""
FREE_PREFIXES = ("ansible_", "molecule_", "socle_")
TELLING = re.compile(r"(pass(word|phrase)?|secret|token|connection|transport_url|cookie|seeds?|hash)$", re.IGNORECASE)
"""Keys whose values are never shown."""


def keys(context: Context) -> Iterator[Violation]:
    """Every variable is one that a role, or the site itself, has."""
    for source in context.inventory.sources:
        known = _specs(context, source).keys() | OTHER_KEYS | intent_keys()
        for key, value in source.variables.items():
            meant = ansible_variables.meant(str(key)) if str(key).startswith("ansible_") else ""
            if not meant and (key in known or str(key).startswith(FREE_PREFIXES)):
                continue
            shown = None if isinstance(value, list | dict) or TELLING.search(str(key)) else value
            remedy = f"did you mean {meant}?" if meant else _near(str(key), known)
            if source.generated and not difflib.get_close_matches(str(key), map(str, known), 1, 0.9):
                continue  # inventory plugins have variables of their own
            yield source.violation((key,), shown, "unknown variable", remedy)


def types(context: Context) -> Iterator[Violation]:
    """Values have the type that their role declares, and the shape that their reader takes."""
    for source in context.inventory.sources:
        specs = _specs(context, source)
        for key, value in source.variables.items():
            if isinstance(value, Vaulted) or _templated(value):
                continue
            for path, part, reason, remedy in _value_faults(context, specs.get(key), key, value):
                yield source.violation((key, *path), part, reason, remedy)


def rendered_types(context: Context) -> Iterator[Violation]:
    """Values that are written as templates have the type and the shape of their variable once they are rendered."""
    for source in context.inventory.sources:
        specs = _specs(context, source)
        templated = {key: value for key, value in source.variables.items() if _templated(value)}
        for key in templated.keys() & (specs.keys() | context.shapes.keys()):
            told: set[tuple[Any, ...]] = set()
            for host in _hosts_of(context.inventory, source.scope):
                found = context.inventory.find(key, host)
                if found is None or found[0] is not source:
                    continue
                for path, _part, reason, remedy in _value_faults(context, specs.get(key), key, found[1]):
                    if (path, reason) in told:
                        continue
                    told.add((path, reason))
                    # The text is shown as it is written: what it is rendered to may hold a secret.
                    shown = templated[key] if isinstance(templated[key], str) else None
                    where = f", once it is rendered for {host}" if host else ", once it is rendered"
                    yield source.violation((key, *path), shown, f"{reason}{where}", remedy)


def _specs(context: Context, source: Source) -> dict[str, role_specs.Spec]:
    """Variables that a source may set: a command line may also set variables for a single run."""
    extra = context.roles.entry_points if source.extra else {}
    return {**context.roles.specs, **extra}


def _value_faults(context: Context, spec: role_specs.Spec | None, key: Any, value: Any) -> Iterator[Fault]:
    """Values that the type and the shape of a variable refuse; the part is None if it may contain a secret."""
    shape = context.shapes.get(key)
    found = list(role_specs.faults(spec, value)) if spec else []
    secret = bool(spec and spec.get("no_log")) or bool(TELLING.search(str(key)))
    if shape and not found:
        found = list(shape.faults(value, context.names))
    for path, part, reason, remedy in found:
        hidden = secret or isinstance(part, list | dict) or any(TELLING.search(str(step)) for step in path)
        yield path, None if hidden else part, reason, remedy


def _templated(value: Any) -> bool:
    return "{{" in str(value) or "{%" in str(value)


def _hosts_of(inventory: Inventory, scope: str) -> list[str]:
    """Hosts that a scope is for: the host, or one of each role in the group. "" stands for the site as a whole."""
    if scope in inventory.hosts:
        return [scope]
    members = set(inventory.members(scope))
    firsts = [next((host for host in inventory.members(group) if host in members), None) for group in ROLE_GROUPS]
    return [*([""] if scope == "all" else []), *(host for host in firsts if host is not None)]


@cache
def intent_keys() -> frozenset[str]:
    """The keys of the intent, as its engine has them."""
    from ..rie import intent as intent_model

    return frozenset(intent_model.json_schema()["properties"])


def _near(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(map(str, known)), 1, 0.75)
    return f"did you mean {near[0]}?" if near else "remove it, or correct its name"
