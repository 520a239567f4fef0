# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role hardening in a virtual machine: properties that a machine with the kernel and disk of its host cannot show.

`make test-guest` runs these tests. They take about ten minutes, because the machine is emulated.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

import judge
from emulated_machine import PARTITIONS, running

from plugins.module_utils.hardening.rules import Policy
from plugins.plugin_utils.hardening import boot

DEFAULTS = yaml.safe_load((judge.ROOT / "roles/hardening/defaults/main.yml").read_text())


@pytest.fixture(scope="session")
def hardened():
    """A guest that was hardened twice and then booted through its new boot menu, and the changes of each run."""
    with running() as guest:
        runs = []
        for _ in range(2):
            begun = time.monotonic()
            runs.append(judge.harden(guest))
            print(f"hardened: {time.monotonic() - begun:.0f} s, changed={runs[-1]}", flush=True)
        print(f"rebooted: {guest.reboot():.0f} s", flush=True)
        guest.runs = runs
        yield guest


def eventually(ask, seconds=120):
    end = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(2)
    return answer


def test_a_second_run_changes_nothing(hardened):
    first, again = hardened.runs
    assert first > 0
    assert again == 0


def test_every_parameter_of_ours_is_live(hardened):
    text = hardened.run("cat /etc/sysctl.d/55-hardening.conf")
    wanted = dict(line.split(" = ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert len(wanted) > 50
    live = hardened.run(f"sysctl {' '.join(wanted)}")
    found = {key: " ".join(value.split()) for key, value in (line.split(" = ", 1) for line in live.splitlines())}
    assert found == wanted


def test_the_kernel_audits_by_all_our_rules_until_the_next_boot(hardened):
    assert hardened.run("systemctl is-active auditd") == "active"
    status = dict(line.split(" ", 1) for line in hardened.run("auditctl -s").splitlines() if " " in line)
    assert status["enabled"] == "2"
    written = hardened.run("cat /etc/audit/rules.d/*.rules").splitlines()
    wanted = [rule for rule in written if rule.startswith(("-a ", "-w "))]
    assert len(wanted) > 100
    assert len(hardened.run("auditctl -l").splitlines()) == len(wanted)
    assert "not permitted" in hardened.run("auditctl -D 2>&1", check=False)


def test_every_apparmor_profile_is_enforced(hardened):
    profiles = hardened.run("cat /sys/kernel/security/apparmor/profiles").splitlines()
    assert [line for line in profiles if not line.endswith(" (enforce)")] == []
    assert {"tcpdump", "libvirtd", "virt-aa-helper", "/usr/sbin/chronyd"} <= {line.split(" (")[0] for line in profiles}
    # A profile that is shipped as unconfined is installed, but not loaded.
    assert hardened.run("test -e /etc/apparmor.d/firefox && readlink /etc/apparmor.d/disable/firefox")


def test_file_systems_have_their_options_live_and_in_the_table(hardened):
    wanted = {item["path"]: set(item["options"]) for item in DEFAULTS["hardening_mounts"]}
    assert wanted.keys() == {partition.where for partition in PARTITIONS} - {"/"}
    table = [line.split() for line in hardened.run("cat /etc/fstab").splitlines() if line.startswith("UUID=")]
    written = {fields[1]: set(fields[3].split(",")) for fields in table}
    live = [line.split() for line in hardened.run("findmnt --real --raw --noheadings -o TARGET,OPTIONS").splitlines()]
    mounted = {fields[0]: set(fields[1].split(",")) for fields in live}
    for path, options in wanted.items():
        assert options <= mounted[path], path
        assert options <= written[path], path


def test_a_stick_is_not_spoken_to_and_a_keyboard_is(hardened):
    assert hardened.run("systemctl is-active usbguard") == "active"
    found = hardened.run("cd /sys/bus/usb/devices; for at in *-?; do cat $at/product $at/authorized; done").splitlines()
    assert dict(zip(found[::2], found[1::2], strict=True)) == {"QEMU USB Keyboard": "1", "QEMU USB HARDDRIVE": "0"}
    assert hardened.run("grep 'op=\"discovered-device\"' /var/log/audit/audit.log")


def test_no_module_can_be_loaded(hardened):
    assert eventually(lambda: hardened.run("cat /proc/sys/kernel/modules_disabled") == "1")
    assert "not permitted" in hardened.run("modprobe isofs 2>&1", check=False)


def test_the_kernel_was_given_our_arguments_by_our_menu(hardened):
    given = hardened.run("cat /proc/cmdline").split()
    policy = Policy.of(DEFAULTS["hardening_level"])
    wanted = [word for rule, words in boot.ARGUMENTS if policy.holds(rule) for word in words.split()]
    assert [word for word in [*wanted, "mds=full"] if word not in given] == []
    assert any(word.startswith("BOOT_IMAGE=") for word in given)


def test_only_root_reads_the_boot_menu_however_often_it_is_written(hardened):
    menu = "/boot/grub/grub.cfg"
    assert hardened.run(f"stat -c '%a %U' {menu}") == "600 root"
    before = hardened.run(f"stat -c %Y {menu}")
    hardened.run("update-grub")
    assert hardened.run(f"stat -c %Y {menu}") > before
    assert eventually(lambda: hardened.run(f"stat -c %a {menu}") == "600")
    assert hardened.run("systemctl is-active boot-menu-rights.path") == "active"


def test_the_judge_agrees(hardened):
    """The test covers every check that does not apply to a container and that is not waived."""
    wanted = sorted(set(judge.excluded_in_containers()) - judge.waived_here())
    said = judge.judge(hardened, wanted)
    found = judge.counted(said["checks"], wanted)
    counts = ", ".join(f"{len(names)} {state}" for state, names in sorted(found.items()))
    print(f"judged in {said['seconds']} s: {counts}", flush=True)
    assert len(found.get("pass", [])) >= 45
    assert set(found) - {"pass", "fail", "notapplicable"} == set()
    assert found.get("fail", []) == []
