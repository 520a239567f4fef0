# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The list of all secrets of a site, and how each is generated."""

from __future__ import annotations

import re
import secrets
import string
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...module_utils.programs import keystone_keys
from ..facts import services

ALPHABET = string.ascii_letters + string.digits


def password() -> str:
    """Return 32 letters and digits (190 bits): safe in URLs, INI files and as a BGP MD5 key."""
    return "".join(secrets.choice(ALPHABET) for _ in range(32))


def cookie() -> str:
    """Return an Erlang cookie: 32 upper-case letters."""
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(32))


def seed() -> str:
    """Return a seed of Keystone's keys: see `keystone_keys`."""
    return str(keystone_keys.new_seed(int(time.time())))


FIXED: dict[str, Callable[[], str]] = {
    "mariadb_monitor": password,
    **dict.fromkeys(services.secret_names(services.declared()), password),
    "rabbitmq_admin": password,
    "rabbitmq_erlang_cookie": cookie,
    "keystone_admin": password,
    "keystone_fernet_seed": seed,
    "keystone_credential_seed": seed,
    "metadata_shared": password,
    "memcache_secret": password,
    "pki_ca_passphrase": password,
}


SHORTEST = 6
"""Shorter values are not masked in diffs: see config_files."""
LONGEST = 255
LONGEST_SESSION_KEY = 80
"""Bytes of a TCP MD5 key (Linux)."""
WORDS = ("rabbitmq_erlang_cookie",)
"""Secrets that must not contain blanks: Erlang ends a cookie at a blank."""
LASTING = tuple(services.key_names(services.declared()))
"""Secrets that encrypt what a service stores: with another one it could not be read any more, so none is rotated."""
KEY_LENGTH = 32
"""Characters of a secret of LASTING, as Heat takes its key (`heat.common.crypt`, 24.0)."""
UNQUOTED = ("keystone_database",)
"""Secrets that must stand in a URL as they are: keystone-manage hands the URL to configparser, which takes the % of a
quoted character for an expression of its own (`keystone.common.sql.upgrades`, 2025.1)."""
WITHOUT_SLASH = tuple(
    services.BROKER.format(item["name"]) for item in services.declared() if services.uses_messages(item)
)
"""Secrets of transport URLs: oslo.messaging puts the URL together anew for kombu and leaves a / as it is, where the
host ends (`oslo_messaging._drivers.impl_rabbit`, 2025.1)."""


def fault(name: str, value: str, session_key: bool = False) -> tuple[str, str] | None:
    """Why a value cannot be this secret, and what to do, neither of which has it; None when it can.

    ``session_key``: it is the TCP MD5 key of a session, which is agreed with a provider and may be short.

    Everything else that can be typed is written so that each reader gets it back: see `quoting`. An expression of
    Ansible's, which fetches the secret from elsewhere, is not looked into.
    """
    if re.fullmatch(r"\{\{.*\}\}", value.strip(), re.DOTALL):
        return None
    if found := next((mark for mark in ("{{", "{%", "{#") if mark in value), None):
        return f"holds {found}, where Ansible begins an expression", f"choose one without {found}"
    if name in SEEDS:
        try:
            keystone_keys.parse(value)
        except keystone_keys.KeyRingError as error:
            return str(error), f"make a new one: socle secrets rotate {name}"
        return None
    longest = LONGEST_SESSION_KEY if session_key else LONGEST
    if not re.fullmatch(r"[ -~]*", value):
        return "has a character that is not printable ASCII", "use letters, digits, and signs of an English keyboard"
    if value != value.strip():
        return "begins or ends with a blank", "choose one that does not"
    if not (1 if session_key else SHORTEST) <= len(value) <= longest:
        return f"has {len(value)} characters", f"use {1 if session_key else SHORTEST} to {longest}"
    if name in LASTING and len(value) != KEY_LENGTH:
        return f"has {len(value)} characters", f"use {KEY_LENGTH}"
    if name in UNQUOTED and not re.fullmatch(r"[A-Za-z0-9._~-]*", value):
        reason = "has a character that a URL has to quote, which keystone-manage cannot read"
        return reason, "use letters, digits and . _ ~ -"
    if name in WITHOUT_SLASH and "/" in value:
        return "holds a /, where oslo.messaging ends the host of a URL", "choose one without /"
    if session_key or name in WORDS:
        refused = ' "' if session_key else " "
        if any(character in value for character in refused):
            return "holds a blank or a double quote, which its readers cannot take", "choose one without them"
    return None


SEEDS = ("keystone_fernet_seed", "keystone_credential_seed")
"""Followed by a new one that takes over later, so that what was signed or encrypted stays readable."""
TOKENS = "keystone_fernet_seed"
CA_PASSPHRASE = "pki_ca_passphrase"


def successor(name: str, value: str, make: Callable[[], str], at_once: bool = False) -> str:
    """The new value of a secret that is `value`; `at_once`: tokens made so far shall be refused.

    :raises keystone_keys.KeyRingError: when the seeds cannot be read.
    """
    if name not in SEEDS or (at_once and name == TOKENS):
        return make()
    return keystone_keys.succeed(value, int(time.time()))


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
