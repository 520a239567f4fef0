# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The sessions of a gateway: the planned ones, and their states in FRR's answers."""

from __future__ import annotations

from typing import Any

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import sessions as engine

VRF = {
    "name": "interieur",
    "pe": {"asn": 64900, "v4": "100.66.1.1", "v6": "fd66:1:1::1"},
    "peer": {"neighbor_v4": "100.65.0.2", "neighbor_v6": "fd64:0:2::2"},
    "export": {"v4": ["10.20.0.0/24"], "v6": ["fd20:0:1:1::/64"]},
    "accept": {"v4": [{"prefix": "10.128.1.0/24", "le": 28}], "v6": []},
    "cloud": {"v4": "100.64.0.1/30", "router_v4": "100.64.0.2", "router_v6": "fd64:0:1::2"},
}
UP = {"state": "Established", "pfxRcd": 1, "pfxSnt": 2, "peerUptime": "00:01:02", "peerUptimeMsec": 62500}


def answers() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return FRR's answers without faults."""
    bgp = {
        "ipv4Unicast": {"peers": {"100.66.1.1": dict(UP), "100.65.0.2": dict(UP)}},
        "ipv6Unicast": {"peers": {"fd66:1:1::1": dict(UP), "fd64:0:2::2": dict(UP)}},
    }
    bfd = [{"peer": item["neighbor"], "status": "up", "diagnostic": "ok", "uptime": 7} for item in engine.expected(VRF)]
    return bgp, bfd


def faults(bgp: Any, bfd: Any) -> list[str]:
    return [f"{entry['what']} {entry['state']}" for entry in engine.judge("gw1", VRF, bgp, bfd) if not entry["ok"]]


def test_all_up() -> None:
    entries = engine.judge("gw1", VRF, *answers())
    assert [entry["what"] for entry in entries] == [
        "BGP PE v4", "BFD PE v4", "BGP PE v6", "BFD PE v6",
        "BGP peer v4", "BFD peer v4", "BGP peer v6", "BFD peer v6",
        "BFD router v4", "BFD router v6",
    ]  # fmt: skip
    assert all(entry["ok"] for entry in entries)
    assert entries[0]["detail"] == "1 prefixes in, 2 out, up 00:01:02"
    assert [entries[0][key] for key in ("seconds", "accepted", "announced")] == [62, 1, 2]
    assert [entries[1][key] for key in ("seconds", "accepted", "announced")] == [7, None, None]


def test_what_is_down_or_absent_is_named() -> None:
    bgp, bfd = answers()
    bgp["ipv6Unicast"]["peers"]["fd66:1:1::1"]["state"] = "Active"
    del bgp["ipv4Unicast"]["peers"]["100.65.0.2"]
    bfd[-1] |= {"status": "down", "diagnostic": "control detection time expired"}
    assert faults(bgp, bfd) == ["BGP PE v6 Active", "BGP peer v4 absent", "BFD router v6 down"]


def test_a_wrong_key_is_said_of_a_session_that_is_down() -> None:
    bgp, bfd = answers()
    bgp["ipv6Unicast"]["peers"]["fd66:1:1::1"]["state"] = "Active"
    entries = engine.judge("gw1", VRF, bgp, bfd, "3 with another key")
    assert [entry["what"] for entry in entries if "another key" in entry["detail"]] == ["BGP PE v6"]


def test_a_session_that_carries_too_little_is_no_session() -> None:
    bgp, bfd = answers()
    bgp["ipv4Unicast"]["peers"]["100.66.1.1"]["pfxRcd"] = 0
    bgp["ipv6Unicast"]["peers"]["fd66:1:1::1"] |= {"pfxRcd": 0, "pfxSnt": 0}
    bgp["ipv6Unicast"]["peers"]["fd64:0:2::2"] |= {"pfxRcd": 0, "pfxSnt": 0}
    entries = [entry for entry in engine.judge("gw1", VRF, bgp, bfd) if not entry["ok"]]
    assert [(entry["what"], entry["detail"]) for entry in entries] == [
        ("BGP PE v4", "accepts no prefix of the provider edge"),
        ("BGP PE v6", "announces 0 of 1 prefixes"),
    ]


def test_an_instance_that_does_not_answer_is_named_once() -> None:
    assert faults(None, None) == ["FRR instance not answering"]
    assert len(faults({}, [])) == 10


def test_an_entry_in_a_line() -> None:
    bgp, bfd = answers()
    bfd[-1] |= {"status": "down", "diagnostic": "no reason"}
    assert engine.text(engine.judge("gw1", VRF, bgp, bfd)[-1]) == (
        "gw1 interieur: BFD router v6 fd64:0:1::2 is down (no reason)"
    )
