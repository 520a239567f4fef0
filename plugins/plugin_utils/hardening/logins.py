# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Settings of accounts and logins, shells, banners and the timeout of idle sessions."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, template, text_file


def logins(policy: Policy, settings: Settings) -> list[Entry]:
    umask = "077" if policy.holds(36) else "027"
    return [
        # PASS_MAX_DAYS sets no limit. Otherwise an account that is created later and logs in by key would be refused
        # when its password is too old.
        text_file("/etc/login.defs", template("login.defs", umask=umask)),
        text_file("/etc/profile", template("profile", umask=umask)),
        text_file("/etc/bash.bashrc", template("bash.bashrc", umask=umask)),
        # Root cannot log in on any terminal (R33).
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
        # All shells read this file, and some read it twice. logind ends sessions of shells without TMOUT, such as dash.
        # In bash, TMOUT also limits `read`, so it is not set for scripts. The scanner looks for the line with
        # `declare`, which only bash supports.
        text_file("/etc/profile.d/session-timeout.sh", template("session-timeout.sh", seconds=seconds)),
        {"path": "/etc/systemd/logind.conf.d/hardening.conf", "format": "ini", "content": login},
    ]
