# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role nova_compute: libvirt, Nova and OVN's metadata agent know the same hypervisor."""

from __future__ import annotations

testinfra_hosts = ["ansible://compute"]


def test_units_and_configuration(host, guarded):
    guarded(["nova-compute", "neutron-ovn-metadata-agent"], "/etc/nova/nova.conf", "nova")
    assert host.file("/etc/neutron/neutron_ovn_metadata_agent.ini").mode == 0o640


def test_libvirt_answers_here_and_not_on_the_network(host):
    host.run_expect([0], "virsh -c qemu:///system list")
    assert host.check_output("ss -Hltnp | grep -E 'libvirt|:16509|:16514' || true") == ""


def test_guests_run_as_the_site_says(host):
    assert "virt_type = qemu" in host.file("/etc/nova/nova.conf").content_string
    host.run_expect([0], "virsh -c qemu:///system domcapabilities --virttype qemu --machine pc")


def test_it_speaks_amqp_over_tls(host, settings, hostvars):
    broker = hostvars["ctl1"]["ansible_host"]
    assert f"{broker}:5671" in host.check_output("ss -Htn state established")
    assert ":5672" not in host.check_output("ss -Htn state established")
