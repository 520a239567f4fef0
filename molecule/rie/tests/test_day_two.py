# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Changes of a running site, with the operators' playbook: no session of another tenant is ever reset."""

from __future__ import annotations

import copy
import json
from functools import partial

import pytest

testinfra_hosts = ["ansible://gw1"]

EDGES = {"gw1": "pe1", "gw2": "pe2"}
FAMILIES = ("v4", "v6")
ALL = {"gw1", "gw2", "rie"}
MOVED = "10.21.8.0/24"
LABO = {"name": "labo", "v4": MOVED}


@pytest.fixture(scope="module")
def site(routers, hostvars, wire):
    """`site()`: the tenants of the scenario and their VRFs by name, for changes. The fixture restores them later."""
    tenants = json.loads(json.dumps(hostvars["gw1"]["rie_tenants"]))

    def new():
        changed = copy.deepcopy(tenants)
        return changed, {vrf["name"]: vrf for tenant in changed for vrf in tenant["vrfs"]}

    yield new
    wire(tenants)


@pytest.fixture
def works(ping, eventually, vrfs):
    """`works(one, other)`: packets pass in both directions, through both gateways, with IPv4 and IPv6."""

    def both(one, other):
        for gateway in EDGES:
            for family in FAMILIES:
                eventually(partial(ping, gateway, vrfs[one], vrfs[other], family))
                eventually(partial(ping, gateway, vrfs[other], vrfs[one], family))

    return both


@pytest.fixture
def silent(ping, vrfs):
    """`silent(one, other)`: no packet is answered."""
    return lambda one, other: (
        not any(ping(gateway, vrfs[one], vrfs[other], family) for gateway in EDGES for family in FAMILIES)
    )


def police(vrfs):
    """The intent of a tenant that does not exist yet."""
    vrf = copy.deepcopy(vrfs["sante"])
    vrf |= {"name": "police", "import_targets": ["64900:1013"], "export_targets": ["64900:1013"]}
    vrf["delegated"] = {"v4": ["10.23.0.0/16", "10.21.8.0/21"], "v6": ["fd20:0:13::/48"]}
    vrf["networks"] = [{"name": "web", "v4": "10.23.0.0/24", "v6": "fd20:0:13:1::/64"}]
    for number, link in enumerate(vrf["links"].values(), 1):
        link |= {"vlan": 2013 + 100 * number, "local_v4": f"100.66.{number}.54/30", "peer_v4": f"100.66.{number}.53"}
        link |= {"local_v6": f"fd66:{number}:13::2/64", "peer_v6": f"fd66:{number}:13::1"}
    return {"name": "police", "project": "police", "vrfs": [vrf]}


def exchange(one, other):
    one["import_targets"] = [*one["import_targets"], other["export_targets"][0]]
    one["exchange"] = [*one.get("exchange", []), other["name"]]


def test_two_ministries_agree_on_an_exchange(site, wire, vrfs, since, unmoved, works):
    before = since(*vrfs)
    tenants, by_name = site()
    exchange(by_name["sante"], by_name["justice"])
    exchange(by_name["justice"], by_name["sante"])
    code, said, changed = wire(tenants)
    assert (code, changed) == (0, ALL), said
    works("sante", "justice")
    works("sante", "services")
    assert unmoved(before)
    assert wire(tenants)[2] == set()


def test_an_exchange_that_one_side_ends_is_over_and_nothing_else(site, wire, vrfs, since, unmoved, works, silent):
    before = since(*vrfs)
    tenants, by_name = site()
    exchange(by_name["sante"], by_name["justice"])
    assert wire(tenants)[0] == 0
    assert silent("sante", "justice")
    works("sante", "services")
    works("justice", "services")
    assert unmoved(before)


def test_who_imports_a_service_no_more_loses_it_alone(site, wire, vrfs, since, unmoved, works, silent, birdc):
    before = since(*vrfs)
    tenants, by_name = site()
    by_name["sante"]["import_targets"] = by_name["sante"]["export_targets"]
    assert wire(tenants)[0] == 0
    assert silent("sante", "services")
    for edge in EDGES.values():
        assert "vrf_services" not in birdc(edge, "sante", "show route")
    works("justice", "services")
    assert unmoved(before)


def with_police(site, labo):
    """The site with one more tenant, and with the network LABO in the VRFs `labo`."""
    tenants, by_name = site()
    tenants.append(police(by_name))
    by_name["police"] = tenants[-1]["vrfs"][0]
    for name in labo:
        by_name[name]["networks"] = [*by_name[name]["networks"], LABO]
    return tenants, by_name


def test_a_tenant_comes(site, wire, vrfs, since, unmoved, play_router, birdc, prefixes, eventually):
    before = since(*vrfs)
    tenants, by_name = with_police(site, ["sante"])
    code, said, changed = wire(tenants)
    assert (code, changed) == (0, ALL), said
    play_router(by_name["police"])
    for edge in EDGES.values():
        for name in ("police", "sante"):
            wanted = prefixes(by_name[name])
            show = partial(birdc, edge, name, 'show route where proto ~ "gateway_*"')
            eventually(lambda show=show, wanted=wanted: all(prefix in show() for prefix in wanted))
    assert unmoved(before)


def test_a_prefix_that_two_claim_in_one_table_is_refused(site, wire, vrfs, since, unmoved, ledger):
    before, held = since(*vrfs), ledger()
    tenants, by_name = with_police(site, ["sante", "police"])
    exchange(by_name["services"], by_name["police"])
    code, said, changed = wire(tenants)
    assert (code != 0, changed) == (True, set())
    text = " ".join(said.split())
    one, other = (f"rie_tenants[{place}].vrfs[0].networks[1].v4" for place in (3, 5))
    assert f"{one} = {MOVED}: overlaps {other} ({MOVED}) and VRF services sees both" in text
    assert ledger() == held
    assert unmoved(before)


def test_a_prefix_moves_to_another_tenant(site, wire, vrfs, since, unmoved, machine, birdc, eventually, ledger):
    """On each gateway one tenant withdraws the prefix before the other announces it, and no session is reset."""
    before, held, rie = since(*vrfs, "police"), ledger(), machine("rie")
    start = rie.check_output("date +%s")
    for edge in EDGES.values():
        for name in ("sante", "police"):
            birdc(edge, name, "debug gateway_v4 { routes }")
    tenants, _by_name = with_police(site, ["police"])
    code, said, changed = wire(tenants)
    assert (code, changed) == (0, {"gw1", "gw2"}), said

    def when(edge, name, word):
        unit = f"bird@{edge}-{name}"
        lines = rie.check_output("journalctl --quiet --output=json --since=@%s --unit=%s", start, unit).splitlines()
        found = [
            entry["__REALTIME_TIMESTAMP"]
            for entry in map(json.loads, lines)
            if f" {MOVED} " in entry["MESSAGE"] and f"> {word}" in entry["MESSAGE"]
        ]
        return int(found[0]) if found else None

    for edge in EDGES.values():
        gone = eventually(partial(when, edge, "sante", "removed"))
        come = eventually(partial(when, edge, "police", "added"))
        assert gone < come
        assert MOVED not in birdc(edge, "sante", "show route")
        for name in ("sante", "police"):
            birdc(edge, name, "debug gateway_v4 off")
    assert unmoved(before)
    assert ledger() == held
    assert wire(tenants)[2] == set()


def test_a_tenant_goes(site, wire, vrfs, since, unmoved, machine, ledger):
    before, held = since(*vrfs), ledger()["allocations"]
    tenants, _by_name = site()
    code, said, changed = wire(tenants)
    assert (code, changed) == (0, ALL), said
    for name in ALL:
        left = machine(name).check_output("ls /run/netns /etc/socle/netns; ls /etc/frr 2>/dev/null || true")
        assert [word for word in left.split() if "police" in word and word != "router-police"] == []
    resting = ledger()["quarantine"]["vlan"]
    for owner in ("police/gw1", "police/gw2", "police/peer"):
        assert resting[held["vlan"][owner]]["owner"] == owner
    assert unmoved(before)
    assert wire(tenants)[2] == set()


def test_frr_is_restarted_on_one_gateway_after_the_other(site, wire, vrfs, since, unmoved, machine):
    """The daemons on both gateways need other start options. The sessions of the other gateway stay up meanwhile."""
    name = "justice"
    before = since(*(vrf for vrf in vrfs if vrf != name))
    for gateway in EDGES:
        machine(gateway).run_expect([0], f"sed -i '$a # by hand' /etc/frr/{name}/daemons")
    start = int(machine("gw1").check_output("date +%s"))
    tenants, _by_name = site()
    code, said, changed = wire(tenants)
    assert (code, changed) == (0, set(EDGES)), said
    shown = machine("gw2").check_output("systemctl show --timestamp=unix -P ActiveExitTimestamp frr@%s", name)
    link = vrfs[name]["links"]["gw1"]
    up = {key: when for (gateway, _vrf, key), when in since(name).items() if gateway == "gw1"}
    assert all(start <= up[link[peer]] <= int(shown.lstrip("@")) for peer in ("peer_v4", "peer_v6"))
    assert unmoved(before)
    assert wire(tenants)[2] == set()


def test_frr_is_not_restarted_where_no_other_gateway_can_take_over(site, wire, vrfs, since, unmoved, machine):
    before = since(*vrfs)
    tenants, _by_name = site()
    machine("gw2").run_expect([0], "install -D -m 0644 /dev/null /etc/socle/rie/drained")
    machine("gw1").run_expect([0], "sed -i '$a # by hand' /etc/frr/justice/daemons")
    try:
        code, said, _changed = wire(tenants)
        assert code != 0
        assert "gw2 is drained" in " ".join(said.split())
        assert unmoved(before)
    finally:
        machine("gw2").run_expect([0], "rm /etc/socle/rie/drained")
    code, said, changed = wire(tenants)
    assert (code, changed) == (0, set(EDGES)), said
    assert "by hand" not in machine("gw1").file("/etc/frr/justice/daemons").content_string
    assert wire(tenants)[2] == set()
