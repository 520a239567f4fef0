# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The 80 rules of ANSSI-BP-028 v2.0, the waivers, and the settings that are unsupported on some nodes.

A *rule* is a number 1-80; a *check* is a rule of the SCAP content (`sysctl_net_ipv4_ip_forward`); several checks may
test one rule. Source of levels: ANSSI, "Recommandations de sécurité relatives à un système GNU/Linux", v2.0, annex.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

LEVELS = ("minimal", "intermediary", "enhanced", "high")

_BY_LEVEL = {
    "minimal": (30, 31, 53, 54, 56, 58, 59, 61, 62, 68, 80),
    "enhanced": (1, 7, 10, 29, 36, 37, 38, 41, 45, 51, 57, 60, 64, 65, 71, 72, 73, 78),
    "high": (4, 6, *range(15, 28), 46, 47, 48, 49, 66, 76, 77),
}
#: Level of each rule, by number: rules not listed above are intermediary.
RULES: dict[int, str] = {
    number: next((level for level, numbers in _BY_LEVEL.items() if number in numbers), "intermediary")
    for number in range(1, 81)
}

#: Settings that may be unsupported on a node, and the checks that then measure its host and not the node itself. The
#: files are written regardless.
NOT_LIVE: dict[str, tuple[str, tuple[str, ...]]] = {
    "kernel": (
        "the kernel's own settings are the host's and read-only here",
        ("sysctl_kernel_*", "sysctl_fs_*", "sysctl_vm_*", "sysctl_net_core_bpf_jit_harden", "prefer_64bit_os"),
    ),
    "boot": ("there is no boot loader here", ("grub2_*", "file_*_grub2_cfg", "file_*_user_cfg")),
    "audit": ("the kernel's audit log cannot be had here", ("service_auditd_enabled",)),
    "apparmor": (
        "the kernel here has no AppArmor",
        ("apparmor_configured", "all_apparmor_profiles_enforced", "grub2_enable_apparmor"),
    ),
    "usb": ("the kernel here has no USB, or is another's", ()),
    # The last check looks for programs with special rights on partitions.
    "partitions": (
        "all file systems here are one",
        ("partition_for_*", "mount_option_nodev_nonroot_local_partitions", "audit_rules_privileged_commands"),
    ),
}


class PolicyError(ValueError):
    """A level, an exception or a waiver is wrong; the message has the remedy."""


@dataclass(frozen=True)
class Policy:
    """The rules that apply to a node: those up to ``level``, without ``off`` (number -> reason)."""

    level: str
    off: Mapping[int, str]

    @classmethod
    def of(cls, level: str, off: Mapping[Any, Any] | None = None) -> Policy:
        """Build it from a role's variables; ``off`` has keys such as ``R39``, each with a reason.

        :raises PolicyError: with every fault found.
        """
        faults = [] if level in LEVELS else [f"hardening_level: {level!r} is none of {', '.join(LEVELS)}"]
        numbers: dict[int, str] = {}
        for key, reason in (off or {}).items():
            digits = str(key).removeprefix("R")
            if not digits.isdigit() or int(digits) not in RULES:
                faults.append(f"hardening_rules_off: {key!r} is no rule R1 to R80")
            elif not isinstance(reason, str) or len(reason.split()) < 3:
                faults.append(f"hardening_rules_off: {key}: say why it is off, in a sentence")
            else:
                numbers[int(digits)] = reason
        if faults:
            raise PolicyError("; ".join(faults))
        return cls(level, numbers)

    def holds(self, *rules: int) -> bool:
        """Return whether any of ``rules`` applies."""
        return any(
            number not in self.off and LEVELS.index(RULES[number]) <= LEVELS.index(self.level) for number in rules
        )


@dataclass(frozen=True)
class Waiver:
    """A check that a group of nodes fails on purpose, with the reason and the control that protects them instead."""

    check: str
    groups: tuple[str, ...]
    reason: str
    control: str

    def covers(self, check: str, groups: Iterable[str]) -> bool:
        return check == self.check and bool({"all", *groups} & set(self.groups))


def waivers(entries: Sequence[Mapping[str, Any]]) -> list[Waiver]:
    """Return the waivers in a file: ``[{check, groups, reason, control}]``.

    :raises PolicyError: an entry without a check, groups, a reason or a compensating control; or a duplicate.
    """
    faults: list[str] = []
    found: list[Waiver] = []
    for number, entry in enumerate(entries, 1):
        where = f"waiver {number} ({entry.get('check', 'no check')})"
        if unknown := set(entry) - {"check", "groups", "reason", "control"}:
            faults.append(f"{where}: unknown key {', '.join(sorted(unknown))}")
        lacks = [
            key
            for key, words in (("check", 1), ("reason", 5), ("control", 3))
            if len(str(entry.get(key) or "").split()) < words
        ]
        groups = entry.get("groups") or ()
        if not isinstance(groups, (list, tuple)) or not groups:
            lacks.append("groups")
        if lacks:
            faults.append(f"{where}: say its {', '.join(lacks)}")
            continue
        waiver = Waiver(entry["check"], tuple(groups), entry["reason"].strip(), entry["control"].strip())
        if any(other.check == waiver.check and set(other.groups) & set(groups) for other in found):
            faults.append(f"{where}: waived twice for a group")
        found.append(waiver)
    if faults:
        raise PolicyError("; ".join(faults))
    return found


def waived(known: Iterable[Waiver], groups: Iterable[str]) -> dict[str, Waiver]:
    """Return the waivers that apply to a node of ``groups``, by check."""
    groups = set(groups)
    return {waiver.check: waiver for waiver in known if waiver.covers(waiver.check, groups)}


def not_live(check: str, places: Iterable[str]) -> str:
    """Return why ``check`` is unsupported on a node that lacks ``places`` (keys of :data:`NOT_LIVE`); "" if supported.

    :raises PolicyError: an unknown key.
    """
    for place in places:
        if place not in NOT_LIVE:
            raise PolicyError(f"site_not_live: {place!r} is none of {', '.join(NOT_LIVE)}")
        reason, patterns = NOT_LIVE[place]
        if any(fnmatchcase(check, pattern) for pattern in patterns):
            return reason
    return ""
