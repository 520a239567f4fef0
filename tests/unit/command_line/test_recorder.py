# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from socle.recorder import Recorder


def event(kind, **data):
    return {"event": kind, "event_data": data}


def start(name, role=None):
    return event("playbook_on_task_start", name=name, role=role)


def result(kind, host, task="Write", **res):
    return event(f"runner_on_{kind}", host=host, task=task, res=res)


def stats(**counts):
    return event("playbook_on_stats", **counts)


def feed(*events):
    recorder = Recorder()
    return recorder, [news for one in events for news in recorder.handle(one)]


def test_a_task_is_told_when_the_next_begins_and_at_the_end():
    _, news = feed(
        event("playbook_on_play_start", name="Deploy"),
        start("Write", "keystone"),
        result("ok", "a", changed=True),
        result("ok", "b"),
        start("Nap"),
        stats(ok={"a": 2}),
    )
    tasks = [task for kind, task in news if kind == "task"]
    assert [(task.number, task.play, task.name) for task in tasks] == [
        (1, "Deploy", "keystone : Write"),
        (2, "Deploy", "Nap"),
    ]
    assert tasks[0].outcomes == {"changed": 1, "ok": 1}


def test_a_rescued_failure_is_no_failure():
    recorder, news = feed(start("Try"), result("failed", "a", msg="no"), stats(ok={"a": 1}, rescued={"a": 1}))
    assert [kind for kind, *_ in news].count("failure") == 1
    assert recorder.failures == []


def test_a_failure_keeps_message_and_the_end_of_stderr():
    stderr = "\n".join(f"line {number}" for number in range(40))
    recorder, _ = feed(
        start("Try"),
        result("failed", "a", task="Try", msg="non-zero return code", stderr=stderr),
        stats(failures={"a": 1}),
    )
    [failure] = recorder.failures
    assert (failure.host, failure.task, failure.message) == ("a", "Try", "non-zero return code")
    assert failure.detail.splitlines()[-1] == "line 39"
    assert len(failure.detail.splitlines()) == 12


def test_failed_items_of_a_loop_are_named():
    items = [{"failed": True, "msg": "first"}, {"msg": "fine"}, {"failed": True, "stderr": "third"}]
    recorder, _ = feed(start("Loop"), result("failed", "a", msg="One or more items failed", results=items))
    assert recorder.failures[0].message == "first; third"


def test_ignored_errors_are_ok():
    ignored = result("failed", "a", msg="no")
    ignored["event_data"]["ignore_errors"] = True
    recorder, news = feed(start("Try"), ignored)
    assert (recorder.failures, news) == ([], [])


def test_unreachable_hosts_and_totals():
    recorder, _ = feed(start("Gather"), result("unreachable", "a", msg="timed out"), stats(dark={"a": 1}, ok={"b": 3}))
    assert recorder.failures[0].unreachable
    assert recorder.totals == {"unreachable": 1, "ok": 3}


def test_a_run_cut_short_counts_what_was_seen():
    recorder, _ = feed(start("Write"), result("ok", "a", changed=True), result("ok", "b"))
    assert (recorder.counts["ok"], recorder.counts["changed"]) == (2, 1)


def test_units_and_violations_are_collected():
    recorder, _ = feed(
        start("Run"),
        result("ok", "a", changed=True, restarted=["haproxy"], started=[], reloaded=["frr"]),
        result("failed", "b", msg="bad", violations=[{"path": "x"}, "odd"]),
    )
    assert recorder.units == {"a": {"restarted": ["haproxy"], "started": [], "reloaded": ["frr"]}}
    assert recorder.violations == [{"path": "x"}]


def test_warnings_of_the_validation_are_collected_though_it_passed():
    recorder, _ = feed(start("Validate"), result("ok", "a", notices=[{"path": "x"}, "odd"]))
    assert (recorder.notices, recorder.violations) == ([{"path": "x"}], [])


def test_a_diff_is_told_without_the_task_header():
    diff = event("runner_on_file_diff", host="a", diff=[{}]) | {
        "stdout": "\r\nTASK [Write] ****\r\n--- before\r\n+++ after\r\n"
    }
    _, news = feed(start("Write"), diff)
    assert news == [("diff", "a", "--- before\n+++ after")]


def test_unknown_events_are_nothing():
    assert feed({"event": "verbose"}, {}, event("playbook_on_notify", host="a"))[1] == []
