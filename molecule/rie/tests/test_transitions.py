# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Transitions between intents in every direction, with a real FRR: a reloaded FRR is configured like a fresh one."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://gw1"]

ROOT = Path(__file__).resolve().parents[3]
VRF, OTHER = "sante", "justice"
BFD = {"transmit_ms": 500, "receive_ms": 400, "multiplier": 5}
LIMITS = {"max_prefixes": {"v4": 7, "v6": 9}, "max_prefixes_out": {"v4": 3}}


def every_link(vrf, **changes):
    for link in vrf["links"].values():
        link.update(changes)


def one_family(vrf, family):
    for network in vrf["networks"]:
        network.pop({"v4": "v6", "v6": "v4"}[family])
    vrf["accept"] = {family: vrf["accept"][family]}


def grown(vrf):
    one, two = {"name": "one", "v4": "10.21.8.0/24"}, {"name": "two", "v4": "10.21.4.0/22", "v6": "fd20:0:11:2::/64"}
    vrf["networks"] += [one, two]
    vrf |= {"communities": ["65010:7", "65535:666"], "large_communities": ["65010:1:2"]}
    another_key(vrf)


def exchanging(vrf):
    vrf |= {"exchange": [OTHER], "import_targets": [*vrf["import_targets"], "64900:1012"]}
    every_link(vrf, bgp={"keepalive": 10, "hold": 30, "bfd": BFD}, local_role=True)


def without_imports(vrf):
    vrf |= {"import_targets": vrf["export_targets"], **LIMITS}


def only_v4(vrf):
    one_family(vrf, "v4")
    vrf |= LIMITS
    another_key(vrf)


def only_v6(vrf):
    one_family(vrf, "v6")
    vrf["communities"] = ["65010:7"]
    every_link(vrf, bgp={"keepalive": 10, "hold": 30}, local_role=True)


def another_key(vrf):
    every_link(vrf, password_secret="bgp_finances")


def nothing(vrf):
    pass


# A configuration has parts: announced and accepted prefixes, communities, session parameters, keys, limits, the drain.
# FRR reloads each part independently of the others, so a variant may differ in several. Between these six variants,
# every part goes from each of its states to each other one, together with changes of other parts.
TOGETHER = {
    "plain": nothing,
    "grown": grown,
    "exchanging": exchanging,
    "without imports, drained": without_imports,
    "v4 only": only_v4,
    "v6 only": only_v6,
}
# These two parts use another path than the reload, so each of them is also changed alone, and back.
ALONE = {"another key": another_key, "drained": nothing}
VARIANTS = TOGETHER | ALONE


@pytest.fixture
def program(host, settings, tmp_path, engines):
    """The program and the intents on the gateway."""
    intent = {key: value for key, value in settings.items() if key.startswith("rie_")}
    variants = {}
    for name, change in VARIANTS.items():
        variant = json.loads(json.dumps(intent))
        vrf = next(vrf for tenant in variant["rie_tenants"] for vrf in tenant["vrfs"] if vrf["name"] == VRF)
        vrf["accept"] = {"v4": [{"prefix": "10.128.11.0/24", "le": 28}], "v6": [{"prefix": "fd80:0:11::/48", "le": 64}]}
        change(vrf)
        key = settings["secrets"][vrf["links"]["gw1"]["password_secret"]]
        variants[name] = {"intent": variant, "password": key, "drain": "all" if "drained" in name else "none"}
    file = tmp_path / "transitions.zip"
    shutil.copy(engines, file)
    with zipfile.ZipFile(file, "a") as archive:
        intents = {"vrf": VRF, "gateway": "gw1", "variants": variants, "alone": list(ALONE)}
        archive.writestr("plugins/intents.json", json.dumps(intents))
        archive.write(Path(__file__).with_name("transitions.py"), "__main__.py")
    there = "/run/socle/transitions.zip"
    host.ansible("ansible.builtin.copy", f"src={file} dest={there} mode=0600", check=False)
    yield f"python3 {there}"
    host.run("rm -f %s", there)


def test_a_reload_ends_where_a_fresh_start_would(host, program, since, unmoved):
    before = since("interieur", VRF)
    told = json.loads(host.check_output(program))
    assert told["wrong"] == [], json.dumps(told["wrong"], indent=1)
    assert told["distinct"] == len(VARIANTS), "some variants are the same"
    assert told["steps"] == len(TOGETHER) * (len(TOGETHER) - 1) + 2 * len(ALONE)
    print(f"{told['steps']} changes in {told['seconds']} s, with {told['cpu']} s of processor time")
    assert unmoved(before)
