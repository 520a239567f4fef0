# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Whether the files of the role configure the links: foreign files, other programs, missing addresses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import network_links as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import service_units

OURS = "/etc/systemd/network/20-tun0.network"
NETPLAN = "/run/systemd/network/10-netplan-all-en.network"
WANTED = [{"name": "tun0", "file": OURS, "addresses": ["10.1.0.21/24", "fd00::21/64"]}]
V4 = {"Address": [10, 1, 0, 21], "PrefixLength": 24, "ConfigState": "configured"}
V6 = {"Address": [0xFD, *[0] * 14, 0x21], "PrefixLength": 64, "ConfigState": "configured"}


def link(**more):
    seen = {"Name": "tun0", "Index": 3, "NetworkFile": OURS, "CarrierState": "carrier", "Addresses": [V4, V6]}
    return {"tun0": seen | more}


def test_a_link_as_deployed_has_no_fault():
    assert engine.faults(WANTED, link(), {}) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"NetworkFile": NETPLAN, "Addresses": None}, [NETPLAN, "takes precedence over", "Remedy", "tun0"]),
        ({"NetworkFile": None, "AdministrativeState": "unmanaged"}, [OURS, "unmanaged"]),
        ({"Addresses": [V4]}, ["tun0", "fd00::21/64"]),
        ({"Addresses": [V4, {**V6, "ConfigState": "configuring"}], "CarrierState": "no-carrier"}, ["no-carrier"]),
    ],
)
def test_what_is_wrong_is_named(more, said):
    (fault,) = engine.faults(WANTED, link(**more), {})
    assert all(word in fault for word in said), fault


def test_a_link_that_is_missing_is_a_fault_at_the_end_only():
    assert engine.faults(WANTED, {}, {}, missing_ok=True) == []
    (fault,) = engine.faults(WANTED, {}, {})
    assert "no such link" in fault


def test_another_program_that_configures_the_link_is_named():
    (fault,) = engine.faults(WANTED, link(), {"tun0": "/etc/network/interfaces configures it too (ifupdown)"})
    assert "/etc/network/interfaces" in fault


def test_expected_links():
    networks = [
        {"name": "tun0", "sections": {"Network": {"Address": "10.1.0.21/24"}, "Address": [{"Address": "fd00::21/64"}]}},
        {"name": "pair", "sections": {"Match": {"Name": "eth1 eth2"}, "Network": {"LinkLocalAddressing": "no"}}},
        {"name": "all", "sections": {"Match": {"Name": "en*"}}},
        {"name": "mac", "sections": {"Match": {"MACAddress": "02:00:00:00:00:01"}}},
    ]
    assert engine.expected(networks) == [
        *WANTED,
        {"name": "eth1", "file": "/etc/systemd/network/20-pair.network", "addresses": []},
        {"name": "eth2", "file": "/etc/systemd/network/20-pair.network", "addresses": []},
    ]


def test_ifupdown_is_read_with_what_it_sources(tmp_path):
    main, folder = tmp_path / "interfaces", tmp_path / "interfaces.d"
    folder.mkdir()
    main.write_text("source interfaces.d/*\nauto lo\niface lo inet loopback\niface eth3 inet manual\n")
    (folder / "50-cloud-init").write_text("auto tun0\niface tun0 inet static\n  address 10.1.0.9/24\n")
    assert engine.ifupdown(str(main)) == {"tun0": str(folder / "50-cloud-init")}


def test_networkd_and_network_manager_are_asked(monkeypatch, tmp_path):
    listed = {"Interfaces": list(link().values())}
    monkeypatch.setattr(engine, "run", lambda argv, **_: SimpleNamespace(ok=True, stdout=json.dumps(listed), output=""))
    monkeypatch.setattr(engine, "NETWORK_MANAGER", str(tmp_path))
    monkeypatch.setattr(engine, "IFUPDOWN", str(tmp_path / "none"))
    assert engine.look() == (link(), {})
    (tmp_path / "3").write_text("[device]\nmanaged-type=full\n")
    assert "NetworkManager" in engine.look()[1]["tun0"]


def test_a_readiness_of_links(monkeypatch):
    monkeypatch.setattr(engine, "look", lambda: (link(NetworkFile=NETPLAN), {}))
    assert NETPLAN in service_units.probe({"links": WANTED})
    monkeypatch.setattr(engine, "look", lambda: ({}, {}))
    assert service_units.probe({"links": WANTED}) == ""
    assert "no such link" in service_units.probe({"links": WANTED}, whole=True)
