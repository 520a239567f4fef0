# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Automatic installation of security updates."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, template, text_file


def updates(policy: Policy, settings: Settings) -> list[Entry]:
    held = "".join(f'  "{pattern}";\n' for pattern in settings["update_hold"])
    times = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
    return [
        # Socle manages many conffiles of packages. They are kept, and a security update with another version of one is
        # installed nevertheless: otherwise unattended-upgrades skips packages that might ask about a file.
        text_file(
            "/etc/apt/apt.conf.d/50unattended-upgrades", template("50unattended-upgrades", held=held), comment="//"
        ),
        text_file("/etc/apt/apt.conf.d/20auto-upgrades", times, comment="//"),
        text_file("/etc/needrestart/conf.d/50-hardening.conf", template("needrestart.conf")),
    ]
