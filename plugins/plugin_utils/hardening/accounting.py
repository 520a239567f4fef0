# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Figures of the node, and the check of the files of packages."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file


def accounting(policy: Policy, settings: Settings) -> list[Entry]:
    """Figures of the node, and a weekly look whether packages' files are theirs."""
    return [
        text_file("/etc/default/sysstat", 'ENABLED="true"\n'),
        text_file("/etc/default/debsums", "CRON_CHECK=weekly\n"),
    ]
