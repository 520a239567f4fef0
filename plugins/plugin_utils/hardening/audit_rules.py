# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The audit daemon and its rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file

_USERS = "-F auid>=1000 -F auid!=unset"


def audit_rules(settings: Settings) -> str:
    """Return the rules of the audit daemon (R73), except those of privileged programs, which each node finds itself."""
    out = ["-D", "-b 8192", "-f 1", "--backlog_wait_time 60000"]

    def calls(names: str, key: str, *fields: str, archs: Sequence[str] = ("b32", "b64")) -> None:
        for arch in archs:
            known = [name for name in names.split() if not (arch == "b64" and name in ("umount", "stime"))]
            for name in known:
                out.append(" ".join([f"-a always,exit -F arch={arch} -S {name}", *fields, f"-F key={key}"]))

    def watch(path: str, key: str, rights: str = "wa") -> None:
        out.append(f"-w {path} -p {rights} -k {key}")

    calls(
        "chmod fchmod fchmodat chown fchown fchownat lchown setxattr lsetxattr fsetxattr removexattr lremovexattr "
        "fremovexattr umount umount2",
        "perm_mod",
        _USERS,
    )
    calls("unlink unlinkat rename renameat renameat2 rmdir", "delete", _USERS)
    for fault in ("EACCES", "EPERM"):
        calls(
            "creat open openat open_by_handle_at truncate ftruncate",
            "unsuccessful-access",
            f"-F exit=-{fault}",
            _USERS,
        )
    calls("init_module finit_module delete_module", "modules")
    calls("mount", "export", _USERS)
    calls("adjtimex settimeofday stime", "time-change")
    calls("clock_settime", "time-change", "-F a0=0x0")
    calls("sethostname setdomainname", "system-locale")
    watch("/etc/localtime", "time-change")
    for path in ("/etc/issue", "/etc/issue.net", "/etc/hosts", "/etc/networks", "/etc/network/", "/etc/hostname"):
        watch(path, "system-locale")
    for path in ("group", "passwd", "gshadow", "shadow", "security/opasswd"):
        watch(f"/etc/{path}", "identity")
    for path in ("/etc/sudoers", "/etc/sudoers.d/"):
        watch(path, "actions")
    watch(settings["sudo_log"], "maintenance")
    for path in ("utmp", "btmp", "wtmp"):
        watch("/var/run/utmp" if path == "utmp" else f"/var/log/{path}", "session")
    for path in ("/var/log/faillock", "/var/log/lastlog", "/var/run/faillock", "/var/log/tallylog"):
        watch(path, "logins")
    for name in ("insmod", "rmmod", "modprobe"):
        watch(f"/sbin/{name}", "modules", "x")
    for path in ("/etc/apparmor/", "/etc/apparmor.d/"):
        watch(path, "mac-policy")
    for path in ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/", "/etc/pam.d/", "/etc/socle/"):
        watch(path, "access")
    return "\n".join(out) + "\n"


def privileged_rules(programs: Iterable[str]) -> str:
    """Return audit rules that record every use of the given privileged programs (R73)."""
    known = sorted({*programs, "/usr/bin/kmod"})
    return "".join(f"-a always,exit -F path={path} -F perm=x {_USERS} -F key=privileged\n" for path in known)


def auditd(policy: Policy, settings: Settings) -> list[Entry]:
    daemon = {
        "": {
            "local_events": "yes",
            "write_logs": "yes",
            "log_file": "/var/log/audit/audit.log",
            # With any other group, auditd makes its folder readable by that group at each start.
            "log_group": "root",
            "log_format": "ENRICHED",
            "flush": "INCREMENTAL_ASYNC",
            "freq": 50,
            "max_log_file": 32,
            "num_logs": 20,
            "max_log_file_action": "rotate",
            "name_format": "hostname",
            "space_left": 250,
            "space_left_action": "syslog",
            "verify_email": "yes",
            "action_mail_acct": "root",
            "admin_space_left": 100,
            # If nodes stopped when the disk is full, this would be a denial of service to their tenants.
            "admin_space_left_action": "rotate",
            "disk_full_action": "rotate",
            "disk_error_action": "syslog",
        }
    }
    return [
        {"path": "/etc/audit/auditd.conf", "format": "ini", "content": daemon, "mode": "0640"},
        {**text_file("/etc/audit/rules.d/30-anssi.rules", audit_rules(settings)), "mode": "0640"},
        # After this rule, only a reboot changes the rules.
        {**text_file("/etc/audit/rules.d/99-immutable.rules", "-e 2\n"), "mode": "0640"},
    ]
