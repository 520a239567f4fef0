# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The tenants' VRFs, and routers that stand in for OpenStack's."""

from __future__ import annotations

import json
from functools import partial
from ipaddress import ip_network

import pytest
import yaml

# What OVN does for a tenant: an address on the transit VLAN, and BFD with the gateway's namespace. BIRD speaks it here.
ROUTER = """
set -e
if ! ip netns list | grep -qw {netns}; then
    ip netns add {netns}
    ip link add t-{vrf} mtu 1500 type veth peer name cloud netns {netns}
    ovs-vsctl --may-exist add-port br-rie t-{vrf} tag={vlan}
    ip link set t-{vrf} up
    ip netns exec {netns} ethtool -K cloud tx off >/dev/null
    ethtool -K t-{vrf} tx off >/dev/null
    ip -n {netns} address add {v4} dev cloud
    ip -n {netns} address add {v6} dev cloud nodad
    ip -n {netns} link set lo up
    ip -n {netns} link set cloud up
    ip -n {netns} address add {inside_v4}/32 dev lo
    ip -n {netns} address add {inside_v6}/128 dev lo
    ip -n {netns} route add default via {gateway_v4}
    ip -n {netns} route add default via {gateway_v6}
fi
cat > /run/{netns}.conf <<END
router id {router_id};
protocol device {{}}
protocol bfd {{
    interface "*" {{ min rx interval 300 ms; min tx interval 300 ms; multiplier 3; }};
    neighbor {gateway_v4} dev "cloud";
    neighbor {gateway_v6} dev "cloud";
}}
END
test -S /run/{netns}.ctl || ip netns exec {netns} bird -c /run/{netns}.conf -s /run/{netns}.ctl
"""


@pytest.fixture(scope="session")
def vrfs(hostvars):
    """Name -> intent of each tenant's VRF."""
    return {vrf["name"]: vrf for tenant in hostvars["gw1"]["rie_tenants"] for vrf in tenant["vrfs"]}


@pytest.fixture(scope="session")
def before(machine, vrfs, eventually):
    """(gateway, VRF) -> what its provider edge has learned before any router of a tenant is there."""
    routes = {}
    for gateway, edge in (("gw1", "pe1"), ("gw2", "pe2")):
        for name in vrfs:
            ask = partial(machine("rie").check_output, "birdc -s /run/bird/%s-%s.ctl show %s", edge, name)
            eventually(lambda ask=ask: ask("protocols").count("Established") == 4, 30)
            routes[gateway, name] = ask("route")
    return routes


@pytest.fixture(scope="session")
def routers(machine, vrfs, inventory, before):
    """Play the tenants' routers on both gateways. They stay until the machines go."""
    ledger = yaml.safe_load((inventory / "allocations.yml").read_text())["allocations"]
    for gateway in ("gw1", "gw2"):
        for name, vrf in vrfs.items():
            transit = {family: ip_network(ledger[f"transit_{family}"][f"{name}/{gateway}"]) for family in ("v4", "v6")}
            script = ROUTER.format(
                vrf=name,
                netns=f"router-{name}",
                vlan=ledger["vlan"][f"{name}/{gateway}"],
                router_id=transit["v4"][2],
                **{family: f"{net[2]}/{net.prefixlen}" for family, net in transit.items()},
                **{f"gateway_{family}": net[1] for family, net in transit.items()},
                **{f"inside_{family}": ip_network(vrf["networks"][0][family])[9] for family in transit},
            )
            machine(gateway).run_expect([0], script)


@pytest.fixture(scope="session")
def vtysh():
    """`vtysh(host, vrf, command)`: the JSON that a VRF's FRR answers."""
    return lambda host, vrf, command: json.loads(host.check_output("vtysh -N %s -c %s", vrf, command))
