# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Settings of accounts and logins, the shells of users, banners, and the end of idle sessions."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, template, text_file


def logins(policy: Policy, settings: Settings) -> list[Entry]:
    umask = "077" if policy.holds(36) else "027"
    return [
        # No limit in PASS_MAX_DAYS: an account that is made later, and logs in by key, would be refused once its
        # password is too old.
        text_file("/etc/login.defs", template("login.defs", umask=umask)),
        text_file("/etc/profile", template("profile", umask=umask)),
        text_file("/etc/bash.bashrc", template("bash.bashrc", umask=umask)),
        # No terminal is one that root logs in from (R33).
        {"path": "/etc/securetty", "content": "\n", "mode": "0600"},
        text_file("/etc/issue", settings["banner"] + "\n", comment=""),
        text_file("/etc/issue.net", settings["banner"] + "\n", comment=""),
        text_file("/etc/motd", "", comment=""),
        {"path": "/etc/cron.allow", "content": "root\n", "mode": "0600"},
        {"path": "/etc/at.allow", "content": "root\n", "mode": "0600"},
    ]


def sessions(policy: Policy, settings: Settings) -> list[Entry]:
    seconds = settings["session_seconds"]
    login = {"Login": {"StopIdleSessionSec": seconds, "KillUserProcesses": False}}
    return [
        # Read by any shell, and by some of them twice. A shell without TMOUT, such as dash, is ended by logind. In bash
        # TMOUT also limits `read`, so scripts do not get it. The scanner looks for the line with `declare`, which only
        # bash knows.
        text_file("/etc/profile.d/session-timeout.sh", template("session-timeout.sh", seconds=seconds)),
        {"path": "/etc/systemd/logind.conf.d/hardening.conf", "format": "ini", "content": login},
    ]
