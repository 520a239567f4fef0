# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Valid intents of any size, for plans and for faults."""

from __future__ import annotations

from typing import Any

SITE: dict[str, Any] = {
    "gateways": ["gw1", "gw2"],
    "reserved": {"management": "10.99.0.0/24"},
    "secrets": ["bgp"],
    "today": "2026-11-21",
}


def link(gateway: int, number: int) -> dict[str, Any]:
    """Return one of up to 1,000 PE links of a gateway (1 or 2)."""
    third, fourth = divmod(number * 4, 256)
    return {
        "vlan": 2100 + number,
        "asn": 64900,
        "local_v4": f"100.{70 + gateway}.{third}.{fourth + 2}/30",
        "peer_v4": f"100.{70 + gateway}.{third}.{fourth + 1}",
        "local_v6": f"fd66:{gateway}:{number:x}::2/64",
        "peer_v6": f"fd66:{gateway}:{number:x}::1",
        "password_secret": "bgp",
    }


def vrf(number: int, networks: int = 1, families: str = "46") -> dict[str, Any]:
    """Return the VRF ``v<number>`` with up to 256 networks in supernets of its own."""
    both = {4: f"10.{20 + number // 16}.{number % 16 * 16}", 6: f"fd20:{number:x}:1"}
    return {
        "name": f"v{number}",
        "import_targets": [f"64900:{number}"],
        "export_targets": [f"64900:{number}"],
        "delegated": {"v4": [f"{both[4]}.0/20"], "v6": [f"{both[6]}::/48"]},
        "networks": [
            {"name": f"n{index}"}
            | ({"v4": small(number, index)} if "4" in families else {})
            | ({"v6": f"{both[6]}:{index + 1:x}::/64"} if "6" in families else {})
            for index in range(networks)
        ],
        "accept": {"v4": [{"prefix": "172.20.0.0/16", "le": 24}], "v6": [{"prefix": "fd80::/32", "le": 64}]},
        "links": {"gw1": link(1, number), "gw2": link(2, number)},
    }


def small(number: int, index: int) -> str:
    """Return the /28 with this index in the supernet of a VRF."""
    third, fourth = divmod(index * 16, 256)
    return f"10.{20 + number // 16}.{number % 16 * 16 + third}.{fourth}/28"


def intent(vrfs: int = 2, networks: int = 1, families: str = "46") -> dict[str, Any]:
    """Return an intent of ``vrfs`` tenants with one VRF each and ``networks`` networks in each VRF."""
    return {
        "rie_asn": 65010,
        "rie_pools": {
            "vlan": "2-1999",
            "transit_v4": "100.64.0.0/16",
            "transit_v6": "fd64:0:1::/48",
            "peer_v4": "100.65.0.0/16",
            "peer_v6": "fd64:0:2::/48",
            "router_id": "100.67.0.0/16",
        },
        "rie_tenants": [
            {"name": f"t{number}", "project": f"p{number}", "vrfs": [vrf(number, networks, families)]}
            for number in range(vrfs)
        ],
    }


def full(vrfs: int = 3) -> dict[str, Any]:
    """Return a valid intent with every key. Each VRF imports the next one by name, and the last, which is shared."""
    source = intent(vrfs, networks=2)
    source |= {
        "rie_physical_network": "rie",
        "rie_allocations_file": "allocations.yml",
        "rie_quarantine_days": 30,
        "rie_mtu": 1500,
        "rie_bgp": {
            "keepalive": 3,
            "hold": 9,
            "connect": 3,
            "bfd": {"transmit_ms": 300, "receive_ms": 300, "multiplier": 3},
        },
    }
    for number, tenant in enumerate(source["rie_tenants"]):
        tenant |= {"description": "A ministry", "quotas": {"network": 10}}
        [vrf] = tenant["vrfs"]
        others = sorted({number + 1, vrfs - 1} - {number, vrfs})
        vrf["import_targets"] += [f"64900:{other}" for other in others]
        vrf |= {
            "description": "Its only VRF",
            "max_prefixes": {"v4": 100, "v6": 100},
            "max_prefixes_out": {"v4": 50, "v6": 50},
            "communities": ["65010:1"],
            "large_communities": ["65010:1:1"],
            "shared": number == vrfs - 1,
            "exchange": [f"v{other}" for other in others] or ["v0"],
            "mtu": 1500,
        }
        if number == vrfs - 1:
            vrf["import_targets"].append("64900:0")
        vrf["links"]["gw1"] |= {
            "mtu": 1500,
            "rd": f"65010:{60000 + number}",
            "local_role": True,
            "bgp": {"keepalive": 10, "hold": 30, "connect": 5, "bfd": dict(source["rie_bgp"]["bfd"])},
        }
    return source
