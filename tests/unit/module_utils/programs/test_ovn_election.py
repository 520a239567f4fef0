# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The current leader changes the election timer of OVN's clusters in steps that raft allows, without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.programs import ovn_election

ROOT = Path(__file__).resolve().parents[4]
STATUS = """\
1b5e
Name: OVN_Southbound
Cluster ID: 5a1d (5a1d40b5-51f5-4b3c-8b0c-5a1ddf1dbb2c)
Server ID: 1b5e (1b5e0000-51f5-4b3c-8b0c-5a1ddf1dbb2c)
Address: ssl:10.96.0.11:6644
Status: cluster member
Role: {role}
Term: 3
Leader: {leader}
Vote: self

Last Election started 1000 ms ago, reason: timeout
Election timer: {timer}
Log: [2, 120]
"""


class Cluster:
    """A raft cluster, as its leader behaves. `moves` are the answers after which another member leads."""

    def __init__(self, timer: int, leads: bool = True, loses_after: int = 10**9) -> None:
        self.timer, self.leads, self.loses_after = timer, leads, loses_after
        self.now, self.pending = 0.0, 0
        self.asked: list = []

    def ask(self, database: str, command: str, *words: str) -> str:
        if command == "cluster/status":
            timer = f"{self.timer} (changing to {self.pending})" if self.pending else str(self.timer)
            role, leader = ("leader", "self") if self.leads else ("follower", "2c3d")
            text = STATUS.format(role=role, leader=leader, timer=timer)
            self.timer, self.pending = self.pending or self.timer, 0
            return text
        value = int(words[1])
        if not self.leads:
            raise ovn_election.ElectionError("not the leader")
        if not 100 <= value <= 600000 or value > 2 * self.timer:
            raise ovn_election.ElectionError("refused")
        self.asked.append(value)
        self.pending = value
        self.leads = len(self.asked) < self.loses_after
        return "change of election timer initiated."

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def change(self, wanted: int) -> list[int]:
        return ovn_election.change("OVN_Southbound", wanted, self.ask, lambda: self.now, self.sleep)


@given(st.integers(100, 600000), st.integers(100, 600000))
def test_any_timer_is_reached_in_steps_that_raft_allows(before, wanted):
    cluster = Cluster(before)
    assert cluster.change(wanted) == cluster.asked
    assert cluster.timer == wanted
    assert (cluster.asked == []) == (before == wanted)


def test_it_doubles_at_most():
    assert Cluster(4000).change(20000) == [8000, 16000, 20000]
    assert Cluster(16000).change(1000) == [1000]


def test_a_second_time_changes_nothing():
    cluster = Cluster(4000)
    assert cluster.change(8000) == [8000]
    assert cluster.change(8000) == []


def test_a_follower_waits_and_names_the_leader():
    cluster = Cluster(4000, leads=False)
    with pytest.raises(ovn_election.ElectionError, match="is 4000 ms and not 8000 ms; its leader is 2c3d"):
        cluster.change(8000)
    assert cluster.asked == []


def test_a_leader_that_loses_its_role_leaves_the_rest_to_the_next():
    cluster = Cluster(4000, loses_after=1)
    with pytest.raises(ovn_election.ElectionError, match="is 8000 ms"):
        cluster.change(16000)
    assert cluster.asked == [8000]


def test_a_server_that_is_not_there_is_named():
    def ask(*_: str) -> str:
        raise ovn_election.ElectionError("cannot connect")

    with pytest.raises(ovn_election.ElectionError, match="OVN_Northbound: cannot connect"):
        ovn_election.change("OVN_Northbound", 4000, ask, iter(range(0, 1000, 50)).__next__, lambda _: None)


def test_no_unit_of_the_databases_reads_the_timer():
    """Otherwise a change of the timer would restart all of them, and they would ignore it."""
    values = yaml.safe_load((ROOT / "roles/ovn_central/vars/main.yml").read_text())
    read = {path for unit in values["ovn_central_units"] for path in unit["reads"]}
    assert read == {"/etc/default/ovn-central"}
    files = {file["path"]: file["content"] for file in values["ovn_central_service"]["files"]}
    holders = [path for path, text in files.items() if "ovn_central_election_timer_ms" in text]
    assert holders == ["/etc/socle/ovn-election"]


@pytest.mark.parametrize("role", ["haproxy", "keepalived", "ovn_central"])
def test_what_runs_restarts_on_one_node_after_the_other(role):
    tasks = yaml.safe_load((ROOT / "roles" / role / "tasks" / "main.yml").read_text())
    variables = yaml.safe_load((ROOT / "roles" / role / "vars" / "main.yml").read_text())
    assert "'on_change': 'none'" in str(variables[f"{role}_service"]["units"])
    assert "on_change" not in str(variables[f"{role}_rolling"]["units"])
    plays = yaml.safe_load((ROOT / "playbooks" / "deploy.yml").read_text())
    whole = [task for play in plays for task in play.get("tasks", [])]
    for among in (tasks, whole):
        (rolling,) = [task for task in among if f"{role}_rolling" in str(task.get("cloudwatt.socle.node_service"))]
        assert rolling["throttle"] == 1
