# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""sudo."""

from __future__ import annotations

from ...module_utils.hardening import sudo_rules
from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file


def sudo(policy: Policy, settings: Settings) -> list[Entry]:
    names = dict.fromkeys(["root", *settings["sudo_users"], *settings["sudo_services"]])
    exempt = ",".join(map(sudo_rules.escaped, names))
    services = ",".join(map(sudo_rules.escaped, settings["sudo_services"]))
    lines = [
        "Defaults env_reset",
        "Defaults use_pty",
        "Defaults ignore_dot",
        "Defaults umask=0077",
        "Defaults noexec",
        "Defaults requiretty",
        f'Defaults logfile="{settings["sudo_log"]}"',
        "Defaults timestamp_timeout=5",
        'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"',
        "# noexec and requiretty stop automation, and the helpers of Nova and Neutron, which have no terminal.",
        f"Defaults:{exempt} !noexec, !requiretty",
    ]
    if services:
        # The service reads files that rootwrap writes, so rootwrap uses the umask of the service.
        lines.append(f"Defaults:{services} !umask")
    lines += ["root ALL=(ALL:ALL) ALL"]
    lines += [f"%{sudo_rules.escaped(settings['sudo_group'])} ALL=(ALL:ALL) ALL"]
    lines += [sudo_rules.rule(user) for user in settings["sudo_users"] if user != "root"]
    lines += ["@includedir /etc/sudoers.d"]
    return [{**text_file("/etc/sudoers", "\n".join(lines) + "\n"), "mode": "0440", "validate": "visudo -cqf %s"}]
