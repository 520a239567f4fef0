# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Values that are derived from the facts of a site."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts.site_facts import (
    cell_transport_url,
    transport_url,
    workers,
)


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


@pytest.mark.parametrize("count", [1, 3])
def test_nova_fills_the_template_of_a_cell_in_from_its_own_configuration(count: int) -> None:
    hosts = [f"10.0.0.{number}" for number in range(1, count + 1)]
    url = transport_url(hosts, "nova", "secret", "openstack")
    parts = urlsplit(url)
    known: dict[str, Any] = {"scheme": parts.scheme, "path": parts.path.lstrip("/"), "username": parts.username}
    known |= {"password": parts.password, "hostname": parts.hostname, "port": parts.port}
    if count > 1:
        for number, host in enumerate(hosts, 1):
            known |= {f"username{number}": "nova", f"password{number}": "secret"}
            known |= {f"hostname{number}": host, f"port{number}": "5671"}
    assert cell_transport_url(hosts).format(**known) == url
