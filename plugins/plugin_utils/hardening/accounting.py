# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Activity statistics (sysstat), and the check of package files (debsums)."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file


def accounting(policy: Policy, settings: Settings) -> list[Entry]:
    """Return the files that enable sysstat, and a weekly check that the files of packages are unchanged."""
    return [
        text_file("/etc/default/sysstat", 'ENABLED="true"\n'),
        text_file("/etc/default/debsums", "CRON_CHECK=weekly\n"),
    ]
