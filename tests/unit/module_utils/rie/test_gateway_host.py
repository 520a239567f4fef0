# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The gateway half on a node: which instances it changes, in which order, and which changes it reverts."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import (
    frr,
    frr_host,
    netns,
    netns_host,
    netns_units,
)
from ansible_collections.cloudwatt.socle.plugins.modules import rie_info


def vrf(name: str, **changes: Any) -> Any:
    found = {
        "name": name, "netns": f"vrf-{name}", "asn": 65010, "router_id": "192.0.2.1",
        "cloud": {"vlan": 101, "v4": "192.0.2.1/30", "router_v4": "192.0.2.2"},
        "rie": {"vlan": 2101, "v4": "192.0.2.6/30"},
        "pe": {"asn": 64900, "v4": "192.0.2.5"}, "export": {"v4": ["10.20.0.0/24"]},
    }  # fmt: skip
    return {**found, **changes}


class Node:
    """Simulates a node with FRR: stores the configuration of each instance and records all requests."""

    def __init__(self, root: Path) -> None:
        self.etc = root / "etc"
        self.running: dict[str, str] = {}
        self.calls: list[str] = []
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self.silent: set[str] = set()

    def run(self, argv: list[str], stdin: str | None = None, check: bool = True) -> str:
        del stdin
        if argv[0] == "systemctl":
            self.calls.append(" ".join(word for word in argv[1:] if word != "--"))
            for unit in argv[3:] if argv[1] == "restart" else []:
                name = unit.removeprefix("frr@").removesuffix(".service")
                self.running[name] = self.config(name)
        elif argv[:2] == ["vtysh", "-C"]:
            text = Path(argv[3]).read_text()
            if any(word in text for word in self.refused):
                raise netns.CommandError("line 3: % Unknown command")
        elif argv[0] == "vtysh" and "-c" in argv:
            self.asked.append(argv[2])
            return f"Current configuration:\nrouter bgp\n{self.running.get(argv[2], '')}"
        elif argv[1].endswith("frr-reload.py"):
            return self.reload(argv)
        return ""

    def config(self, name: str) -> str:
        return (self.etc / name / "frr.conf").read_text()

    def reload(self, argv: list[str]) -> str:
        name, wanted = Path(argv[argv.index("--confdir") + 1]).name, Path(argv[-1]).read_text()
        if argv[2] == "--test":
            return "" if self.running[name] == wanted else "Lines To Add"
        self.calls.append(f"reload {name}")
        if any(word in wanted for word in self.broken):
            raise netns.CommandError("exit 1")
        self.running[name] = wanted
        return ""

    def fingerprint(self, name: str) -> str | None:
        return None if name in self.silent else self.running.get(name)

    def states(self, units: Any) -> dict[str, dict[str, bool]]:
        names = {unit: unit.removeprefix("frr@").removesuffix(".service") for unit in units}
        return {unit: {"active": name in self.running, "enabled": name in self.running} for unit, name in names.items()}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    found = Node(tmp_path)
    found.etc.mkdir()
    monkeypatch.setattr(frr_host, "ETC", found.etc)
    monkeypatch.setattr(frr_host, "RUN", tmp_path / "run")
    monkeypatch.setattr(frr_host, "STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(frr_host, "UNITS", tmp_path / "units")
    monkeypatch.setattr(frr_host, "DRAINED", tmp_path / "drained")
    monkeypatch.setattr(frr_host, "run", found.run)
    monkeypatch.setattr(frr_host, "unit_states", found.states)
    monkeypatch.setattr(frr_host, "fingerprint", found.fingerprint)
    monkeypatch.setattr(shutil, "chown", lambda *_args: None)
    return found


class Vty:
    """The socket of an FRR daemon: commands end with NUL, answers with three NULs and a code."""

    def __init__(self, path: Path, config: str = "", **said: str) -> None:
        self.config, self.said = config, {command.replace("_", " "): text for command, text in said.items()}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            peer, _address = self._server.accept()
            with peer:
                known = b""
                while part := peer.recv(64):
                    known += part
                    while b"\0" in known:
                        command, _end, known = known.partition(b"\0")
                        answers = {"show running-config": self.config, **self.said}
                        text = answers.get(command.decode(), "")
                        for byte in text.encode() + b"\0\0\0\0":  # the answer may arrive in pieces
                            peer.send(bytes([byte]))


def test_a_fingerprint_is_of_what_every_daemon_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frr_host, "RUN", tmp_path)
    assert frr_host.fingerprint("a") is None
    (tmp_path / "a").mkdir()
    bgpd = Vty(tmp_path / "a" / "bgpd.vty", "router bgp 1")
    zebra = Vty(tmp_path / "a" / "zebra.vty", "hostname x")
    first = frr_host.fingerprint("a")
    assert first and frr_host.fingerprint("a") == first
    bgpd.config, zebra.config = zebra.config, bgpd.config
    assert frr_host.fingerprint("a") not in (first, None)
    bgpd.config, zebra.config = zebra.config, bgpd.config
    assert frr_host.fingerprint("a") == first
    socket.socket(socket.AF_UNIX).bind(str(tmp_path / "a" / "bfdd.vty"))  # no listener: the daemon is dead
    assert frr_host.fingerprint("a") is None


def test_a_daemon_is_asked_for_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frr_host, "RUN", tmp_path)
    (tmp_path / "a").mkdir()
    Vty(tmp_path / "a" / "bgpd.vty", show_a='{"a": [1]}\n', show_b="% No such neighbor\n", show_c="{}\n")
    assert rie_info.ask("a", "bgpd", ["show a", "show b", "show c"]) == [{"a": [1]}, None, {}]
    assert rie_info.ask("a", "bfdd", ["show a", "show c"]) == [None, None]


class TestInstances:
    def test_created_then_left_alone(self, node: Node) -> None:
        vrfs = [vrf("a"), vrf("b")]
        assert frr_host.converge(vrfs, {}).actions == {"a": "created", "b": "created"}
        assert "restart frr@a.service frr@b.service" in node.calls
        node.calls.clear()
        again = frr_host.converge(vrfs, {})
        assert (again.actions, again.diff, node.calls) == ({}, [], [])

    def test_nobody_starts_vtysh_where_nothing_changed(self, node: Node) -> None:
        frr_host.converge([vrf("a"), vrf("b")], {})
        node.asked.clear()
        assert frr_host.converge([vrf("a"), vrf("b")], {}).actions == {}
        assert node.asked == []

    def test_where_a_daemon_does_not_answer_vtysh_is_asked(self, node: Node) -> None:
        """watchfrr restarts the dead daemon. An instance with the right configuration is not restarted."""
        frr_host.converge([vrf("a"), vrf("b")], {})
        node.silent.add("b")
        node.asked.clear()
        assert frr_host.converge([vrf("a"), vrf("b")], {}).actions == {}
        assert node.asked == ["b"]

    def test_only_what_changed_is_reloaded(self, node: Node) -> None:
        frr_host.converge([vrf("a"), vrf("b")], {})
        node.calls.clear()
        outcome = frr_host.converge([vrf("a"), vrf("b", export={"v4": ["10.20.1.0/24"]})], {})
        assert outcome.actions == {"b": "reloaded"}
        assert node.calls == ["reload b"]

    def test_a_prefix_is_withdrawn_by_one_before_another_announces_it(self, node: Node) -> None:
        both = ["10.20.0.0/24", "10.20.8.0/24"]
        for taker, giver in ("ab", "ba"):
            frr_host.converge([vrf(taker), vrf(giver, export={"v4": both})], {})
            node.calls.clear()
            frr_host.converge([vrf(taker, export={"v4": both}), vrf(giver)], {})
            assert node.calls == [f"reload {giver}", f"reload {taker}"]

    def test_what_goes_is_gone_before_another_takes_its_place(self, node: Node) -> None:
        frr_host.converge([vrf("a"), vrf("b")], {})
        node.calls.clear()
        frr_host.converge([vrf("a", export={"v4": ["10.20.8.0/24"]}), vrf("c")], {})
        order = ["disable --now frr@b.service", "reload a", "restart frr@c.service"]
        assert [call for call in node.calls if call in order] == order

    def test_a_change_by_hand_is_put_right(self, node: Node) -> None:
        frr_host.converge([vrf("a")], {})
        node.running["a"] = "something else"
        assert frr_host.converge([vrf("a")], {}).actions == {"a": "reloaded"}
        assert node.running["a"] == node.config("a")

    def test_after_a_boot_nothing_is_reloaded(self, node: Node) -> None:
        frr_host.converge([vrf("a")], {})
        (frr_host.STAMPS / "a").unlink()
        node.calls.clear()
        assert frr_host.converge([vrf("a")], {}).actions == {}
        assert node.calls == []

    def test_refused_before_anything_is_touched(self, node: Node) -> None:
        frr_host.converge([vrf("a"), vrf("b")], {})
        before = {name: node.config(name) for name in "ab"}
        node.calls.clear()
        node.refused.add("10.20.9.0")
        changed = [vrf("a", asn=65020), vrf("b", export={"v4": ["10.20.9.0/24"]})]
        outcome = frr_host.converge(changed, {})
        assert list(outcome.failed) == ["b"]
        assert ({name: node.config(name) for name in "ab"}, node.calls) == (before, [])

    def test_a_failed_reload_is_taken_back_and_concerns_no_other(self, node: Node) -> None:
        frr_host.converge([vrf("a"), vrf("b")], {})
        before = node.config("b")
        node.broken.add("10.20.9.0")
        outcome = frr_host.converge([vrf("a", communities=["1:2"]), vrf("b", export={"v4": ["10.20.9.0/24"]})], {})
        assert list(outcome.failed) == ["b"]
        assert "the previous configuration is back" in outcome.failed["b"]
        assert node.config("b") == node.running["b"] == before
        assert "1:2" in node.running["a"]

    def test_an_instance_that_takes_nothing_any_more_is_named_with_what_helps(self, node: Node) -> None:
        frr_host.converge([vrf("a")], {})
        before = node.config("a")
        node.broken.add("router bgp")
        outcome = frr_host.converge([vrf("a", communities=["1:2"])], {})
        assert "putting the previous one back failed as well" in outcome.failed["a"]
        assert "`systemctl restart frr@a.service`" in outcome.failed["a"]
        assert node.config("a") == before

    def test_prune(self, node: Node) -> None:
        frr_host.converge([vrf("a"), vrf("b"), vrf("c")], {})
        foreign = node.etc / "other"
        foreign.mkdir()
        (foreign / "daemons").write_text("bgpd=yes\n")
        node.calls.clear()
        assert frr_host.converge([vrf("a")], {}, prune=False).actions == {}
        assert frr_host.converge([vrf("a")], {}).actions == {"b": "removed", "c": "removed"}
        assert node.calls == ["disable --now frr@b.service frr@c.service"]
        assert sorted(path.name for path in node.etc.iterdir()) == ["a", "other"]

    def test_check_mode_writes_nothing_and_shows_no_password(self, node: Node) -> None:
        outcome = frr_host.converge([vrf("a")], {"a": "s3cret"}, check_mode=True)
        assert outcome.actions == {"a": "created"}
        assert "s3cret" not in str(outcome.diff)
        assert list(node.etc.iterdir()) == []

    def test_undrained_in_two_steps_and_drained_until_the_second(self, node: Node) -> None:
        def state() -> tuple[bool, bool, bool]:
            text = node.running["a"]
            return "bgp graceful-shutdown" in text, "  shutdown" in text, frr_host.is_drained()

        frr_host.converge([vrf("a")], {}, drain="all")
        assert state() == (True, True, True)
        assert frr_host.converge([vrf("a")], {}).actions == {}  # wiring keeps the gateway drained
        frr_host.converge([vrf("a")], {}, drain="rie")
        assert state() == (True, False, True)
        assert frr_host.converge([vrf("a")], {}, drain="rie").actions == {}  # interrupted, and started again
        frr_host.converge([vrf("a")], {}, drain="none")
        assert state() == (False, False, False)

    def test_the_way_back_of_a_gateway_that_is_not_drained_is_no_way(self, node: Node) -> None:
        frr_host.converge([vrf("a")], {})
        outcome = frr_host.converge([vrf("a")], {}, drain="rie")
        assert (outcome.actions, outcome.diff, outcome.drained) == ({}, [], False)

    def test_what_needs_a_restart_waits_and_the_rest_is_done(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        frr_host.converge([vrf("a"), vrf("b")], {})
        del node.running["b"]
        old, new = (node.etc / "a" / "daemons").read_text(), "another way to start them\n"
        monkeypatch.setattr(frr, "render_daemons", lambda _vrf: new)
        node.calls.clear()
        changed = [vrf("a", communities=["1:2"]), vrf("b"), vrf("c")]
        outcome = frr_host.converge(changed, {}, restart=False)
        assert (outcome.actions, outcome.waiting) == ({"a": "reloaded", "b": "started", "c": "created"}, ["a"])
        assert "1:2" in node.running["a"]
        assert [(node.etc / name / "daemons").read_text() for name in "abc"] == [old, new, new]
        again = frr_host.converge(changed, {}, restart=False)
        assert (again.actions, again.diff, again.waiting) == ({}, [], ["a"])
        preview = frr_host.converge(changed, {}, check_mode=True)
        assert (preview.actions, preview.waiting) == ({"a": "restarted"}, [])
        assert frr_host.converge(changed, {}).actions == {"a": "restarted"}
        assert (node.etc / "a" / "daemons").read_text() == new
        assert frr_host.converge(changed, {}, restart=False).waiting == []

    def test_what_does_not_answer_waits_for_nobody(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        frr_host.converge([vrf("a")], {})
        node.silent.add("a")
        monkeypatch.setattr(frr_host, "running_config", lambda _name: None)
        monkeypatch.setattr(frr, "render_daemons", lambda _vrf: "another way to start them\n")
        outcome = frr_host.converge([vrf("a")], {}, restart=False, check_mode=True)
        assert (outcome.actions, outcome.waiting) == ({"a": "restarted"}, [])

    def test_unit_of_a_name_with_a_dash(self) -> None:
        assert frr_host.unit_name("a-b") == "frr@a\\x2db.service"


class TestNamespaces:
    @pytest.fixture
    def done(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Return the actions on the node, in order."""
        calls: list[str] = []
        monkeypatch.setattr(netns, "DEFINITIONS", tmp_path / "netns")
        monkeypatch.setattr(netns_units, "PROGRAM", tmp_path / "netns.py")
        monkeypatch.setattr(netns_units, "UNIT_PATH", tmp_path / "unit")

        def run(argv: list[str], **_options: Any) -> str:
            calls.append(" ".join(argv[:3]))
            return ""

        monkeypatch.setattr(netns, "run", run)
        monkeypatch.setattr(netns, "observe_ports", dict)
        monkeypatch.setattr(netns, "observe_namespace", lambda _definition: None)
        monkeypatch.setattr(netns, "observe_host_links", set)
        monkeypatch.setattr(netns, "apply_ports", lambda commands: calls.append(f"ports {len(commands)}"))
        monkeypatch.setattr(netns, "bring_up", lambda items: calls.append(f"up {[item['name'] for item in items]}"))
        monkeypatch.setattr(netns, "take_down", lambda name, _definition: calls.append(f"down {name}"))
        active = {"active": False, "enabled": False}
        monkeypatch.setattr(netns_host, "unit_states", lambda units: dict.fromkeys(units, active))
        monkeypatch.setattr("shutil.chown", lambda *_args: None)
        return calls

    @staticmethod
    def definition(name: str) -> dict[str, Any]:
        return {"name": name, "owner": "me", "sysctls": {}, "links": []}

    def test_prune_stops_what_lives_there_first_and_touches_no_other_owner(self, done: list[str]) -> None:
        netns_host.converge("me", [self.definition("a"), self.definition("b")])
        netns_host.converge("other", [{**self.definition("x"), "owner": "other"}])
        done.clear()
        outcome = netns_host.converge("me", [self.definition("a")])
        assert outcome.actions["b"] == "removed"
        assert done.index("systemctl disable --now") < done.index("down b")
        assert sorted(netns.stored()) == ["a", "x"]

    def test_check_mode(self, done: list[str]) -> None:
        outcome = netns_host.converge("me", [self.definition("a")], check_mode=True)
        assert outcome.changed
        assert outcome.actions == {"a": "created"}
        assert "ip netns add a" in outcome.steps["a"]
        assert (done, netns.stored()) == ([], {})


def test_managed_mark_is_what_prune_looks_for() -> None:
    assert frr.render_daemons(vrf("a")).startswith(frr.MANAGED)
