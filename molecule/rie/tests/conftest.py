# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tenants' VRFs, and routers that replace those of OpenStack."""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
EDGES = {"gw1": "pe1", "gw2": "pe2"}
FAMILIES = {"v4": "ipv4", "v6": "ipv6"}

# A replacement for OVN: an address on the transit VLAN, and BFD (by BIRD) with the gateway's namespace.
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
    interface "*" {{
        min rx interval {bfd[receive_ms]} ms; min tx interval {bfd[transmit_ms]} ms; multiplier {bfd[multiplier]};
    }};
    neighbor {gateway_v4} dev "cloud";
    neighbor {gateway_v6} dev "cloud";
}}
END
test -S /run/{netns}.ctl || ip netns exec {netns} bird -c /run/{netns}.conf -s /run/{netns}.ctl
"""


@pytest.fixture(scope="session")
def vrfs(hostvars):
    """Mapping of the name of each tenant's VRF to its intent."""
    return {vrf["name"]: vrf for tenant in hostvars["gw1"]["rie_tenants"] for vrf in tenant["vrfs"]}


@pytest.fixture(scope="session")
def prefixes():
    """`prefixes(vrf)`: the networks of a VRF of the intent."""
    return lambda vrf: {network[family] for network in vrf["networks"] for family in FAMILIES if family in network}


@pytest.fixture(scope="session")
def inside():
    """`inside(vrf, family)`: the address of the tenant's router in the first network."""
    return lambda vrf, family: str(ip_network(vrf["networks"][0][family])[9])


@pytest.fixture(scope="session")
def birdc(machine):
    """`birdc(edge, vrf, command)`: the output of a command in the BIRD of a VRF on a provider edge."""
    return lambda edge, vrf, command: machine("rie").check_output("birdc -s /run/bird/%s-%s.ctl %s", edge, vrf, command)


@pytest.fixture(scope="session")
def edges_up(birdc, eventually):
    """`edges_up(vrf)`: wait until every session of a VRF's provider edges is up."""

    def wait(name):
        def up(edge):
            lines = [line.split() for line in birdc(edge, name, "show protocols").splitlines()]
            sessions = [line for line in lines if len(line) > 3 and line[1] == "BGP"]
            return len(sessions) >= 2 and all(line[-1] == "Established" for line in sessions)

        for edge in EDGES.values():
            eventually(partial(up, edge))

    return wait


@pytest.fixture(scope="session")
def before(birdc, edges_up, vrfs):
    """Mapping of (gateway, VRF) to the routes that its provider edge has learned before any tenant router exists."""
    for name in vrfs:
        edges_up(name)
    return {(gateway, name): birdc(edge, name, "show route") for gateway, edge in EDGES.items() for name in vrfs}


@pytest.fixture(scope="session")
def play_router(machine, ledger, inside, hostvars):
    """`play_router(vrf)`: start a replacement for the OpenStack router of a VRF on both gateways. It is not removed."""

    def play(vrf):
        held = ledger()["allocations"]
        for gateway in EDGES:
            owner = f"{vrf['name']}/{gateway}"
            transit = {family: ip_network(held[f"transit_{family}"][owner]) for family in FAMILIES}
            script = ROUTER.format(
                vrf=vrf["name"],
                netns=f"router-{vrf['name']}",
                vlan=held["vlan"][owner],
                router_id=transit["v4"][2],
                bfd=hostvars[gateway]["rie_bgp"]["bfd"],
                **{family: f"{net[2]}/{net.prefixlen}" for family, net in transit.items()},
                **{f"gateway_{family}": net[1] for family, net in transit.items()},
                **{f"inside_{family}": inside(vrf, family) for family in transit},
            )
            machine(gateway).run_expect([0], script)

    return play


@pytest.fixture(scope="session")
def ledger(hostvars):
    """`ledger()`: the current ledger of the scenario."""
    return lambda: yaml.safe_load(Path(hostvars["gw1"]["rie_allocations_file"]).read_text())


@pytest.fixture(scope="session")
def routers(vrfs, before, play_router):
    """Start the replacements for the tenants' routers on both gateways."""
    for vrf in vrfs.values():
        play_router(vrf)


@pytest.fixture(scope="session")
def ping(machine, inside):
    """`ping(gateway, one, other, family)`: whether a network of one VRF gets an answer from a network of another."""

    def try_it(gateway, one, other, family):
        words = "ip netns exec router-%s ping -q -c 3 -i 0.2 -W 1 -I %s %s"
        return machine(gateway).run(words, one["name"], inside(one, family), inside(other, family)).rc == 0

    return try_it


@pytest.fixture(scope="session")
def vtysh():
    """`vtysh(host, vrf, command)`: the JSON output of a command in the FRR of a VRF."""
    return lambda host, vrf, command: json.loads(host.check_output("vtysh -N %s -c %s", vrf, command))


@pytest.fixture(scope="session")
def sessions(vtysh):
    """`sessions(host, vrf)`: mapping of the address of each neighbour to its session in FRR."""

    def ask(host, vrf):
        families = vtysh(host, vrf, "show bgp summary json")
        return {key: peer for family in families.values() for key, peer in family.get("peers", {}).items()}

    return ask


@pytest.fixture(scope="session")
def since(machine, sessions, eventually):
    """`since(*vrfs)`: the start time of each session of these VRFs on both gateways; all of them must be up."""

    def ask(*names):
        def up():
            found = {
                (gateway, name, key): peer
                for gateway in EDGES
                for name in names
                for key, peer in sessions(machine(gateway), name).items()
            }
            return found if found and all(peer["state"] == "Established" for peer in found.values()) else None

        return {key: peer["peerUptimeEstablishedEpoch"] for key, peer in eventually(up).items()}

    return ask


@pytest.fixture(scope="session")
def unmoved(since):
    """`unmoved(before)`: whether the sessions of `since` are still the same. FRR reports whole seconds."""

    def compare(before):
        after = since(*{name for _gateway, name, _key in before})
        return {key for key in before.keys() | after.keys() if abs(after.get(key, 0) - before.get(key, 0)) > 2} == set()

    return compare


@pytest.fixture(scope="session")
def wire(inventory, tmp_path_factory):
    """`wire(tenants)`: wire these tenants like an operator. Returns (exit code, output of Ansible, changed hosts)."""

    def run(tenants):
        intent = tmp_path_factory.mktemp("intent") / "intent.json"
        intent.write_text(json.dumps({"rie_tenants": tenants}))
        words = ["ansible-playbook", "-i", str(inventory), "--limit", "gateway:backbone"]
        words += ["--vault-password-file", str(inventory / ".vault-password")]
        words += ["-e", f"@{Path(__file__).parents[1] / 'vars.yml'}", "-e", f"@{intent}", "playbooks/wire_tenants.yml"]
        # Molecule forces colours, and the code below cannot parse coloured output.
        env = {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
        said = done.stdout + done.stderr
        counts = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, re.M)
        assert counts, f"Ansible did not count what it has done:\n{said}"
        return done.returncode, said, {name for name, count in counts if count != "0"}

    return run
