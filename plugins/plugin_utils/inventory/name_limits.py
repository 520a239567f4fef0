# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Length limits of names: of the kernel, X.509, Galera, MariaDB, RabbitMQ, Keystone and DNS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common.yaml_lines import Path
from .site_model import Violation

if TYPE_CHECKING:
    from .site_context import Context

EACH = "*"
"""In a path: every item of a list, or every value of a mapping."""


@dataclass(frozen=True)
class Limit:
    """`path` leads from a variable to names; `most` is how long they may be; `holder` is what has the limit."""

    path: tuple[str, ...]
    most: int
    holder: str
    in_bytes: bool = True


INTERFACE, GROUP, SOCKET, DNS = 15, 32, 107, 253
LIMITS = (
    *(
        Limit(path, INTERFACE, "an interface of Linux")
        for path in (
            ("site_management_interface",),
            ("site_vip_interface",),
            ("keepalived_interface",),
            ("keepalived_addresses", EACH, "interface"),
            ("ovn_chassis_bridges", EACH, "name"),
            ("ovn_chassis_bridges", EACH, "ports", EACH, "name"),
            ("ovn_chassis_bridge_mappings", EACH),
            ("rie_gateway_bridge",),
            ("rie_gateway_uplinks", EACH),
            ("backbone_uplinks", EACH, "pe"),
            ("backbone_uplinks", EACH, "bridge"),
            ("backbone_uplinks", EACH, "port"),
            ("lab_links", EACH, "name"),
            ("lab_links", EACH, "bridge"),
        )
    ),
    *(
        Limit(path, GROUP, "an account or group of Linux")
        for path in (
            ("hardening_sudo_group",),
            ("hardening_su_group",),
            ("hardening_sudo_users", EACH),
            ("hardening_sudo_services", EACH),
            ("hardening_service_accounts", EACH),
            ("ansible_user",),
        )
    ),
    *(
        Limit(path, DNS, "a name in DNS")
        for path in (("site_domain",), ("site_internal_name",), ("site_public_name",), ("hardening_log_collector",))
    ),
    *(
        # /run/socle/UNIT/http.sock
        Limit((variable, EACH, "unit"), SOCKET - len("/run/socle//http.sock"), "the path of a socket")
        for variable in ("site_api_services", "haproxy_services")
    ),
    Limit(("site_databases", EACH, "name"), 64, "a database of MariaDB", False),
    Limit(("mariadb_databases", EACH, "name"), 64, "a database of MariaDB", False),
    Limit(("site_databases", EACH, "users", EACH, "name"), 128, "a user of MariaDB", False),
    Limit(("mariadb_databases", EACH, "users", EACH, "name"), 128, "a user of MariaDB", False),
    Limit(("mariadb_cluster_name",), 32, "a cluster of Galera"),
    Limit(("site_rabbitmq_vhost",), 255, "a virtual host of RabbitMQ"),
    Limit(("rabbitmq_vhost",), 255, "a virtual host of RabbitMQ"),
    Limit(("rabbitmq_users", EACH, "name"), 255, "a user of RabbitMQ"),
    Limit(("pki_ca_name",), 64, "the subject of a certificate", False),
    Limit(("site_region",), 255, "a region of Keystone", False),
    Limit(("site_catalog_services", EACH, "name"), 255, "a service of Keystone", False),
    Limit(("site_catalog_users", EACH, "name"), 255, "a user of Keystone", False),
    Limit(("site_catalog_users", EACH, "project"), 64, "a project of Keystone", False),
    Limit(("site_catalog_domains", EACH, "name"), 64, "a domain of Keystone", False),
    Limit(("site_catalog_domains", EACH, "administrator"), 255, "a user of Keystone", False),
    Limit(("neutron_physical_networks", EACH), 64, "a physical network of Neutron", False),
)


def limits(context: Context) -> Iterator[Violation]:
    """No name is longer than its reader allows, including names that are composed of others."""
    seen = set()
    for host in ("", *context.inventory.hosts):
        for limit in LIMITS:
            name, *below = limit.path
            found = context.inventory.find(name, host)
            if found is None:
                continue
            for path, value in _names(found[1], tuple(below), (name,)):
                if fault := _fault(value, limit):
                    seen.add(found[0].violation(path, value, *fault))
    for name in ("site_internal_name", "site_public_name"):
        # The default is made of site_domain; those that are made of site_name are short, as it is.
        if context.inventory.find(name) is None and (value := context.resolved(name)):
            limit = next(limit for limit in LIMITS if limit.path == (name,))
            if fault := _fault(value, limit):
                file, line, _written = context.roles.defaults[name]
                seen.add(Violation(file, line, name, str(value)[:60], *fault))
    yield from seen


def _names(value: Any, path: tuple[str, ...], taken: Path) -> Iterator[tuple[Path, Any]]:
    """Follow `path` into `value`; where the value has another shape there is nothing to measure."""
    if not path:
        yield taken, value
        return
    step, *rest = path
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items()) if step == EACH else [(step, value[step])] if step in value else []
    elif isinstance(value, list) and step == EACH:
        entries = list(enumerate(value))
    for key, item in entries:
        yield from _names(item, tuple(rest), (*taken, key))


def _fault(value: Any, limit: Limit) -> tuple[str, str] | None:
    if not isinstance(value, str) or "{{" in value or "{%" in value:
        return None
    length = len(value.encode() if limit.in_bytes else value)
    if length <= limit.most:
        return None
    return f"has {length} characters", f"use {limit.most} at most, the limit of {limit.holder}"
