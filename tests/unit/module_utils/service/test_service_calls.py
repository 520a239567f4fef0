# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Several calls of module ``node_service`` as one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_calls import CallError, merge

GLANCE: dict[str, Any] = {
    "phases": ["configure", "bootstrap", "run"],
    "files": [{"path": "/etc/glance/glance-api.conf", "content": "a"}],
    "units": [{"name": "glance-api", "ready": {"port": 9292}}],
    "schemas": [{"name": "glance", "package": "glance-common", "commands": []}],
    "schemas_here": True,
    "secrets": ["one", "two"],
}
HAPROXY: dict[str, Any] = {
    "phases": ["configure", "run"],
    "files": [{"path": "/etc/haproxy/haproxy.cfg", "content": "b"}],
    "units": [{"name": "haproxy"}],
    "secrets": ["two"],
}


def test_it_does_what_both_would_in_their_order() -> None:
    assert merge([HAPROXY, GLANCE]) == {
        "phases": ["configure", "bootstrap", "run"],
        "files": [*HAPROXY["files"], *GLANCE["files"]],
        "units": [*HAPROXY["units"], *GLANCE["units"]],
        "schemas": GLANCE["schemas"],
        "schemas_here": True,
        "secrets": ["two", "one"],
    }


def test_one_call_is_left_as_it_is() -> None:
    assert merge([GLANCE]) == GLANCE
    assert merge([]) == {}
    assert HAPROXY["phases"] == ["configure", "run"]


def test_mappings_are_united() -> None:
    assert merge([{"environment": {"a": "1"}}, {"environment": {"b": "2"}}]) == {"environment": {"a": "1", "b": "2"}}


def test_calls_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(CallError, match=r"^the calls differ in schemas_here; environment: a$"):
        merge([{"schemas_here": True, "environment": {"a": "1"}}, {"schemas_here": False, "environment": {"a": "2"}}])
