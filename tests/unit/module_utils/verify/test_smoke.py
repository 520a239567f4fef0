# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Smoke guests: their list, and their creation in a simulated cloud."""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import smoke, smoke_client, verify_api
from ansible_collections.cloudwatt.socle.plugins.module_utils.verify.smoke_client import Smoke

FLAVOR = {"ram": 192, "vcpus": 1, "disk": 1}


def vrf(
    name: str, v4: str | None = "10.20.0.0/24", v6: str | None = "fd10:20::/64", net: str = "web"
) -> dict[str, Any]:
    network = {"name": net, "tag": f"rie:{name}:{net}", "v4": v4 and {"cidr": v4}, "v6": v6 and {"cidr": v6}}
    return {"name": name, "tenant": name, "project": name, "networks": [network]}


def test_the_same_prefix_gives_distinct_guests() -> None:
    guests = smoke.wanted_guests([vrf("interieur"), vrf("finances"), vrf("culture", v4="10.30.0.0/24")])
    assert [guest["v4"] for guest in guests] == ["10.20.0.10", "10.20.0.20", "10.30.0.10"]
    assert [guest["name"] for guest in guests] == ["guest-interieur", "guest-finances", "guest-culture"]
    assert guests[0]["network"] == "rie:interieur:web"


def test_a_vrf_without_a_chosen_network_has_no_guest() -> None:
    assert smoke.wanted_guests([vrf("a"), {"name": "b", "networks": []}], networks=["db"]) == []


def test_a_full_prefix_is_refused_with_a_remedy() -> None:
    with pytest.raises(smoke.SmokeError, match="verify_guest_offset"):
        smoke.wanted_guests([vrf("a", v4="10.0.0.0/28"), vrf("b", v4="10.0.0.0/28")], offset=14)


@given(st.lists(st.sampled_from(["10.0.0.0/25", "10.0.0.0/24", "10.0.1.0/25"]), max_size=40))
def test_addresses_are_distinct_and_inside(prefixes: list[str]) -> None:
    guests = smoke.wanted_guests([vrf(f"v{i}", v4=prefix) for i, prefix in enumerate(prefixes)])
    assert len({guest["v4"] for guest in guests}) == len(prefixes)
    for guest, prefix in zip(guests, prefixes, strict=True):
        assert ipaddress.ip_address(guest["v4"]) in list(ipaddress.ip_network(prefix).hosts())


class Response:
    def __init__(self, status: int, body: Any = None) -> None:
        self.status_code = status
        self.content = b"" if body is None else json.dumps(body).encode()
        self.text = self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class Cloud:
    """A cloud of one region with the features that smoke guests need; objects by collection and id."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        self.objects: dict[str, dict[str, dict[str, Any]]] = {}
        self.writes: list[str] = []
        self.fault: str | None = None
        self.grants: set[str] = set()
        for name in ("interieur", "finances"):
            self.objects.setdefault("projects", {})[name] = {"id": name, "name": name}
            net = self.add("networks", {"description": f"rie:{name}:web", "project_id": name})
            for version, cidr in ((4, "10.20.0.0/24"), (6, f"fd10:{len(name)}::/64")):
                self.add("subnets", {"network_id": net["id"], "ip_version": version, "cidr": cidr})

    def add(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        made = {"id": f"{kind}-{next(self.ids)}", **body}
        self.objects.setdefault(kind, {})[made["id"]] = made
        return made

    def all(self, kind: str) -> list[dict[str, Any]]:
        return list(self.objects.get(kind, {}).values())

    def connect(self, project: str | None) -> Connection:
        return Connection(self, project or "admin")


class Connection:
    """A connection that is also the session and the adapter of each service."""

    def __init__(self, cloud: Cloud, project: str) -> None:
        self.cloud = cloud
        self.project = project
        self.image = self.compute = self.network = self.identity = self.session = self

    def get_project_id(self) -> str:
        return self.project

    def get_user_id(self) -> str:
        return "the-admin"

    def request(self, path: str, method: str, raise_exc: bool, **arguments: Any) -> Response:
        if method != "GET":
            self.cloud.writes.append(f"{method} {path}")
        kind, _, rest = path.lstrip("/").partition("/")
        if method == "GET":
            return self.get(kind, rest, arguments.get("params") or {})
        if method == "DELETE":
            return Response(204 if self.cloud.objects[kind].pop(rest, None) else 404)
        if method == "PUT" and kind == "projects":
            self.cloud.grants.add(rest.split("/")[0])
            return Response(204)
        if method == "PUT":
            self.cloud.objects["images"][rest.split("/")[0]]["status"] = "active"
            return Response(204)
        return self.post(kind, rest, arguments["json"])

    def get(self, kind: str, rest: str, params: dict[str, str]) -> Response:
        if kind == "roles":
            return Response(200, {"roles": [{"id": "role-admin", "name": "admin"}]})
        if kind == "role_assignments":
            grants = [{"scope": {"project": {"id": project}}} for project in self.cloud.grants]
            return Response(200, {"role_assignments": [*grants, {"scope": {"system": {"all": True}}}]})
        assert self.project in self.cloud.grants | {"admin"}, f"no token for {self.project}"
        if rest and rest != "detail":
            found = self.cloud.objects.get(kind, {}).get(rest)
            return Response(200, {kind[:-1]: found}) if found else Response(404, {})
        listed = self.cloud.all(kind)
        for key, value in params.items():
            if key == "fields":
                continue
            listed = [entry for entry in listed if re.fullmatch(value, str(entry.get(key)))]
        if kind == "servers":
            listed = [entry for entry in listed if entry["project_id"] == self.project]
        return Response(200, {kind.replace("-", "_"): listed})

    def post(self, kind: str, rest: str, body: dict[str, Any]) -> Response:
        cloud = self.cloud
        if kind == "servers" and rest:
            action = next(iter(body))
            if action == "os-start":
                cloud.objects["servers"][rest.split("/")[0]]["status"] = "ACTIVE"
            return Response(202, {"output": "Kernel panic"})
        if kind == "images":
            return Response(201, cloud.add(kind, {**body, "owner": self.project, "status": "queued"}))
        if kind == "security-group-rules":
            for rule in body["security_group_rules"]:
                group = cloud.objects["security-groups"][rule["security_group_id"]]
                group.setdefault("security_group_rules", []).append(rule)
            return Response(201, body)
        name, inner = next(iter(body.items()))
        made = cloud.add(kind, {**inner, "project_id": self.project})
        if kind == "flavors":
            cloud.objects[kind] = {inner["id"]: {**inner}}
        if kind == "ports":
            made["device_id"] = ""
            for address in made["fixed_ips"]:
                address.setdefault("ip_address", "fd10::1")
        if kind == "servers":
            made |= {"status": "ERROR" if cloud.fault else "ACTIVE", "image": {"id": inner["imageRef"]}}
            made["fault"] = {"message": cloud.fault}
            cloud.objects["ports"][inner["networks"][0]["port"]]["device_id"] = made["id"]
        return Response(201, {name: made})


@pytest.fixture
def boot(tmp_path: Path) -> dict[str, str]:
    for name in ("kernel", "ramdisk"):
        (tmp_path / name).write_text(name)
    return {name: str(tmp_path / name) for name in ("kernel", "ramdisk")}


def ensure(
    cloud: Cloud, boot: dict[str, str], check: bool = False, timeout: float = 1
) -> tuple[list[dict[str, Any]], list[str]]:
    client = Smoke(cloud.connect, check=check, timeout=timeout)
    wanted = smoke.wanted_guests([vrf("interieur"), vrf("finances")])
    return client.present(wanted, client.shared(**boot, flavor=FLAVOR)), client.changes


def test_guests_are_made_once(boot: dict[str, str]) -> None:
    cloud = Cloud()
    guests, changes = ensure(cloud, boot)
    assert changes
    assert [(guest["name"], guest["v4"], guest["status"]) for guest in guests] == [
        ("guest-interieur", "10.20.0.10", "ACTIVE"),
        ("guest-finances", "10.20.0.20", "ACTIVE"),
    ]
    assert all(guest["v6"] for guest in guests)
    commands = {image.get("os_command_line", "").split("socle.name=")[-1] for image in cloud.all("images")}
    assert {"guest-interieur", "guest-finances"} <= commands
    cloud.writes.clear()
    assert ensure(cloud, boot)[1] == []
    assert cloud.writes == []


def test_guests_wait_while_neutron_gets_on_with_the_routers_ports(
    boot: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud, now = Cloud(), [0.0]
    ports = [
        cloud.add("ports", {"device_owner": "network:router_interface", "status": "DOWN", "admin_state_up": "true"})
        for _number in range(3)
    ]

    def nap(seconds: float) -> None:
        assert cloud.all("servers") == []
        now[0] += seconds
        if len(ports) > 1:
            ports.pop()["status"] = "ACTIVE"

    monkeypatch.setattr(smoke_client, "time", SimpleNamespace(sleep=nap, monotonic=lambda: now[0]))
    assert {guest["status"] for guest in ensure(cloud, boot, timeout=10)[0]} == {"ACTIVE"}
    # Two guests came up. For the third, which never does, the engine waited for the timeout of one guest.
    assert now[0] == 2 * 2 + 10


def test_check_mode_predicts_and_writes_nothing(boot: dict[str, str]) -> None:
    cloud = Cloud()
    guests, changes = ensure(cloud, boot, check=True)
    assert {guest["status"] for guest in guests} == {"planned"}
    assert "server guest-finances" in changes
    assert cloud.writes == []
    ensure(cloud, boot)
    cloud.writes.clear()
    assert ensure(cloud, boot, check=True)[1] == []
    assert cloud.writes == []


def test_check_mode_does_not_need_the_files_yet(boot: dict[str, str]) -> None:
    Path(boot["kernel"]).unlink()
    assert {guest["status"] for guest in ensure(Cloud(), boot, check=True)[0]} == {"planned"}


def test_a_stopped_guest_is_started_and_a_broken_one_replaced(boot: dict[str, str]) -> None:
    cloud = Cloud()
    ensure(cloud, boot)
    stopped, broken = cloud.all("servers")
    stopped["status"], broken["status"] = "SHUTOFF", "ERROR"
    _guests, changes = ensure(cloud, boot)
    assert sorted(change.split("(")[1] for change in changes) == ["replace)", "start)"]
    assert stopped in cloud.all("servers")
    assert broken not in cloud.all("servers")


def test_a_guest_that_is_being_deleted_is_not_one_that_runs(boot: dict[str, str]) -> None:
    cloud = Cloud()
    ensure(cloud, boot)
    leaving, kept = cloud.all("servers")
    leaving["OS-EXT-STS:task_state"] = "deleting"
    _guests, changes = ensure(cloud, boot)
    assert changes == [f"server {leaving['name']} (replace)"]
    assert kept in cloud.all("servers")
    assert leaving not in cloud.all("servers")
    assert ensure(cloud, boot)[1] == []


def test_twins_and_a_guest_that_lost_its_port_are_replaced(boot: dict[str, str]) -> None:
    cloud = Cloud()
    ensure(cloud, boot)
    first, second = cloud.all("servers")
    cloud.add("servers", {**first, "id": "twin"})
    cloud.objects["ports"][second["metadata"]["socle_port"]]["device_id"] = ""
    ensure(cloud, boot)
    assert len(cloud.all("servers")) == 2
    assert not {"twin", first["id"], second["id"]} & {server["id"] for server in cloud.all("servers")}
    assert ensure(cloud, boot)[1] == []


def test_a_new_kernel_replaces_images_and_guests(boot: dict[str, str]) -> None:
    cloud = Cloud()
    ensure(cloud, boot)
    old = {server["id"] for server in cloud.all("servers")}
    Path(boot["kernel"]).write_text("newer")
    ensure(cloud, boot)
    assert not old & {server["id"] for server in cloud.all("servers")}
    assert len(cloud.all("images")) == 4
    assert ensure(cloud, boot)[1] == []


def test_a_fault_is_told_with_the_console(boot: dict[str, str]) -> None:
    cloud = Cloud()
    cloud.fault = "No valid host was found"
    with pytest.raises(smoke.SmokeError, match=r"guest-interieur.*No valid host was found[\s\S]*Kernel panic"):
        ensure(cloud, boot)


def test_a_project_that_does_not_exist_is_named(boot: dict[str, str]) -> None:
    cloud = Cloud()
    del cloud.objects["projects"]["finances"]
    with pytest.raises(smoke.SmokeError, match="finances; wire"):
        ensure(cloud, boot)
    assert {guest["status"] for guest in ensure(cloud, boot, check=True)[0]} == {"planned"}


def test_removal_leaves_the_tenant_networks_only(boot: dict[str, str]) -> None:
    cloud = Cloud()
    ensure(cloud, boot)
    wanted = smoke.wanted_guests([vrf("interieur"), vrf("finances")])
    for expected in (True, False):
        client = Smoke(cloud.connect, check=False, timeout=1)
        client.absent(wanted)
        assert bool(client.changes) is expected
    assert {kind for kind, objects in cloud.objects.items() if objects} == {"networks", "subnets", "projects"}


def test_a_network_that_is_not_wired_is_named(boot: dict[str, str]) -> None:
    cloud = Cloud()
    cloud.objects["networks"].clear()
    with pytest.raises(smoke.SmokeError, match="rie:finances:web"):
        ensure(cloud, boot)
    assert {guest["status"] for guest in ensure(cloud, boot, check=True)[0]} == {"planned"}


def test_api_checks_fail_on_what_is_missing_down_or_not_tls() -> None:
    catalog = [{"name": "nova", "type": "compute", "endpoints": [{"interface": "public", "url": "https://a"}]}]
    found = verify_api.endpoints(catalog)
    gaps = verify_api.endpoint_gaps(found, ["nova", "neutron"])
    assert [gap["id"] for gap in gaps] == ["nova internal", "neutron public", "neutron internal"]
    assert not verify_api.probe_endpoint(None, "nova", "public", "http://a")["ok"]
    services = verify_api.service_checks(
        [
            {"binary": "nova-compute", "host": "cmp1", "state": "down", "status": "enabled"},
            {"binary": "nova-compute", "host": "cmp2", "state": "down", "status": "disabled"},
        ]
    )
    assert [entry["ok"] for entry in services] == [False, True]
    missing = verify_api.missing_hosts(["cmp1", "cmp2"], ["cmp1.lab.internal"], "hypervisor", "hypervisor")
    assert [entry["id"] for entry in missing] == ["hypervisor on cmp2"]
