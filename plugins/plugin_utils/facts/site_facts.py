# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Small derivations from a site's facts, used by the filters of the same names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MEBIBYTES_PER_WORKER = 4096
MOST_WORKERS = 12


def workers(facts: Mapping[str, Any], most: int = MOST_WORKERS) -> int:
    """Number of processes of one API service: one per core and per 4 GiB of memory, at least one and at most ``most``.

    `facts` holds `processor_vcpus` (cores) and `memtotal_mb` (MiB) as Ansible gathers them.
    """
    cores = int(facts["processor_vcpus"])
    by_memory = int(facts["memtotal_mb"]) // MEBIBYTES_PER_WORKER
    return max(1, min(cores, by_memory, int(most)))


def transport_url(hosts: Iterable[str], user: str, password: str, vhost: str, port: int = 5671) -> str:
    """URL of oslo.messaging that names every RabbitMQ node, for instance `rabbit://u:p@a:5671,u:p@b:5671/v`."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return "rabbit://" + ",".join(f"{login}@{host}:{port}" for host in hosts) + f"/{quote(vhost, safe='')}"


def cell_transport_url(hosts: Iterable[str]) -> str:
    """Template of :func:`transport_url` for these `hosts`, as Nova fills it in from its own configuration.

    The variables of several nodes are numbered, from 1 on; those of a single one are not.
    """
    numbers = [str(number) for number, _ in enumerate(hosts, 1)]
    nodes = [f"{{username{n}}}:{{password{n}}}@{{hostname{n}}}:{{port{n}}}" for n in (numbers if numbers[1:] else [""])]
    return "{scheme}://" + ",".join(nodes) + "/{path}"
