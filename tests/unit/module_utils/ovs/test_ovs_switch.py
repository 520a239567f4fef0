# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Plans for Open vSwitch, executed on a simulated switch."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.ovs import switch as engine

PAIR = re.compile(r'(\w+)(?::("(?:[^"\\]|\\.)*"|[^=]+))?=(.*)', re.DOTALL)


def plain(text):
    return json.loads(text) if text.startswith('"') else text


class FakeSwitch:
    """Implements the commands of ovs-vsctl that plans use."""

    def __init__(self):
        # The switch changes its state, but the engine must not change the data that it has read.
        self.bridges: dict[str, Any] = {}
        self.ports: dict[str, Any] = {}
        self.interfaces: dict[str, Any] = {}
        self.on: dict[str, str] = {}
        self.live = engine.Live({}, frozenset(), self.bridges, self.ports, self.interfaces, self.on)

    def run(self, commands):
        for verb, *words in commands:
            getattr(self, verb.replace("-", "_"))(*words)

    def add_br(self, name):
        assert name not in self.live.bridges
        self.bridges[name] = {}
        self.on[name], self.ports[name], self.interfaces[name] = name, {}, {"type": "internal"}

    def add_port(self, bridge, name):
        assert bridge in self.live.bridges
        assert name not in self.live.on
        self.on[name], self.ports[name], self.interfaces[name] = bridge, {}, {}

    def del_port(self, bridge, name):
        assert self.on.pop(name) == bridge
        del self.ports[name], self.interfaces[name]

    def record(self, table, name):
        tables = {"Bridge": self.live.bridges, "Port": self.live.ports, "Interface": self.live.interfaces}
        return self.live.switch if table == "Open_vSwitch" else tables[table][name]

    def set(self, table, name, *pairs):
        record = self.record(table, name)
        for pair in pairs:
            found = PAIR.fullmatch(pair)
            assert found, pair
            column, key, value = found.groups()
            if key:
                record.setdefault(column, {})[plain(key)] = plain(value)
            elif column == "trunks":
                numbers = [int(number) for number in value.split(",")]
                record[column] = numbers if len(numbers) > 1 else numbers[0]
            else:
                record[column] = int(value) if column in ("tag", "mtu_request") else plain(value)

    def clear(self, table, name, column):
        self.record(table, name)[column] = None

    def remove(self, table, name, column, *keys):
        for key in keys:
            del self.record(table, name)[column][plain(key)]

    def set_manager(self, *targets):
        object.__setattr__(self.live, "managers", frozenset(targets))

    def del_manager(self):
        self.set_manager()

    def reconcile(self, options):
        commands = engine.plan(options, copy.deepcopy(self.live))
        self.run(commands)
        return commands


RIE = {"name": "br-rie", "datapath_type": "netdev", "ports": [{"name": "rie0", "trunks": [102, 101]}]}


def test_from_nothing_and_then_nothing():
    switch = FakeSwitch()
    options = {
        "bridges": [RIE],
        "external_ids": {"ovn-encap-ip": "10.0.0.1"},
        "manager": "ptcp:6640:127.0.0.1",
    }
    assert switch.reconcile(options) == [
        ["set", "Open_vSwitch", ".", 'external_ids:ovn-encap-ip="10.0.0.1"'],
        ["set-manager", "ptcp:6640:127.0.0.1"],
        ["add-br", "br-rie"],
        ["set", "Bridge", "br-rie", "datapath_type=netdev"],
        ["add-port", "br-rie", "rie0"],
        ["set", "Port", "rie0", "trunks=101,102"],
        ["set", "Port", "rie0", "external_ids:socle=true"],
    ]
    assert switch.reconcile(options) == []


def test_what_is_left_out_stays():
    switch = FakeSwitch()
    switch.reconcile({"bridges": [RIE], "external_ids": {"a": "1", "b": "2"}, "manager": "ptcp:1"})
    assert switch.reconcile({"bridges": [{"name": "br-rie", "ports": [{"name": "rie0"}]}]}) == []
    assert switch.reconcile({"external_ids": {"a": None, "c": None}}) == [
        ["remove", "Open_vSwitch", ".", "external_ids", "a"]
    ]
    assert switch.live.switch["external_ids"] == {"b": "2"}


def test_clearing():
    switch = FakeSwitch()
    switch.reconcile(
        {"bridges": [{"name": "b", "ports": [{"name": "p", "tag": 5, "trunks": [1]}]}], "manager": "ptcp:1"}
    )
    assert switch.reconcile(
        {"bridges": [{"name": "b", "ports": [{"name": "p", "tag": 0, "trunks": []}]}], "manager": ""}
    ) == [
        ["del-manager"],
        ["clear", "Port", "p", "tag"],
        ["clear", "Port", "p", "trunks"],
    ]


def test_a_port_moves_and_is_pruned_only_if_it_is_ours():
    switch = FakeSwitch()
    switch.reconcile({"bridges": [{"name": "a", "ports": [{"name": "p", "tag": 7}, {"name": "q"}]}, {"name": "b"}]})
    switch.add_port("a", "patch-to-br-int")
    moved = {
        "bridges": [{"name": "a", "ports": []}, {"name": "b", "ports": [{"name": "p"}]}],
        "prune_ports": True,
    }
    assert [words[1:] for words in switch.reconcile(moved) if words[0] == "del-port"] == [
        ["a", "q"],
        ["a", "p"],
    ]
    assert set(switch.live.on) == {"a", "b", "p", "patch-to-br-int"}
    assert switch.live.on["p"] == "b"
    assert switch.reconcile(moved) == []


def test_the_kernel_datapath_has_two_names():
    live = engine.Live(bridges={"b": {"datapath_type": ""}}, on={"b": "b"})
    assert engine.plan({"bridges": [{"name": "b", "datapath_type": "system"}]}, live) == []


def test_contradictions_are_reported_together():
    ports = [{"name": "p", "tag": 4096}, {"name": "p"}]
    with pytest.raises(engine.SwitchError, match=r"p is given twice; port p: 4096 is no VLAN"):
        engine.plan({"bridges": [{"name": "b", "ports": ports}]}, engine.Live())


PRINTED = r"""
{"data":[[["map",[["system-id","x"]]],["map",[]]]],"headings":["external_ids","other_config"]}
{"data":[["ptcp:6640:127.0.0.1"]],"headings":["target"]}
{"data":[["b1","netdev",["set",[]],["map",[]],["map",[["a","b"]]],["set",[["uuid","u1"],["uuid","u2"]]]]],"headings":["name","datapath_type","fail_mode","external_ids","other_config","ports"]}
{"data":[[["uuid","u1"],"b1",["set",[]],["set",[]],["set",[]],["map",[]],["map",[]]],[["uuid","u2"],"p1",5,["set",[1,2]],["set",[]],["map",[]],["map",[]]]],"headings":["_uuid","name","tag","trunks","vlan_mode","external_ids","other_config"]}
{"data":[["p1","internal",["map",[]],["map",[]],["set",[]],"no such device"]],"headings":["name","type","options","external_ids","mtu_request","error"]}
"""  # noqa: E501


def test_read():
    live = engine.read(PRINTED)
    assert live.on == {"b1": "b1", "p1": "b1"}
    assert (live.ports["p1"]["tag"], live.ports["p1"]["trunks"], live.ports["b1"]["tag"]) == (5, [1, 2], None)
    assert live.managers == {"ptcp:6640:127.0.0.1"}
    assert live.errors(["p1", "b1"]) == {"p1": "no such device"}
    assert engine.plan({"bridges": [{"name": "b1", "datapath_type": "netdev"}]}, live) == []


maps = st.dictionaries(st.sampled_from(["a", "b:c", "d-e"]), st.none() | st.booleans() | st.text('x"\\ :=', max_size=4))
ports = st.fixed_dictionaries(
    {"name": st.sampled_from(["p", "q", "r"])},
    optional={
        "tag": st.integers(0, 4094),
        "trunks": st.lists(st.integers(1, 4094), max_size=3),
        "type": st.sampled_from(["internal", "patch"]),
        "options": maps,
        "external_ids": maps,
        "mtu_request": st.integers(1280, 9000),
    },
)


def unlike(bridges):
    names = [port["name"] for bridge in bridges for port in bridge["ports"]]
    return len(names) == len(set(names))


bridges: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y"]), "ports": st.lists(ports, max_size=2)},
    optional={"datapath_type": st.sampled_from(["system", "netdev"]), "other_config": maps},
)
wishes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "bridges": st.lists(bridges, max_size=2, unique_by=lambda bridge: bridge["name"]).filter(unlike),
        "prune_ports": st.booleans(),
    },
    optional={"external_ids": maps, "manager": st.sampled_from(["", "ptcp:1", "ptcp:1 ssl:2"])},
)


@given(st.lists(wishes, min_size=1, max_size=3))
def test_whatever_was_there_one_run_settles_it(history):
    switch = FakeSwitch()
    for options in history:
        switch.reconcile(options)
    assert switch.reconcile(history[-1]) == []
