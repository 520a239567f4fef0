# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The phases of a service that the tags of a run select."""

from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.service.phases import PHASES, chosen

SHARED = ("openstack", "infrastructure", "always")
OWN = {"configure", "bootstrap", "run", "openstack"}


def ansible_runs(tags, run_tags):
    """Return whether Ansible runs a task with these tags."""
    play = Play.load({"hosts": "all", "tasks": [{"meta": "noop", "tags": sorted(tags)}]}, loader=DataLoader())
    task = play.tasks[0].block[0]
    return task.evaluate_tags(run_tags, [], {})


@given(
    st.sets(st.sampled_from(PHASES), min_size=1),
    st.sets(st.sampled_from(SHARED)),
    st.sets(st.sampled_from([*PHASES, *SHARED[:2], "all", "tagged", "untagged", "catalog"]), min_size=1),
)
def test_a_phase_is_done_when_ansible_would_run_a_task_of_its_own(own, shared, run_tags):
    wanted = [phase for phase in PHASES if phase in own and ansible_runs({phase, *shared}, run_tags)]
    assert chosen([*own, *shared], list(run_tags)) == wanted


@pytest.mark.parametrize(
    ("run_tags", "phases"),
    [
        (["all"], ["configure", "bootstrap", "run"]),
        (["openstack"], ["configure", "bootstrap", "run"]),
        (["openstack", "configure"], ["configure", "bootstrap", "run"]),
        (["configure"], ["configure"]),
        (["run", "configure"], ["configure", "run"]),
        (["infrastructure", "bootstrap"], ["bootstrap"]),
    ],
)
def test_phases_keep_their_order(run_tags, phases):
    assert chosen(OWN, run_tags) == phases


def test_a_task_without_phases_does_all():
    assert chosen([], ["untagged"]) == chosen(["openstack"], ["openstack"]) == list(PHASES)
