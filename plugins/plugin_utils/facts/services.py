# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The OpenStack services of a site, from what each role declares in ``roles/ROLE/meta/service.yml``.

A declaration is plain data, without expressions. The keys::

    name: glance                    # user in Keystone, MariaDB and RabbitMQ; begins the names of its secrets
    account: glance                 # system account; `name` by default
    description: Images
    catalog: {type: image, path: /v2}    # entry of the service catalogue; it needs an API
    probe: /images                  # path below the endpoint that checks ask for, where the endpoint is no document
    grants: [service]               # roles of the user in the project `service`; without them there is no user
    roles: [heat_stack_user]        # further roles that Keystone must have
    domain: {name: heat, administrator: heat_domain_admin}   # domain of its own in Keystone
    keys: [encryption_key]          # further secrets, which encrypt what is stored and are never replaced
    databases: [{name: glance, charset: utf8mb3}]
    apis: [{name: glance, unit: glance-api, port: 9292, check_path: /healthcheck, public: true}]
    processes:                      # units that hold connections
      - unit: glance-api
        count: site_workers         # a number, or the name of a variable
        default: 2                  # number where the site does not set that variable; site_workers without this key
        option: [conductor, workers]     # option of the role's configuration that replaces `count`
        pools: [database]           # section of the configuration that sets the pool of each database
        api: true                   # HAProxy sends it requests
        messages: true              # connects to RabbitMQ
        ovn: true                   # connects to the databases of OVN

Databases, accounts, secrets, catalogue, HAProxy, packet filter, capacity, hardening and checks are derived from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
DATABASE, SERVICE_USER, BROKER, DOMAIN, KEY = "{}_database", "{}_service", "rabbitmq_{}", "{}_domain", "{}_{}"
"""Names of the secrets of a service."""

Declaration = Mapping[str, Any]

_API = {"name": str, "unit": str, "port": int, "check_path": str, "public": bool, "timeout": int}
_PROCESS = {
    "unit": str, "count": (int, str), "default": int, "option": list, "pools": list,
    "api": bool, "messages": bool, "ovn": bool,
}  # fmt: skip
_KEYS: dict[str, Any] = {
    "name": str, "account": str, "description": str, "catalog": {"type": str, "path": str}, "grants": list,
    "probe": str, "roles": list, "domain": {"name": str, "administrator": str}, "keys": list,
    "databases": [{"name": str, "charset": str}], "apis": [_API], "processes": [_PROCESS],
}  # fmt: skip
_NEEDED = ("name", "description")


class DeclarationError(ValueError):
    """A declaration that cannot be read; the message names the file, the key and every fault."""


def declared(roles: Path = ROLES) -> list[dict[str, Any]]:
    """The declarations of all roles below ``roles``, by name of the role, each with its ``role`` and its ``account``.

    :raises DeclarationError: with every fault of every file.
    """
    found = [(path, _read(path)) for path in sorted(roles.glob("*/meta/service.yml"))]
    if faults := [f"{path}: {fault}" for path, data in found for fault in _faults(data)]:
        raise DeclarationError("; ".join(faults))
    return [{"account": data["name"], **data, "role": path.parent.parent.name} for path, data in found]


def _read(path: Path) -> Any:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DeclarationError(f"{path} cannot be read: {error}") from error


@cache
def _parse(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _faults(data: Any) -> list[str]:
    if not isinstance(data, dict):
        return ["is not a mapping"]
    faults = [f"{key} is missing" for key in _NEEDED if key not in data]
    faults += _mismatches(data, _KEYS, "")
    if "catalog" in data and not data.get("apis"):
        faults.append("catalog has no API to point at: declare apis")
    return faults


def _mismatches(value: Any, shape: Any, where: str) -> list[str]:
    """What is not as ``shape`` says: a type, a list of such, or a mapping with these keys."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is not a list"]
        return [fault for index, item in enumerate(value) for fault in _mismatches(item, shape[0], f"{where}[{index}]")]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where} is not a mapping"]
        faults = [f"{where}{'.' if where else ''}{key} is not a known key" for key in value if key not in shape]
        for key in value.keys() & shape.keys():
            faults += _mismatches(value[key], shape[key], f"{where}.{key}" if where else key)
        return sorted(faults)
    return [] if isinstance(value, shape) else [f"{where} has a value of the wrong type"]


def uses_messages(service: Declaration) -> bool:
    """Whether the service has an account in RabbitMQ."""
    return any(process.get("messages") for process in service.get("processes", ()))


def secret_names(services: Sequence[Declaration]) -> list[str]:
    """Names of the secrets of ``services``: the password of each account."""
    names = []
    for service in services:
        names += [DATABASE.format(service["name"])] if service.get("databases") else []
        names += [SERVICE_USER.format(service["name"])] if service.get("grants") else []
        names += [BROKER.format(service["name"])] if uses_messages(service) else []
        names += [DOMAIN.format(service["name"])] if "domain" in service else []
    return [*names, *key_names(services)]


def key_names(services: Iterable[Declaration]) -> list[str]:
    """Names of the secrets that encrypt what a service stores."""
    return [KEY.format(service["name"], key) for service in services for key in service.get("keys", ())]


def databases(services: Iterable[Declaration], secrets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Databases with their account, as ``database_accounts`` takes them. Connections without TLS are refused."""
    return [
        {
            **database,
            "users": [
                {
                    "name": service["name"],
                    "password": secrets[DATABASE.format(service["name"])],
                    "require": "SSL",
                }
            ],
        }
        for service in services
        for database in service.get("databases", ())
    ]


def apis(services: Iterable[Declaration], members: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """APIs behind HAProxy. ``members``: name of an API -> the hosts that serve it, where it is not every controller."""
    found = [dict(api) for service in services for api in service.get("apis", ())]
    return [{**api, "members": members[api["name"]]} if api["name"] in members else api for api in found]


def catalog(services: Iterable[Declaration], public: str, internal: str) -> list[dict[str, Any]]:
    """Entries of the service catalogue, as ``identity_catalog`` takes them.

    ``public`` and ``internal`` are the names of the virtual addresses. The first API of a service is its endpoint.
    """
    return [
        {
            "name": service["name"],
            "type": service["catalog"]["type"],
            "description": service["description"],
            "endpoints": {
                interface: f"https://{host}:{service['apis'][0]['port']}{service['catalog'].get('path', '')}"
                for interface, host in (("public", public), ("internal", internal))
            },
        }
        for service in services
        if "catalog" in service
    ]


def users(services: Iterable[Declaration], secrets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Users of the services in Keystone, as ``identity_catalog`` takes them."""
    return [
        {
            "name": service["name"],
            "password": secrets[SERVICE_USER.format(service["name"])],
            "project": "service",
            "roles": service["grants"],
        }
        for service in services
        if service.get("grants")
    ]


def domains(services: Iterable[Declaration], secrets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Domains of the services in Keystone with their administrators, as ``identity_catalog`` takes them."""
    return [
        {
            **service["domain"],
            "description": f"Users of {service['name']}",
            "password": secrets[DOMAIN.format(service["name"])],
        }
        for service in services
        if "domain" in service
    ]


def broker_users(services: Iterable[Declaration], secrets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Users of the services in RabbitMQ."""
    return [
        {"name": service["name"], "password": secrets[BROKER.format(service["name"])]}
        for service in services
        if uses_messages(service)
    ]
