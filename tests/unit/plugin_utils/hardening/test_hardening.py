# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The rule table, the waivers, the files of the hardening, the host firewall, the guard, and node_access."""

from __future__ import annotations

import grp
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jinja2.nativetypes import NativeEnvironment

from ansible_collections.cloudwatt.socle.plugins.filter.hardening import filter_strangers
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import process
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import (
    apparmor_profiles,
    host_firewall,
    lockout_guard,
    login_session,
    mount_table,
    node_access,
    sudo_rules,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import (
    LEVELS,
    RULES,
    Policy,
    PolicyError,
    not_live,
    waived,
    waivers,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.config_files import wanted
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import services
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import (
    apparmor,
    audit_rules,
    kernel,
    mounts,
    pam_stacks,
)
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import files as hardening

ROOT = Path(__file__).resolve().parents[4]
WAIVERS = yaml.safe_load((ROOT / "roles/site/files/waivers.yml").read_text())


def _defaults() -> dict:
    """Return the defaults of the role, with the templates about the services of the site rendered as by Ansible."""
    environment = NativeEnvironment()
    known = yaml.safe_load((ROOT / "roles/hardening/defaults/main.yml").read_text())

    def made(value):
        if isinstance(value, list):
            return [made(item) for item in value]
        if not isinstance(value, str) or "site_services" not in value:
            return value
        return environment.from_string(value).render(site_services=services.declared(ROOT / "roles"))

    return {name: made(known[name]) for name in known}


DEFAULTS = _defaults()
REASON = "because the site says so"
levels = st.sampled_from(LEVELS)


def settings(**more):
    given = {name.removeprefix("hardening_"): value for name, value in DEFAULTS.items()}
    given |= {
        "skip": set(),
        "sudo_users": ["root"],
        "ssh_root_login": "no",
        "ssh_ports": [22],
        "log_listens": "",
        "log_tls": {"ca": "/ca", "certificate": "/c", "key": "/k"},
        "kernel_log": True,
    }
    return given | more


def by_path(level="enhanced", off=None, **more):
    return {entry["path"]: entry for entry in hardening.files(Policy.of(level, off), settings(**more))}


# --- rules and waivers


def test_the_levels_have_as_many_rules_as_the_guide():
    assert [list(RULES.values()).count(level) for level in LEVELS] == [11, 29, 18, 22]


@given(levels, st.integers(1, 80))
def test_a_higher_level_drops_no_rule(level, number):
    held = [Policy.of(name).holds(number) for name in LEVELS]
    assert held == sorted(held)
    assert Policy.of("high").holds(number)
    assert not Policy.of(level, {f"R{number}": REASON}).holds(number)


@pytest.mark.parametrize(
    ("level", "off", "says"),
    [
        ("maximal", {}, "hardening_level"),
        ("high", {"R81": REASON}, "R81"),
        ("high", {"noexec": REASON}, "noexec"),
        ("high", {"R39": ""}, "R39: say why"),
        ("high", {"R39": None}, "R39: say why"),
    ],
)
def test_a_policy_that_is_wrong_is_refused(level, off, says):
    with pytest.raises(PolicyError, match=says):
        Policy.of(level, off)


def test_our_waivers_are_whole_and_few():
    known = waivers(WAIVERS)
    assert 0 < len(known) <= 25


@pytest.mark.parametrize("key", ["check", "groups", "reason", "control"])
def test_a_waiver_without_one_of_its_parts_is_refused(key):
    for gap in ({}, {key: ""}):
        entry = {name: value for name, value in WAIVERS[0].items() if name != key} | gap
        with pytest.raises(PolicyError, match=key):
            waivers([entry])


def test_a_waiver_is_given_once_for_a_group():
    with pytest.raises(PolicyError, match="twice"):
        waivers([WAIVERS[1], WAIVERS[1]])


def test_a_waiver_holds_for_its_groups_only():
    known = waivers(WAIVERS)
    assert "sysctl_net_ipv4_ip_forward" in waived(known, ["gateway", "nodes"])
    assert "sysctl_net_ipv4_ip_forward" not in waived(known, ["control", "nodes"])
    assert "sysctl_kernel_modules_disabled" in waived(known, ["control"])


def test_what_a_place_cannot_do():
    assert not_live("sysctl_kernel_sysrq", ["kernel"])
    assert not not_live("sysctl_net_ipv4_ip_forward", ["kernel"])
    assert not not_live("sysctl_kernel_sysrq", [])
    with pytest.raises(PolicyError, match="moon"):
        not_live("sysctl_kernel_sysrq", ["moon"])


# --- files


@pytest.mark.parametrize("level", LEVELS)
def test_every_file_is_one_that_can_be_written(level):
    entries = [{"mode": "0644", **entry} for entry in by_path(level, log_collector="logs.example").values()]
    assert len(wanted(entries)) == len(entries)


def test_a_level_writes_what_lower_ones_do_and_more():
    paths = [set(by_path(level)) for level in LEVELS]
    assert all(low <= high for low, high in pairwise(paths))
    assert "/etc/audit/auditd.conf" in paths[2] - paths[1]


def test_a_waived_parameter_is_left_out_or_has_its_substitute():
    skip = set(waived(waivers(WAIVERS), ["gateway", "nodes"]))
    text = by_path(skip=skip)["/etc/sysctl.d/55-hardening.conf"]["content"]
    assert "drop_gratuitous_arp" not in text
    assert "ip_forward" not in text
    assert "net.ipv4.conf.all.rp_filter = 2\n" in text
    assert "modules_disabled" not in by_path()["/etc/sysctl.d/55-hardening.conf"]["content"]


def test_the_site_has_the_last_word_on_a_parameter():
    policy = Policy.of("high")
    assert kernel.sysctls(policy, [], {"kernel.sysrq": 4})["kernel.sysrq"] == "4"


def test_sudo_lets_helpers_and_automation_work():
    text = by_path(sudo_users=["ops"])["/etc/sudoers"]["content"]
    assert "Defaults noexec\n" in text
    assert "Defaults:root,ops,nova,neutron,cinder !noexec, !requiretty\n" in text
    assert by_path()["/etc/sudoers"]["validate"].startswith("visudo")


@pytest.mark.skipif(not shutil.which("visudo"), reason="visudo is not on this machine")
def test_sudoers_is_what_visudo_takes(tmp_path):
    file = tmp_path / "sudoers"
    file.write_text(by_path()["/etc/sudoers"]["content"].replace("@includedir", "#"))
    file.chmod(0o440)
    assert subprocess.run(["visudo", "-cqf", str(file)], capture_output=True).returncode == 0


def test_sshd_takes_no_password_and_root_only_where_it_must():
    text = by_path()["/etc/ssh/sshd_config.d/00-hardening.conf"]["content"]
    assert "PasswordAuthentication no\n" in text
    assert "PermitRootLogin no\n" in text
    assert not re.search("cbc|sha1|hmac-md5|arcfour|ssh-dss", text)


def test_every_stack_is_validated_before_it_is_written():
    files = by_path(pam_lines={"auth": ["[success=end default=ignore] pam_sss.so use_first_pass"]})
    for name in ("auth", "account", "password", "session", "session-noninteractive"):
        assert files[f"/etc/pam.d/common-{name}"]["validate"] == pam_stacks.VALIDATE
    text = files["/etc/pam.d/common-auth"]["content"]
    assert "auth [success=2 default=ignore] pam_unix.so" in text
    assert "auth [success=1 default=ignore] pam_sss.so use_first_pass\n" in text


# --- shells


@pytest.fixture
def profile(tmp_path):
    """The login profile of a hardened node, in a folder instead of /etc."""
    files = by_path()
    (tmp_path / "profile.d").mkdir()
    for name in ("profile", "bash.bashrc", "profile.d/session-timeout.sh", "profile.d/core-dumps.sh"):
        text = files[f"/etc/{name}"]["content"]
        (tmp_path / name).write_text(re.sub(r"/etc/(?=profile|bash)", f"{tmp_path}/", text))
    return tmp_path / "profile"


SHELLS = [shell for shell in (["dash"], ["bash", "--norc"], ["bash", "--posix", "--norc"]) if shutil.which(shell[0])]
SILENT = r"(no job control|set terminal process group|can't access tty|can\'t access tty).*\n"


def in_shell(shell, script, *, interactive):
    words = [*shell, *(["-i"] if interactive else []), "-c", script]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "PS1": "$ "}
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    told = "".join(line for line in done.stderr.splitlines(True) if not re.search(SILENT, line))
    return done.stdout, told, done.returncode


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("options", ["", "set -e; ", "set -u; ", "set -eu; "])
def test_any_shell_reads_the_profile_twice_without_a_word(profile, shell, options):
    script = f'{options}. {profile}; . {profile}; echo "$TMOUT"'
    assert in_shell(shell, script, interactive=True) == ("600\n", "", 0)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_person_cannot_take_the_end_of_an_idle_session_back(profile, shell):
    for change in ("TMOUT=0", "unset TMOUT"):
        out, told, _code = in_shell(shell, f". {profile}; ( {change} ); echo $TMOUT", interactive=True)
        assert out == "600\n"
        assert "TMOUT" in told


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_script_has_no_time_limit(profile, shell):
    """Bash uses TMOUT as the timeout of every `read`."""
    script = f'. {profile}; . {profile}; echo "${{TMOUT-none}}"; TMOUT=5'
    assert in_shell(shell, script, interactive=False) == ("none\n", "", 0)


def test_the_scanner_finds_the_limit_of_a_session():
    pattern = r"^[\s]*(?:typeset|declare)[\s]+-xr[\s]+TMOUT=([\w$]+).*$"
    assert re.findall(pattern, by_path()["/etc/profile.d/session-timeout.sh"]["content"], re.M) == ["600"]


def test_mds_turns_no_threads_off_by_itself():
    line = by_path()["/etc/default/grub.d/hardening.cfg"]["content"]
    assert 'mds=full"' in line
    assert "nosmt" not in line
    assert "mds=full,nosmt" in by_path(mds="full,nosmt")["/etc/default/grub.d/hardening.cfg"]["content"]


def test_updates_hold_what_tenants_would_feel():
    text = by_path()["/etc/apt/apt.conf.d/50unattended-upgrades"]["content"]
    patterns = re.findall(r'^  "(\^.*)";$', text, re.M)
    for package in (
        "nova-compute",
        "mariadb-server",
        "openvswitch-switch",
        "qemu-system-x86",
        "python3-oslo.messaging",
    ):
        assert any(re.match(pattern, package) for pattern in patterns), package
    assert not any(re.match(pattern, "openssl") for pattern in patterns)
    assert 'Automatic-Reboot "false"' in text


def test_the_audit_rules_are_whole():
    rules = audit_rules.audit_rules(settings()).splitlines()
    assert not [rule for rule in rules if "b64" in rule and re.search(r"-S (umount|stime) ", rule)]
    assert len(rules) == len(set(rules))
    assert by_path()["/etc/audit/rules.d/99-immutable.rules"]["content"].endswith("-e 2\n")


def test_freed_memory_is_poisoned_as_the_judge_wants_it():
    assert " page_poison=1 " in by_path()["/etc/default/grub.d/hardening.cfg"]["content"]


def test_a_file_that_says_otherwise_is_put_aside_where_ours_holds():
    (path,) = kernel.RIVALS.values()
    assert kernel.diverted(Policy.of("enhanced"), settings()) == {path: True}
    skip = set(waived(waivers(WAIVERS), ["compute", "nodes"]))
    assert kernel.diverted(Policy.of("enhanced"), settings(skip=skip)) == {path: False}
    assert kernel.diverted(Policy.of("high", {"R9": REASON}), settings()) == {path: False}
    own = settings(skip=skip, sysctl={"kernel.pid_max": 1048576})
    assert kernel.diverted(Policy.of("enhanced"), own) == {path: True}


def test_only_root_reads_the_boot_menu_also_after_it_was_written_again():
    files = by_path()
    menu = files["/etc/systemd/system/boot-menu.service"]["content"]["Service"]["ExecStart"]
    assert menu.endswith("chmod 0600 /boot/grub/grub.cfg'")
    watch = files["/etc/systemd/system/boot-menu-rights.path"]["content"]["Path"]
    assert watch == {"PathChanged": "/boot/grub/grub.cfg"}
    # chmod triggers the path unit again, so it must run only if the mode is wrong.
    rights = files["/etc/systemd/system/boot-menu-rights.service"]["content"]["Service"]["ExecStart"]
    assert "-perm /0177" in rights
    units = [
        {unit["name"] for unit in hardening.units(Policy.of("enhanced"), settings(), places, lock=True)}
        for places in ([], ["boot"])
    ]
    assert [("boot-menu-rights.path" in names) for names in units] == [True, False]


def test_the_boot_menu_is_written_when_what_it_is_made_from_is_newer(tmp_path):
    command = by_path()["/etc/systemd/system/boot-menu.service"]["content"]["Service"]["ExecStart"]
    (tmp_path / "etc/default/grub.d").mkdir(parents=True)
    (tmp_path / "etc/grub.d").mkdir()
    (tmp_path / "boot/grub").mkdir(parents=True)
    menu = tmp_path / "boot/grub/grub.cfg"
    program = tmp_path / "bin/update-grub"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho written >> {menu}\n")
    program.chmod(0o755)
    script = re.sub(r"(?<![\w/])/(?=etc|boot)", f"{tmp_path}/", command.removeprefix("/bin/sh -c '").removesuffix("'"))

    def run():
        path = f"{program.parent}:{os.environ['PATH']}"
        subprocess.run(["sh", "-c", script], check=True, env={**os.environ, "PATH": path})
        return menu.read_text().count("written"), menu.stat().st_mode & 0o777

    assert run() == (1, 0o600)
    menu.chmod(0o444)
    assert run() == (1, 0o600)
    (tmp_path / "etc/default/grub.d/hardening.cfg").write_text("")
    os.utime(tmp_path / "etc/default/grub.d/hardening.cfg", (2e9, 2e9))
    assert run() == (2, 0o600)


def test_usr_has_no_devices():
    assert {"path": "/usr", "options": ["nodev"]} in DEFAULTS["hardening_mounts"]
    script = by_path()["/etc/systemd/system/mount-options.service"]["content"]["Service"]["ExecStart"]
    assert "mount -o remount,nodev /usr;" in script


# --- mount options in fstab

FSTAB = """\
# /home is elsewhere: /dev/x /home ext4 defaults 0 2
UUID=1 /  ext4\terrors=remount-ro 0 1
UUID=2\t/home/   ext4  defaults,exec,noatime  0 2 # people
UUID=3 /tmp ext4 nosuid,nodev,noexec 0 2
/dev/sda4 none swap sw 0 0
"""


def test_options_of_a_mount_are_added_and_the_rest_of_the_table_stays():
    found = list(mount_table.edits(FSTAB, DEFAULTS["hardening_mounts"]))
    assert [edit[:3] for edit in found] == [("/home", "defaults,exec,noatime", "defaults,noatime,nosuid,nodev,noexec")]
    text = found[-1][3]
    assert text == FSTAB.replace("defaults,exec,noatime", "defaults,noatime,nosuid,nodev,noexec")
    assert list(mount_table.edits(text, DEFAULTS["hardening_mounts"])) == []


options = st.lists(st.sampled_from(["defaults", "ro", "exec", "noexec", "dev", "nodev", "x-a.b=1"]), min_size=1)


@given(options, st.lists(st.sampled_from(["nosuid", "nodev", "noexec"]), unique=True))
def test_other_options_of_a_mount_stay(had, wanted):
    after = mount_table.with_options(",".join(had), wanted).split(",")
    assert set(wanted) <= set(after)
    assert not {name.removeprefix("no") for name in wanted} & set(after)
    assert [name for name in after if name not in wanted] == [
        name for name in had if name not in wanted and f"no{name}" not in wanted
    ]
    assert mount_table.with_options(",".join(after), wanted).split(",") == after


def test_the_table_of_mounts_is_written_once(tmp_path):
    table = tmp_path / "fstab"
    table.write_text("a /home ext4 defaults 0 2\nb /srv ext4 defaults 0 2\n")
    table.chmod(0o640)
    mounts = DEFAULTS["hardening_mounts"]
    todo = list(node_access.mount_steps(mounts, str(table)))
    assert [step.what for step in todo] == [f"{table}: /home", f"{table}: /srv"]
    node_access.apply(todo)
    assert table.read_text() == (
        "a /home ext4 defaults,nosuid,nodev,noexec 0 2\nb /srv ext4 defaults,nosuid,nodev 0 2\n"
    )
    assert table.stat().st_mode & 0o777 == 0o640
    assert list(node_access.mount_steps(mounts, str(table))) == []
    assert list(node_access.mount_steps(mounts, str(tmp_path / "none"))) == []


# --- AppArmor


@pytest.mark.parametrize(
    ("text", "lax"),
    [
        ("abi <abi/4.0>,\nprofile firefox /usr/bin/firefox flags=(unconfined) {\n  userns,\n}\n", True),
        ("/usr/bin/keystone-wsgi-public flags=(complain) {\n}\n", True),
        ("profile a /a flags=(attach_disconnected, complain) {\n}\nprofile b flags=(complain) {\n}\n", True),
        ("/usr/sbin/chronyd flags=(attach_disconnected) { # time\n}\n", False),
        ("profile lsb_release {\n  profile child flags=(complain) {\n  }\n}\n", False),
        ("profile a flags=(complain) {\n}\nprofile b {\n}\n", False),
        ("# This file is intentionally empty\n", False),
    ],
)
def test_a_profile_that_confines_nothing_is_known(text, lax):
    assert apparmor_profiles.confines_nothing(text) is lax


def test_only_profiles_that_confine_nothing_are_not_loaded(tmp_path):
    for name in ("firefox", "firefox.dpkg-new", ".hidden", "disable/x", "libvirt/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("profile x flags=(unconfined) {\n}\n")
    (tmp_path / "tcpdump").write_text("profile tcpdump /usr/bin/tcpdump {\n}\n")
    assert apparmor_profiles.lax(str(tmp_path)) == ["firefox"]
    assert apparmor_profiles.lax(str(tmp_path / "none")) == []
    (link,) = apparmor.profile_links(["firefox"])
    assert link == {"path": "/etc/apparmor.d/disable/firefox", "target": "/etc/apparmor.d/firefox"}


def test_a_mount_unit_has_the_name_that_systemd_wants():
    (entry,) = mounts.mount_units([{"path": "/var/log-x/audit", "options": ["noexec"]}])
    assert entry["path"] == r"/etc/systemd/system/var-log\x2dx-audit.mount"


def test_nothing_that_cannot_run_is_started():
    def names(*places):
        found = hardening.units(Policy.of("enhanced"), settings(), places, lock=True)
        return {unit["name"] for unit in found}

    assert {"auditd", "apparmor", "modules-lock"} <= names()
    assert not {"auditd", "apparmor", "modules-lock"} & names("kernel", "audit", "apparmor")
    assert "modules-lock" not in {
        unit["name"] for unit in hardening.units(Policy.of("enhanced"), settings(), [], lock=False)
    }


# --- host firewall

GROUPS = {"control": ["ctl1"], "compute": ["cmp1", "cmp2"], "nodes": ["ctl1", "cmp1", "cmp2"]}
ADDRESSES = {"ctl1": ["10.0.0.1"], "cmp1": ["10.0.0.2", "fd00::2"], "cmp2": ["10.0.0.3"]}
NETWORKS = {"operators": ["192.0.2.0/24"], "clients": ["0.0.0.0/0", "::/0"]}


def ruleset(services, own=("control", "nodes")):
    return host_firewall.ruleset(services, own, GROUPS, ADDRESSES, NETWORKS)


def test_only_what_a_group_serves_is_accepted():
    services = [
        {"name": "database", "groups": ["control"], "from": ["compute"], "ports": [3306]},
        {"name": "migration", "groups": ["compute"], "from": ["compute"], "ports": ["49152-49215"]},
    ]
    text = ruleset(services)
    assert 'ip saddr { 10.0.0.2/31 } tcp dport { 3306 } accept comment "database"' in text
    assert "ip6 saddr { fd00::2 } tcp dport { 3306 } accept" in text
    assert "49152" not in text
    assert "policy drop" in text
    assert "49152-49215" in ruleset(services, ["compute"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"ports": []},
        {"ports": [70000]},
        {"ports": ["ssh"]},
        {"from": ["mars"]},
        {"protocol": "sctp"},
        {"to": "nowhere"},
        {"port": 22},
        {"protocol": "vrrp"},
    ],
)
def test_a_service_that_cannot_be_a_rule_is_refused_by_name(wrong):
    service = {"name": "the wrong one", "groups": ["control"], "from": ["nodes"], "ports": [1], **wrong}
    with pytest.raises(host_firewall.FirewallError, match="the wrong one"):
        ruleset([service], own=["backbone"])


@pytest.mark.skipif(not shutil.which("nft") or os.geteuid() != 0, reason="needs nft, as root")
@hypothesis_settings(deadline=None, max_examples=20)
@given(st.lists(st.ip_addresses().map(str), min_size=1, max_size=6), st.integers(1, 65535))
def test_nft_takes_every_ruleset(addresses, port):
    text = host_firewall.ruleset(
        [{"name": 'a "b" { c', "groups": ["g"], "from": ["g"], "ports": [port]}],
        ["g"],
        {"g": ["h"]},
        {"h": addresses},
        {},
    )
    done = subprocess.run(
        ["unshare", "--net", "nft", "--check", "--file", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + text


def test_a_ruleset_tells_the_nodes_that_it_was_made_for():
    text = ruleset([])
    assert host_firewall.is_ours(text)
    assert host_firewall.nodes_of(text) == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::2"]
    debian = "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n}\n"
    assert not host_firewall.is_ours(debian)
    assert host_firewall.nodes_of(debian) == []


def test_nodes_that_the_filter_of_a_hardened_node_does_not_know_are_told():
    hostvars = {"new": {"ansible_host": "10.0.0.9", "tunnel_address": "10.1.0.9"}, "old": {"ansible_host": "10.0.0.2"}}
    answers = [
        {"item": "ctl1", "hardened": True, "filter_knows": ["10.0.0.2", "10.0.0.9"]},
        {"item": "ctl2", "hardened": True, "filter_knows": ["10.0.0.2", "10.0.0.9", "10.1.0.9"]},
        {"item": "ctl3", "hardened": False, "filter_knows": []},
        {"item": "ctl4", "unreachable": True},
    ]
    found = filter_strangers(answers, ["new", "old"], hostvars, ["ansible_host", "tunnel_address"])
    assert found == {"ctl1": ["new"]}


# --- ssh


def test_sshd_listens_where_the_automation_comes_in():
    entries = by_path(ssh_ports=[2222, 22])
    text = entries["/etc/ssh/sshd_config.d/00-hardening.conf"]["content"]
    assert re.findall("^Port (.*)$", text, re.M) == ["2222", "22"]
    units = {
        unit["name"]: unit for unit in hardening.units(Policy.of("enhanced"), settings(ssh_ports=[2222]), [], lock=True)
    }
    assert units["ssh"]["ready"] == {"port": 2222}


# --- guard


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A guard for a folder, and a function that runs its script. Programs of the node only record their calls."""
    programs, said = tmp_path / "bin", tmp_path / "said"
    programs.mkdir()
    for name in ("systemctl", "nft", "sshd", "logger", "sysctl"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {said}\n')
        (programs / name).chmod(0o755)
    for name in ("BOOT_UNIT", "BOOT_LINK"):
        monkeypatch.setattr(lockout_guard, name, str(tmp_path / name))
    guard = lockout_guard.Guard(str(tmp_path / "guard"))
    guard.folder.mkdir()
    for name in ("parameters", "filter", "filter-unit"):
        (guard.folder / name).write_text("")

    def restore(*words):
        guard.script.write_text(lockout_guard.restore_script(guard.folder))
        path = f"{programs}:{os.environ['PATH']}"
        subprocess.run(["sh", str(guard.script), *words], check=True, env={"PATH": path}, cwd="/")
        return said.read_text()

    return guard, restore


def test_the_guard_puts_back_content_owner_and_mode_and_removes_what_was_not(tmp_path, guarded):
    guard, restore = guarded
    tree, single, new = tmp_path / "pam d", tmp_path / "shadow", tmp_path / "new"
    program, link = tmp_path / "sudo", tree / "link"
    (tree / "sub").mkdir(parents=True)
    for path, mode in ((tree / "sub" / "old", 0o640), (single, 0o640), (program, 0o4755)):
        path.write_text("before")
        path.chmod(mode)
    link.symlink_to("sub/old")
    guard.keep([str(tree), str(single), str(new)], [str(program)])
    single.write_text("after")
    single.chmod(0o666)
    (tree / "sub" / "old").unlink()
    (tree / "sub").chmod(0o700)
    link.unlink()
    link.write_text("no link")
    for path in (new, tree / "added", tree / "sub" / "added"):
        path.write_text("after")
    program.write_text("upgraded")
    program.chmod(0o700)
    said = restore()
    assert (single.read_text(), single.stat().st_mode & 0o7777) == ("before", 0o640)
    assert sorted(path.name for path in tree.rglob("*")) == ["link", "old", "sub"]
    assert os.readlink(link) == "sub/old"
    assert (tree / "sub").stat().st_mode & 0o777 == 0o755
    assert not new.exists()
    # The guard restores only the mode of a program.
    assert (program.read_text(), program.stat().st_mode & 0o7777) == ("upgraded", 0o4755)
    assert "systemctl try-reload-or-restart ssh.service" in said
    assert not guard.armed()


def test_a_folder_that_was_removed_comes_back(tmp_path, guarded):
    guard, restore = guarded
    (tmp_path / "ssh" / "d").mkdir(parents=True)
    (tmp_path / "ssh" / "d" / "a.conf").write_text("before")
    guard.keep([str(tmp_path / "ssh")], [])
    shutil.rmtree(tmp_path / "ssh")
    restore()
    assert (tmp_path / "ssh" / "d" / "a.conf").read_text() == "before"


def test_a_boot_puts_the_files_back_and_leaves_units_to_systemd(tmp_path, guarded):
    guard, restore = guarded
    (tmp_path / "shadow").write_text("before")
    guard.keep([str(tmp_path / "shadow")], [])
    (tmp_path / "shadow").write_text("after")
    said = restore("boot")
    assert (tmp_path / "shadow").read_text() == "before"
    assert {line.split()[0] for line in said.splitlines()} == {"logger"}


def test_a_guard_that_a_killed_run_left_keeps_its_first_copy(tmp_path, guarded):
    guard, restore = guarded
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("before")
    second.write_text("before")
    guard.keep([str(first)], [str(first)])
    first.write_text("changed by the killed run")
    first.chmod(0o777)
    guard.keep([str(first), str(second)], [str(first)])
    second.write_text("changed by the next")
    restore()
    assert (first.read_text(), second.read_text()) == ("before", "before")
    assert first.stat().st_mode & 0o777 != 0o777


def test_an_older_connection_does_not_confirm(guarded):
    guard, _ = guarded
    guard.script.write_text("")
    (guard.folder / "armed").write_text("1000.0\n")
    with pytest.raises(lockout_guard.GuardError, match="older"):
        guard.confirm(login_session.Session("ops", started=999.0))
    assert guard.armed()


@pytest.mark.parametrize("path", [
    "/etc/shadow", "/etc/passwd", "/etc/group", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d", "/etc/pam.d",
    "/etc/security",
    "/etc/ssh", "/etc/nftables.conf", "/etc/profile.d", "/etc/login.defs", "/etc/sysctl.d",
    "/var/lib/dpkg/statoverride", "/var/lib/dpkg/diversions",
])  # fmt: skip
def test_all_that_decides_about_access_is_guarded(path):
    assert path in lockout_guard.ACCESS


@pytest.mark.parametrize("level", LEVELS)
def test_every_file_of_the_hardening_that_decides_about_access_is_written_under_guard(level):
    """The files that the guard saves are exactly those that the guarded task writes."""
    roles = yaml.safe_load((ROOT / "roles/hardening/vars/main.yml").read_text())
    under = re.compile(roles["hardening_guarded"].strip())
    for path in [*by_path(level), "/etc/nftables.conf"]:
        kept = any(path == root or path.startswith(f"{root}/") for root in lockout_guard.ACCESS)
        assert bool(under.match(path)) == kept, path


# --- session


def proc(tmp_path, *processes):
    """Create a folder like /proc from (pid, parent, name, uid, groups, start, environment)."""
    for pid, parent, name, uid, groups, start, environment in processes:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "status").write_text(
            f"Name:\t{name}\nPPid:\t{parent}\nUid:\t{uid}\t0\t0\t0\nGid:\t{uid}\t0\t0\t0\nGroups:\t{groups} \n"
        )
        (folder / "stat").write_text(f"{pid} ({name} )) S {parent} " + "0 " * 17 + f"{start} 0\n")
        (folder / "environ").write_bytes("\0".join(environment).encode())
    return str(tmp_path)


SSH = ["USER=daemon", "SSH_CONNECTION=192.0.2.7 50000 10.0.0.1 2222"]


@pytest.mark.parametrize("server", ["sshd-session", "sshd"])
def test_the_account_and_the_port_are_those_of_the_connection(tmp_path, server):
    found = login_session.find(
        proc(
            tmp_path,
            (1, 0, "systemd", 0, "", 0, []),
            (10, 1, "sshd", 0, "", 500, []),
            (20, 10, server, 0, "", 9000, []),
            (21, 20, server, 1, "", 9001, []),
            (22, 21, "sh", 1, "1 4 27", 9500, SSH),
            (23, 22, "sudo", 1, "1 4 27", 9501, SSH),
            (24, 23, "python3", 0, "0", 9502, ["USER=root", "SUDO_USER=daemon"]),
        ),
        24,
    )
    ticks = os.sysconf("SC_CLK_TCK")
    assert found == login_session.Session("daemon", frozenset({1, 4, 27}), 2222, "192.0.2.7", 9000 / ticks)


def test_a_name_that_is_not_the_accounts_is_not_believed(tmp_path):
    line: tuple = ((1, 0, "sshd-session", 0, "", 1, []), (2, 1, "sh", 0, "", 2, ["USER=daemon"]))
    assert login_session.find(proc(tmp_path, *line), 2).account == "root"


def test_without_ssh_the_login_is_told_by_sudo(tmp_path):
    line: tuple = ((1, 0, "init", 0, "", 1, []), (2, 1, "python3", 0, "", 2, ["SUDO_USER=ops"]))
    found = login_session.find(proc(tmp_path, *line), 2)
    assert (found.account, found.port, found.started) == ("ops", None, None)


# --- sudo


@given(
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12
        ).filter(lambda name: name.strip() == name and not name.isspace()),
        max_size=4,
    )
)
def test_accounts_are_read_back_from_the_rules_that_name_them(names):
    text = "".join(f"{sudo_rules.rule(name)}\n" for name in names)
    assert sudo_rules.without_password(f"Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n{text}") == names


@pytest.mark.skipif(not shutil.which("visudo"), reason="needs visudo")
def test_visudo_takes_names_of_a_directory_service(tmp_path):
    file = tmp_path / "sudoers"
    file.write_text(by_path(sudo_users=["ops@corp.example", "CORP\\ops", "first last"])["/etc/sudoers"]["content"])
    done = subprocess.run(["visudo", "-cqf", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- node_access


def test_only_rights_that_are_too_wide_are_taken(tmp_path):
    wide, strict = tmp_path / "wide", tmp_path / "strict"
    for path, mode in ((wide, 0o755), (strict, 0o400)):
        path.write_text("")
        path.chmod(mode)
    modes = [{"path": str(path), "mode": "0600"} for path in (wide, strict, tmp_path / "absent")]
    (step,) = node_access.mode_steps(modes)
    assert (step.what, step.before, step.after) == (str(wide), "0755", "0600")


def test_programs_with_special_rights_are_found(tmp_path):
    (tmp_path / "share").mkdir()
    for name, mode in (("su", 0o4755), ("wall", 0o2755), ("ls", 0o755), ("share/no", 0o4755)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to(tmp_path / "su")
    assert node_access.privileged([str(tmp_path)]) == [str(tmp_path / "su"), str(tmp_path / "wall")]


SHADOW = """\
root:*:18000:0:365:7:::
daemon:!:18000:0:90:7:::
bin:$y$j9T$x:18000:0:365:7:::
sys:$y$j9T$x:18000:0:90:7:::
sync:$y$j9T$x:18000:0:99999:7:::
games:*:18000::::::
"""


def ages(tmp_path, **options):
    shadow = tmp_path / "shadow"
    shadow.write_text(SHADOW)
    return {step.argv[-1]: step.argv[2] for step in node_access.age_steps(node_access.Ages(**options), str(shadow))}


def test_no_account_that_logs_in_by_key_gets_or_keeps_a_longest_age(tmp_path):
    """An exception is a maximum age that the site has set itself, for a password that can be changed."""
    assert ages(tmp_path, formerly=[365]) == {"root": "-1", "daemon": "-1", "bin": "-1"}
    assert ages(tmp_path, exempt=["sys"], formerly=[365])["sys"] == "-1"


def test_a_longest_age_is_for_accounts_that_log_in_by_password_only(tmp_path, monkeypatch):
    monkeypatch.setattr(node_access, "_by_password", lambda user: user != "sync")
    assert ages(tmp_path, days=365, exempt=["root", "sys"], formerly=[365]) == {
        "root": "-1",
        "daemon": "-1",
        "sys": "-1",
    }
    assert ages(tmp_path, days=30)["bin"] == "30"
    assert "sync" not in ages(tmp_path, days=30)


def test_accounts_made_later_get_no_longest_age():
    assert "PASS_MAX_DAYS 99999\n" in by_path(password_days=365)["/etc/login.defs"]["content"]


def test_members_of_the_former_group_may_still_run_sudo(monkeypatch):
    groups = {"sudo": ["daemon", "gone"], "sudogrp": ["bin"]}
    found = {
        name: grp.struct_group((name, "x", 9990 + number, members))
        for number, (name, members) in enumerate(groups.items())
    }
    monkeypatch.setattr(node_access, "_group", found.get)
    steps = list(node_access.group_steps({"sudogrp": ["bin", "sys"]}, {"sudogrp": ["sudo", "admin"]}))
    assert [step.argv for step in steps] == [("gpasswd", "--add", name, "sudogrp") for name in ("sys", "daemon")]


def test_a_member_by_a_directory_service_is_not_added_again(monkeypatch):
    group = grp.struct_group(("admins", "x", 4711, []))
    monkeypatch.setattr(node_access, "_group", lambda name: group)
    monkeypatch.setattr(os, "getgrouplist", lambda user, own: [own, 4711])
    assert list(node_access.group_steps({"admins": ["daemon"]})) == []


def test_a_refused_command_is_told():
    step = node_access.Step("x", "a", "b", ("false",))
    with pytest.raises(node_access.AccessError, match="`false` failed"):
        node_access.apply([step])


def test_a_file_of_a_package_is_put_aside_and_back_once(monkeypatch):
    path = "/usr/lib/sysctl.d/50-pid-max.conf"

    def steps(truename, aside):
        done = process.run(["printf", truename])
        monkeypatch.setattr(node_access, "run", lambda argv: done)
        found = list(node_access.diversion_steps({path: aside}))
        monkeypatch.undo()
        return [step.argv for step in found]

    away = f"{path}{node_access.ASIDE}"
    (add,) = steps(path, True)
    assert add[-4:] == ("--divert", away, "--add", path)
    assert steps(away, True) == []
    (remove,) = steps(away, False)
    assert remove[-2:] == ("--remove", path)
    assert steps(path, False) == steps("/elsewhere", False) == []
    assert not away.endswith(".conf")
