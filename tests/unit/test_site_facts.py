# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Derivations from a site's facts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.site_facts import transport_url, workers


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"processor_vcpus": 2, "memtotal_mb": 24000}, 2),
        ({"processor_vcpus": 64, "memtotal_mb": 16384}, 4),
        ({"processor_vcpus": 8, "memtotal_mb": 1024}, 1),
    ],
)
def test_workers(facts: dict[str, int], expected: int) -> None:
    assert workers(facts) == expected


@given(st.integers(1, 512), st.integers(0, 10**7))
def test_workers_never_exceed_cores(cores: int, memory: int) -> None:
    assert 1 <= workers({"processor_vcpus": cores, "memtotal_mb": memory}) <= cores


def test_transport_url_names_every_host_and_escapes() -> None:
    url = transport_url(["10.0.0.1", "10.0.0.2"], "nova", "a/b@c", "openstack")
    assert url == "rabbit://nova:a%2Fb%40c@10.0.0.1:5671,nova:a%2Fb%40c@10.0.0.2:5671/openstack"
