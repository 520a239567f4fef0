# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The names of a node, from its name in the inventory, which may be a label (ctl1) or a full name (ctl1.fr1.example).

Nova, Neutron and OVN use the name in the inventory. RabbitMQ and people use the first label, clients of TLS either.
"""

from __future__ import annotations

NODE_NAME_MAX = 64
"""HOST_NAME_MAX of Linux."""
COMMON_NAME_MAX = 64
"""ub-common-name of RFC 5280."""


def short_name(host: str) -> str:
    """Return the first label: ctl1."""
    return host.partition(".")[0]


def full_name(host: str, domain: str) -> str:
    """Return the name in DNS: a name with a domain keeps it, any other gets the site's."""
    return host if "." in host else f"{host}.{domain}"


def node_names(host: str, domain: str) -> list[str]:
    """Return all names of a node, the full one first, without duplicates."""
    return [full_name(host, domain), short_name(host)]


def common_name(names: list[str]) -> str:
    """Return the subject of a certificate: the first of ``names`` that fits.

    Clients check only the alternative names.
    """
    return next((name for name in names if len(name) <= COMMON_NAME_MAX), names[-1][:COMMON_NAME_MAX])
