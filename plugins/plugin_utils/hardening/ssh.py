# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The SSH server."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from ..common.overrides import merged
from .entries import Entry, Settings, text_file


def ssh(policy: Policy, settings: Settings) -> list[Entry]:
    # ANSSI, "Usage sécurisé d'(Open)SSH". The algorithms are common to OpenSSH 10 and its peers of the last ten years.
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
    # sshd listens on all given ports. For all other options it uses the first value.
    text = "".join(f"Port {port}\n" for port in settings["ssh_ports"])
    text += "".join(f"{key} {value}\n" for key, value in words.items())
    # sshd uses the first value that it reads. Debian's file also includes these files before its own values.
    main = "Include /etc/ssh/sshd_config.d/*.conf\nSubsystem sftp internal-sftp\nAcceptEnv LANG LC_*\n"
    return [
        {
            **text_file("/etc/ssh/sshd_config.d/00-hardening.conf", text),
            "mode": "0600",
            "validate": "/usr/sbin/sshd -t -f %s",
        },
        {**text_file("/etc/ssh/sshd_config", main), "mode": "0600"},
    ]
