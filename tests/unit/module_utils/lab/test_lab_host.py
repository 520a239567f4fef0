# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Control groups of lab machines that start and stop at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import host as lab_host


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A version 1 hierarchy: the tree of systemd, and that of a controller."""
    for name in ("systemd", "pids"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    monkeypatch.setattr(lab_host, "CGROUP_ROOT", tmp_path)
    return tmp_path


def test_a_machine_gets_a_group_of_its_own_where_systemd_manages_the_tree(root):
    files = lab_host.make_cgroups("lab", "ctl1")
    assert files == [f"{root}/pids/cgroup.procs", f"{root}/systemd/socle/lab/ctl1/cgroup.procs"]
    assert (root / "systemd/socle/lab/ctl1").is_dir()


def test_clearing_one_machine_never_takes_the_ground_from_another(root):
    def come_and_go(name: str) -> None:
        for _round in range(400):
            lab_host.make_cgroups("lab", name)
            assert (root / "systemd/socle/lab" / name).is_dir()
            assert lab_host.remove_cgroups("lab", name) == []

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, ["ctl1", "cmp1", "gw1", "gw2"]))
    assert lab_host.remove_cgroups("lab") == []
    assert not (root / "systemd/socle").exists()
