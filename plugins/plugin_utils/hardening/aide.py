# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""AIDE, which compares the files of the system with their recorded state."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, service_unit, text_file


def aide(policy: Policy, settings: Settings) -> list[Entry]:
    kind = "p+u+g+n+s+ftype+sha512+acl+xattrs"
    lines = [
        "@@define DBDIR /var/lib/aide",
        "database_in=file:@@{DBDIR}/aide.db",
        "database_out=file:@@{DBDIR}/aide.db.new",
        "database_new=file:@@{DBDIR}/aide.db.new",
        "gzip_dbout=no",
        "num_workers=1",
        "report_level=changed_attributes",
        f"Node = {kind}",
        *(
            f"{path} Node"
            for path in ("/boot", "/etc", "/root", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/lib/systemd")
        ),
        "!/etc/socle/",
        "!/etc/(mtab|resolv.conf)$",
        "!/etc/.*(-|~|[.]socle-new)$",
        "!/root/[.](ansible|cache|bash_history)",
        # These data change all the time: guests, databases, queues, logs.
        "!/var/",
    ]
    lines += [f"!{path}" for path in settings["aide_exclude"]]
    # The file replaces that of Debian, which would check the files of every database and guest.
    text = text_file("/etc/aide/aide.conf", "\n".join(lines) + "\n")
    return [{**text, "mode": "0640", "validate": "/usr/bin/aide --config-check --config=%s"}]


def check_units() -> list[Entry]:
    """Return units that record the state of the files once, and compare the files with it each night."""
    return [
        service_unit(
            "aide-database",
            "Record the state of the system's files",
            "exec",
            "/bin/sh -c 'test -e /var/lib/aide/aide.db || { nice -n 19 aide --init --config=/etc/aide/aide.conf && "
            "mv /var/lib/aide/aide.db.new /var/lib/aide/aide.db; }'",
            Nice=19,
            StateDirectory="aide",
            StateDirectoryMode="0700",
        ),
        {
            "path": "/etc/systemd/system/aide-check.service",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Compare the system's files with their recorded state"},
                "Service": {
                    "Type": "oneshot",
                    "ExecStart": "/usr/bin/aide --check --config=/etc/aide/aide.conf",
                    # The exit code reports differences. They are not failures of the unit.
                    "SuccessExitStatus": "1 2 3 4 5 6 7",
                    "Nice": 19,
                },
            },
        },
        {
            "path": "/etc/systemd/system/aide-check.timer",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Compare the system's files each night"},
                "Timer": {"OnCalendar": "03:00", "RandomizedDelaySec": "2h", "Persistent": True},
                "Install": {"WantedBy": "timers.target"},
            },
        },
    ]
