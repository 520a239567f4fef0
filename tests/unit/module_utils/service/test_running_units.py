# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Units that report their start and exit afterwards, even with status 0."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import service_units as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import service_units_host as host

RUNS = engine.Live("loaded", "active", "running", "enabled", "/u/a.service", (), "run1", 1000.0, type="notify")
ENDED = dataclasses.replace(RUNS, active="inactive", sub="dead", result="success")


@pytest.fixture
def node(tmp_path, monkeypatch):
    """`node(looks, **stamps)`: a node with these states of its units, one after the other."""
    monkeypatch.setattr(host, "autopsy", lambda name: f"autopsy of {name}")
    monkeypatch.setattr(host, "in_parallel", lambda work, items, workers=8: [work(item) for item in items])
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)

    def make(looks, **ready):
        folder = tmp_path / "units"
        for name, wanted in ready.items():
            engine.save_stamp(f"{name}.service", engine.Stamp("run1", {}, {}, wanted), str(folder))
        monkeypatch.setattr(engine, "stamped", lambda: _stamps(str(folder)))
        states = iter(looks)
        monkeypatch.setattr(host, "show", lambda names: next(states))
        return naps

    stamped = engine.stamped

    def _stamps(folder):
        return stamped(folder)

    return make


def test_a_daemon_that_ended_well_does_not_run():
    assert ENDED.ended
    assert dataclasses.replace(ENDED, active="failed").ended
    assert not RUNS.ended
    assert not dataclasses.replace(ENDED, type="oneshot").ended
    assert dataclasses.replace(ENDED, type="oneshot", result="exit-code").ended
    assert dataclasses.replace(ENDED, type="oneshot", since=0).ended


def test_a_node_whose_units_run_has_no_fault(node):
    naps = node([{"a.service": RUNS, "b.service": RUNS}], a=None, b=None)
    assert host.verify([], 3) == (["a.service", "b.service"], [])
    assert naps == []


def test_a_unit_that_has_ended_is_named(node):
    node([{"a.service": RUNS, "b.service": ENDED}], a=None, b=None)
    units, (fault,) = host.verify([], 3)
    assert units == ["a.service", "b.service"]
    assert "b.service does not run (inactive/dead)" in fault
    assert "autopsy of b.service" in fault


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (ENDED, "does not run"),
        (dataclasses.replace(RUNS, invocation="run2"), "ended and was started again"),
        (dataclasses.replace(RUNS, active="activating", sub="auto-restart"), "does not run"),
    ],
)
def test_a_young_unit_is_looked_at_again(node, later, said):
    young = dataclasses.replace(RUNS, since=time.time() - 1)
    later = dataclasses.replace(later, since=young.since)
    naps = node([{"a.service": young}, {"a.service": later}], a=None)
    _, (fault,) = host.verify([], 3)
    assert said in fault
    assert 1 < naps[0] <= 2.1


def test_a_unit_that_runs_and_does_not_answer_is_named(node):
    node([{"a.service": RUNS}, {"a.service": ENDED}], a={"command": "exit 7", "timeout": 0})
    _, (fault,) = host.verify([], 3)
    assert "autopsy of a.service" in fault


def test_units_that_are_gone_or_never_were_enabled_are_not_judged(node, monkeypatch):
    gone = dataclasses.replace(ENDED, load="not-found")
    monkeypatch.setattr(host, "matching", lambda patterns: ["frr@x.service", "frr@y.service"])
    never = dataclasses.replace(ENDED, file_state="disabled")
    node([{"a.service": gone, "frr@x.service": ENDED, "frr@y.service": never}], a=None)
    units, faults = host.verify(["frr@*.service"], 3)
    assert units == ["frr@x.service"]
    assert len(faults) == 1


def runner(monkeypatch, tmp_path, after, **more):
    """A Runner that starts one unit, which then has the state `after`."""
    monkeypatch.setattr(engine, "STAMPS", str(tmp_path))
    looks = iter([{"a.service": dataclasses.replace(RUNS, active="inactive", sub="dead")}, *after])
    monkeypatch.setattr(host.Runner, "look", lambda self: next(looks))
    monkeypatch.setattr(host, "run", lambda argv, **_: SimpleNamespace(ok=True, output="", stdout=""))
    monkeypatch.setattr(host, "autopsy", lambda name: f"autopsy of {name}")
    monkeypatch.setattr(engine, "content", lambda unit, live: engine.Content())
    saved: dict[str, engine.Stamp] = {}
    monkeypatch.setattr(engine, "save_stamp", saved.__setitem__)
    monkeypatch.setattr(engine, "load_stamp", saved.get)
    return host.Runner([engine.Unit.of({"name": "a", **more})], [], check=False), saved


def test_a_unit_that_ends_at_once_is_a_fault(monkeypatch, tmp_path):
    made, saved = runner(monkeypatch, tmp_path, [{"a.service": ENDED}])
    with pytest.raises(engine.UnitError, match=r"autopsy of a\.service"):
        made.apply()
    assert saved == {}


def test_waiting_for_a_unit_that_has_ended_is_not_waiting_in_vain(monkeypatch, tmp_path):
    made, _ = runner(monkeypatch, tmp_path, [{"a.service": RUNS}], ready={"command": "false", "timeout": 600})
    monkeypatch.setattr(engine, "probe", lambda ready, whole=False: "not yet")
    monkeypatch.setattr(host, "show", lambda names: {"a.service": ENDED})
    begun = time.monotonic()
    with pytest.raises(engine.UnitError, match=r"autopsy of a\.service"):
        made.apply()
    assert time.monotonic() - begun < 5


def test_what_a_unit_has_to_answer_is_kept_for_the_end(monkeypatch, tmp_path):
    ready = {"command": "true", "timeout": 5}
    made, saved = runner(monkeypatch, tmp_path, [{"a.service": RUNS}], ready=ready)
    monkeypatch.setattr(engine, "probe", lambda ready, whole=False: "")
    made.apply()
    assert saved["a.service"].ready == ready


@pytest.mark.parametrize(
    ("stamp", "live", "postponed"),
    [
        (None, RUNS, ["a.service"]),  # started by the boot: a later call adopts it
        (engine.Stamp(RUNS.invocation, {}, {}), RUNS, []),
        (engine.Stamp(RUNS.invocation, {}, {"/read": "before"}), RUNS, ["a.service"]),
        (None, dataclasses.replace(RUNS, active="inactive", sub="dead"), []),  # started by this call
    ],
)
def test_a_call_tells_what_it_leaves_to_a_later_one(monkeypatch, tmp_path, stamp, live, postponed):
    monkeypatch.setattr(host.Runner, "look", lambda self: {"a.service": live})
    monkeypatch.setattr(engine, "content", lambda unit, live: engine.Content())
    monkeypatch.setattr(engine, "load_stamp", lambda name: stamp)
    unit = {"name": "a", "reads": ["/read"]}
    assert host.Runner([engine.Unit.of({**unit, "on_change": "none"})], [], False).result()["postponed"] == postponed
    assert host.Runner([engine.Unit.of(unit)], [], False).result()["postponed"] == []
