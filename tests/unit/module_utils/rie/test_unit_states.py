# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Unit states, which several engines read from a node."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import unit_states


def test_the_states_of_units_come_by_one_call_and_from_the_links_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def systemctl(argv: list[str], check: bool = True) -> str:
        asked.append(argv)
        return "active\ninactive\nreloading\nfailed\n"

    for link in ("multi-user.target.wants/frr@a.service", "x.service.requires/frr@b.service", "frr@c.service"):
        path = tmp_path / link
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("/usr/lib/systemd/system/frr@.service")
    monkeypatch.setattr(unit_states, "UNITS", tmp_path)
    monkeypatch.setattr(unit_states, "run", systemctl)
    assert unit_states.unit_states(f"frr@{name}.service" for name in "abcd") == {
        "frr@a.service": {"active": True, "enabled": True},
        "frr@b.service": {"active": False, "enabled": True},
        "frr@c.service": {"active": True, "enabled": False},
        "frr@d.service": {"active": False, "enabled": False},
    }
    assert len(asked) == 1


def test_no_unit_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_states, "run", pytest.fail)
    assert unit_states.unit_states([]) == {}
