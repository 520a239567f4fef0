# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The boot program of namespaces on a node: its path, the unit that runs it, and the text of a definition. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .netns import DEFINITIONS

PROGRAM = Path("/usr/local/lib/socle/netns.py")
UNIT = "socle-netns@.service"
UNIT_PATH = Path("/etc/systemd/system") / UNIT

UNIT_TEXT = f"""\
# Written by cloudwatt.socle. Brings the namespace back as {DEFINITIONS}/<name> describes it.
[Unit]
Description=Network namespace %i
Wants=openvswitch-switch.service
After=openvswitch-switch.service ovs-vswitchd.service systemd-sysctl.service network-pre.target
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 -S {PROGRAM} up %i
ExecReload=/usr/bin/python3 -S {PROGRAM} up %i
ExecStop=/usr/bin/python3 -S {PROGRAM} down %i

[Install]
WantedBy=multi-user.target
"""


def unit_name(name: str) -> str:
    """Return the unit that brings a namespace up."""
    return UNIT.replace("@.", f"@{name}.")


def dump(definition: dict[str, Any]) -> str:
    """Return the stored text of a definition: stable, one trailing newline."""
    return json.dumps(definition, indent=1, sort_keys=True) + "\n"
