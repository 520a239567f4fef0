# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The OpenStack services in the Security Guide: their files, packages, units and ports. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .security_guide_facts import Snapshot, matching


@dataclass(frozen=True)
class Service:
    """A service of OpenStack: the prefix of its ids, the owner of its files, their paths, and its units.

    ``files``: those that the guide names, below ``directory``. ``main``: the one that must exist. ``config``:
    patterns of the files that the service reads; a later one wins. ``units``, ``api``: patterns of units whose presence
    means that the service, or its API, is on a node. ``uwsgi``: files that may set the address of its API. ``more``:
    other files that checks read.
    """

    name: str
    title: str
    page: str
    directory: str
    owner: str
    group: str
    files: tuple[str, ...]
    main: str
    config: tuple[str, ...]
    packages: tuple[str, ...]
    units: tuple[str, ...]
    api: tuple[str, ...]
    port: int = 0
    uwsgi: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """Return every file that some check reads."""
        return (*self.config, *self.uwsgi, *self.more)


IDENTITY = Service(
    "Identity", "Identity (Keystone)", "identity", "/etc/keystone", "keystone", "keystone",
    ("keystone.conf", "keystone-paste.ini", "policy.json", "policy.yaml", "logging.conf", "ssl/certs/signing_cert.pem",
     "ssl/private/signing_key.pem", "ssl/certs/ca.pem"),
    "/etc/keystone/keystone.conf",
    ("/etc/keystone/keystone.conf", "/etc/keystone/keystone.conf.d/*.conf"),
    ("keystone",), ("keystone",), ("keystone",), 5000,
    ("/etc/keystone/keystone-uwsgi.ini", "/etc/socle/uwsgi/keystone.ini"),
    ("/etc/keystone/keystone-paste.ini",),
)  # fmt: skip
COMPUTE = Service(
    "Compute", "Compute (Nova)", "compute", "/etc/nova", "root", "nova",
    ("nova.conf", "api-paste.ini", "policy.json", "policy.yaml", "rootwrap.conf"),
    "/etc/nova/nova.conf",
    ("/etc/nova/nova.conf", "/etc/nova/nova-compute.conf", "/etc/nova/nova.conf.d/*.conf"),
    ("nova-common",), ("nova-*",), ("nova-api",),
)  # fmt: skip
NEUTRON = Service(
    "Neutron", "Networking (Neutron)", "networking", "/etc/neutron", "root", "neutron",
    ("neutron.conf", "api-paste.ini", "policy.json", "policy.yaml", "rootwrap.conf"),
    "/etc/neutron/neutron.conf",
    ("/etc/neutron/neutron.conf", "/etc/neutron/neutron.conf.d/*.conf"),
    ("neutron-common",), ("neutron-*",), ("neutron-api", "neutron-server"), 9696,
    ("/etc/neutron/neutron-api-uwsgi.ini", "/etc/socle/uwsgi/neutron-api.ini"),
)  # fmt: skip
BLOCK = Service(
    "Block", "Block Storage (Cinder)", "block-storage", "/etc/cinder", "root", "cinder",
    ("cinder.conf", "api-paste.ini", "policy.json", "policy.yaml", "rootwrap.conf"),
    "/etc/cinder/cinder.conf",
    ("/etc/cinder/cinder.conf", "/etc/cinder/cinder.conf.d/*.conf"),
    ("cinder-common",), ("cinder-*",), ("cinder-api",),
)  # fmt: skip
IMAGE = Service(
    "Image", "Image (Glance)", "image-storage", "/etc/glance", "root", "glance",
    ("glance-api-paste.ini", "glance-api.conf", "glance-cache.conf", "glance-manage.conf", "glance-registry-paste.ini",
     "glance-registry.conf", "glance-scrubber.conf", "glance-swift-store.conf", "policy.json", "policy.yaml",
     "schema-image.json", "schema.json"),
    "/etc/glance/glance-api.conf",
    ("/etc/glance/glance-image-import.conf", "/etc/glance/glance-api.conf", "/etc/glance/glance.conf.d/*.conf",
     "/etc/glance/glance-api.conf.d/*.conf"),
    ("glance-api",), ("glance-*",), ("glance-api",),
    more=("/etc/glance/policy.json", "/etc/glance/policy.yaml", "/etc/glance/policy.d/*"),
)  # fmt: skip
DASHBOARD = Service(
    "Dashboard", "Dashboard (Horizon)", "dashboard", "/etc/openstack-dashboard", "root", "horizon",
    ("local_settings.py",),
    "/etc/openstack-dashboard/local_settings.py",
    ("/etc/openstack-dashboard/local_settings.py", "/etc/openstack-dashboard/local_settings.d/*.py"),
    ("openstack-dashboard", "openstack-dashboard-apache"), ("apache2", "openstack-dashboard*"), ("apache2",),
)  # fmt: skip
KEYS = Service(
    "Key-Manager", "Key Manager (Barbican)", "secrets-management", "/etc/barbican", "root", "barbican",
    ("barbican.conf", "barbican-api-paste.ini", "policy.json", "policy.yaml"),
    "/etc/barbican/barbican.conf",
    ("/etc/barbican/barbican.conf", "/etc/barbican/barbican.conf.d/*.conf"),
    ("barbican-common",), ("barbican-*",), ("barbican-api",),
    more=("/etc/barbican/barbican-api-paste.ini",),
)  # fmt: skip
SHARED = Service(
    "Shared", "Shared File Systems (Manila)", "shared-file-systems", "/etc/manila", "root", "manila",
    ("manila.conf", "api-paste.ini", "policy.json", "policy.yaml", "rootwrap.conf"),
    "/etc/manila/manila.conf",
    ("/etc/manila/manila.conf", "/etc/manila/manila.conf.d/*.conf"),
    ("manila-common",), ("manila-*",), ("manila-api",),
)  # fmt: skip
SERVICES = (IDENTITY, DASHBOARD, COMPUTE, BLOCK, IMAGE, SHARED, NEUTRON, KEYS)


def absent(service: Service, snapshot: Snapshot, api: bool = False) -> str:
    """Return why a service (``api``: its API) is not on the node; "" if it is.

    A node image contains the packages of every role and starts none of them, so a unit must be enabled or running.
    """
    if not snapshot.packages & set(service.packages):
        return f"{' or '.join(service.packages)} is not installed"
    wanted = service.api if api else service.units
    if not any(fnmatchcase(unit, pattern) for unit in snapshot.units for pattern in wanted):
        return f"{service.packages[0]} is installed, and no unit {' or '.join(wanted)} is enabled or runs"
    return ""


def ports(service: Service, snapshot: Snapshot) -> list[int]:
    """Return the ports of a service's API, from its configuration; else its usual port."""
    found = []
    for path in matching(service.uwsgi, snapshot.texts):
        for name, value in re.findall(r"^([\w-]+)\s*=\s*(\S+)", snapshot.texts[path], re.MULTILINE):
            port = value.split(",")[0].rpartition(":")[2]
            if name in ("https-socket", "http-socket", "https", "http") and port.isdigit():
                found.append(int(port))
    return sorted(set(found)) or ([service.port] if service.port else [])
