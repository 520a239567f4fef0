# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role ovn_chassis: the chassis is connected over TLS, and a tunnel carries a full packet without fragmentation."""

from __future__ import annotations

import pytest

testinfra_hosts = ["ansible://compute", "ansible://gateway"]


def test_the_controller_is_connected(host, eventually):
    ask = "ovs-appctl -t /run/ovn/ovn-controller.$(cat /run/ovn/ovn-controller.pid).ctl connection-status"
    eventually(lambda: host.check_output(ask) == "connected")
    assert host.check_output("ovs-vsctl get Open_vSwitch . external_ids:ovn-remote").startswith('"ssl:')


@pytest.mark.parametrize("other", ["cmp1", "gw1", "gw2"])
def test_the_underlay_carries_a_packet_with_its_tunnel_header(host, hostvars, other):
    """1500 bytes from a guest, and 58 bytes of Geneve and outer headers."""
    target = hostvars[other]["tunnel_address"]
    host.run_expect([0], "ping -c 2 -i 0.2 -W 2 -M do -s 1530 %s", target)


def test_every_other_chassis_has_a_tunnel(host, hostvars):
    remotes = host.check_output("ovs-vsctl --bare --columns=options find Interface type=geneve")
    others = {name: values["tunnel_address"] for name, values in hostvars.items() if "tunnel_address" in values}
    del others[host.backend.host]
    assert all(f"remote_ip={address}" in remotes for address in others.values())
