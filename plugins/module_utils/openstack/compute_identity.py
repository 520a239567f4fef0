# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The identity of a hypervisor: the UUID that nova-compute stores on the disk, and by which Nova's API knows the host.

nova-compute creates it at its first start, and every later start fails without it. If the disk of a hypervisor was
lost, only the API has it; see "compute node identification" in Nova's administration guide.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from .rest import call

NAME = "compute_id"
VERSION = {"OpenStack-API-Version": "compute 2.53"}
"""The first version in which services and hypervisors have UUIDs, and a hypervisor is listed with its service."""


class IdentityError(Exception):
    """The identity of the host cannot be determined; the message has the remedy."""


def local(folders: Sequence[str]) -> str:
    """Return the UUID that a host has in one of the folders where nova-compute looks for it, "" without one.

    :raises IdentityError: the content is no UUID, so nova-compute would refuse it.
    """
    for folder in folders:
        path = os.path.join(folder, NAME)
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                return str(uuid.UUID(stream.read(64).strip()))
        except FileNotFoundError:
            continue
        except ValueError:
            raise IdentityError(f"{path} does not hold a UUID. Remedy: remove it, and deploy this host again") from None
    return ""


def known(compute: Any, host: str) -> str:
    """Return the UUID that the API has for a host, "" if it does not know the host.

    :param compute: Nova's API, as :meth:`.keystone_client.Keystone.service` returns it.
    :raises ApiError: the API does not answer, or refuses the request.
    :raises IdentityError: see :func:`choose`.
    """
    what = f"compute service of {host}"
    query = f"/os-services?binary=nova-compute&host={quote(host, safe='')}"
    services = call(compute, "GET", query, what, headers=VERSION)["services"]
    return choose(host, services, _hypervisors(compute)) if services else ""


def _hypervisors(compute: Any) -> list[Mapping[str, Any]]:
    """Return all hypervisors, page by page."""
    found: list[Mapping[str, Any]] = []
    marker = ""
    while True:
        answer = call(compute, "GET", f"/os-hypervisors/detail{marker}", "hypervisors", headers=VERSION)
        found += answer["hypervisors"]
        following = [link["href"] for link in answer.get("hypervisors_links", ()) if link["rel"] == "next"]
        if not following:
            return found
        marker = f"?marker={parse_qs(urlsplit(following[0]).query)['marker'][0]}"


def choose(host: str, services: Sequence[Mapping[str, Any]], hypervisors: Sequence[Mapping[str, Any]]) -> str:
    """Return the UUID of the only hypervisor that matches ``host``."""
    mine = [item for item in hypervisors if item["service"]["host"] == host]
    if len(mine) == 1:
        return str(mine[0]["id"])
    if mine:
        listed = ", ".join(f"{item['id']} ({item['hypervisor_hostname']})" for item in mine)
        raise IdentityError(
            f"{host} has lost its identity, and Nova knows several hypervisors of this host: {listed}. Remedy: write "
            f"the UUID of the right one to /var/lib/nova/{NAME} on it, as user nova, and deploy it again"
        )
    raise IdentityError(
        f"{host} has no identity (/var/lib/nova/{NAME}), and Nova knows its compute service but no hypervisor of it, "
        f"so nova-compute would refuse to start. Remedy: `openstack compute service delete {services[0]['id']}`, then "
        "deploy it again: it is then a new hypervisor"
    )
