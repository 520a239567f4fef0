# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""From any intent to any other: a reloaded FRR runs what a fresh one would, on FRR itself."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://gw1"]

ROOT = Path(__file__).resolve().parents[3]
VRF, OTHER = "sante", "justice"
BFD = {"transmit_ms": 500, "receive_ms": 400, "multiplier": 5}


def every_link(vrf, **changes):
    for link in vrf["links"].values():
        link.update(changes)


def one_family(vrf, family):
    for network in vrf["networks"]:
        network.pop({"v4": "v6", "v6": "v4"}[family])
    vrf["accept"] = {family: vrf["accept"][family]}


VARIANTS = {
    "plain": lambda vrf: None,
    "more networks": lambda vrf: vrf["networks"].extend(
        [{"name": "one", "v4": "10.21.8.0/24"}, {"name": "two", "v4": "10.21.4.0/22", "v6": "fd20:0:11:2::/64"}]
    ),
    "communities": lambda vrf: vrf.update(communities=["65010:7", "65535:666"], large_communities=["65010:1:2"]),
    "another key": lambda vrf: every_link(vrf, password_secret="bgp_finances"),
    "timers, BFD, role": lambda vrf: every_link(vrf, bgp={"keepalive": 10, "hold": 30, "bfd": BFD}, local_role=True),
    "exchange": lambda vrf: vrf.update(exchange=[OTHER], import_targets=[*vrf["import_targets"], "64900:1012"]),
    "no import": lambda vrf: vrf.update(import_targets=["64900:1011"]),
    "limits": lambda vrf: vrf.update(max_prefixes={"v4": 7, "v6": 9}, max_prefixes_out={"v4": 3}),
    "v4 only": lambda vrf: one_family(vrf, "v4"),
    "v6 only": lambda vrf: one_family(vrf, "v6"),
}


@pytest.fixture
def program(host, settings, tmp_path):
    """The program and the intents on the gateway."""
    intent = {key: value for key, value in settings.items() if key.startswith("rie_")}
    variants = {}
    for name, change in {**VARIANTS, "drained": VARIANTS["plain"]}.items():
        variant = json.loads(json.dumps(intent))
        vrf = next(vrf for tenant in variant["rie_tenants"] for vrf in tenant["vrfs"] if vrf["name"] == VRF)
        vrf["accept"] = {"v4": [{"prefix": "10.128.11.0/24", "le": 28}], "v6": [{"prefix": "fd80:0:11::/48", "le": 64}]}
        change(vrf)
        key = settings["secrets"][vrf["links"]["gw1"]["password_secret"]]
        variants[name] = {"intent": variant, "password": key, "drained": name == "drained"}
    file = tmp_path / "transitions.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in (ROOT / "plugins" / "module_utils").glob("*.py"):
            archive.write(path, f"module_utils/{path.name}")
        archive.writestr("module_utils/__init__.py", "")
        archive.writestr("module_utils/intents.json", json.dumps({"vrf": VRF, "gateway": "gw1", "variants": variants}))
        archive.write(Path(__file__).with_name("transitions.py"), "__main__.py")
    there = "/run/socle/transitions.zip"
    host.ansible("ansible.builtin.copy", f"src={file} dest={there} mode=0600", check=False)
    yield f"python3 {there}"
    host.run("rm -f %s", there)


def test_a_reload_ends_where_a_fresh_start_would(host, program, since, unmoved):
    before = since("interieur", VRF)
    told = json.loads(host.check_output(program))
    assert told["wrong"] == [], json.dumps(told["wrong"], indent=1)
    count = len(VARIANTS) + 1
    assert told["distinct"] == count, "some variants are the same"
    assert told["steps"] == count * (count - 1)
    print(f"{told['steps']} changes in {told['seconds']} s")
    assert unmoved(before)
