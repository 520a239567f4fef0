# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Which BFD sessions of OVN are restarted, and when."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.programs import bfd_watch


def test_the_answer_of_ovn_is_read() -> None:
    rows = [[["uuid", "u1"], "up", "100.64.0.1"], [["uuid", "u2"], "down", "fd64::1"]]
    text = json.dumps({"headings": ["_uuid", "status", "dst_ip"], "data": rows})
    assert bfd_watch.sessions(text) == {"u1": ("up", "100.64.0.1"), "u2": ("down", "fd64::1")}


def times(states: list[str]) -> list[float]:
    """Return the times at which a session with these states, one per second, is restarted."""
    down: dict[str, bfd_watch.Down] = {}
    return [
        now for now, state in enumerate(states) if bfd_watch.overdue({"u": (state, "::1")}, down, float(now)) == ["u"]
    ]


def test_a_session_that_stays_down_is_asked_ever_less() -> None:
    assert times(["down"] * 100) == [6, 18, 42, 90]
    *_, before, last = times(["down"] * 4000)
    assert last - before == bfd_watch.LAST


def test_one_that_came_up_starts_from_the_first_patience() -> None:
    assert times([*["down"] * 30, "up", *["down"] * 10]) == [6, 18, 37]


@given(st.lists(st.sampled_from(["up", "down", "init", "admin_down"]), max_size=200))
def test_only_what_is_down_for_long_enough_begins_anew(states: list[str]) -> None:
    for when in times(states):
        assert set(states[int(when - bfd_watch.FIRST) : int(when) + 1]) == {"down"}


def test_a_session_that_is_gone_is_forgotten() -> None:
    down: dict[str, bfd_watch.Down] = {}
    bfd_watch.overdue({"u": ("down", "::1")}, down, 0)
    assert list(down) == ["u"]
    assert bfd_watch.overdue({}, down, 10) == []
    assert down == {}
