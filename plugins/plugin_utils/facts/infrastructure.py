# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Derivations for the roles below OpenStack: node names, network files, memory shares, RabbitMQ hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.common.node_names import node_names


def host_names(hosts: Iterable[str], hostvars: Mapping[str, Any], domain: str) -> dict[str, list[str]]:
    """Management address -> fully qualified and short name, for /etc/hosts."""
    return {str(hostvars[host]["ansible_host"]): node_names(host, domain) for host in hosts}


def network_files(networks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``files`` of module ``node_service`` for links ``{name, sections}`` of systemd-networkd.

    ``sections`` are those of systemd.network(5); ``[Match] Name`` is the link's name unless given.
    """
    return [
        {
            "path": f"/etc/systemd/network/20-{network['name']}.network",
            "format": "ini",
            "content": {"Match": {"Name": network["name"]}, **network["sections"]},
        }
        for network in networks
    ]


def memory_share(facts: Mapping[str, Any], percent: float, low: int, high: int) -> int:
    """``percent`` of the node's memory in MiB, kept within ``low`` and ``high``."""
    return max(low, min(high, int(facts["memtotal_mb"] * percent / 100)))


def rabbitmq_hash(password: str, user: str) -> str:
    """RabbitMQ's salted SHA-256 of a password (``rabbit_password_hashing_sha256``).

    The salt (4 bytes) comes from user and password, so that the same input always gives the same
    definitions file; it still differs between users.
    """
    salt = hashlib.sha256(f"{user}:{password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def rabbitmq_definitions(users: Iterable[Mapping[str, Any]], vhost: str) -> dict[str, list[dict[str, Any]]]:
    """RabbitMQ's definitions file: ``users`` ``{name, password, tags}`` with all rights in ``vhost``."""
    known = list(users)
    return {
        "vhosts": [{"name": "/"}, {"name": vhost, "default_queue_type": "quorum"}],
        "users": [
            {
                "name": user["name"],
                "password_hash": rabbitmq_hash(user["password"], user["name"]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": user.get("tags", []),
            }
            for user in known
        ],
        "permissions": [
            {"user": user["name"], "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"} for user in known
        ],
    }
