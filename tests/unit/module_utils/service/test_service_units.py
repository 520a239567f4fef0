# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The conditions in which a unit is started, restarted, reloaded or not changed."""

from __future__ import annotations

import dataclasses
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import service_units as engine

UNIT = engine.Unit.of({"name": "nova-api", "reads": ["/etc/nova", "/etc/socle/pki/*.pem"]})
RUNNING = engine.Live("loaded", "active", "running", "enabled", "/u/nova-api.service", (), "run1", since=1000)
FILES = engine.Content({"/u/nova-api.service": "u"}, {"/etc/nova/nova.conf": "a"}, 900, 900)
OTHER = {"/etc/nova/nova.conf": "b"}
STAMP = engine.Stamp("run1", dict(FILES.unit), dict(FILES.reads))


def now(**changes):
    return dataclasses.replace(FILES, **changes)


def test_names_get_a_suffix_and_keep_theirs():
    names = ["nova-api", "frr@inter-1", "frr@a.b", "epmd.socket", "frr@x.service"]
    assert [engine.Unit.of({"name": name}).name for name in names] == [
        "nova-api.service",
        "frr@inter-1.service",
        "frr@a.b.service",
        "epmd.socket",
        "frr@x.service",
    ]


EASED = engine.Unit.of({"name": "nova-api", "reads": ["/etc/nova"], "reloads": ["/etc/socle/pki/*.pem"]})
PEM, CONF = "/etc/socle/pki/node.pem", "/etc/nova/nova.conf"


@pytest.mark.parametrize(
    ("changed", "verb"),
    [({PEM: "q"}, "reload"), ({CONF: "b"}, "restart"), ({PEM: "q", CONF: "b"}, "restart")],
)
def test_a_certificate_costs_a_reload_and_a_configuration_a_restart(changed, verb):
    had = {CONF: "a", PEM: "p"}
    stamp = engine.Stamp("run1", dict(FILES.unit), had)
    assert engine.decide(EASED, RUNNING, now(reads=had), stamp).verb == "none"
    assert engine.decide(EASED, RUNNING, now(reads={**had, **changed}), stamp).verb == verb
    assert engine.forecast(EASED, engine.Verdict("none"), RUNNING, changed).verb == verb


def test_what_a_unit_no_longer_reads_is_no_change():
    stamp = engine.Stamp("run1", dict(FILES.unit), {"/etc/nova/nova.conf": "a", "/etc/other": "x"})
    assert engine.decide(UNIT, RUNNING, FILES, stamp).verb == "none"
    assert engine.decide(UNIT, RUNNING, now(reads={}), stamp).verb == "restart"


def test_the_service_of_a_timer_is_known_by_its_file():
    reads = ["/etc/systemd/system/keys.service", "/etc/keys.json", "/etc/systemd/system/a.service.d/b.conf"]
    assert engine.units_read(engine.Unit.of({"name": "keys.timer", "reads": reads})) == ["keys.service"]


def test_a_stopped_unit_is_not_enabled_unless_asked():
    assert not engine.Unit.of({"name": "x", "state": "stopped"}).enabled
    assert engine.Unit.of({"name": "x"}).enabled
    assert not engine.Unit.of({"name": "x", "enabled": False}).enabled


@pytest.mark.parametrize(
    ("change", "files", "stamp", "verb"),
    [
        ({}, FILES, STAMP, "none"),
        ({"active": "inactive"}, FILES, STAMP, "start"),
        ({"active": "failed"}, FILES, STAMP, "start"),
        ({"active": "activating", "sub": "auto-restart"}, FILES, STAMP, "restart"),
        ({}, now(reads=OTHER), STAMP, "restart"),
        ({}, now(reads={}), STAMP, "restart"),
        ({}, now(unit={"/u/nova-api.service": "v"}), STAMP, "restart"),
        # a start without a stamp: after a boot, a crash, or a kill between start and stamp
        ({"invocation": "run2"}, FILES, STAMP, "adopt"),
        ({}, FILES, None, "adopt"),
        ({}, now(reads_changed=1000), None, "restart"),
        ({}, now(unit_changed=1001), None, "restart"),
        ({"invocation": "run2"}, now(reads=OTHER), STAMP, "adopt"),
        (
            {"invocation": "run2"},
            now(reads=OTHER, reads_changed=1001),
            STAMP,
            "restart",
        ),
        ({"invocation": "run2"}, now(reads_changed=1001), STAMP, "adopt"),
    ],
)
def test_decision(change, files, stamp, verb):
    assert engine.decide(UNIT, dataclasses.replace(RUNNING, **change), files, stamp).verb == verb


def test_reload_only_for_what_is_read():
    unit = dataclasses.replace(UNIT, on_change="reload")
    assert engine.decide(unit, RUNNING, now(reads=OTHER), STAMP).verb == "reload"
    assert engine.decide(unit, RUNNING, now(unit={}), STAMP).verb == "restart"


@pytest.mark.parametrize("files", [now(reads=OTHER), now(unit={})])
def test_what_a_later_call_restarts_is_started_now_and_else_left_alone(files):
    """No stamp is written for files that the unit has not read."""
    unit = dataclasses.replace(UNIT, on_change="none")
    assert engine.decide(unit, RUNNING, files, STAMP).verb == "none"
    assert engine.decide(unit, RUNNING, files, None).verb == "none"
    assert engine.decide(unit, engine.Live(), files, None).verb == "start"
    assert engine.decide(UNIT, RUNNING, files, STAMP).verb == "restart"
    pending = ["/etc/nova/nova.conf"]
    assert engine.forecast(unit, engine.Verdict("none"), RUNNING, pending).verb == "restart"


def test_the_reason_names_the_file():
    verdict = engine.decide(UNIT, RUNNING, now(reads=OTHER), STAMP)
    assert "/etc/nova/nova.conf" in verdict.reason


def test_stopping():
    unit = dataclasses.replace(UNIT, state="stopped")
    assert engine.decide(unit, RUNNING, FILES, STAMP).verb == "stop"
    assert engine.decide(unit, engine.Live(), FILES, None).verb == "none"


hashes = st.dictionaries(st.sampled_from(["/a", "/b", "/c"]), st.sampled_from("xyz"))
contents = st.builds(engine.Content, hashes, hashes, st.integers(0, 50), st.integers(0, 50))
lives = st.builds(
    engine.Live,
    load=st.just("loaded"),
    active=st.sampled_from(["active", "inactive", "failed", "activating", "reloading"]),
    sub=st.sampled_from(["running", "auto-restart"]),
    invocation=st.sampled_from(["1", "2"]),
    since=st.integers(0, 50),
)
stamps = st.none() | st.builds(engine.Stamp, st.sampled_from(["1", "2"]), hashes, hashes)


@given(st.sampled_from(["restart", "reload"]), lives, contents, stamps)
def test_after_any_verdict_the_second_run_does_nothing(on_change, live, files, stamp):
    """After an applied verdict (a new start unless reloaded, and a stamp of the files) the unit is up to date."""
    unit = dataclasses.replace(UNIT, on_change=on_change)
    verb = engine.decide(unit, live, files, stamp).verb
    if verb in ("start", "restart"):
        live = dataclasses.replace(live, active="active", sub="running", invocation="3", since=60)
    if verb != "none":
        stamp = engine.Stamp(live.invocation, files.unit, files.reads)
    assert engine.decide(unit, live, files, stamp).verb == "none"


@given(lives, contents, stamps)
def test_a_unit_that_may_run_on_old_files_is_never_left_alone(live, files, stamp):
    left = engine.decide(dataclasses.replace(UNIT, reads=["/*"]), live, files, stamp).verb in ("none", "adopt")
    if left and not (stamp and (stamp.unit, stamp.reads) == (files.unit, files.reads)):
        assert live.running
        assert max(files.unit_changed, files.reads_changed) < live.since


@pytest.mark.parametrize(
    ("pending", "verb"),
    [
        (["/etc/nova/nova.conf"], "reload"),
        (["/etc/socle/pki/node.pem"], "reload"),
        (["/etc/socle/pki/node.key", "/etc/novalike"], "none"),
        (["/etc/systemd/system/nova-api.service.d/socle.conf"], "restart"),
        (["/etc/systemd/system/nova-api.service"], "restart"),
        (["/u/nova-api.service"], "restart"),
    ],
)
def test_forecast(pending, verb):
    unit = dataclasses.replace(UNIT, on_change="reload")
    assert engine.forecast(unit, engine.Verdict("none"), RUNNING, pending).verb == verb


def test_forecast_of_a_unit_from_a_template_and_of_one_to_start():
    unit = engine.Unit.of({"name": "frr@a"})
    path = "/etc/systemd/system/frr@.service"
    assert engine.forecast(unit, engine.Verdict("none"), RUNNING, [path]).verb == "restart"
    assert engine.forecast(unit, engine.Verdict("start"), RUNNING, [path]).verb == "start"


def test_enabling():
    units = [engine.Unit.of({"name": name, "enabled": on}) for name, on in (("a", True), ("b", True), ("c", False))]
    states = {
        "a.service": engine.Live("loaded", file_state="disabled"),
        "b.service": engine.Live("loaded", file_state="static"),
        "c.service": engine.Live("loaded", file_state="enabled"),
    }
    assert engine.enabling(units, states) == (["a.service"], ["c.service"])


SHOWN = """\
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
FragmentPath=/usr/lib/systemd/system/a.service
DropInPaths=/etc/systemd/system/a.service.d/1.conf /etc/systemd/system/a.service.d/2.conf
InvocationID=abc
InactiveExitTimestamp=Thu 2024-11-21 22:00:00.250000 UTC
NeedDaemonReload=yes

LoadState=not-found
ActiveState=inactive
SubState=dead
InactiveExitTimestamp=
NeedDaemonReload=no
"""


def test_a_unit_started_in_the_second_in_which_its_file_was_written_is_left_alone():
    """A founder that restarts would find no other member of its Galera cluster."""
    live = engine.parse_show(SHOWN, ["a.service", "b.service"])["a.service"]
    live = dataclasses.replace(live, active="active", sub="running")
    assert engine.decide(UNIT, live, engine.Content(unit_changed=1732226400.2), None).verb == "adopt"
    assert engine.decide(UNIT, live, engine.Content(unit_changed=1732226400.3), None).verb == "restart"


def test_parse_show():
    live = engine.parse_show(SHOWN, ["a.service", "b.service"])
    assert live["a.service"].since == 1732226400.25
    assert len(live["a.service"].unit_files) == 3
    assert live["a.service"].stale
    assert live["b.service"] == engine.Live()
    with pytest.raises(ValueError, match="2 units"):
        engine.parse_show(SHOWN, ["a.service"])


def test_fingerprint_expands_and_forgives(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("a.pem", "b.key", "d/x", "d/e/.y"):
        (tmp_path / name).write_text(name)
    hashes, latest = engine.fingerprint([f"{tmp_path}/*.pem", f"{tmp_path}/d", f"{tmp_path}/none"])
    assert sorted(hashes) == [f"{tmp_path}/{name}" for name in ("a.pem", "d/e/.y", "d/x")]
    assert latest > 0
    (tmp_path / "a.pem").write_text("other")
    assert engine.changed(hashes, engine.fingerprint([f"{tmp_path}/*.pem", f"{tmp_path}/d"])[0]) == [
        f"{tmp_path}/a.pem"
    ]


def test_stamps_survive_a_round_trip_and_garbage(tmp_path):
    engine.save_stamp("a.service", STAMP, str(tmp_path))
    assert engine.load_stamp("a.service", str(tmp_path)) == STAMP
    (tmp_path / "a.service.json").write_text('{"x": 1}')
    assert engine.load_stamp("a.service", str(tmp_path)) is None


def test_probe_tells_what_is_missing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert engine.probe({"port": port}) == ""
    assert f"127.0.0.1:{port}" in engine.probe({"port": port})
    assert str(tmp_path) in engine.probe({"unix_socket": str(tmp_path / "s")})
    assert engine.probe({"command": "true"}) == ""
    assert "ended with 3" in engine.probe({"command": "exit 3"})
