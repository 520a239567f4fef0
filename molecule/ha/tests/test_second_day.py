# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A hardened controller with its broker, database and load balancer after two nights."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

testinfra_hosts = ["ansible://ctl2"]

BROKER_LOG = "/var/log/rabbitmq/rabbit@ctl2.log"
SIZE = """mariadb -NBe "SHOW STATUS LIKE 'wsrep_cluster_size'" """


def test_a_controller_comes_through_its_second_day(
    host: Any, second_day: Callable[[Any], None], eventually: Callable[..., Any]
) -> None:
    second_day(host)
    assert eventually(lambda: host.check_output(SIZE).split() == ["wsrep_cluster_size", "3"])
    assert eventually(lambda: len(members(host)) == 3), "brokers that run"


@pytest.mark.parametrize("unit", ["rabbitmq-server", "mariadb", "haproxy", "memcached"])
def test_its_services_run(host: Any, unit: str) -> None:
    assert host.service(unit).is_running


def test_the_broker_writes_its_log(host: Any) -> None:
    log = host.file(BROKER_LOG)
    assert (log.user, log.group) == ("rabbitmq", "rabbitmq")
    assert log.size


def members(host: Any) -> list[str]:
    """Return the running members that the broker of the node reports; empty while it does not answer."""
    status = host.run("rabbitmqctl --quiet --formatter json cluster_status")
    return json.loads(status.stdout)["running_nodes"] if status.rc == 0 else []
