# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The rulesets of a node's namespaces."""

from __future__ import annotations

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import firewall_host, netns


def test_without_the_library_nothing_is_loaded_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the loaded rulesets cannot be read, so each run would load all of them again."""
    monkeypatch.setattr(firewall_host, "Nftables", None)
    with pytest.raises(netns.CommandError, match="python3-nftables is not installed: `socle deploy`"):
        firewall_host.converge([])
    assert firewall_host.converge([], check_mode=True).actions == {}
