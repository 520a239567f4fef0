# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""OVN loses a gateway. The tests run after the smoke tests, because they need their guests: a hypervisor without guests
has no BFD sessions with the gateways, and each of two gateways alone takes the other for the lost one."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://control"]


@pytest.fixture(scope="module")
def routers(api):
    return api.get("network", "/v2.0/routers")["routers"]


def bfd(machine, peer):
    """State of BFD on the tunnel to a peer, "" without BFD."""
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
    """When a port moves, two chassis write the row at once. The one that loses does not write its state again."""
    ask = "ovn-sbctl --format=json --columns=_uuid,status,dst_ip list BFD"

    def sessions():
        return {row[0][1]: row[1:] for row in json.loads(host.check_output(ask))["data"]}

    uuid, (_, destination) = sorted(sessions().items())[0]

    def state():
        return sessions()[uuid][0]

    def begun_anew():
        """Whether the session has restarted. A chassis that writes a change of its own may end the "down" early."""
        if state() == "up":
            host.check_output("ovn-sbctl set BFD %s status=down", uuid)
        said = host.check_output("journalctl --unit=socle-bfd-watch --since=@%s --output=cat", since)
        return f"BFD to {destination} is down in OVN: it begins anew" in said

    eventually(lambda: state() == "up")
    since = host.check_output("date +%s")
    eventually(begun_anew)
    eventually(lambda: state() == "up")
