# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The files that harden a node to ANSSI-BP-028 v2.0, from the level, the rules that are off and the waivers.

Pure. :func:`files` gives entries for ``config_files``; each builder below names the rules it carries out, and a
builder whose rules do not hold on the node gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.hardening import sudo_rules
from ...module_utils.hardening.rules import Policy
from ..common.overrides import merged
from . import pam_stacks

HEADER = "# Managed by Socle: local changes are overwritten.\n"
Entry = dict[str, Any]
Settings = Mapping[str, Any]

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
    # A fault of the kernel ends the node, which comes back by itself; guests are then evacuated.
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
#: What holds instead where the check of a parameter is waived; others are then left alone.
INSTEAD = {"net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.default.rp_filter": "2"}

#: Files of packages that set a parameter to another value. Ours wins over them, but whoever reads all files of sysctl.d
#: sees both.
RIVALS = {"kernel.pid_max": "/usr/lib/sysctl.d/50-pid-max.conf"}

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

_RARE = """
    cramfs freevxfs jffs2 hfs hfsplus udf dccp sctp rds tipc usb-storage firewire-core firewire-sbp2
    thunderbolt floppy pcspkr ax25 netrom x25 appletalk atm can
"""
#: Rare file systems, protocols and buses, which no node needs (R24 asks for a small kernel; R62 for few services).
RARE_MODULES = _RARE.split()
_NEEDED = """
    openvswitch geneve vxlan 8021q bonding bridge br_netfilter vrf veth dummy macvlan tun tap vhost_net
    vhost_vsock kvm kvm_intel kvm_amd nf_conntrack nf_tables nft_ct nft_log nft_limit nft_nat nft_masq
    nft_fib_inet nft_reject_inet ip_tables ip6_tables iptable_nat iptable_filter xt_conntrack iscsi_tcp
    dm_mod dm_multipath dm_crypt dm_snapshot dm_thin_pool overlay loop nbd vfio_pci tcp_diag inet_diag
    udp_diag
"""
#: Loaded before the loader is closed (R10): what virtual networks, guests and storage come to need later.
NEEDED_MODULES = _NEEDED.split()


def files(policy: Policy, settings: Settings) -> list[Entry]:
    """Every file of the hardening, for ``config_files``.

    ``settings``: the role's variables without their prefix (see its argument specification), and ``skip``, the
    waived checks of the node.
    """
    return [entry for rules, build in BUILDERS if policy.holds(*rules) for entry in build(policy, settings)]


# --- kernel ---------------------------------------------------------------------------------------------


def check_of(parameter: str) -> str:
    """The judges' check of a kernel parameter."""
    return "sysctl_" + parameter.replace(".", "_")


def sysctls(policy: Policy, skip: Iterable[str], own: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Kernel parameters of a node: those whose rule holds, but for the waived, and the site's ``own`` over them."""
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


def _kernel(policy: Policy, settings: Settings) -> list[Entry]:
    found = sysctls(policy, settings["skip"], settings["sysctl"])
    return [_text("/etc/sysctl.d/55-hardening.conf", "".join(f"{key} = {value}\n" for key, value in found.items()))]


def diverted(policy: Policy, settings: Settings) -> dict[str, bool]:
    """Files of packages, and whether each is put aside as the node has a value of ours instead."""
    found = sysctls(policy, settings["skip"], settings["sysctl"])
    return {path: key in found for key, path in RIVALS.items()}


def _command_line(policy: Policy, settings: Settings) -> list[Entry]:
    words = [word for rule, word in ARGUMENTS if policy.holds(rule)]
    if policy.holds(8):
        words.append(f"mds={settings['mds']}")
    text = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(words)}"\nGRUB_DISABLE_RECOVERY="true"\n'
    return [_text("/etc/default/grub.d/hardening.cfg", text)]


def _boot_password(policy: Policy, settings: Settings) -> list[Entry]:
    """Editing an entry of the boot menu takes the password; booting one does not (R5)."""
    if not settings["boot_password_hash"]:
        return []
    script = (
        "#!/bin/sh\n# Managed by Socle: local changes are overwritten.\ncat <<'END'\nset superusers=\"root\"\n"
        f"password_pbkdf2 root {settings['boot_password_hash']}\nexport superusers\n"
        'menuentry_id_option="--unrestricted $menuentry_id_option"\nEND\n'
    )
    return [{"path": "/etc/grub.d/01_hardening", "content": script, "mode": "0700"}]


def _modules(policy: Policy, settings: Settings) -> list[Entry]:
    text = "".join(f"install {name} /bin/false\n" for name in sorted(RARE_MODULES))
    # A guest that is a hypervisor itself reaches code of the host that no other guest does.
    text += "options kvm_intel nested=0\noptions kvm_amd nested=0\n"
    return [_text("/etc/modprobe.d/hardening.conf", text)]


def _usb(policy: Policy, settings: Settings) -> list[Entry]:
    """What is plugged into a server, and is none of these devices, is not spoken to."""
    rules = "".join(f"{rule}\n" for rule in settings["usb_rules"])
    daemon = (
        "RuleFile=/etc/usbguard/rules.conf\nImplicitPolicyTarget=block\nPresentDevicePolicy=apply-policy\n"
        "PresentControllerPolicy=apply-policy\nInsertedDevicePolicy=apply-policy\nAuthorizedDefault=none\n"
        "RestoreControllerDeviceState=false\nDeviceManagerBackend=uevent\nIPCAllowedUsers=root\nIPCAllowedGroups=\n"
        "IPCAccessControlFiles=/etc/usbguard/IPCAccessControl.d/\nDeviceRulesWithPort=false\n"
        "AuditBackend=LinuxAudit\nHidePII=false\n"
    )
    return [
        {**_text("/etc/usbguard/rules.conf", rules), "mode": "0600", "validate": "usbguard-rule-parser -f %s"},
        {**_text("/etc/usbguard/usbguard-daemon.conf", daemon), "mode": "0600"},
    ]


def _modules_lock(policy: Policy, settings: Settings) -> list[Entry]:
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


def _core_dumps(policy: Policy, settings: Settings) -> list[Entry]:
    return [
        _text("/etc/security/limits.d/hardening.conf", "* hard core 0\nroot hard core 0\n"),
        _text("/etc/profile.d/core-dumps.sh", "ulimit -c 0\n"),
        # Not as `ini`, whose blanks around = a judge does not read.
        _text("/etc/systemd/coredump.conf.d/hardening.conf", "[Coredump]\nStorage=none\nProcessSizeMax=0\n"),
    ]


# --- mounts ---------------------------------------------------------------------------------------------


def unit_of(path: str) -> str:
    """The mount unit of a path, as systemd-escape(1) names it."""
    return path.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"


def mount_units(mounts: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Units that give ``mounts`` ({path, options}) their options where they are no file system of their own."""
    return [
        {
            "path": f"/etc/systemd/system/{unit_of(mount['path'])}",
            "format": "ini",
            "content": {
                "Unit": {"Description": f"Options of {mount['path']}", "DefaultDependencies": False,
                         "Before": "local-fs.target umount.target", "Conflicts": "umount.target"},
                "Mount": {"What": mount["path"], "Where": mount["path"], "Type": "none",
                          "Options": ",".join(["bind", *mount["options"]])},
                "Install": {"WantedBy": "local-fs.target"},
            },
        }
        for mount in mounts
    ]  # fmt: skip


def _mounts(policy: Policy, settings: Settings) -> list[Entry]:
    found: list[Entry] = []
    # A unit of its own: a mount that is there already, and by whoever, keeps its content.
    script = " ".join(
        f"if mountpoint -q {item['path']}; then mount -o remount,{','.join(item['options'])} {item['path']}; fi;"
        for item in settings["mounts"]
    )
    found.append(
        {
            "path": "/etc/systemd/system/mount-options.service",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Options of mounts", "After": "local-fs.target"},
                "Service": {"Type": "oneshot", "RemainAfterExit": True, "ExecStart": f"/bin/sh -c '{script}'"},
                "Install": {"WantedBy": "multi-user.target"},
            },
        }
    )
    # debconf runs scripts of packages from here, and /tmp runs nothing.
    found.append(
        _text("/etc/apt/apt.conf.d/81hardening", 'APT::ExtractTemplates::TempDir "/var/cache/debconf";\n', comment="//")
    )
    return found + mount_units(settings["bind_mounts"])


# --- accounts -------------------------------------------------------------------------------------------


def _pam(policy: Policy, settings: Settings) -> list[Entry]:
    lock = settings["lock"]
    faillock = {
        "": {
            "deny": lock["attempts"],
            "fail_interval": lock["interval"],
            "unlock_time": lock["seconds"],
            "even_deny_root": {},
            "audit": {},
            "silent": {},
        }
    }
    quality = {
        "": {
            "minlen": settings["password_length"],
            "minclass": 4,
            "dcredit": -1,
            "ucredit": -1,
            "lcredit": -1,
            "ocredit": -1,
            "difok": 8,
            "maxrepeat": 3,
            "maxsequence": 3,
            "dictcheck": 1,
            "retry": 3,
            "enforce_for_root": {},
        }
    }
    return [
        {"path": "/etc/security/faillock.conf", "format": "ini", "content": faillock},
        {"path": "/etc/security/pwquality.conf", "format": "ini", "content": quality},
        *(
            {**_text(path, content), "validate": pam_stacks.VALIDATE}
            for path, content in pam_stacks.stacks(settings["pam_lines"]).items()
        ),
        # Only members of the group may become someone else.
        _text("/etc/pam.d/su", PAM_SU.format(group=settings["su_group"])),
    ]


PAM_SU = """\
auth sufficient pam_rootok.so
auth required pam_wheel.so use_uid group={group}
session required pam_env.so readenv=1
session required pam_env.so readenv=1 envfile=/etc/default/locale
session optional pam_mail.so nopen
session required pam_limits.so
@include common-auth
@include common-account
@include common-session
"""


def _logins(policy: Policy, settings: Settings) -> list[Entry]:
    umask = "077" if policy.holds(36) else "027"
    return [
        _text("/etc/login.defs", LOGIN_DEFS.format(umask=umask)),
        _text("/etc/profile", PROFILE.format(umask=umask)),
        _text("/etc/bash.bashrc", BASHRC.format(umask=umask)),
        # No terminal is one that root logs in from (R33).
        {"path": "/etc/securetty", "content": "\n", "mode": "0600"},
        _text("/etc/issue", settings["banner"] + "\n", comment=""),
        _text("/etc/issue.net", settings["banner"] + "\n", comment=""),
        _text("/etc/motd", "", comment=""),
        {"path": "/etc/cron.allow", "content": "root\n", "mode": "0600"},
        {"path": "/etc/at.allow", "content": "root\n", "mode": "0600"},
    ]


def _sessions(policy: Policy, settings: Settings) -> list[Entry]:
    seconds = settings["session_seconds"]
    login = {"Login": {"StopIdleSessionSec": seconds, "KillUserProcesses": False}}
    return [
        _text("/etc/profile.d/session-timeout.sh", SESSION_TIMEOUT.format(seconds=seconds)),
        {"path": "/etc/systemd/logind.conf.d/hardening.conf", "format": "ini", "content": login},
    ]


#: Read by any shell, and by some of them twice. A shell without TMOUT, such as dash, is ended by logind. In bash TMOUT
#: also limits `read`, so scripts do not get it. The scanner looks for the line with `declare`, which only bash knows.
SESSION_TIMEOUT = """\
case $- in
  *i*)
    if (unset TMOUT) 2>/dev/null; then
      if [ -n "${{BASH_VERSION-}}" ]; then
        declare -xr TMOUT={seconds}
      else
        TMOUT={seconds}
        export TMOUT
        readonly TMOUT
      fi
    fi
    ;;
esac
"""
#: No limit in PASS_MAX_DAYS: an account that is made later, and logs in by key, would be refused once its password is
#: too old.
LOGIN_DEFS = """\
MAIL_DIR /var/mail
FAILLOG_ENAB yes
LOG_UNKFAIL_ENAB no
LOG_OK_LOGINS yes
SYSLOG_SU_ENAB yes
SYSLOG_SG_ENAB yes
SULOG_FILE /var/log/sulog
FTMP_FILE /var/log/btmp
SU_NAME su
HUSHLOGIN_FILE .hushlogin
ENV_SUPATH PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV_PATH PATH=/usr/local/bin:/usr/bin:/bin
TTYGROUP tty
TTYPERM 0600
ERASECHAR 0177
KILLCHAR 025
UMASK {umask}
HOME_MODE 0700
PASS_MAX_DAYS 99999
PASS_MIN_DAYS 1
PASS_WARN_AGE 14
UID_MIN 1000
UID_MAX 60000
SYS_UID_MIN 100
SYS_UID_MAX 999
GID_MIN 1000
GID_MAX 60000
SYS_GID_MIN 100
SYS_GID_MAX 999
LOGIN_RETRIES 3
LOGIN_TIMEOUT 60
CHFN_RESTRICT r
DEFAULT_HOME no
NONEXISTENT /nonexistent
USERGROUPS_ENAB no
ENCRYPT_METHOD YESCRYPT
YESCRYPT_COST_FACTOR 11
SHA_CRYPT_MIN_ROUNDS 65536
SHA_CRYPT_MAX_ROUNDS 65536
"""
PROFILE = """\
if [ "$(id -u)" -eq 0 ]; then
  PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
else
  PATH="/usr/local/bin:/usr/bin:/bin"
fi
export PATH
umask {umask}
if [ "${{PS1-}}" ] && [ "${{BASH-}}" ] && [ -f /etc/bash.bashrc ]; then
  . /etc/bash.bashrc
fi
for file in /etc/profile.d/*.sh; do
  [ -r "$file" ] && . "$file"
done
unset file
"""
BASHRC = """\
umask {umask}
[ -z "${{PS1-}}" ] && return
shopt -s checkwinsize
PS1='\\u@\\h:\\w\\$ '
"""


def _sudo(policy: Policy, settings: Settings) -> list[Entry]:
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
        # What rootwrap writes is read by the service: its own umask holds.
        lines.append(f"Defaults:{services} !umask")
    lines += ["root ALL=(ALL:ALL) ALL"]
    lines += [f"%{sudo_rules.escaped(settings['sudo_group'])} ALL=(ALL:ALL) ALL"]
    lines += [sudo_rules.rule(user) for user in settings["sudo_users"] if user != "root"]
    lines += ["@includedir /etc/sudoers.d"]
    return [{**_text("/etc/sudoers", "\n".join(lines) + "\n"), "mode": "0440", "validate": "visudo -cqf %s"}]


def _ssh(policy: Policy, settings: Settings) -> list[Entry]:
    # ANSSI, "Usage sécurisé d'(Open)SSH"; the algorithms are those that OpenSSH 10 and its peers of ten years share.
    options = {
        "PermitRootLogin": settings["ssh_root_login"],
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitEmptyPasswords": "no",
        "PubkeyAuthentication": "yes",
        "AuthorizedKeysFile": ".ssh/authorized_keys",
        "StrictModes": "yes",
        "HostbasedAuthentication": "no",
        "IgnoreRhosts": "yes",
        "PermitUserEnvironment": "no",
        "UsePAM": "yes",
        "LoginGraceTime": "30",
        "MaxAuthTries": "3",
        "MaxSessions": "10",
        "MaxStartups": "10:30:100",
        "ClientAliveInterval": "300",
        "ClientAliveCountMax": "2",
        "TCPKeepAlive": "no",
        "X11Forwarding": "no",
        "AllowTcpForwarding": "no",
        "AllowAgentForwarding": "no",
        "AllowStreamLocalForwarding": "no",
        "GatewayPorts": "no",
        "PermitTunnel": "no",
        "Compression": "no",
        "UseDNS": "no",
        "PrintLastLog": "yes",
        "LogLevel": "VERBOSE",
        "Banner": "/etc/issue.net",
        "HostKeyAlgorithms": "ssh-ed25519,rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256",
        "KexAlgorithms": "mlkem768x25519-sha256,sntrup761x25519-sha512,curve25519-sha256,ecdh-sha2-nistp521,"
        "ecdh-sha2-nistp384,ecdh-sha2-nistp256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512",
        "Ciphers": "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,"
        "aes128-ctr",
        "MACs": "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512,hmac-sha2-256",
    }
    given = merged(options, settings["ssh_options"])
    words = {key: ("no", "yes")[value] if isinstance(value, bool) else value for key, value in given.items()}
    # sshd listens on every port that it is given, where the first value of all else holds.
    text = "".join(f"Port {port}\n" for port in settings["ssh_ports"])
    text += "".join(f"{key} {value}\n" for key, value in words.items())
    # sshd takes the first value it reads, and Debian's file includes these before its own.
    main = "Include /etc/ssh/sshd_config.d/*.conf\nSubsystem sftp internal-sftp\nAcceptEnv LANG LC_*\n"
    return [
        {
            **_text("/etc/ssh/sshd_config.d/00-hardening.conf", text),
            "mode": "0600",
            "validate": "/usr/sbin/sshd -t -f %s",
        },
        {**_text("/etc/ssh/sshd_config", main), "mode": "0600"},
    ]


# --- logs -----------------------------------------------------------------------------------------------


def _rsyslog(policy: Policy, settings: Settings) -> list[Entry]:
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
        # Files of packages come after the collector, which gets all messages: many of them end with `stop`.
        "$IncludeConfig /etc/rsyslog.d/*.conf",
        "auth,authpriv.* /var/log/auth.log",
        "*.*;auth,authpriv.none -/var/log/syslog",
        "cron.* /var/log/cron.log",
        "kern.* -/var/log/kern.log",
        "*.emerg :omusrmsg:*",
    ]
    forward = {"Journal": {"ForwardToSyslog": True, "Storage": "persistent", "Compress": True}}
    return [
        {**_text("/etc/rsyslog.conf", "\n".join(line for line in lines if line) + "\n"), "mode": "0640",
         "validate": "rsyslogd -N1 -f %s"},
        {"path": "/etc/systemd/journald.conf.d/hardening.conf", "format": "ini", "content": forward},
    ]  # fmt: skip


def _logrotate(policy: Policy, settings: Settings) -> list[Entry]:
    # The general part says how often and for how long. `create` without arguments keeps the owner and mode that a log
    # has, and there is no `su`: both belong to the package whose daemon opens the log again.
    text = (
        "daily\nrotate 90\ncreate\ndateext\ncompress\ndelaycompress\nmissingok\nnotifempty\ninclude /etc/logrotate.d\n"
    )
    logs = "\n".join([*(f"/var/log/{name}" for name in SYSTEM_LOGS), settings["sudo_log"], "/var/log/remote/*.log"])
    rotated = f"{logs} {{\n  sharedscripts\n  postrotate\n    /usr/lib/rsyslog/rsyslog-rotate\n  endscript\n}}\n"
    return [_text("/etc/logrotate.conf", text), _text("/etc/logrotate.d/rsyslog", rotated)]


#: Logs that rsyslog writes or wrote: mail and user are Debian's, and stay on a node that had them.
SYSTEM_LOGS = ("auth.log", "cron.log", "kern.log", "mail.log", "user.log", "syslog")

_USERS = "-F auid>=1000 -F auid!=unset"


def audit_rules(settings: Settings) -> str:
    """Rules of the audit daemon (R73), but for the commands with special rights, which each node looks up itself."""
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
    """Audit rules of programs that run with rights of their own (R73): their use is always told."""
    known = sorted({*programs, "/usr/bin/kmod"})
    return "".join(f"-a always,exit -F path={path} -F perm=x {_USERS} -F key=privileged\n" for path in known)


def _auditd(policy: Policy, settings: Settings) -> list[Entry]:
    daemon = {
        "": {
            "local_events": "yes",
            "write_logs": "yes",
            "log_file": "/var/log/audit/audit.log",
            # With any other group auditd opens its folder to it, at each start.
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
            # A node that stops for a full disk is a denial of service to its tenants.
            "admin_space_left_action": "rotate",
            "disk_full_action": "rotate",
            "disk_error_action": "syslog",
        }
    }
    return [
        {"path": "/etc/audit/auditd.conf", "format": "ini", "content": daemon, "mode": "0640"},
        {**_text("/etc/audit/rules.d/30-anssi.rules", audit_rules(settings)), "mode": "0640"},
        # From here on only a reboot changes the rules.
        {**_text("/etc/audit/rules.d/99-immutable.rules", "-e 2\n"), "mode": "0640"},
    ]


def _aide(policy: Policy, settings: Settings) -> list[Entry]:
    kind = "p+u+g+n+s+ftype+sha512+acl+xattrs"
    lines = [
        "@@define DBDIR /var/lib/aide",
        "database_in=file:@@{DBDIR}/aide.db",
        "database_out=file:@@{DBDIR}/aide.db.new",
        "database_new=file:@@{DBDIR}/aide.db.new",
        "gzip_dbout=no",
        "num_workers=1",
        "report_level=changed_attributes",
        f"Node = {kind}",
        *(
            f"{path} Node"
            for path in ("/boot", "/etc", "/root", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/lib/systemd")
        ),
        "!/etc/socle/",
        "!/etc/(mtab|resolv.conf)$",
        "!/etc/.*(-|~|[.]socle-new)$",
        "!/root/[.](ansible|cache|bash_history)",
        # Data, which changes all the time: guests, databases, queues, logs.
        "!/var/",
    ]
    lines += [f"!{path}" for path in settings["aide_exclude"]]
    # The whole file: Debian's own would watch every database and guest.
    text = _text("/etc/aide/aide.conf", "\n".join(lines) + "\n")
    return [{**text, "mode": "0640", "validate": "/usr/bin/aide --config-check --config=%s"}]


# --- software -------------------------------------------------------------------------------------------


def _updates(policy: Policy, settings: Settings) -> list[Entry]:
    held = "".join(f'  "{pattern}";\n' for pattern in settings["update_hold"])
    upgrades = (
        "Unattended-Upgrade::Origins-Pattern {\n"
        '  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";\n'
        "};\n// These restart what tenants use; they are upgraded when someone decides so.\n"
        f"Unattended-Upgrade::Package-Blacklist {{\n{held}}};\n"
        'Unattended-Upgrade::Automatic-Reboot "false";\nUnattended-Upgrade::Remove-Unused-Dependencies "false";\n'
        'Unattended-Upgrade::MinimalSteps "true";\nUnattended-Upgrade::SyslogEnable "true";\n'
    )
    # Many files that packages ask about are ours. They stay, and a security update that brings another version of one
    # is installed: unattended-upgrades would leave out a package that may ask.
    upgrades += 'DPkg::Options {\n  "--force-confdef";\n  "--force-confold";\n};\n'
    times = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
    restart = (
        "# Say what would need a restart, restart nothing.\n$nrconf{restart} = 'l';\n$nrconf{kernelhints} = 0;\n1;\n"
    )
    return [
        _text("/etc/apt/apt.conf.d/50unattended-upgrades", upgrades, comment="//"),
        _text("/etc/apt/apt.conf.d/20auto-upgrades", times, comment="//"),
        _text("/etc/needrestart/conf.d/50-hardening.conf", restart),
    ]


def _accounting(policy: Policy, settings: Settings) -> list[Entry]:
    """Figures of the node, and a weekly look whether packages' files are theirs."""
    return [_text("/etc/default/sysstat", 'ENABLED="true"\n'), _text("/etc/default/debsums", "CRON_CHECK=weekly\n")]


def _aliases(policy: Policy, settings: Settings) -> list[Entry]:
    return [_text("/etc/aliases", f"postmaster: root\nroot: {settings['mail']}\n")]


def _text(path: str, content: str, comment: str = "#") -> Entry:
    head = f"{comment}{HEADER[1:]}" if comment else ""
    return {"path": path, "content": head + content}


#: The rules that ask for files, and what makes them. Any of the rules is enough.
BUILDERS: tuple[tuple[tuple[int, ...], Callable[[Policy, Settings], list[Entry]]], ...] = (
    ((5,), _boot_password),
    ((7, 8, 45, 73), _command_line),
    ((8, 9, 11, 12, 13, 14), _kernel),
    ((9, 14), _core_dumps),
    ((10,), _modules_lock),
    ((24, 62), _modules),
    ((62,), _usb),
    ((28,), _mounts),
    ((31, 68, 69), _pam),
    ((33, 35, 36), _logins),
    ((32,), _sessions),
    ((39, 40, 42, 43), _sudo),
    ((61,), _updates),
    ((71,), _accounting),
    ((71,), _rsyslog),
    ((71,), _logrotate),
    ((73,), _auditd),
    ((75,), _aliases),
    ((76, 79), _aide),
    ((79, 80), _ssh),
)


# --- units ----------------------------------------------------------------------------------------------


def profile_links(names: Iterable[str]) -> list[Entry]:
    """Links that keep AppArmor profiles from being loaded."""
    return [{"path": f"/etc/apparmor.d/disable/{name}", "target": f"/etc/apparmor.d/{name}"} for name in names]


def units(policy: Policy, settings: Settings, places: Iterable[str], lock: bool) -> list[Entry]:
    """What runs, for ``service_units``; ``places`` is what cannot be applied live on the node."""
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
        found += [{"name": entry["path"].rpartition("/")[2]} for entry in mount_units(settings["bind_mounts"])]
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


def _helpers(policy: Policy, settings: Settings) -> list[Entry]:
    """Units of ours that do a thing once, and again when what they read has changed."""

    def unit(name: str, description: str, kind: str, command: str, **more: Any) -> Entry:
        service = {"Type": kind, "RemainAfterExit": True, "ExecStart": command, **more}
        content = {
            "Unit": {"Description": description},
            "Service": service,
            "Install": {"WantedBy": "multi-user.target"},
        }
        return {"path": f"/etc/systemd/system/{name}.service", "format": "ini", "content": content}

    return [
        unit(
            "boot-menu",
            "Write the boot menu",
            "oneshot",
            # Only when something it is made from is newer: this also runs at each boot.
            "/bin/sh -c 'command -v update-grub >/dev/null || exit 0; "
            "if ! test -e /boot/grub/grub.cfg || "
            "find /etc/default/grub* /etc/grub.d -newer /boot/grub/grub.cfg | grep -q .; "
            "then update-grub || exit 1; fi; chmod 0600 /boot/grub/grub.cfg'",
        ),
        # R29: an upgrade of the kernel writes the menu again, readable by all. A chmod wakes the watch again, so it is
        # done only where needed.
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
        unit(
            "aide-database",
            "Record the state of the system's files",
            "exec",
            "/bin/sh -c 'test -e /var/lib/aide/aide.db || { nice -n 19 aide --init --config=/etc/aide/aide.conf && "
            "mv /var/lib/aide/aide.db.new /var/lib/aide/aide.db; }'",
            Nice=19,
            StateDirectory="aide",
            StateDirectoryMode="0700",
        ),
        {
            "path": "/etc/systemd/system/aide-check.service",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Compare the system's files with their recorded state"},
                "Service": {
                    "Type": "oneshot",
                    "ExecStart": "/usr/bin/aide --check --config=/etc/aide/aide.conf",
                    # Differences are told by the code; they are no failure of the unit's.
                    "SuccessExitStatus": "1 2 3 4 5 6 7",
                    "Nice": 19,
                },
            },
        },
        {
            "path": "/etc/systemd/system/aide-check.timer",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Compare the system's files each night"},
                "Timer": {"OnCalendar": "03:00", "RandomizedDelaySec": "2h", "Persistent": True},
                "Install": {"WantedBy": "timers.target"},
            },
        },
    ]


BUILDERS += (((7, 8, 29, 45, 73, 76, 79), _helpers),)
