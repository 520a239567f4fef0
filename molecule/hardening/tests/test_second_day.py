# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A hardened node after its first nights: the settings of packages still apply."""

from __future__ import annotations

testinfra_hosts = ["ansible://ctl1", "ansible://gw1"]


def test_logs_are_rotated_and_every_service_starts_again(host, second_day):
    second_day(host)


def test_a_log_keeps_the_owner_that_its_package_gave_it(host):
    """If a package sets no owner, its daemon opens a new file itself."""
    host.check_output(
        "install -d -o nova -g nova /var/log/owned && "
        "install -o nova -g nova -m 0600 /dev/null /var/log/owned/a.log && "
        "echo x >> /var/log/owned/a.log && printf '/var/log/owned/*.log {\\n  daily\\n}\\n' > /etc/logrotate.d/owned"
    )
    try:
        host.run_expect([0], "logrotate --force /etc/logrotate.conf")
        log = host.file("/var/log/owned/a.log")
        assert (log.user, log.group, log.mode, log.size) == ("nova", "nova", 0o600, 0)
        assert "a.log-" in host.check_output("ls /var/log/owned")
    finally:
        host.check_output("rm -r /var/log/owned /etc/logrotate.d/owned")


def test_messages_go_where_a_package_wants_them(host, eventually):
    """Debian's configuration for HAProxy writes a separate log, and its rotation is for this log."""
    assert host.file("/etc/rsyslog.d/49-haproxy.conf").exists
    host.check_output("logger -t haproxy 'a line of the front'")
    assert eventually(lambda: host.run("grep -q 'a line of the front' /var/log/haproxy.log").rc == 0, 30)
    assert host.run("grep -q 'a line of the front' /var/log/syslog").rc == 1


def test_what_a_package_takes_for_itself_still_reaches_the_collector(host, machine, eventually):
    name = host.backend.host
    host.check_output("logger -t haproxy %s", f"from {name} to the collector")
    collector = machine("ctl1")
    look = f"grep -rqs 'from {name} to the collector' /var/log/remote"
    assert eventually(lambda: collector.run(look).rc == 0, 60)


def test_security_updates_of_packages_whose_files_are_ours_are_installed(host):
    """dpkg asks about changed configuration files, and unattended-upgrades skips packages that may ask."""
    say = "import runpy; print(runpy.run_path('/usr/bin/unattended-upgrade')['dpkg_conffile_prompt']())"
    assert host.check_output("python3 -c %s", say) == "False"
