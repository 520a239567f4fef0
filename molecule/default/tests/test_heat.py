# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role heat: a stack is created from a template, has the resources of the template, and is deleted."""

from __future__ import annotations

import uuid

import pytest

testinfra_hosts = ["ansible://control"]

TEMPLATE = {
    "heat_template_version": "2021-04-16",
    "parameters": {"image": {"type": "string"}},
    "resources": {
        "flavor": {"type": "OS::Nova::Flavor", "properties": {"ram": 64, "vcpus": 1, "disk": 0}},
        "network": {"type": "OS::Neutron::Net"},
        "subnet": {
            "type": "OS::Neutron::Subnet",
            "properties": {"network": {"get_resource": "network"}, "cidr": "192.0.2.0/24"},
        },
        "port": {
            "type": "OS::Neutron::Port",
            "properties": {
                "network": {"get_resource": "network"},
                "fixed_ips": [{"subnet": {"get_resource": "subnet"}, "ip_address": "192.0.2.10"}],
            },
        },
        "server": {
            "type": "OS::Nova::Server",
            "properties": {
                "flavor": {"get_resource": "flavor"},
                "image": {"get_param": "image"},
                "networks": [{"port": {"get_resource": "port"}}],
            },
        },
        # Heat creates a user for this resource in the domain of the stacks.
        "handle": {"type": "OS::Heat::WaitConditionHandle"},
    },
    "outputs": {
        "server": {"value": {"get_resource": "server"}},
        "network": {"value": {"get_resource": "network"}},
        "address": {"value": {"get_attr": ["server", "first_address"]}},
    },
}


@pytest.fixture(scope="module")
def stacks(api):
    """The path of the administrator's stacks."""
    (project,) = [p for p in api.get("identity", "/v3/auth/projects")["projects"] if p["name"] == "admin"]
    return f"/v1/{project['id']}/stacks"


@pytest.fixture
def image(api):
    """An image without a bootable system, which is enough for a running server."""
    body = {"name": "heat", "disk_format": "raw", "container_format": "bare"}
    status, made, _ = api.ask("POST", "image", "/v2/images", body)
    assert status == 201, made
    assert api.ask("PUT", "image", f"/v2/images/{made['id']}/file", bytes(1 << 20))[0] == 204
    yield made["id"]
    assert api.ask("DELETE", "image", f"/v2/images/{made['id']}")[0] == 204


def finished(api, path, status):
    """The stack after it has reached its final state, which must be the expected one."""
    found = api.get("orchestration", path)["stack"]
    if not found["stack_status"].endswith("_IN_PROGRESS"):
        assert found["stack_status"] == status, found["stack_status_reason"]
        return found
    return None


def test_units_and_configuration(guarded):
    guarded(["heat-api", "heat-engine"], "/etc/heat/heat.conf", "heat")


def test_a_stack_creates_a_network_and_a_server_and_removes_both(api, stacks, image, eventually):
    name = f"stack-{uuid.uuid4().hex[:8]}"
    body = {"stack_name": name, "template": TEMPLATE, "parameters": {"image": image}, "timeout_mins": 5}
    status, made, _ = api.ask("POST", "orchestration", stacks, body)
    assert status == 201, made
    path = f"{stacks}/{name}/{made['stack']['id']}"
    try:
        stack = eventually(lambda: finished(api, path, "CREATE_COMPLETE"), seconds=180)
        outputs = {item["output_key"]: item["output_value"] for item in stack["outputs"]}
        server = api.get("compute", f"/v2.1/servers/{outputs['server']}")["server"]
        assert server["status"] == "ACTIVE"
        assert outputs["address"] == "192.0.2.10"
        assert api.get("network", f"/v2.0/networks/{outputs['network']}")["network"]["status"] == "ACTIVE"
        (domain,) = api.get("identity", "/v3/domains?name=heat")["domains"]
        users = api.get("identity", f"/v3/users?domain_id={domain['id']}")["users"]
        assert any(user["name"].startswith(f"{name}-handle") for user in users)
    finally:
        assert api.ask("DELETE", "orchestration", path)[0] == 204
        eventually(lambda: finished(api, path, "DELETE_COMPLETE"), seconds=120)
    assert api.ask("GET", "compute", f"/v2.1/servers/{outputs['server']}")[0] == 404
    assert api.ask("GET", "network", f"/v2.0/networks/{outputs['network']}")[0] == 404


def test_a_template_that_is_wrong_is_refused_and_creates_nothing(api, stacks):
    template = {"heat_template_version": "2021-04-16", "resources": {"x": {"type": "OS::No::Such"}}}
    body = {"stack_name": "wrong", "template": template}
    status, answer, _ = api.ask("POST", "orchestration", stacks, body)
    assert status == 400
    assert "OS::No::Such" in str(answer)
    assert api.ask("GET", "orchestration", f"{stacks}/wrong")[0] == 404


def test_without_a_token_there_is_nothing(api, stacks):
    assert api.ask("GET", "orchestration", stacks, **{"X-Auth-Token": "forged"})[0] == 401
