# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Kernel modules: those that are never loaded, and the lock of the module loader."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file

_RARE = """
    cramfs freevxfs jffs2 hfs hfsplus udf dccp sctp rds tipc usb-storage firewire-core firewire-sbp2
    thunderbolt floppy pcspkr ax25 netrom x25 appletalk atm can
"""
#: Rare file systems, protocols and buses that no node needs (R24 asks for a small kernel, R62 for few services).
RARE_MODULES = _RARE.split()
_NEEDED = """
    openvswitch geneve vxlan 8021q bonding bridge br_netfilter vrf veth dummy macvlan tun tap vhost_net
    vhost_vsock kvm kvm_intel kvm_amd nf_conntrack nf_tables nft_ct nft_log nft_limit nft_nat nft_masq
    nft_fib_inet nft_reject_inet ip_tables ip6_tables iptable_nat iptable_filter xt_conntrack iscsi_tcp
    dm_mod dm_multipath dm_crypt dm_snapshot dm_thin_pool overlay loop nbd vfio_pci tcp_diag inet_diag
    udp_diag
"""
#: Modules that are loaded before the loader is locked (R10), because networks, guests and storage need them later.
NEEDED_MODULES = _NEEDED.split()


def modules(policy: Policy, settings: Settings) -> list[Entry]:
    text = "".join(f"install {name} /bin/false\n" for name in sorted(RARE_MODULES))
    # With nested virtualization, a guest could reach code of the host that other guests cannot.
    text += "options kvm_intel nested=0\noptions kvm_amd nested=0\n"
    return [text_file("/etc/modprobe.d/hardening.conf", text)]


def modules_lock(policy: Policy, settings: Settings) -> list[Entry]:
    needed = [*NEEDED_MODULES, *settings["modules"]]
    unit = {
        "Unit": {
            "Description": "Close the loader of kernel modules",
            "ConditionPathIsReadWrite": "/proc/sys/kernel/modules_disabled",
            "After": "multi-user.target systemd-modules-load.service openvswitch-switch.service libvirtd.service",
        },
        "Service": {
            "Type": "oneshot",
            "RemainAfterExit": True,
            "ExecStart": [
                f"-/usr/sbin/modprobe --all --quiet {' '.join(sorted(set(needed)))}",
                "/usr/sbin/sysctl -q kernel.modules_disabled=1",
            ],
        },
        "Install": {"WantedBy": "default.target"},
    }
    return [{"path": "/etc/systemd/system/modules-lock.service", "format": "ini", "content": unit}]
