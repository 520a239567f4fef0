# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role hardening: properties of a hardened node, tested on the node and from outside."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
testinfra_hosts = ["ansible://ctl1", "ansible://gw1"]


def test_sshd_takes_no_password(host):
    effective = dict(line.split(" ", 1) for line in host.check_output("sshd -T").splitlines() if " " in line)
    assert effective["passwordauthentication"] == "no"
    assert effective["permitrootlogin"] in ("no", "without-password", "prohibit-password")
    assert effective["maxauthtries"] == "3"
    assert not re.search("cbc|md5", effective["ciphers"] + effective["macs"])


def test_files_can_still_be_brought(host):
    """SFTP works: Ansible and users need it."""
    assert "internal-sftp" in host.check_output("sshd -T | grep ^subsystem")


@pytest.mark.parametrize(("key", "value"), [
    ("net.ipv4.conf.all.accept_redirects", 0), ("net.ipv4.conf.all.arp_ignore", 2), ("net.ipv6.conf.all.autoconf", 0),
])  # fmt: skip
def test_network_parameters_are_live(host, key, value):
    assert host.sysctl(key) == value


def test_gateways_route_and_controllers_do_not(host):
    text = host.file("/etc/sysctl.d/55-hardening.conf").content_string
    assert ("ip_forward" in text) == (host.backend.host == "ctl1")
    assert "drop_gratuitous_arp" not in text


def test_only_the_group_may_run_sudo(host, settings):
    file = host.file("/usr/bin/sudo")
    assert (file.group, file.mode) == ("sudogrp", 0o4110)
    host.run_expect([0], "visudo -cq")
    assert {"nova", settings["ansible_user"]} <= set(host.group("sudogrp").members)


def test_helpers_of_services_still_work(host):
    """A command that a service runs with sudo may start programs, and needs no terminal."""
    rule = "nova ALL=(root) NOPASSWD: /bin/sh -c id"
    host.check_output("umask 337; echo %s > /etc/sudoers.d/test", rule)
    done = host.run("runuser -u nova -- sudo -n /bin/sh -c id </dev/null")
    host.check_output("rm /etc/sudoers.d/test")
    assert "uid=0" in done.stdout, done.stderr


PASSWORD = "Vk7#mq!xTz29-Lwe&fo"
AUTHENTICATE = """
import ctypes, sys
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_void_p, cast, sizeof
password = sys.stdin.buffer.read()
pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
libc.calloc.argtypes, libc.calloc.restype = [c_size_t, c_size_t], c_void_p
libc.strdup.argtypes, libc.strdup.restype = [c_char_p], c_void_p
class Message(Structure):
    _fields_ = [("style", c_int), ("text", c_char_p)]
class Response(Structure):
    _fields_ = [("answer", c_void_p), ("code", c_int)]
Ask = CFUNCTYPE(c_int, c_int, POINTER(POINTER(Message)), POINTER(POINTER(Response)), c_void_p)
class Conversation(Structure):
    _fields_ = [("ask", Ask), ("data", c_void_p)]
@Ask
def ask(count, messages, responses, _data):
    # Linux-PAM frees what the conversation allocates.
    responses[0] = cast(libc.calloc(count, sizeof(Response)), POINTER(Response))
    for place in range(count):
        if messages[place].contents.style == 1:  # a prompt without echo
            responses[0][place].answer = libc.strdup(password)
    return 0
handle, conversation = c_void_p(), Conversation(ask, None)
assert pam.pam_start(b"login", sys.argv[1].encode(), byref(conversation), byref(handle)) == 0
code = pam.pam_authenticate(handle, 0)
pam.pam_end(handle, code)
print(code)
"""
"""Authenticate like the service `login` with a password from standard input, and print the result of Linux-PAM."""


@pytest.fixture
def person(host):
    """Create an account with a password for the time of the test and return its name."""
    host.check_output("useradd person && echo %s | chpasswd", f"person:{PASSWORD}")
    yield "person"
    host.run("faillock --user person --reset")
    host.check_output("userdel person")


def authenticate(host, user: str, password: str) -> bool:
    """Return whether PAM accepts this password."""
    return host.check_output("printf %%s %s | python3 -c %s %s", password, AUTHENTICATE, user) == "0"


def counted(host, user: str) -> int:
    """Return the failed attempts that pam_faillock counts, without expired ones."""
    return len(re.findall(r" V$", host.check_output("faillock --user %s", user), re.M))


def test_an_account_is_locked_after_three_wrong_passwords(host, person):
    assert authenticate(host, person, PASSWORD)
    for number in (1, 2, 3):
        assert not authenticate(host, person, "wrong")
        assert counted(host, person) == number
    assert not authenticate(host, person, PASSWORD)
    assert counted(host, person) == 3
    host.check_output("faillock --user %s --reset", person)
    assert authenticate(host, person, PASSWORD)


def test_a_right_password_clears_the_count_of_wrong_ones(host, person):
    for number in (1, 2):
        assert not authenticate(host, person, "wrong")
        assert counted(host, person) == number
    assert authenticate(host, person, PASSWORD)
    assert counted(host, person) == 0


def test_an_account_without_a_password_is_not_let_in(host, person):
    host.check_output("passwd --delete %s", person)
    assert host.check_output("getent shadow %s", person).split(":")[1] == ""
    assert not authenticate(host, person, "")


def test_the_packet_filter_drops_what_is_not_served(host, settings):
    listed = json.loads(host.check_output("nft --json list table inet socle_host"))["nftables"]
    policies = {item["chain"].get("hook"): item["chain"].get("policy") for item in listed if "chain" in item}
    assert policies["input"] == "drop"
    host.run("systemd-run --unit=stranger --collect python3 -m http.server 8099")
    try:
        with pytest.raises(OSError):
            socket.create_connection((settings["ansible_host"], 8099), timeout=2)
        socket.create_connection((settings["ansible_host"], settings["ansible_port"]), timeout=5).close()
    finally:
        host.run("systemctl stop stranger")


@pytest.mark.parametrize("unit", ["rsyslog", "nftables", "cron", "apt-daily-upgrade.timer", "aide-check.timer"])
def test_units_run(host, service, unit):
    assert (service(unit)["ActiveState"], service(unit)["UnitFileState"]) == ("active", "enabled")


def test_the_state_of_files_is_recorded(host, eventually):
    database = host.file("/var/lib/aide/aide.db")
    assert eventually(lambda: database.exists and database.size > 10000, 600)


def test_unattended_updates_hold_openstack(host):
    dump = host.check_output("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert "nova" in dump
    assert 'Automatic-Reboot "false"' in host.check_output("apt-config dump Unattended-Upgrade::Automatic-Reboot")


def test_programs_with_special_rights_are_few_and_watched(host):
    found = host.check_output("find /usr -xdev -type f -perm /6000").splitlines()
    assert "/usr/bin/sudo" in found
    assert "/usr/bin/chfn" not in found
    rules = host.file("/etc/audit/rules.d/40-privileged.rules").content_string
    assert [path for path in found if f"path={path} " not in rules] == []
