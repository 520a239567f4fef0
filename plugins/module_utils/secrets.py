# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The one list of secrets a site needs, and how each is made."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any

SERVICES = ("glance", "placement", "nova", "neutron")
ALPHABET = string.ascii_letters + string.digits


def password() -> str:
    """Return 32 letters and digits (190 bits): safe in URLs, INI files and as a BGP MD5 key."""
    return "".join(secrets.choice(ALPHABET) for _ in range(32))


def cookie() -> str:
    """Return an Erlang cookie: 32 upper-case letters."""
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(32))


def vrrp() -> str:
    """Return a VRRP password: keepalived reads 8 characters and no more."""
    return password()[:8]


def fernet() -> str:
    """Return a Fernet key: 32 random bytes in URL-safe base64, as Keystone's repositories hold them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


FIXED: dict[str, Callable[[], str]] = {
    "mariadb_monitor": password,
    "keystone_database": password,
    **{f"{service}_database": password for service in SERVICES},
    **{f"{service}_service": password for service in SERVICES},
    "rabbitmq_nova": password,
    "rabbitmq_neutron": password,
    "rabbitmq_admin": password,
    "rabbitmq_erlang_cookie": cookie,
    "keystone_admin": password,
    "keystone_fernet_0": fernet,
    "keystone_fernet_1": fernet,
    "keystone_credential_0": fernet,
    "keystone_credential_1": fernet,
    "metadata_shared": password,
    "memcache_secret": password,
    "keepalived_vrrp": vrrp,
    "pki_ca_passphrase": password,
}


def required(rie_tenants: Any) -> dict[str, Callable[[], str]]:
    """Return name -> maker of every secret of a site whose RIE intent has these `rie_tenants`.

    A link's BGP key is the one its `password_secret` names, `bgp_<vrf>` without it. Malformed intent is
    passed over: telling what is wrong with it is the RIE engine's work.
    """
    names = dict(FIXED)
    for tenant in _mappings(rie_tenants):
        for vrf in _mappings(tenant.get("vrfs")):
            links = vrf.get("links")
            for link in _mappings(list(links.values()) if isinstance(links, Mapping) else []):
                names[str(link.get("password_secret") or f"bgp_{vrf.get('name')}")] = password
    return names


def _mappings(items: Any) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
