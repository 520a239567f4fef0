# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The compliance page: each rule of ANSSI-BP-028 v2.0, its implementation, and every waiver with its control."""

from __future__ import annotations

from collections.abc import Sequence

from ...module_utils.hardening.rules import LEVELS, NOT_LIVE, RULES, Waiver
from .files import BUILDERS

_ABOUT = """
hardware | firmware settings | UEFI Secure Boot | own Secure Boot keys | password of the boot loader
| integrity of kernel and initramfs | IOMMU | memory options of the kernel | kernel parameters |
loading of modules | Yama | IPv4 parameters | IPv6 parameters | file system parameters |
memory options at compilation | kernel data structures | memory allocators | signed modules |
reaction to anomalies | security functions | compiler plugins | network stack at compilation |
unused kernel features | modules at compilation | options for x86 | options for ARM |
options for ARM64 | partitions and mounts | access to /boot | unused accounts | strong passwords |
lock of idle sessions | named administrators | service accounts locked | one account for a service |
umask | mandatory access control | group for sudo | options of sudo | no root target |
few NOEXEC exceptions | no negations | arguments of commands | sudoedit | AppArmor | SELinux |
SELinux users | SELinux booleans | SELinux tools | rights of sensitive files |
secrets changed at installation | named sockets and pipes | files without owner | sticky bits |
temporary folders of each user | programs with special rights | setuid root audited | few packages |
trusted repositories | hardened repositories | updates | few services | features of services |
privileges of services | cells for services | hardened cells | remote PAM | stored passwords |
remote accounts | separate directory administrators | logs | own logs | audit | local mail |
mail aliases | integrity | integrity database | network services apart | hardened exposed services |
few network interfaces
"""
#: The subject of each rule, in this project's words. The guide has the full text.
ABOUT: dict[int, str] = dict(enumerate(_ABOUT.split("|"), 1))

#: Rules that are not implemented by a file of the role, or not by configuration at all.
ELSEWHERE = {
    1: "the choice of hardware",
    2: "the operator, in the firmware",
    3: "the operator, in the firmware; Debian's shim and kernel are signed",
    6: "Secure Boot, as far as Debian signs",
    29: "role hardening, hardening_modes (/boot)",
    30: "no role creates an account that is not used",
    34: "packages: accounts of services have no password and no shell",
    35: "packages: each service has its own account",
    37: "AppArmor (R45)",
    38: "role hardening, node_access (dpkg-statoverride, group)",
    50: "role hardening, node_access (hardening_modes)",
    51: "socle secrets init: every secret is generated for the site",
    52: "packages, checked by OpenSCAP",
    53: "checked by the audit",
    54: "checked by the audit",
    56: "role hardening, node_access (hardening_plain_programs)",
    57: "role hardening, audit rules of each program found on the node",
    58: "the package lists of the roles; recommended packages are not installed",
    59: "role base: every source names the key that signs it",
    60: "role base: Debian's security archive",
    62: "the node image starts only the network and SSH; roles start the services that they configure",
    63: "roles, in the units they write",
    64: "packages' units, and drop-ins of the roles",
    67: "no remote accounts by default; `hardening_pam_lines` adds others; SSH keys only, TLS between services",
    70: "no directory of accounts",
    72: "roles: each service has its log",
    74: "no mail server is installed",
    77: "role hardening, aide-database and aide-check",
    78: "roles: haproxy in front, services on the management address",
    80: "role hardening, /etc/nftables.conf",
}
KERNEL = "the kernel's compilation: Debian's kernel is used unchanged"

HEAD = """\
# Compliance with ANSSI-BP-028 v2.0

Written by `scripts/docs` from the rule table, the role `hardening` and `roles/site/files/waivers.yml`; do not edit.
`socle audit` checks the nodes against these rules: see [hardening.md](../hardening.md).

## Rules

| rule | level | subject | implemented by |
|---|---|---|---|
"""


def page(known: Sequence[Waiver]) -> str:
    """Return the page as Markdown."""
    rows = [
        f'| <a id="r{number}"></a>R{number} | {level} | {" ".join(ABOUT[number].split())} | {_done(number)} |\n'
        for number, level in RULES.items()
    ]
    counts = ", ".join(f"{list(RULES.values()).count(level)} {level}" for level in LEVELS)
    out = [HEAD, *rows, f"\n{len(RULES)} rules: {counts}.\n\n## Waivers\n\n"]
    out.append("| check | groups | reason | instead |\n|---|---|---|---|\n")
    out += [
        f'| <a id="{item.check}"></a>`{item.check}` | {", ".join(item.groups)} | {item.reason} | {item.control} |\n'
        for item in known
    ]
    out.append("\n## Settings that may be unsupported on a node (`site_not_live`)\n\n")
    out.append("| setting | reason | checks |\n|---|---|---|\n")
    out += [
        f"| {place} | {reason} | {', '.join(f'`{item}`' for item in patterns)} |\n"
        for place, (reason, patterns) in NOT_LIVE.items()
    ]
    return "".join(out)


def _done(number: int) -> str:
    makers = [build.__name__.strip("_").replace("_", " ") for rules, build in BUILDERS if number in rules]
    parts = [f"role hardening: {', '.join(makers)}"] if makers else []
    if number in ELSEWHERE:
        parts.append(ELSEWHERE[number])
    return "; ".join(parts) or (KERNEL if 15 <= number <= 27 else "nothing yet")
