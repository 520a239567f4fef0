# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The files that harden a node to ANSSI-BP-028 v2.0, computed from the level, the rules that are off and the waivers.

Pure. :func:`files` returns entries for ``config_files``, :func:`units` returns the units to run. Each subject has its
own module. ``BUILDERS`` lists the rules that each function implements. A function is called only if one of its rules
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...module_utils.hardening.rules import Policy
from . import (
    accounting,
    aide,
    audit_rules,
    boot,
    kernel,
    kernel_modules,
    logins,
    logs,
    mail,
    mounts,
    pam,
    ssh,
    sudo,
    updates,
    usb,
)
from .entries import Entry, Settings


def files(policy: Policy, settings: Settings) -> list[Entry]:
    """Return every file of the hardening, for ``config_files``.

    ``settings``: the role's variables without their prefix (see its argument specification), and ``skip``, the
    waived checks of the node.
    """
    return [entry for rules, build in BUILDERS if policy.holds(*rules) for entry in build(policy, settings)]


def _helpers(policy: Policy, settings: Settings) -> list[Entry]:
    """Return units of Socle that run once, and again when the files that they read have changed."""
    return [*boot.menu_units(), *aide.check_units()]


#: The rules that need files, and the functions that make these. A function is used if any of its rules holds.
BUILDERS: tuple[tuple[tuple[int, ...], Callable[[Policy, Settings], list[Entry]]], ...] = (
    ((5,), boot.boot_password),
    ((7, 8, 45, 73), boot.command_line),
    ((8, 9, 11, 12, 13, 14), kernel.kernel),
    ((9, 14), kernel.core_dumps),
    ((10,), kernel_modules.modules_lock),
    ((24, 62), kernel_modules.modules),
    ((62,), usb.usb),
    ((28,), mounts.mounts),
    ((31, 68, 69), pam.pam),
    ((33, 35, 36), logins.logins),
    ((32,), logins.sessions),
    ((39, 40, 42, 43), sudo.sudo),
    ((61,), updates.updates),
    ((71,), accounting.accounting),
    ((71,), logs.rsyslog),
    ((71,), logs.logrotate),
    ((73,), audit_rules.auditd),
    ((75,), mail.aliases),
    ((76, 79), aide.aide),
    ((79, 80), ssh.ssh),
    ((7, 8, 29, 45, 73, 76, 79), _helpers),
)


def units(policy: Policy, settings: Settings, places: Iterable[str], lock: bool) -> list[Entry]:
    """Return the units to run, for ``service_units``; ``places``: the settings that are unsupported on the node."""
    places = set(places)
    found: list[Entry] = [
        {"name": "systemd-sysctl", "reads": ["/etc/sysctl.d"]},
        {"name": "systemd-journald", "reads": ["/etc/systemd/journald.conf.d"]},
        {"name": "cron"},
        {"name": "logrotate.timer"},
        {
            "name": "nftables",
            "reads": ["/etc/nftables.conf"],
            "on_change": "reload",
            "test": "nft -c -f /etc/nftables.conf",
        },
        {
            "name": "ssh",
            "reads": ["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d"],
            "on_change": "reload",
            "test": "sshd -t",
            "ready": {"port": settings["ssh_ports"][0]},
        },
    ]
    if policy.holds(61):
        found += [{"name": "apt-daily.timer"}, {"name": "apt-daily-upgrade.timer"}]
    if policy.holds(62) and "usb" not in places:
        found.append({"name": "usbguard", "reads": ["/etc/usbguard"]})
        found.append({"name": "usbguard-dbus", "state": "stopped", "enabled": False})
    if policy.holds(71):
        found.append({"name": "rsyslog", "reads": ["/etc/rsyslog.conf", "/etc/rsyslog.d"]})
        found.append({"name": "sysstat"})
    if policy.holds(76, 79):
        found += [{"name": "aide-database"}, {"name": "aide-check.timer"}]
    if policy.holds(28):
        found += [{"name": entry["path"].rpartition("/")[2]} for entry in mounts.mount_units(settings["bind_mounts"])]
        found.append({"name": "mount-options"})
    if policy.holds(7, 8, 45, 73):
        found.append({"name": "boot-menu", "reads": ["/etc/default/grub.d", "/etc/grub.d/01_hardening"]})
    if policy.holds(29) and "boot" not in places:
        found.append({"name": "boot-menu-rights.path"})
    if policy.holds(45) and "apparmor" not in places:
        found.append({"name": "apparmor", "reads": ["/etc/apparmor.d"], "on_change": "reload"})
    if policy.holds(73) and "audit" not in places:
        found.append({"name": "auditd"})
    if policy.holds(10) and lock and "kernel" not in places:
        found.append({"name": "modules-lock"})
    return found
