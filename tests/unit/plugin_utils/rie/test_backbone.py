# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The simulated RIE of the lab mirrors the intent."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import backbone

UPLINKS = {
    "gw1": {"pe": "pe1", "bridge": "br-pe1", "port": "pe1"},
    "gw2": {"pe": "pe2", "bridge": "br-pe2", "port": "pe2"},
}
BGP = {"keepalive": 3, "hold": 9, "connect": 3, "bfd": {"transmit_ms": 300, "receive_ms": 300, "multiplier": 3}}
ACCESS = {"v4": "100.68.0.0/16", "v6": "fd68::/64"}
CORE = "fd69::/32"
SECRETS = {"bgp_finances": "k3y"}
SITES = [{"name": "paris", "vrf": "finances", "v4": "10.128.2.0/24", "v6": "fd80:0:2:1::/64"}]


def link(gateway: int) -> dict[str, Any]:
    return {
        "vlan": 2000 + gateway, "asn": 64900, "password_secret": "bgp_finances",
        "local_v4": f"100.66.{gateway}.2/30", "peer_v4": f"100.66.{gateway}.1",
        "local_v6": f"fd66:{gateway}::2/64", "peer_v6": f"fd66:{gateway}::1",
    }  # fmt: skip


TENANTS = [{"name": "finances", "vrfs": [{"name": "finances", "links": {"gw1": link(1), "gw2": link(2)}}]}]


def build(**changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "uplinks": UPLINKS,
        "sites": SITES,
        "access": ACCESS,
        "core": CORE,
        "bgp": BGP,
        "asn": 65010,
    }
    return backbone.build(TENANTS, **{**options, "secrets": SECRETS, **changes})


def test_namespaces_and_trunks() -> None:
    built = build()
    assert {item["name"] for item in built["definitions"]} == {"ce-paris", "pe1-finances", "pe2-finances"}
    assert built["trunks"] == {"pe1": [2001], "pe2": [2002]}
    edge = next(item for item in built["definitions"] if item["name"] == "pe1-finances")
    assert edge["links"][0]["addresses"] == ["100.66.1.1/30", "fd66:1::1/64"]
    assert (edge["links"][0]["bridge"], edge["links"][0]["tag"]) == ("br-pe1", 2001)


def test_both_ends_of_an_access_link_name_each_other() -> None:
    definitions = {item["name"]: item for item in build()["definitions"]}
    ends = [(item["name"], near) for item in definitions.values() for near in item["links"] if "far" in near]
    assert ends
    for name, near in ends:
        far = next(x for x in definitions[near["far"]["netns"]]["links"] if x["name"] == near["far"]["name"])
        assert far["far"] == {"netns": name, "name": near["name"]}
        assert not set(far["addresses"]) & set(near["addresses"])


def test_sessions() -> None:
    files = build()["files"]
    edge = files["pe1-finances"]
    assert "\tneighbor 100.66.1.2 as 65010;" in edge
    assert edge.count('password "k3y"') == 2
    assert edge.count("ttl security yes") == 2
    assert edge.count("protocol bgp") == 4
    site = files["ce-paris"]
    assert site.count("protocol bgp") == 4
    assert site.count("export where source = RTS_STATIC;") == 4
    assert "krt_prefsrc = 10.128.2.1" in site
    assert "k3y" not in site


def test_an_edge_mirrors_what_its_link_has_of_its_own() -> None:
    own = link(1) | {"local_role": True, "bgp": {"keepalive": 10, "hold": 30, "bfd": {"multiplier": 5}}}
    vrf = {"name": "finances", "links": {"gw1": own, "gw2": link(2)}}
    options: dict[str, Any] = {
        "sites": SITES,
        "access": ACCESS,
        "core": CORE,
        "bgp": BGP,
        "asn": 65010,
        "secrets": SECRETS,
    }
    files = backbone.build([{"vrfs": [vrf]}], UPLINKS, **options)["files"]
    gateway, *access = files["pe1-finances"].split("protocol bgp ")[1:]
    assert "hold time 30;" in gateway
    assert "\tlocal role provider;\n" in gateway
    bfd = files["pe1-finances"].partition("protocol bfd {\n")[2].partition("\n}\n")[0]
    assert bfd.index('interface "gw" {') < bfd.index("multiplier 5;") < bfd.index('interface "*" {')
    assert all("hold time 9;" in session and "role" not in session for session in access if "site_" in session)
    assert files["pe2-finances"] == build()["files"]["pe2-finances"]


def vrf(number: int, imports: list[int], exports: list[int]) -> dict[str, Any]:
    """Return a tenant's VRF on both provider edges. Its own route target is its number."""
    links = {f"gw{gateway}": link(gateway) | {"vlan": 2000 + 100 * gateway + number} for gateway in (1, 2)}
    targets = {"import_targets": imports, "export_targets": exports}
    return {"name": f"v{number}", "links": links} | {
        key: [f"64900:{item}" for item in items] for key, items in targets.items()
    }


def between(built: dict[str, Any]) -> dict[str, set[str]]:
    """Return a mapping of each namespace to the namespaces with which it exchanges routes of other VRFs."""
    return {
        item["name"]: {far["far"]["netns"] for far in item["links"] if far["name"].startswith("i-")}
        for item in built["definitions"]
        if any(far["name"].startswith("i-") for far in item["links"])
    }


def exchanging(*vrfs: dict[str, Any], core: str = CORE) -> dict[str, Any]:
    return backbone.build([{"vrfs": list(vrfs)}], UPLINKS, [], ACCESS, core, BGP, 65010, SECRETS)


def test_only_vrfs_that_want_a_target_of_one_another_are_linked() -> None:
    hub, one, two, alone = vrf(9, [9, 1], [9]), vrf(1, [1, 9], [1]), vrf(2, [2, 9], [2]), vrf(3, [3], [3])
    built = exchanging(hub, one, two, alone)
    assert between(built) == {
        f"pe{number}-{name}": {f"pe{number}-{other}" for other in others}
        for number in (1, 2)
        for name, others in (("v9", ["v1", "v2"]), ("v1", ["v9"]), ("v2", ["v9"]))
    }
    assert "filter" not in built["files"]["pe1-v3"].replace("import filter {", "")
    ours = built["files"]["pe1-v9"]
    assert "if !(bgp_ext_community ~ [(rt, 64900, 1), (rt, 64900, 9)]) then reject;" in ours
    assert ours.count("bgp_ext_community.add(") == 1
    assert "bgp_ext_community.add((rt, 64900, 9));" in ours
    # Routes from another VRF are not passed on to a third one.
    assert 'if source != RTS_BGP || proto ~ "vrf_*" then reject;' in ours


def test_links_between_vrfs_match_and_stay_when_another_comes() -> None:
    hub, one, two = vrf(9, [9, 1], [9]), vrf(1, [1, 9], [1]), vrf(2, [2, 9], [2])
    before, after = exchanging(hub, two), exchanging(one, hub, two)
    assert before["files"]["pe1-v2"] == after["files"]["pe1-v2"]
    assert set(before["files"]["pe1-v9"].splitlines()) <= set(after["files"]["pe1-v9"].splitlines())
    definitions = {item["name"]: item for item in after["definitions"]}
    near = next(x for x in definitions["pe1-v1"]["links"] if x["name"] == "i-v9")
    far = next(x for x in definitions["pe1-v9"]["links"] if x["name"] == "i-v1")
    assert near["addresses"] == ["fd69:0:835:83d::1/64"]
    assert far["addresses"] == ["fd69:0:835:83d::2/64"]
    assert "\tneighbor fd69:0:835:83d::2 as 64900;\n" in after["files"]["pe1-v1"]


def test_a_vrf_that_imports_nothing_takes_nothing() -> None:
    deaf = exchanging(vrf(1, [], [1]), vrf(2, [1], [2]))["files"]["pe1-v1"]
    assert "filter from_others {\n\treject;\n" in deaf


def test_site_of_one_family() -> None:
    built = build(sites=[{"name": "paris", "vrf": "finances", "v4": "10.128.2.0/24"}])
    assert "home_v6" not in built["files"]["ce-paris"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sites": [{"name": "x", "vrf": "nowhere"}]}, ValueError),
        ({"access": {"v4": "100.68.0.0/31", "v6": "fd68::/64"}}, ValueError),
        ({"secrets": {}}, KeyError),
    ],
)
def test_refusals(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        build(**changes)


def test_a_core_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="core: fd69::/64 has no room"):
        exchanging(vrf(1, [2], [1]), vrf(2, [1], [2]), core="fd69::/64")


def test_files_and_units() -> None:
    files = build()["files"]
    shown = backbone.bird_files(files)
    assert all(item.get("mode") == "0640" for item in shown if item["path"].endswith("/bird.conf"))
    assert len(shown) == len(files) + 1
    assert {unit["name"] for unit in backbone.bird_units(files)} == {f"bird@{name}.service" for name in files}
    assert backbone.bridges(list(UPLINKS.values()), "netdev")[0] == {
        "name": "br-pe1",
        "datapath_type": "netdev",
        "ports": [{"name": "pe1"}],
    }
