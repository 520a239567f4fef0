# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Namespaces of a node, all of one owner at once: definitions on disk, units, links, Open vSwitch ports, pruning."""

from __future__ import annotations

import hashlib
import inspect
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..common.files import read, write, write_if_changed
from ..common.parallel import in_parallel
from ..common.results import diff_entry
from . import netns, netns_units
from .unit_states import unit_states
from .uplink_trunks import plan_trunks


@dataclass
class Outcome:
    """Result of a run, or its forecast.

    ``actions``: ``{name: created|changed|started|removed}``; ``steps``: readable, by namespace ("" for the node).
    """

    actions: dict[str, str] = field(default_factory=dict)
    steps: dict[str, list[str]] = field(default_factory=dict)
    diff: list[dict[str, Any]] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """True if anything was changed, or would be."""
        return bool(self.actions or self.steps or self.diff)

    def tell(self, name: str, steps: Iterable[str]) -> None:
        """Add the steps of a namespace."""
        if found := list(steps):
            self.steps.setdefault(name, []).extend(found)


def _definition_path(name: str) -> Any:
    return netns.DEFINITIONS / name / "netns.json"


def _version(text: str | None) -> str:
    return f"version {hashlib.sha256(text.encode()).hexdigest()[:12]}\n" if text is not None else ""


def install_program(check_mode: bool) -> list[dict[str, Any]]:
    """Install the boot program and its unit on the node; return the diff of the changes."""
    diff = []
    for path, text in ((netns_units.PROGRAM, inspect.getsource(netns)), (netns_units.UNIT_PATH, netns_units.UNIT_TEXT)):
        before = read(path)
        if write_if_changed(path, text, check_mode):
            # The program's text would not help a reader of the diff, so the diff shows only its version.
            diff.append(diff_entry(str(path), *map(_version, (before, text))))
    if diff and not check_mode:
        netns.run(["systemctl", "daemon-reload"])
    return diff


def _observe_ports(check_mode: bool) -> dict[str, dict[str, Any]]:
    try:
        return netns.observe_ports()
    except netns.CommandError:
        if check_mode:
            return {}
        raise


def converge(
    owner: str,
    definitions: list[dict[str, Any]],
    trunks: dict[str, list[int]] | None = None,
    prune: bool = True,
    check_mode: bool = False,
) -> Outcome:
    """Bring the namespaces of ``owner`` to ``definitions``. Namespaces that already match are not touched."""
    outcome = Outcome(diff=install_program(check_mode))
    wanted = {definition["name"]: definition for definition in definitions}
    known = netns.stored(owner)
    gone = sorted(set(known) - set(wanted)) if prune else []
    units = unit_states(netns_units.unit_name(name) for name in wanted)
    pending = netns.plan_all(definitions, in_parallel)
    ports = netns.access_ports(definitions)
    released, live_ports = netns.release_ports(pending, _observe_ports(check_mode))
    if check_mode:
        trunks = {port: vlans for port, vlans in (trunks or {}).items() if port in live_ports}
    port_commands = netns.plan_ports(ports, live_ports, gone) + plan_trunks(live_ports, trunks or {})
    stored_texts = {name: read(_definition_path(name)) for name in wanted}
    for name, definition in wanted.items():
        text = netns_units.dump(definition)
        unit = units[netns_units.unit_name(name)]
        if stored_texts[name] is None:
            outcome.actions[name] = "created"
        elif stored_texts[name] != text or name in pending:
            outcome.actions[name] = "changed"
        elif not (unit["active"] and unit["enabled"]):
            outcome.actions[name] = "started"
        if stored_texts[name] != text:
            outcome.diff.append(diff_entry(str(_definition_path(name)), stored_texts[name], text))
        outcome.tell(name, map(str, pending.get(name, [])))
    for name in gone:
        outcome.actions[name] = "removed"
        outcome.diff.append(diff_entry(str(_definition_path(name)), netns_units.dump(known[name]), ""))
    for command in released + port_commands:
        port = next((word for word in command if word in ports or word in live_ports), "")
        owner = (ports.get(port) or live_ports.get(port) or {}).get("owner") or ""
        outcome.tell(owner, ["ovs-vsctl " + " ".join(command)])
    if check_mode or not outcome.changed:
        return outcome
    _remove(gone)
    netns.apply_ports(released)
    for name, definition in wanted.items():
        text = netns_units.dump(definition)
        if stored_texts[name] != text:
            write(_definition_path(name), text)
    # Daemons whose namespace was deleted still run in the orphaned one: a restart of the unit restarts them, too.
    vanished = [name for name, steps in pending.items() if steps[0].text.startswith("netns add")]
    vanished = [name for name in vanished if units[netns_units.unit_name(name)]["active"]]
    netns.bring_up([wanted[name] for name in wanted if name in pending and name not in vanished])
    if vanished:
        netns.run(["systemctl", "restart", "--", *map(netns_units.unit_name, vanished)])
    netns.apply_ports(port_commands)
    sleeping = [netns_units.unit_name(name) for name in wanted if not units[netns_units.unit_name(name)]["active"]]
    disabled = [netns_units.unit_name(name) for name in wanted if not units[netns_units.unit_name(name)]["enabled"]]
    if disabled:  # without a daemon-reload, which takes half a second if there are hundreds of units
        netns.run(["systemctl", "enable", "--quiet", "--no-reload", "--", *disabled])
    if sleeping:
        netns.run(["systemctl", "reset-failed", "--", *sleeping], check=False)
        netns.run(["systemctl", "start", "--", *sleeping])
    return outcome


def _remove(names: list[str]) -> None:
    """Stop the units in the namespace first (they require its unit), then the namespace itself."""
    if not names:
        return
    netns.run(["systemctl", "disable", "--now", "--quiet", "--", *map(netns_units.unit_name, names)], check=False)
    for name in names:
        netns.take_down(name, netns.stored().get(name))
        shutil.rmtree(netns.DEFINITIONS / name, ignore_errors=True)
