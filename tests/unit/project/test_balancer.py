# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The configuration of HAProxy on each controller of the site with three controllers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import services

ROOT = Path(__file__).resolve().parents[3]
CONTROLLERS = {"ctl1": "10.96.0.11", "ctl2": "10.96.0.12", "ctl3": "10.96.0.13"}
SITE = {
    "site_name": "ha",
    "site_domain": "ha.example",
    "site_management_cidr": "10.96.0.0/24",
    "site_internal_vip": "10.96.0.5",
    "site_public_vip": "10.96.0.6",
    "groups": {"control": list(CONTROLLERS)},
    "hostvars": {name: {"ansible_host": address} for name, address in CONTROLLERS.items()},
    "inventory_hostname": "ctl2",
    "ansible_host": "10.96.0.12",
}
FORGED = [
    "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded", "Forwarded",
    "X-Real-IP", "X-Client-IP", "True-Client-IP", "X-Original-URL", "X-Rewrite-URL", "X-Host", "X-HTTP-Host-Override",
    "Proxy", "X-Metadata-Provider", "X-Metadata-Provider-Signature", "X-Identity-Status", "X-Service-Catalog",
]  # fmt: skip
OURS = [
    "Host", "X-Auth-Token", "X-Subject-Token", "X-Service-Token", "X-Openstack-Request-Id", "OpenStack-API-Version",
    "X-OpenStack-Nova-API-Version", "Content-Type", "Accept", "X-Instance-ID", "X-Tenant-ID", "X-Instance-ID-Signature",
    "X-Roles-Requested", "X-Image-Meta-Store", "Client-Request-Id", "If-Match",
]  # fmt: skip


def rendered(**over: Any) -> str:
    """Return haproxy.cfg as the role writes it. `over` overrides the defaults of the roles site and haproxy."""
    loader = DataLoader()
    load = lambda path: loader.load_from_file(str(ROOT / path), trusted_as_template=True)  # noqa: E731
    variables = load("roles/haproxy/vars/main.yml")
    defaults = load("roles/site/defaults/main.yml") | load("roles/haproxy/defaults/main.yml")
    values = defaults | variables | SITE | over
    members = Templar(loader=loader, variables=values).template(values["site_image_hosts"])
    values["site_api_services"] = services.apis(services.declared(ROOT / "roles"), {"glance": members})
    file = variables["haproxy_service"]["files"][0]
    assert file["path"] == "/etc/haproxy/haproxy.cfg"
    return Templar(loader=loader, variables=values).template(file["content"])


def sections(text: str, kind: str) -> dict[str, list[str]]:
    """Return the lines of every section of a kind, by name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if re.match(r"\w", line):
            words = line.split()
            lines = found.setdefault(words[1], []) if words[0] == kind else []
        elif line.strip() and not line.strip().startswith("#"):
            lines.append(line.strip())
    return found


@pytest.fixture(scope="module")
def frontends() -> dict[str, list[str]]:
    """Return every frontend that forwards HTTP requests."""
    found = sections(rendered(), "frontend")
    http = {
        name: lines
        for name, lines in found.items()
        if "mode tcp" not in lines and any(line.startswith("default_backend") for line in lines)
    }
    assert http
    return http


def test_there_are_two_frontends_for_each_service(frontends):
    apis = services.apis(services.declared(ROOT / "roles"), {})
    assert frontends.keys() == {name for item in apis for name in (item["name"], f"{item['name']}-here")}


def test_every_frontend_drops_what_only_a_proxy_may_say(frontends):
    for name, lines in frontends.items():
        (removal,) = [line for line in lines if line.startswith("http-request del-header '")]
        pattern = re.compile(removal.split("'")[1], re.IGNORECASE)
        assert {header for header in FORGED if not pattern.fullmatch(header)} == set(), name
        assert {header for header in OURS if pattern.fullmatch(header)} == set(), name
        assert "http-request del-header _ -m sub if !from_haproxy" in lines


def test_every_frontend_sets_its_own_after_that(frontends):
    for lines in frontends.values():
        rules = [line.split()[1:3] for line in lines if line.startswith("http-request")]
        kinds = [kind for kind, _ in rules]
        assert kinds == sorted(kinds), "removals first"
        assert {header for kind, header in rules if kind == "set-header"} == {
            "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"
        }  # fmt: skip
        assert not any(line.startswith("option forwardfor") for line in lines), "it would add to what a client sent"


def test_only_controllers_are_taken_for_a_proxy_and_only_where_they_pass_requests_on(frontends):
    for name, lines in frontends.items():
        trusted = [line for line in lines if line.startswith("acl from_haproxy ")]
        wanted = f"src {' '.join(CONTROLLERS.values())}" if name.endswith("-here") else "always_false"
        assert trusted == [f"acl from_haproxy {wanted}"], name


def test_links_name_the_site_whatever_name_was_asked_for(frontends):
    lines = frontends["keystone"]
    hosts = [line for line in lines if "X-Forwarded-Host" in line]
    assert hosts == [
        "http-request set-header X-Forwarded-Host internal.ha.example:5000 if !from_haproxy",
        "http-request set-header X-Forwarded-Host api.ha.example:5000 if !from_haproxy from_outside",
        "http-request set-header X-Forwarded-Host %[req.hdr(host)] if !from_haproxy known_host",
    ]
    assert "acl from_outside dst 10.96.0.6" in lines
    (known,) = [line for line in lines if line.startswith("acl known_host")]
    assert known.split()[-5:] == ["internal.ha.example", "api.ha.example", "10.96.0.5", "10.96.0.6", "10.96.0.12"]
