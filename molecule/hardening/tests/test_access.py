# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role hardening: no user is locked out, neither by the hardening, nor a year later, nor by a mistake."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
testinfra_hosts = ["ansible://ctl1", "ansible://gw1"]


@pytest.fixture
def login(settings) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`login(words)`: run a command as root over a new connection with Ansible's account."""
    sudo = ["sudo", "-n"] if settings["ansible_become"] else []

    def run(words: str = "true") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ssh", *shlex.split(settings["ansible_ssh_common_args"]), "-o", "ControlPath=none", "-o", "BatchMode=yes",
             "-o", "ConnectTimeout=2", "-i", settings["ansible_ssh_private_key_file"],
             "-p", str(settings["ansible_port"]),
             f"{settings['ansible_user']}@{settings['ansible_host']}", shlex.join([*sudo, "sh", "-c", words])],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_the_account_that_hardened_the_node_is_let_in_and_becomes_root(login):
    done = login("id -u; stat -c %a /usr/bin/sudo")
    assert done.stdout.split() == ["0", "4110"], done.stderr


def test_sshd_and_the_packet_filter_serve_the_port_of_the_inventory(host, settings):
    port = settings["ansible_port"]
    assert f"port {port}" in host.check_output("sshd -T").splitlines()
    listed = json.loads(host.check_output("nft --json list table inet socle_host"))["nftables"]
    rules = [item["rule"] for item in listed if item.get("rule", {}).get("comment") == "SSH"]
    served = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": int(port)}}
    assert any(served in rule["expr"] and {"accept": None} in rule["expr"] for rule in rules)


def test_the_automation_needs_no_password(host, settings):
    user = settings["ansible_user"]
    assert user == "root" or f"{user} ALL=(ALL:ALL) NOPASSWD: ALL" in host.file("/etc/sudoers").content_string
    assert ("permitrootlogin no" in host.check_output("sshd -T").splitlines()) == (user != "root")


def test_no_password_is_ever_too_old(host):
    """This includes accounts with a maximum age from a former hardening, and accounts that are created later."""
    host.run("useradd --create-home later")
    try:
        for user in ("root", "former", "later"):
            assert host.check_output("chage --list %s | grep ^Max", user).split()[-1] in ("-1", "99999")
    finally:
        host.run("userdel --remove later")


LOCKS = {
    "age of the password": "chage --lastday 2020-01-01 --maxdays 1 {user}",
    "shell": "usermod --shell /usr/sbin/nologin {user}",
    "groups and rights of sudo": (
        "gpasswd --delete {user} sudogrp; chmod 0700 /usr/bin/sudo; chown root:root /usr/bin/sudo"
    ),
    "rights of sudo that dpkg keeps": (
        "dpkg-statoverride --force-statoverride-add --update --add root root 0700 /usr/bin/sudo"
    ),
    "sudoers": "echo 'root ALL=(ALL:ALL) ALL' > /etc/sudoers; rm -rf /etc/sudoers.d",
    "PAM": "echo 'account required pam_deny.so' > /etc/pam.d/common-account",
    "access.conf": (
        "echo '-:ALL:ALL' > /etc/security/access.conf; sed -i '1i account required pam_access.so' /etc/pam.d/sshd"
    ),
    "sshd": "echo 'AllowUsers nobody' > /etc/ssh/sshd_config.d/00-a.conf; systemctl reload ssh",
    "port": (
        "sed -i '/^Port/d' /etc/ssh/sshd_config.d/*; echo 'Port 2' > /etc/ssh/sshd_config.d/0.conf; "
        "systemctl reload ssh"
    ),
    "packet filter": "sed -i '/comment \"SSH\"/d' /etc/nftables.conf; nft -f /etc/nftables.conf",
    "profile": "sed -i '1i exit 1' /etc/bash.bashrc",
    "rights of a folder": "chmod 0700 /etc; chmod 0777 /etc/ssh; chmod 0700 /etc/pam.d",
    "kernel parameters": "sysctl -q net.ipv4.conf.all.arp_ignore=8; ip neigh flush all",
}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_guard_lets_everybody_in_again(host, settings, login, eventually, bring_engines, lock):
    """Only a new connection confirms new access rules. Without one, the guard restores the former rules."""
    user = settings["ansible_user"]
    if user == "root":
        pytest.skip("the other node is let in by an account with sudo, to which all of these happen")
    engines = bring_engines(host)
    before = login(STATE).stdout
    host.check_output(
        f"PYTHONPATH={engines} python3 -c {shlex.quote(ARM)} && nohup sh -c %s >/dev/null 2>&1 &",
        LOCKS[lock].format(user=user),
    )
    if lock not in ("rights of a folder", "kernel parameters"):
        assert eventually(lambda: login().returncode, 10)
    assert eventually(lambda: login().returncode == 0, 60)
    assert eventually(lambda: login("test ! -e /var/lib/socle/guard").returncode == 0, 20)
    assert login(STATE).stdout == before
    login(f"rm -f {engines}")


ARM = "from plugins.module_utils.hardening.lockout_guard import Guard; Guard().arm([], ['/usr/bin/sudo', '/etc'], 4)"
BOOTED = "systemctl show -P UserspaceTimestampMonotonic"
STATE = """
find /etc /usr/bin/sudo /etc/pam.d /etc/ssh /etc/security /etc/sudoers* /etc/*shadow -maxdepth 1 \
  -printf '%p %m %u:%g\n' | sort -u
find /etc/pam.d /etc/ssh /etc/security /etc/sudoers* /etc/bash.bashrc /etc/shadow /etc/passwd \
  /etc/group /etc/nftables.conf \
  /var/lib/dpkg/statoverride -type f | sort | xargs sha256sum
nft list table inet socle_host | grep -v counter
sysctl -n net.ipv4.conf.all.arp_ignore
"""


def test_a_boot_before_the_confirmation_puts_the_former_rules_back(host, login, eventually, bring_engines):
    """An operator who is locked out of a node resets it."""
    if host.backend.host != "gw1":
        pytest.skip("one node is enough")
    engines = bring_engines(host)
    arm = ARM.replace("4)", "3600)")
    host.check_output(f"PYTHONPATH={engines} python3 -c {shlex.quote(arm)}")
    before = login(BOOTED).stdout
    host.run("echo 'AllowUsers nobody' > /etc/ssh/sshd_config.d/00-a.conf; systemctl reload ssh")
    assert eventually(lambda: login().returncode, 10)
    host.run("systemd-run --on-active=1 systemctl reboot")
    time.sleep(2)
    assert eventually(lambda: login().returncode == 0, 90)
    assert login(BOOTED).stdout != before
    assert login("ls /etc/ssh/sshd_config.d/00-a.conf /var/lib/socle/guard").stdout == ""
