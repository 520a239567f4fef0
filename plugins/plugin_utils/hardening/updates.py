# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Security updates that install themselves."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, template, text_file


def updates(policy: Policy, settings: Settings) -> list[Entry]:
    held = "".join(f'  "{pattern}";\n' for pattern in settings["update_hold"])
    times = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
    return [
        # Many files that packages ask about are ours. They stay, and a security update that brings another version of
        # one is installed: unattended-upgrades would leave out a package that may ask.
        text_file(
            "/etc/apt/apt.conf.d/50unattended-upgrades", template("50unattended-upgrades", held=held), comment="//"
        ),
        text_file("/etc/apt/apt.conf.d/20auto-upgrades", times, comment="//"),
        text_file("/etc/needrestart/conf.d/50-hardening.conf", template("needrestart.conf")),
    ]
