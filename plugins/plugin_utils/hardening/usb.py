# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""USB devices: only those that the rules list are accepted."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, template, text_file


def usb(policy: Policy, settings: Settings) -> list[Entry]:
    """Return the files of USBGuard, which blocks all devices that the rules do not list."""
    rules = "".join(f"{rule}\n" for rule in settings["usb_rules"])
    return [
        {**text_file("/etc/usbguard/rules.conf", rules), "mode": "0600", "validate": "usbguard-rule-parser -f %s"},
        {**text_file("/etc/usbguard/usbguard-daemon.conf", template("usbguard-daemon.conf")), "mode": "0600"},
    ]
