# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role ovn_chassis: the switch of a gateway without a southbound database."""

from __future__ import annotations

testinfra_hosts = ["ansible://gateway"]


def test_the_switch_and_the_controller_run(host, service):
    for name in ("openvswitch-switch", "ovn-controller"):
        unit = service(name)
        assert (unit["ActiveState"], unit["LoadState"]) == ("active", "loaded")
    # ovn-controller waits for the database and has not crashed.
    assert service("ovn-controller")["NRestarts"] == "0"


def test_the_chassis_says_who_it_is(host, settings):
    def said(key):
        return host.check_output("ovs-vsctl get Open_vSwitch . external_ids:%s", key).strip('"')

    assert said("system-id") == host.backend.host
    assert said("ovn-encap-ip") == settings["tunnel_address"]
    assert said("ovn-bridge-mappings") == "rie:br-rie"
    assert said("ovn-cms-options") == "enable-chassis-as-gw"
    assert said("ovn-remote").startswith("ssl:")


def test_the_bridges_have_the_datapath_of_the_site(host, settings):
    for bridge in ("br-underlay", "br-rie"):
        assert host.check_output("ovs-vsctl get Bridge %s datapath_type", bridge) == settings["ovs_datapath_type"]
    assert settings["tunnel_address"] in host.check_output("ip -4 address show dev br-underlay")
    assert "1600" in host.check_output("cat /sys/class/net/tun0/mtu")


def test_the_database_of_the_switch_is_not_reached_from_outside(host):
    listens = host.check_output("ss -Hltn 'sport = 6640'").splitlines()
    assert [line.split()[3] for line in listens] == ["127.0.0.1:6640"]


def test_the_tap_of_a_guest_that_goes_down_comes_back(host, eventually):
    """The userspace switch sets down a tap that libvirt sets up at the same moment."""
    host.run_expect([0], "ip tuntap add dev tap-lost mode tap && ip link set tap-lost up && sleep 1")
    try:
        host.run_expect([0], "ip link set tap-lost down")
        eventually(lambda: ",UP" in host.check_output("ip -o link show dev tap-lost"), 10)
    finally:
        host.run_expect([0], "ip link delete tap-lost")
