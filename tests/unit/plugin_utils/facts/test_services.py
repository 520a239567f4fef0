# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Facts from the declarations of services, and the errors of invalid declarations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import services

ROOT = Path(__file__).resolve().parents[4]
DECLARED = services.declared(ROOT / "roles")
SECRETS = {name: f"<{name}>" for name in services.secret_names(DECLARED)}
LOAD_BALANCER = {"keystone", "glance", "placement", "nova", "nova-metadata", "neutron"}


def test_every_service_of_the_project_is_declared_by_its_role():
    assert {"keystone", "glance", "placement", "nova_control", "neutron"} <= {item["role"] for item in DECLARED}
    assert all(item["account"] for item in DECLARED)


def test_each_database_has_one_account_that_must_use_tls():
    found = services.databases(DECLARED, SECRETS)
    assert {"keystone", "glance", "placement", "nova_api", "nova_cell0", "nova", "neutron"} <= {
        x["name"] for x in found
    }
    for database in found:
        (user,) = database["users"]
        assert user == {"name": user["name"], "password": f"<{user['name']}_database>", "require": "SSL"}
    assert next(x for x in found if x["name"] == "nova_cell0")["users"][0]["name"] == "nova"
    assert next(x for x in found if x["name"] == "keystone")["charset"] == "utf8mb3"


def test_an_endpoint_is_the_first_api_of_its_service():
    found = {item["type"]: item for item in services.catalog(DECLARED, "api.example", "internal.example")}
    assert found["compute"]["endpoints"] == {
        "public": "https://api.example:8774/v2.1",
        "internal": "https://internal.example:8774/v2.1",
    }
    assert found["identity"]["endpoints"]["public"] == "https://api.example:5000/v3"


def test_keystone_has_no_user_of_its_own_and_only_some_services_have_one_in_rabbitmq():
    users = {user["name"]: user for user in services.users(DECLARED, SECRETS)}
    assert "keystone" not in users
    assert users["nova"] == {
        "name": "nova", "password": "<nova_service>", "project": "service", "roles": ["admin", "service"]
    }  # fmt: skip
    brokers = services.broker_users(DECLARED, SECRETS)
    assert {"name": "neutron", "password": "<rabbitmq_neutron>"} in brokers
    assert not {"glance", "placement", "keystone"} & {user["name"] for user in brokers}


def test_an_api_can_have_other_members():
    found = {api["name"]: api for api in services.apis(DECLARED, {"glance": ["ctl1"]})}
    assert found.keys() >= LOAD_BALANCER
    assert found["glance"]["members"] == ["ctl1"]
    assert [name for name, api in found.items() if "members" in api] == ["glance"]
    assert [name for name, api in found.items() if not api.get("public", True)] == ["nova-metadata"]
    ports = [api["port"] for api in found.values()]
    assert len(set(ports)) == len(ports)


def test_every_unit_behind_haproxy_is_a_counted_process():
    for service in DECLARED:
        counted = {process["unit"] for process in service["processes"] if process.get("api")}
        assert {api["unit"] for api in service["apis"]} <= counted, service["name"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"description": None}, "description has a value of the wrong type"),
        ({"databses": []}, "databses is not a known key"),
        ({"databases": {"name": "x"}}, "databases is not a list"),
        ({"apis": [{"name": "x", "port": "80"}]}, "apis[0].port has a value of the wrong type"),
        ({"apis": [{"nmae": "x"}]}, "apis[0].nmae is not a known key"),
        ({"catalog": {"type": "x"}}, "catalog has no API to point at"),
    ],
)
def test_a_wrong_declaration_names_file_and_key(tmp_path: Path, change: dict[str, Any], fault: str):
    path = tmp_path / "barbican" / "meta" / "service.yml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"name": "barbican", "description": "Keys", **change}))
    with pytest.raises(services.DeclarationError) as found:
        services.declared(tmp_path)
    assert str(path) in str(found.value)
    assert fault in str(found.value)


def test_every_fault_of_every_file_is_reported_at_once(tmp_path: Path):
    for name in ("one", "two"):
        path = tmp_path / name / "meta" / "service.yml"
        path.parent.mkdir(parents=True)
        path.write_text("grants: yes\n")
    with pytest.raises(services.DeclarationError) as found:
        services.declared(tmp_path)
    assert str(found.value).count("is missing") == 4
    assert str(found.value).count("grants has a value of the wrong type") == 2


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path):
    path = tmp_path / "one" / "meta" / "service.yml"
    path.parent.mkdir(parents=True)
    path.write_text("name: [\n")
    with pytest.raises(services.DeclarationError, match=r"service\.yml cannot be read"):
        services.declared(tmp_path)
