# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The bootstrap member of a Galera cluster: no input may lead to lost rows or to two clusters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.database.galera import (
    NO_UUID,
    Member,
    decide,
    parse_position,
    parse_state,
)

ONE = "8858dbcf-e5fa-11f1-90c6-a310d0d580f0"
TWO = "d61e7252-e5fa-11f1-a859-ae0e59e92abd"

uuids = st.sampled_from(["", NO_UUID, ONE, TWO])
members = st.one_of(
    st.none(),
    st.builds(
        Member,
        run=st.sampled_from(["stopped", "starting"]),
        uuid=uuids,
        seqno=st.none() | st.integers(-1, 50),
        databases=st.lists(st.sampled_from(["nova", "keystone"]), unique=True, max_size=2).map(tuple),
    ),
    st.builds(
        Member,
        run=st.just("running"),
        status=st.sampled_from(["Primary", "non-Primary"]),
        uuid=st.sampled_from([ONE, TWO]),
        seqno=st.integers(0, 50),
    ),
)
clusters = st.dictionaries(st.sampled_from(["ctl1", "ctl2", "ctl3"]), members, min_size=1)


@given(clusters)
def test_forming_is_safe(cluster: dict[str, Member | None]) -> None:
    decision = decide(cluster)
    if decision.verb != "form":
        return
    assert None not in cluster.values(), "a member that was not read may hold newer data"
    read = {name: member for name, member in cluster.items() if member}
    assert not any(member.run != "stopped" for member in read.values()), "something still runs"
    chosen = read[decision.node]
    valid = {name: member for name, member in read.items() if member.uuid not in ("", NO_UUID)}
    if valid:
        assert {member.uuid for member in valid.values()} == {chosen.uuid}
        newest = chosen.seqno
        assert newest is not None
        assert all(member.seqno is not None and member.seqno <= newest for member in valid.values())
    else:
        assert not any(member.databases for name, member in read.items() if name != decision.node)


@given(clusters)
def test_a_running_cluster_is_never_formed_again(cluster: dict[str, Member | None]) -> None:
    if any(member and member.primary for member in cluster.values()):
        assert decide(cluster).verb in ("none", "refuse")


@given(clusters)
def test_a_refusal_says_why(cluster: dict[str, Member | None]) -> None:
    decision = decide(cluster)
    assert decision.verb in ("none", "form", "refuse")
    assert decision.reason


def test_a_new_cluster_is_formed_on_the_first_member() -> None:
    assert decide({"ctl1": Member(), "ctl2": Member(), "ctl3": Member()}).node == "ctl1"


def test_the_highest_sequence_number_wins() -> None:
    cluster = {
        "ctl1": Member(uuid=ONE, seqno=11),
        "ctl2": Member(uuid=ONE, seqno=13),
        "ctl3": Member(uuid=""),
    }
    assert decide(cluster).node == "ctl2"


def test_an_unread_member_is_no_obstacle_to_joining() -> None:
    cluster = {"ctl1": Member(run="running", status="Primary", uuid=ONE, seqno=5), "ctl2": None}
    assert decide(cluster).verb == "none"


def test_an_unknown_position_is_refused_but_forecast() -> None:
    cluster = {"ctl1": Member(uuid=ONE, seqno=None), "ctl2": Member(uuid=ONE, seqno=4)}
    assert decide(cluster).verb == "refuse"
    assert decide(cluster, forecast=True).verb == "form"


def test_two_clusters_are_refused() -> None:
    cluster = {"ctl1": Member(uuid=ONE, seqno=3), "ctl2": Member(uuid=TWO, seqno=900)}
    assert "different clusters" in decide(cluster).reason


def test_grastate() -> None:
    text = f"# GALERA saved state\nversion: 2.1\nuuid:    {ONE}\nseqno:   -1\nsafe_to_bootstrap: 1\n"
    assert parse_state(text) == (ONE, None)
    assert parse_state(text.replace("seqno:   -1", "seqno:   42")) == (ONE, 42)
    assert parse_state(text.replace(ONE, NO_UUID)) == ("", None)
    assert parse_state("") == ("", None)


def test_recovered_position() -> None:
    log = f"2026-11-21 0 [Note] WSREP: Recovered position: {ONE}:4,1-1-22\n"
    assert parse_position(log) == (ONE, 4)
    assert parse_position("InnoDB: Starting shutdown...") is None
