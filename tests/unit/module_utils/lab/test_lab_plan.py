# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The definition of the lab, and the rules, names and texts that result from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import plan as lab_plan
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.plan import (
    LabDefinitionError,
    Link,
    Nat,
    definition,
    differences,
    parse_lab,
)


def parameters(**changes: Any) -> dict[str, Any]:
    """Return the parameters of a lab with one gateway."""
    base: dict[str, Any] = {
        "name": "lab",
        "image": "/images/node",
        "bridges": [{"name": "sol-mgmt", "address": "10.99.0.1/24"}, {"name": "sol-tun", "mtu": 1600}],
        "nat": {"prefix": "10.99.0.0/24", "bridge": "sol-mgmt"},
        "machines": [
            {
                "name": "gw1",
                "address": "10.99.0.31/24",
                "gateway": "10.99.0.1",
                "bridge": "sol-mgmt",
                "links": [{"name": "tun0", "bridge": "sol-tun", "mtu": 1600}],
            }
        ],
        "devices": ["/dev/net/tun"],
    }
    return {**base, **changes}


def problems_of(**changes: Any) -> list[str]:
    with pytest.raises(LabDefinitionError) as caught:
        parse_lab(parameters(**changes))
    return caught.value.problems


def test_a_machine_has_its_management_link_first() -> None:
    machine = parse_lab(parameters()).machine("gw1")
    assert machine.ip == "10.99.0.31"
    assert machine.all_links() == (
        Link("host0", "sol-mgmt", 1500, offload=True),
        Link("tun0", "sol-tun", 1600, offload=False),
    )


def test_every_problem_is_reported_at_once() -> None:
    found = problems_of(
        name="Lab 1",
        image="",
        nat={"prefix": "10.99.0.1/24", "bridge": "nowhere"},
        machines=[
            {"name": "gw_1", "address": "10.99.0.300", "bridge": "sol-mgmt"},
            {
                "name": "gw2",
                "address": "10.99.0.32",
                "bridge": "other",
                "links": [{"name": "host0", "bridge": "sol-tun"}],
            },
            {"name": "gw2", "address": "10.99.0.32/24", "bridge": "sol-mgmt"},
        ],
    )
    text = "\n".join(found)
    for expected in (
        "name: 'Lab 1'",
        "nat.prefix",
        "nat.bridge: 'nowhere'",
        "'gw_1' is not a host name",
        "'10.99.0.300' is not",
        "machines.gw2.address: '10.99.0.32' lacks its prefix length",
        "'other' is not one of the bridges",
        "machines.gw2.links: 'host0' appears more than once",
        "machines: 'gw2' appears more than once",
        "machine addresses: '10.99.0.32' appears more than once",
        "machines.gw_1.image",
    ):
        assert expected in text


@given(st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True), st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True))
def test_interface_names_fit_the_kernel(machine: str, link: str) -> None:
    for name in (lab_plan.host_ifname("lab", machine, link), lab_plan.peer_ifname("lab", machine, link)):
        assert 1 <= len(name) <= lab_plan.IFNAME_MAX
        assert "/" not in name and " " not in name


def test_two_labs_with_the_same_machines_do_not_share_interfaces() -> None:
    for lab in ("labtwo", "molecule"):
        assert lab_plan.host_ifname(lab, "ctl1", "host0") != lab_plan.host_ifname("lab", "ctl1", "host0")
        assert lab_plan.peer_ifname(lab, "ctl1", "host0") != lab_plan.peer_ifname("lab", "ctl1", "host0")


def test_mac_addresses_are_stable_local_and_unicast() -> None:
    first = lab_plan.mac_address("lab", "gw1", "tun0")
    assert first == lab_plan.mac_address("lab", "gw1", "tun0") != lab_plan.mac_address("lab", "gw2", "tun0")
    assert int(first.split(":")[0], 16) & 0b11 == 0b10


def test_links_are_marked_before_they_are_moved() -> None:
    machine = parse_lab(parameters()).machine("gw1")
    text = lab_plan.links_batch("lab", machine, machine.links)
    assert 'link set dev lab-gw1-tun0 alias "socle:lab:gw1:tun0" addrgenmode none master sol-tun up' in text
    assert "mtu 1600" in text
    assert lab_plan.adopt_batch("lab", machine, machine.links, "77").endswith("netns 77 name tun0\n")


def test_the_machine_command_names_its_namespace_through_itself() -> None:
    argv = lab_plan.nspawn_argv("lab", parse_lab(parameters()).machine("gw1"), "/somewhere/root")
    assert "--network-namespace-path=/proc/self/ns/net" in argv
    assert "--bind=/dev/net/tun" in argv
    assert "--directory=/somewhere/root" in argv


def test_nat_replaces_its_own_table_only_and_refuses_new_connections_to_machines() -> None:
    text = lab_plan.nft_ruleset("lab", Nat("10.99.0.0/24", "sol-mgmt"))
    assert text.startswith("table ip socle_lab\ndelete table ip socle_lab\n")
    assert 'ip saddr 10.99.0.0/24 oifname != "sol-mgmt" masquerade' in text
    assert text.index("established,related accept") < text.index('oifname "sol-mgmt" drop')


def test_resolvers_on_loopback_are_of_no_use_to_a_machine() -> None:
    text = "# x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver ::1\noptions edns0\n"
    assert lab_plan.usable_nameservers(text) == ["192.0.2.1"]


def test_a_changed_definition_is_told_key_by_key() -> None:
    before = definition(parse_lab(parameters()).machine("gw1"), "key")
    assert differences(before, definition(parse_lab(parameters()).machine("gw1"), "key")) == []
    changed = parameters(image="/images/other")
    changed["machines"][0]["links"][0]["mtu"] = 1500
    after = definition(parse_lab(changed).machine("gw1"), "key")
    assert differences(before, after) == [
        "image: /images/node -> /images/other",
        "link tun0: sol-tun mtu 1600 offload false -> sol-tun mtu 1500 offload false",
    ]
