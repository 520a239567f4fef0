# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The kernel's command line and the boot menu."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, service_unit, text_file

#: (rule, argument of the kernel's command line)
ARGUMENTS: tuple[tuple[int, str], ...] = (
    (7, "iommu=force"),
    (8, "l1tf=full,force"),
    (8, "page_poison=1"),
    (8, "pti=on"),
    (8, "slab_nomerge=yes"),
    (8, "slub_debug=FZP"),
    (8, "spec_store_bypass_disable=seccomp"),
    (8, "spectre_v2=on"),
    (8, "mce=0"),
    (8, "page_alloc.shuffle=1"),
    (8, "rng_core.default_quality=500"),
    (45, "apparmor=1 security=apparmor"),
    (73, "audit=1 audit_backlog_limit=8192"),
)


def command_line(policy: Policy, settings: Settings) -> list[Entry]:
    words = [word for rule, word in ARGUMENTS if policy.holds(rule)]
    if policy.holds(8):
        words.append(f"mds={settings['mds']}")
    text = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(words)}"\nGRUB_DISABLE_RECOVERY="true"\n'
    return [text_file("/etc/default/grub.d/hardening.cfg", text)]


def boot_password(policy: Policy, settings: Settings) -> list[Entry]:
    """Require the password to edit an entry of the boot menu, but not to boot one (R5)."""
    if not settings["boot_password_hash"]:
        return []
    script = (
        "#!/bin/sh\n# Managed by Socle: local changes are overwritten.\ncat <<'END'\nset superusers=\"root\"\n"
        f"password_pbkdf2 root {settings['boot_password_hash']}\nexport superusers\n"
        'menuentry_id_option="--unrestricted $menuentry_id_option"\nEND\n'
    )
    return [{"path": "/etc/grub.d/01_hardening", "content": script, "mode": "0700"}]


def menu_units() -> list[Entry]:
    """Return units that write the boot menu, and keep it readable by root only (R29)."""
    return [
        service_unit(
            "boot-menu",
            "Write the boot menu",
            "oneshot",
            # The menu is written only if one of its sources is newer, because this also runs at each boot.
            "/bin/sh -c 'command -v update-grub >/dev/null || exit 0; "
            "if ! test -e /boot/grub/grub.cfg || "
            "find /etc/default/grub* /etc/grub.d -newer /boot/grub/grub.cfg | grep -q .; "
            "then update-grub || exit 1; fi; chmod 0600 /boot/grub/grub.cfg'",
        ),
        # R29: an upgrade of the kernel writes the menu again, readable by all users. The watch also reacts to chmod, so
        # the mode is changed only if needed.
        {
            "path": "/etc/systemd/system/boot-menu-rights.service",
            "format": "ini",
            "content": {
                "Unit": {
                    "Description": "Let only root read the boot menu",
                    "ConditionPathExists": "/boot/grub/grub.cfg",
                },
                "Service": {
                    "Type": "oneshot",
                    "ExecStart": "/usr/bin/find /boot/grub/grub.cfg -perm /0177 -exec /usr/bin/chmod 0600 {} +",
                },
            },
        },
        {
            "path": "/etc/systemd/system/boot-menu-rights.path",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Watch the boot menu"},
                "Path": {"PathChanged": "/boot/grub/grub.cfg"},
                "Install": {"WantedBy": "multi-user.target"},
            },
        },
    ]
