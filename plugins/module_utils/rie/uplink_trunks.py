# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The VLANs that uplink ports of Open vSwitch may carry. Pure."""

from __future__ import annotations

from typing import Any

from .netns import CommandError


def plan_trunks(live: dict[str, dict[str, Any]], trunks: dict[str, list[int]]) -> list[list[str]]:
    """Return ovs-vsctl commands that set the VLANs of uplink ports; [] if there is nothing to change.

    ``live``: see ``netns.observe_ports``. An empty list in ``trunks`` means no VLAN. It is written as the reserved
    VLAN 4095, because OVS reads an empty set as *all*.
    """
    commands: list[list[str]] = []
    for port, vlans in sorted(trunks.items()):
        numbers = sorted(set(vlans)) or [4095]
        have = live.get(port)
        if have is None:
            raise CommandError(f"{port}: no such port on any bridge of Open vSwitch")
        if (have["trunks"], have["vlan_mode"]) != (numbers, "trunk"):
            commands.append(["set", "port", port, "vlan_mode=trunk", f"trunks={','.join(map(str, numbers))}"])
    return commands
