# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Kernel parameters and core dumps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.hardening.rules import Policy
from ..common.overrides import merged
from .entries import Entry, Settings, text_file

#: (rule, kernel parameter, value). The order is that of the guide.
SYSCTLS: tuple[tuple[int, str, str], ...] = (
    (8, "vm.mmap_min_addr", "65536"),
    (9, "kernel.dmesg_restrict", "1"),
    (9, "kernel.kptr_restrict", "2"),
    (9, "kernel.pid_max", "65536"),
    (9, "kernel.perf_cpu_time_max_percent", "1"),
    (9, "kernel.perf_event_max_sample_rate", "1"),
    (9, "kernel.perf_event_paranoid", "2"),
    (9, "kernel.randomize_va_space", "2"),
    (9, "kernel.sysrq", "0"),
    (9, "kernel.unprivileged_bpf_disabled", "1"),
    # After a kernel fault the node reboots by itself, and its guests are then evacuated.
    (9, "kernel.panic_on_oops", "1"),
    (9, "kernel.panic", "60"),
    (11, "kernel.yama.ptrace_scope", "1"),
    (12, "net.core.bpf_jit_harden", "2"),
    (12, "net.ipv4.ip_forward", "0"),
    (12, "net.ipv4.conf.all.accept_local", "0"),
    *((12, f"net.ipv4.conf.{scope}.accept_redirects", "0") for scope in ("all", "default")),
    *((12, f"net.ipv4.conf.{scope}.secure_redirects", "0") for scope in ("all", "default")),
    *((12, f"net.ipv4.conf.{scope}.shared_media", "0") for scope in ("all", "default")),
    *((12, f"net.ipv4.conf.{scope}.accept_source_route", "0") for scope in ("all", "default")),
    (12, "net.ipv4.conf.all.arp_filter", "0"),
    (12, "net.ipv4.conf.all.arp_ignore", "2"),
    (12, "net.ipv4.conf.all.drop_gratuitous_arp", "1"),
    (12, "net.ipv4.conf.all.route_localnet", "0"),
    *((12, f"net.ipv4.conf.{scope}.rp_filter", "1") for scope in ("all", "default")),
    *((12, f"net.ipv4.conf.{scope}.send_redirects", "0") for scope in ("all", "default")),
    *((12, f"net.ipv4.conf.{scope}.log_martians", "1") for scope in ("all", "default")),
    (12, "net.ipv4.icmp_ignore_bogus_error_responses", "1"),
    (12, "net.ipv4.icmp_echo_ignore_broadcasts", "1"),
    (12, "net.ipv4.ip_local_port_range", "32768 65535"),
    (12, "net.ipv4.tcp_rfc1337", "1"),
    (12, "net.ipv4.tcp_syncookies", "1"),
    *(
        (13, f"net.ipv6.conf.{scope}.{key}", value)
        for scope in ("all", "default")
        for key, value in (
            ("accept_ra", "0"),
            ("accept_ra_defrtr", "0"),
            ("accept_ra_pinfo", "0"),
            ("accept_ra_rtr_pref", "0"),
            ("accept_redirects", "0"),
            ("accept_source_route", "0"),
            ("autoconf", "0"),
            ("max_addresses", "1"),
            ("router_solicitations", "0"),
        )
    ),
    (14, "fs.protected_fifos", "2"),
    (14, "fs.protected_hardlinks", "1"),
    (14, "fs.protected_regular", "2"),
    (14, "fs.protected_symlinks", "1"),
    (14, "fs.suid_dumpable", "0"),
)
#: Values that apply if the check of a parameter is waived. Other waived parameters are not set.
INSTEAD = {"net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.default.rp_filter": "2"}
#: Files of packages that set a parameter to another value. The value of Socle overrides it, but a scanner that reads
#: all files of sysctl.d finds both.
RIVALS = {"kernel.pid_max": "/usr/lib/sysctl.d/50-pid-max.conf"}


def check_of(parameter: str) -> str:
    """Return the scanner's check of a kernel parameter."""
    return "sysctl_" + parameter.replace(".", "_")


def sysctls(policy: Policy, skip: Iterable[str], own: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the kernel parameters of a node: those of rules that hold and are not waived, overridden by ``own``."""
    skip = set(skip)
    wanted: dict[str, str] = {}
    for rule, key, value in SYSCTLS:
        if not policy.holds(rule):
            continue
        if check_of(key) not in skip:
            wanted[key] = value
        elif key in INSTEAD:
            wanted[key] = INSTEAD[key]
    return {key: str(int(value) if isinstance(value, bool) else value) for key, value in merged(wanted, own).items()}


def kernel(policy: Policy, settings: Settings) -> list[Entry]:
    found = sysctls(policy, settings["skip"], settings["sysctl"])
    return [text_file("/etc/sysctl.d/55-hardening.conf", "".join(f"{key} = {value}\n" for key, value in found.items()))]


def diverted(policy: Policy, settings: Settings) -> dict[str, bool]:
    """Return the files of packages, and for each whether it is diverted because Socle sets another value."""
    found = sysctls(policy, settings["skip"], settings["sysctl"])
    return {path: key in found for key, path in RIVALS.items()}


def core_dumps(policy: Policy, settings: Settings) -> list[Entry]:
    return [
        text_file("/etc/security/limits.d/hardening.conf", "* hard core 0\nroot hard core 0\n"),
        text_file("/etc/profile.d/core-dumps.sh", "ulimit -c 0\n"),
        # Not in the format `ini`, because a scanner does not accept its blanks around the equals sign.
        text_file("/etc/systemd/coredump.conf.d/hardening.conf", "[Coredump]\nStorage=none\nProcessSizeMax=0\n"),
    ]
