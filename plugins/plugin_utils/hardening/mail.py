# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Recipients of the system's mail."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file


def aliases(policy: Policy, settings: Settings) -> list[Entry]:
    return [text_file("/etc/aliases", f"postmaster: root\nroot: {settings['mail']}\n")]
