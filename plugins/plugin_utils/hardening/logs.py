# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Logs: rsyslog, the journal, and the rotation of files."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, template, text_file

#: Logs that rsyslog writes or has written. Debian's configuration writes mail and user; nodes that have them keep them.
SYSTEM_LOGS = ("auth.log", "cron.log", "kern.log", "mail.log", "user.log", "syslog")


def rsyslog(policy: Policy, settings: Settings) -> list[Entry]:
    lines = [
        'module(load="imuxsock")',
        'module(load="imklog" permitnonkernelfacility="on")' if settings["kernel_log"] else "",
        "$FileOwner root",
        "$FileGroup adm",
        "$FileCreateMode 0640",
        "$DirCreateMode 0750",
        "$Umask 0022",
        "$WorkDirectory /var/spool/rsyslog",
    ]
    tls = settings["log_tls"]
    collector, listens = settings["log_collector"], settings["log_listens"]
    if collector or listens:
        lines += [
            f'global(DefaultNetstreamDriverCAFile="{tls["ca"]}")',
            f'global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCertFile="{tls["certificate"]}" '
            f'DefaultNetstreamDriverKeyFile="{tls["key"]}")',
        ]
    if listens:
        lines += [
            'module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" '
            'StreamDriver.AuthMode="x509/certvalid")',
            'template(name="remote" type="string" string="/var/log/remote/%HOSTNAME:::secpath-replace%.log")',
            'ruleset(name="remote") { action(type="omfile" dynaFile="remote") stop }',
            f'input(type="imtcp" port="6514" address="{listens}" ruleset="remote")',
        ]
    if collector:
        lines += [
            f'*.*\naction(type="omfwd" protocol="tcp" Target="{collector}" port="6514" StreamDriver="gtls" '
            f'StreamDriverMode="1" StreamDriverAuthMode="x509/name" streamdriver.CheckExtendedKeyPurpose="on" '
            f'StreamDriverPermittedPeers="{collector}" queue.type="LinkedList" queue.filename="forward" '
            'queue.maxDiskSpace="1g" queue.saveOnShutdown="on" action.resumeRetryCount="-1")'
        ]
    lines += [
        # The collector gets all messages, so it comes before the files of packages: many of them end with `stop`.
        "$IncludeConfig /etc/rsyslog.d/*.conf",
        "auth,authpriv.* /var/log/auth.log",
        "*.*;auth,authpriv.none -/var/log/syslog",
        "cron.* /var/log/cron.log",
        "kern.* -/var/log/kern.log",
        "*.emerg :omusrmsg:*",
    ]
    forward = {"Journal": {"ForwardToSyslog": True, "Storage": "persistent", "Compress": True}}
    return [
        {**text_file("/etc/rsyslog.conf", "\n".join(line for line in lines if line) + "\n"), "mode": "0640",
         "validate": "rsyslogd -N1 -f %s"},
        {"path": "/etc/systemd/journald.conf.d/hardening.conf", "format": "ini", "content": forward},
    ]  # fmt: skip


def logrotate(policy: Policy, settings: Settings) -> list[Entry]:
    # logrotate.conf sets how often logs are rotated and how long they are kept. `create` without arguments keeps the
    # owner and mode of a log, and there is no `su`: both belong to the package whose daemon opens the log again.
    logs = "\n".join([*(f"/var/log/{name}" for name in SYSTEM_LOGS), settings["sudo_log"], "/var/log/remote/*.log"])
    rotated = f"{logs} {{\n  sharedscripts\n  postrotate\n    /usr/lib/rsyslog/rsyslog-rotate\n  endscript\n}}\n"
    return [
        text_file("/etc/logrotate.conf", template("logrotate.conf")),
        text_file("/etc/logrotate.d/rsyslog", rotated),
    ]
