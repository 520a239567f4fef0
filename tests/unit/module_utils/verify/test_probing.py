# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Probes: valid answers, and the order and number of attempts."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import probing


def test_checksum_of_a_request_verifies_to_zero() -> None:
    assert probing.checksum(probing.echo_request("v4", 0x1234, 1, 57)) == 0


def ipv4(payload: bytes) -> bytes:
    return b"\x46" + b"\0" * 23 + payload  # header of six words: the options must be skipped too


def test_replies_are_told_from_strangers_and_errors() -> None:
    assert probing.read_reply("v4", ipv4(struct.pack("!BBHHH", 0, 0, 0, 7, 1)), 7) == ("reach", "")
    assert probing.read_reply("v4", ipv4(struct.pack("!BBHHH", 0, 0, 0, 8, 1)), 7) is None
    assert probing.read_reply("v6", struct.pack("!BBHHH", 129, 0, 0, 7, 1), 7) == ("reach", "")
    quoted = ipv4(probing.echo_request("v4", 7, 1, 0))
    assert probing.read_reply("v4", ipv4(struct.pack("!BBHI", 3, 4, 0, 1400) + quoted), 7) == (
        "unreachable",
        "destination unreachable, code 4",
    )
    quoted6 = b"\x60" + b"\0" * 39 + probing.echo_request("v6", 7, 1, 0)
    assert probing.read_reply("v6", struct.pack("!BBHI", 2, 0, 0, 1280) + quoted6, 7) == (
        "unreachable",
        "packet too big, code 0",
    )
    assert probing.read_reply("v6", struct.pack("!BBHI", 1, 0, 0, 0) + quoted6, 8) is None
    assert probing.read_reply("v4", ipv4(b""), 7) is None


def test_whoami_of_another_shape_is_an_answer_without_a_name() -> None:
    assert probing.read_whoami(200, '{"name": "a", "remote_addr": "10.0.0.1"}')["name"] == "a"
    assert probing.read_whoami(404, "<html>")["name"] is None


def test_a_relay_that_is_not_itself_is_an_error() -> None:
    assert probing.read_relayed(200, '{"name": "a", "reached": false}', "a")["outcome"] == "unreachable"
    for body in ('{"name": "b", "reached": true}', "{}", "nonsense", "[]"):
        with pytest.raises(probing.ProbeError):
            probing.read_relayed(200, body, "a")


def test_no_namespace_is_an_error_not_silence() -> None:
    result = probing.probe_once({"netns": "no-such-namespace", "proto": "icmp"}, 0.1)
    assert result["outcome"] == "error"
    assert "no-such-namespace" in result["detail"]


class Scene:
    """A sender with scripted outcomes (the last one repeats) and a clock that advances with each pause."""

    def __init__(self, **script: list[str]) -> None:
        self.script = script
        self.sent: list[str] = []
        self.now = 0.0

    def send(self, probe: Mapping[str, Any], wait: float) -> dict[str, Any]:
        self.sent.append(probe["id"])
        steps = self.script[probe["id"]]
        return {"outcome": steps.pop(0) if len(steps) > 1 else steps[0]}

    def run(self, timeout: float = 30, tries: int = 3) -> dict[str, dict[str, Any]]:
        probes = [{"id": name, "expect": "reach" if name.startswith("up") else "unreachable"} for name in self.script]
        results = probing.run(probes, timeout, tries, 1, 1, send=self.send, clock=lambda: self.now, sleep=self.pause)
        assert [result["id"] for result in results] == list(self.script)
        return {result["id"]: result for result in results}

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_negatives_wait_for_the_positives_and_are_silent_in_every_try() -> None:
    scene = Scene(down=["unreachable"], up=["unreachable", "unreachable", "reach"])
    results = scene.run()
    assert scene.sent == ["up"] * 3 + ["down"] * 3
    assert (results["up"]["outcome"], results["up"]["attempts"]) == ("reach", 3)
    assert (results["down"]["outcome"], results["down"]["attempts"]) == ("unreachable", 3)


def test_one_answer_in_any_try_is_a_leak() -> None:
    scene = Scene(down=["unreachable", "unreachable", "reach", "unreachable"])
    assert scene.run()["down"]["outcome"] == "reach"


def test_an_error_is_tried_again_and_never_counts_as_silence() -> None:
    assert Scene(down=["error", "unreachable"]).run()["down"] == {
        "id": "down",
        "outcome": "unreachable",
        "attempts": 4,
    }
    assert Scene(down=["error"]).run()["down"] == {"id": "down", "outcome": "error", "attempts": 6}


def test_positives_end_at_the_deadline_and_negatives_are_still_sent() -> None:
    scene = Scene(up=["unreachable"], down=["unreachable"])
    results = scene.run(timeout=5)
    assert results["up"]["attempts"] == 6
    assert results["down"]["attempts"] == 3
