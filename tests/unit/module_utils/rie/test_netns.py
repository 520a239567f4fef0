# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The engine of network namespaces: the plan for an observed state."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import netns, netns_units, uplink_trunks

DEFINITION: dict[str, Any] = {
    "name": "vrf-a",
    "owner": "rie_netns",
    "sysctls": {"net.ipv4.ip_forward": "1"},
    "links": [
        {
            "name": "cloud", "mtu": 1500, "addresses": ["192.0.2.1/30", "2001:DB8::1/64"], "tx_offload": False,
            "mac": "02:00:5e:00:00:01", "host": "c-a", "bridge": "br-rie", "tag": 101,
        },
        {"name": "ce", "mtu": 1500, "addresses": ["192.0.2.5/31"], "far": {"netns": "ce-a", "name": "pe1"}},
        {"name": "lo", "addresses": ["198.51.100.1/32"]},
    ],
}  # fmt: skip


def live() -> dict[str, Any]:
    """Return the observed state of a node without differences."""
    return {
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "links": {
            "lo": {
                "kind": "", "mtu": 65536, "up": True,
                "addresses": ["127.0.0.1/8", "198.51.100.1/32", "::1/128"],
            },
            "cloud": {
                "kind": "veth", "mtu": 1500, "up": True, "tx_offload": False, "mac": "02:00:5e:00:00:01",
                "addresses": ["192.0.2.1/30", "2001:db8::1/64"],
            },
            "ce": {"kind": "veth", "mtu": 1500, "up": True, "addresses": ["192.0.2.5/31"]},
        },
    }  # fmt: skip


def texts(
    observed: dict[str, Any] | None, host_links: tuple[str, ...] = ("c-a",), ruleset: str | None = None
) -> list[str]:
    return [str(step) for step in netns.plan_namespace(DEFINITION, observed, host_links, ruleset)]


class TestPlanNamespace:
    def test_nothing_to_do(self) -> None:
        assert texts(live()) == []

    def test_from_nothing(self) -> None:
        steps = texts(None, (), "/etc/rules.nft")
        assert steps[0] == "ip netns add vrf-a"
        assert steps.index("[vrf-a] nft /etc/rules.nft") < steps.index("[vrf-a] ip link set cloud up")
        assert "ip link add c-a mtu 1500 type veth peer name cloud mtu 1500 netns vrf-a" in steps
        assert "[vrf-a] ip link set cloud address 02:00:5e:00:00:01" in steps
        assert "[vrf-a] ip link add ce mtu 1500 type veth peer name pe1 mtu 1500 netns ce-a" in steps
        assert "[vrf-a] ip addr add 2001:db8::1/64 dev cloud nodad" in steps
        assert "[vrf-a] offload cloud" in steps and "offload c-a" in steps
        assert not any("127.0.0.1" in step for step in steps)

    def test_a_left_over_host_end_is_replaced(self) -> None:
        steps = texts(None, ("c-a",))
        assert steps.index("ip link del c-a") < next(i for i, s in enumerate(steps) if s.startswith("ip link add c-a"))

    def test_a_link_without_its_twin_is_replaced(self) -> None:
        steps = texts(live(), ())
        assert steps[0] == "[vrf-a] ip link del cloud"
        assert any(step.startswith("ip link add c-a") for step in steps)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda seen: seen["links"]["cloud"].update(mtu=1400),
             ["[vrf-a] ip link set cloud mtu 1500", "ip link set c-a mtu 1500"]),
            (lambda seen: seen["links"]["cloud"].update(mac="02:00:5e:00:00:02"),
             ["[vrf-a] ip link set cloud address 02:00:5e:00:00:01"]),
            (lambda seen: seen["links"]["cloud"].update(tx_offload=True), ["[vrf-a] offload cloud"]),
            (lambda seen: seen["links"]["cloud"].update(up=False), ["[vrf-a] ip link set cloud up"]),
            (lambda seen: seen["sysctls"].update({"net.ipv4.ip_forward": "0"}),
             ["[vrf-a] sysctl net.ipv4.ip_forward=1"]),
            (lambda seen: seen["links"]["ce"].update(addresses=["192.0.2.9/31"]),
             ["[vrf-a] ip addr del 192.0.2.9/31 dev ce", "[vrf-a] ip addr add 192.0.2.5/31 dev ce"]),
            (lambda seen: seen["links"].update(old={"kind": "veth"}), ["[vrf-a] ip link del old"]),
            (lambda seen: seen["links"].update(sit0={"kind": "sit"}), []),
        ],
    )  # fmt: skip
    def test_only_what_differs(self, change: Any, expected: list[str]) -> None:
        seen = live()
        change(seen)
        assert texts(seen) == expected


class TestPorts:
    WANTED = {"c-a": {"bridge": "br-rie", "tag": 101, "owner": "vrf-a"}}

    def port(self, **changes: Any) -> dict[str, Any]:
        found = {"bridge": "br-rie", "tag": 101, "trunks": [], "vlan_mode": "access", "owner": "vrf-a"}
        return {**found, **changes}

    def test_access_ports(self) -> None:
        assert netns.access_ports([DEFINITION]) == self.WANTED

    def test_nothing_to_do(self) -> None:
        assert netns.plan_ports(self.WANTED, {"c-a": self.port()}) == []

    def test_new(self) -> None:
        assert netns.plan_ports(self.WANTED, {}) == [
            ["--may-exist", "add-port", "br-rie", "c-a"],
            ["set", "port", "c-a", "tag=101", "vlan_mode=access", "external_ids:socle-netns=vrf-a"],
        ]

    def test_a_swapped_tag_is_put_right(self) -> None:
        commands = netns.plan_ports(self.WANTED, {"c-a": self.port(tag=102)})
        assert [command[:4] for command in commands] == [["set", "port", "c-a", "tag=101"]]

    def test_moves_between_bridges(self) -> None:
        commands = netns.plan_ports(self.WANTED, {"c-a": self.port(bridge="br-x")})
        assert commands[:2] == [
            ["--if-exists", "del-port", "br-x", "c-a"],
            ["--may-exist", "add-port", "br-rie", "c-a"],
        ]

    def test_ports_of_those_who_left(self) -> None:
        seen = {
            "c-a": self.port(),
            "c-b": self.port(owner="vrf-b"),
            "c-c": self.port(owner="vrf-c"),
            "x": self.port(owner=""),
        }
        assert netns.plan_ports(self.WANTED, seen, gone_owners=["vrf-b"]) == [
            ["--if-exists", "del-port", "br-rie", "c-b"]
        ]

    def test_trunks(self) -> None:
        uplink = self.port(tag=None, trunks=[5], vlan_mode="trunk", owner="")
        assert uplink_trunks.plan_trunks({"rie0": uplink}, {"rie0": [5]}) == []
        assert uplink_trunks.plan_trunks({"rie0": uplink}, {"rie0": [7, 5]}) == [
            ["set", "port", "rie0", "vlan_mode=trunk", "trunks=5,7"]
        ]

    def test_no_vlan_is_not_every_vlan(self) -> None:
        uplink = self.port(tag=None, trunks=[], vlan_mode="", owner="")
        assert uplink_trunks.plan_trunks({"rie0": uplink}, {"rie0": []}) == [
            ["set", "port", "rie0", "vlan_mode=trunk", "trunks=4095"]
        ]

    def test_an_uplink_that_does_not_exist(self) -> None:
        with pytest.raises(netns.CommandError, match="rie0"):
            uplink_trunks.plan_trunks({}, {"rie0": [5]})

    def test_a_port_is_released_before_its_link_is_made_anew(self) -> None:
        pending = {"vrf-a": netns.plan_namespace(DEFINITION, None)}
        commands, rest = netns.release_ports(pending, {"c-a": self.port(), "x": self.port()})
        assert commands == [["--if-exists", "del-port", "br-rie", "c-a"]]
        assert list(rest) == ["x"]


def test_boot_program_needs_nothing_but_python() -> None:
    nodes = list(ast.walk(ast.parse(Path(netns.__file__).read_text())))
    origins = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in origins]
    assert names
    assert [name for name in names if name.split(".")[0] not in sys.stdlib_module_names] == []
    assert not any(node.level for node in origins)


def test_boot_unit() -> None:
    assert netns_units.unit_name("vrf-a-b") == "socle-netns@vrf-a-b.service"
    assert "up %i" in netns_units.UNIT_TEXT


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert netns.main(["sideways"]) == 2
    assert "usage" in capsys.readouterr().out
