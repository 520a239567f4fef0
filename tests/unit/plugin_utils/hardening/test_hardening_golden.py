# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The exact files that the hardening writes on a node: a test fails if a change weakens any line of them.

`golden/hardening-enhanced.txt` is the listing of the default level. Those of other levels are the differences.
After an intended change, run this file with `SOCLE_WRITE_GOLDEN=1 pytest` to write them again, and review the diff in
git. The properties at the end hold independently of the listings.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

import pytest
import yaml
from plugin_utils.hardening.test_hardening import DEFAULTS, by_path, settings

from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import LEVELS, Policy
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.config_files import render
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import files as hardening

GOLDEN = Path(__file__).parent / "golden"
BASE = "enhanced"
SITE = {
    "boot_password_hash": "grub.pbkdf2.sha512.10000.A.B",
    "log_collector": "logs.example",
    "log_listens": "192.0.2.1",
    "bind_mounts": [{"path": "/var/tmp", "options": ["nosuid", "nodev", "noexec"]}],
    "sudo_users": ["ops"],
}
ACCESS = (
    "level", "rules_off", "mds", "sysctl", "modules_lock", "modules", "usb_rules", "mounts", "bind_mounts", "lock",
    "password_length", "pam_lines", "session_seconds", "sudo_group", "su_group", "sudo_services", "sudo_log",
    "ssh_options", "plain_programs", "service_accounts", "modes", "update_hold", "rollback_seconds",
)  # fmt: skip
"""Defaults of the role that affect security and are not, or not completely, in a file of the node."""


def parts(level: str) -> dict[str, str]:
    """Return every file of a level with its owner, mode and check, and the units and defaults of the role."""
    found = {}
    for path, entry in sorted(by_path(level, **SITE).items()):
        owner = f"{entry.get('owner', 'root')}:{entry.get('group', 'root')} {entry.get('mode', '0644')}"
        test = f"validated by: {entry['validate']}\n" if entry.get("validate") else ""
        found[path] = f"{owner}\n{test}\n{render(entry['content'], entry.get('format', 'text'))}"
    units = hardening.units(Policy.of(level), settings(**SITE), [], lock=True)
    found["units"] = "".join(f"{unit}\n" for unit in sorted(units, key=lambda unit: unit["name"]))
    known = {name: DEFAULTS[f"hardening_{name}"] for name in ACCESS}
    found["defaults of the role"] = yaml.safe_dump(known, sort_keys=True, width=100)
    return found


def listing(level: str) -> str:
    """Return all parts of the default level, or the differences of another level."""
    found, base = parts(level), parts(BASE)
    if level == BASE:
        return "\n".join(f"=== {name}\n{text}" for name, text in found.items())
    out = []
    for name in sorted(found.keys() | base.keys()):
        if name not in found:
            out.append(f"=== {name}\nis not written\n")
        elif found[name] != base.get(name):
            was, now = base.get(name, "").splitlines(), found[name].splitlines()
            changes = [line for line in difflib.ndiff(was, now) if line[0] in "+-"]
            out.append(f"=== {name}\n" + "".join(f"{line}\n" for line in changes))
    return "\n".join(out)


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_what_it_was(level):
    file, text = GOLDEN / f"hardening-{level}.txt", listing(level)
    if os.environ.get("SOCLE_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text)
    changed = list(difflib.unified_diff(file.read_text().splitlines(), text.splitlines(), "held", "now", n=2))
    assert not changed, "\n".join(changed)


def test_the_defaults_that_are_held_are_those_of_the_role():
    """A new default must be added here, unless it is in a file or specific to the site."""
    in_files = {"boot_password_hash", "password_days", "banner", "log_collector", "mail", "aide_exclude"}
    of_the_site = {
        "packages", "waivers", "not_live", "operator_networks", "client_networks", "sudo_users", "sudo_inherit",
        "ssh_root_login", "ssh_ports",
        "log_listens", "log_tls", "firewall_services", "firewall_addresses",
    }  # fmt: skip
    known = {name.removeprefix("hardening_") for name in DEFAULTS}
    assert set(ACCESS) <= known
    assert known - set(ACCESS) - in_files - of_the_site == set()


# --- properties


def options(path: str, level: str = "minimal", separator: str = " ") -> dict[str, str]:
    """Return the lines `key value` of a file, from the first level that has it."""
    level = next(name for name in LEVELS[LEVELS.index(level) :] if path in by_path(name))
    lines = [line for line in by_path(level)[path]["content"].splitlines() if line and not line.startswith("#")]
    return dict(line.split(separator, 1) for line in lines)


SSHD = {
    "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "PermitEmptyPasswords": "no",
    "HostbasedAuthentication": "no", "IgnoreRhosts": "yes", "PermitUserEnvironment": "no", "StrictModes": "yes",
    "UsePAM": "yes", "X11Forwarding": "no", "AllowTcpForwarding": "no", "AllowAgentForwarding": "no",
    "AllowStreamLocalForwarding": "no", "GatewayPorts": "no", "PermitTunnel": "no", "LogLevel": "VERBOSE",
    "AuthorizedKeysFile": ".ssh/authorized_keys", "MaxAuthTries": "3", "LoginGraceTime": "30",
}  # fmt: skip


@pytest.mark.parametrize(("option", "value"), SSHD.items())
def test_sshd_lets_nobody_in_or_through_who_has_no_key(option, value):
    assert options("/etc/ssh/sshd_config.d/00-hardening.conf")[option] == value


def test_no_file_of_sshd_is_read_before_ours_and_ours_is_included():
    """sshd uses the first value that it reads."""
    assert by_path()["/etc/ssh/sshd_config"]["content"].splitlines()[1] == "Include /etc/ssh/sshd_config.d/*.conf"
    assert by_path()["/etc/ssh/sshd_config.d/00-hardening.conf"]["mode"] == "0600"


KERNEL = {
    "kernel.kptr_restrict": "2", "kernel.dmesg_restrict": "1", "kernel.randomize_va_space": "2", "kernel.sysrq": "0",
    "kernel.unprivileged_bpf_disabled": "1", "kernel.perf_event_paranoid": "2", "kernel.yama.ptrace_scope": "1",
    "net.core.bpf_jit_harden": "2", "vm.mmap_min_addr": "65536", "fs.suid_dumpable": "0",
    "fs.protected_hardlinks": "1", "fs.protected_symlinks": "1", "fs.protected_fifos": "2",
    "fs.protected_regular": "2", "net.ipv4.tcp_syncookies": "1", "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0", "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.all.route_localnet": "0", "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.all.accept_redirects": "0", "net.ipv6.conf.all.accept_source_route": "0",
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), KERNEL.items())
def test_the_kernel_tells_nothing_and_takes_no_routes(key, value):
    assert options("/etc/sysctl.d/55-hardening.conf", "intermediary", " = ")[key] == value


WATCHED = (
    "/etc/shadow", "/etc/gshadow", "/etc/passwd", "/etc/group", "/etc/security/opasswd", "/etc/sudoers",
    "/etc/sudoers.d/", "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/", "/etc/pam.d/", "/etc/apparmor.d/",
    "/var/log/faillock", "/var/log/wtmp", "/var/log/btmp", "/etc/localtime",
)  # fmt: skip


@pytest.mark.parametrize("path", WATCHED)
def test_every_change_of_who_may_do_what_is_logged(path):
    rules = by_path()["/etc/audit/rules.d/30-anssi.rules"]["content"].splitlines()
    assert any(re.fullmatch(rf"-w {re.escape(path)} -p wa -k \S+", rule) for rule in rules)


def test_the_rules_of_the_log_cannot_be_taken_back():
    assert by_path()["/etc/audit/rules.d/99-immutable.rules"]["content"].splitlines()[-1] == "-e 2"
    daemon = by_path()["/etc/audit/auditd.conf"]["content"][""]
    assert (daemon["log_group"], daemon["write_logs"], daemon["max_log_file_action"]) == ("root", "yes", "rotate")


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_forgets_attempts_or_takes_weak_passwords(level):
    files = by_path(level)
    lock = files["/etc/security/faillock.conf"]["content"][""]
    assert lock["deny"] <= 3
    assert lock["unlock_time"] >= 900
    assert "even_deny_root" in lock
    quality = files["/etc/security/pwquality.conf"]["content"][""]
    assert quality["minlen"] >= 18
    assert quality["minclass"] == 4
    assert "enforce_for_root" in quality
    stacks = "".join(entry["content"] for path, entry in files.items() if path.startswith("/etc/pam.d/common-"))
    assert "nullok" not in stacks
    assert re.search(r"^password .* pam_unix\.so .*\byescrypt\b", stacks, re.M)
    assert re.search(r"^password requisite pam_pwhistory\.so remember=5 ", stacks, re.M)
    assert "auth required pam_wheel.so use_uid group=" in files["/etc/pam.d/su"]["content"]


def test_sudo_is_a_groups_alone_and_keeps_a_log():
    text = by_path(sudo_users=["ops"])["/etc/sudoers"]["content"]
    for default in ("env_reset", "use_pty", "ignore_dot", "noexec", "requiretty", 'logfile="/var/log/sudo.log"'):
        assert f"Defaults {default}\n" in text
    everything = [line for line in text.splitlines() if line.endswith("ALL") and not line.startswith("Defaults")]
    assert sorted(line.split()[0] for line in everything) == ["%sudogrp", "ops", "root"]
    assert by_path()["/etc/sudoers"]["mode"] == "0440"


def test_the_files_that_let_in_are_tested_before_they_are_written():
    tested = {path for path, entry in by_path("high").items() if entry.get("validate")}
    assert tested >= {"/etc/sudoers", "/etc/rsyslog.conf", "/etc/usbguard/rules.conf", "/etc/pam.d/common-auth"}


def test_a_rotated_log_keeps_the_owner_that_its_package_gave_it():
    general = by_path()["/etc/logrotate.conf"]["content"].splitlines()
    assert "create" in general
    assert not [line for line in general if re.match(r"(su|create) \S|nocreate|copytruncate|olddir|mail", line)]


def test_a_session_and_a_file_are_for_their_owner():
    assert options("/etc/login.defs", "enhanced")["UMASK"] == "077"
    assert options("/etc/login.defs", "intermediary")["UMASK"] == "027"
    assert options("/etc/login.defs")["ENCRYPT_METHOD"] == "YESCRYPT"
    assert "umask 077\n" in by_path()["/etc/profile"]["content"]
    assert by_path()["/etc/systemd/logind.conf.d/hardening.conf"]["content"]["Login"]["StopIdleSessionSec"] == 600


@pytest.mark.parametrize("path", ["/tmp", "/var/tmp", "/var/log", "/home", "/boot"])
def test_nothing_runs_from_where_others_write(path):
    (mount,) = [mount for mount in DEFAULTS["hardening_mounts"] if mount["path"] == path]
    assert set(mount["options"]) == {"nosuid", "nodev", "noexec"}


def test_what_is_plugged_in_is_blocked_but_hubs_and_keyboards():
    daemon = by_path()["/etc/usbguard/usbguard-daemon.conf"]["content"]
    assert "ImplicitPolicyTarget=block\n" in daemon
    assert "InsertedDevicePolicy=apply-policy\n" in daemon
    assert DEFAULTS["hardening_usb_rules"] == ["allow with-interface match-all { 03:*:* 09:*:* }"]
