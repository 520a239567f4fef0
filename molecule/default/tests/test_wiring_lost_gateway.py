# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A gateway is lost, as OVN sees it. After the smoke tests, because it takes their guests: a hypervisor without any has
no BFD with the gateways, and of two gateways alone each holds the other for the lost one."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://control"]


@pytest.fixture(scope="module")
def routers(api):
    return api.get("network", "/v2.0/routers")["routers"]


def bfd(machine, peer):
    """State of the BFD of the tunnel to a peer, "" where none runs."""
    return machine.check_output("ovs-vsctl get Interface ovn-%s-0 bfd_status:state 2>/dev/null || true", peer)


def test_the_hypervisor_takes_part(machine, eventually):
    for gateway in ("gw1", "gw2"):
        eventually(lambda gateway=gateway: bfd(machine(gateway), "cmp1") == "up")


def test_a_lost_gateway_hands_its_ports_over_and_gets_them_back(routers, eventually, machine, on_gateways):
    settled = {"gw1": len(routers), "gw2": len(routers)}
    eventually(lambda: on_gateways() == settled)
    try:
        machine("gw1").check_output("ip link set tun0 down")
        eventually(lambda: on_gateways() == {"gw2": 2 * len(routers)})
        peers_of_all = "for vrf in $(cd /etc/frr && ls -d */); do vtysh -N ${vrf%/} -c 'show bfd peers json'"
        ask = peers_of_all + " | tr -d '\\n'; echo; done"

        def answered():
            peers = [peer for line in machine("gw2").check_output(ask).splitlines() for peer in json.loads(line)]
            up = [peer for peer in peers if peer.get("interface") == "standby" and peer["status"] == "up"]
            return len(up) == 2 * len(routers)

        eventually(answered)
    finally:
        machine("gw1").check_output("ip link set tun0 up")
    eventually(lambda: on_gateways() == settled)


def test_every_session_is_up_again(host, vrfs, eventually):
    def states():
        rows = json.loads(host.check_output("ovn-nbctl --format=json --columns=status list BFD"))["data"]
        return [row[0] for row in rows]

    eventually(lambda: states() == ["up"] * 4 * len(vrfs))


def test_a_session_that_ovn_takes_for_dead_begins_anew(host, eventually):
    """Two chassis race for the row when a port moves; the one that lost does not write its state again."""
    ask = "ovn-sbctl --format=json --columns=_uuid,status,dst_ip list BFD"

    def sessions():
        return {row[0][1]: row[1:] for row in json.loads(host.check_output(ask))["data"]}

    uuid, (_, destination) = sorted(sessions().items())[0]

    def state():
        return sessions()[uuid][0]

    def begun_anew():
        """A chassis that is about to write a change of its own ends the test's "down" before its time."""
        if state() == "up":
            host.check_output("ovn-sbctl set BFD %s status=down", uuid)
        said = host.check_output("journalctl --unit=socle-bfd-watch --since=@%s --output=cat", since)
        return f"BFD to {destination} is down in OVN: it begins anew" in said

    eventually(lambda: state() == "up")
    since = host.check_output("date +%s")
    eventually(begun_anew)
    eventually(lambda: state() == "up")
