# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The connections of services fit the limits of database, HAProxy, RabbitMQ and OVN, in a site of any size."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import capacity, services
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts.site_facts import workers

ROOT = Path(__file__).resolve().parents[4]
SERVICES = services.declared(ROOT / "roles")
ROLES = [service["role"] for service in SERVICES]


@cache
def defaults(role: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())


def site(processes: int, controllers: int = 3, **over: Any) -> dict[str, Any]:
    values = defaults("site")
    return {
        "controllers": controllers, "hypervisors": 100, "gateways": 2, "metadata_workers": 0,
        "services": SERVICES, "counts": {"site_workers": processes}, "overrides": {},
        "pool": values["site_database_pool"],
        "database_connections": values["site_database_connections"],
        "haproxy_connections": values["site_haproxy_connections"], **over,
    }  # fmt: skip


def of(cores: int) -> dict[str, int]:
    return {"processor_vcpus": cores, "memtotal_mb": cores * 8192}


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 2), (16, 12), (128, 12), (256, 12)])
def test_processes_have_a_ceiling(cores, expected):
    assert workers(of(cores)) == expected
    assert workers(of(cores), 4) == min(cores, 4)


@pytest.mark.parametrize("cores", [2, 16, 128, 256])
@pytest.mark.parametrize("controllers", [1, 3])
def test_a_site_of_any_size_fits_as_it_comes(cores, controllers):
    assert capacity.overload(site(workers(of(cores), defaults("site")["site_workers_max"]), controllers)) == []


def test_a_worker_for_each_of_128_cores_does_not_fit():
    found = capacity.overload(site(125, metadata_workers=125, hypervisors=600))
    assert [line.split(", and ")[1].split(".")[0] for line in found] == [
        "MariaDB takes 4500", "HAProxy takes 8000", "an OVN database takes 65000"
    ]  # fmt: skip
    assert all("Remedy: " in line for line in found)


def test_the_pools_of_oslo_db_do_not_fit():
    (found, *_) = capacity.overload(site(12, pool={"max_pool_size": 5, "max_overflow": 50}))
    said = "3 controllers and 100 hypervisors may open 22375 connections at once, and MariaDB takes 4500"
    assert found.startswith(said)


def test_a_role_with_larger_pools_is_counted_with_them():
    plain = capacity.demand(site(4))["database"]
    assert (
        capacity.demand(site(4, overrides={"keystone": {"database": {"max_overflow": 15}}}))["database"] - plain
        == 3 * 4 * 10
    )


def test_one_controller_in_numbers():
    """Two workers: 2 processes of each API with one database, three databases for Nova, 2 of each unit of Heat."""
    sizes = site(2, 1, hypervisors=1, gateways=0)
    processes = 3 * 2 + (2 + 1 + 2 + 1) * 3 + 2 + 4 + 1 + 2 + 2
    assert capacity.demand(sizes) == {
        "database": processes * 10 + 100,
        "haproxy": processes * 10 + 100 + 2 * 13 + 2 * 2 * 4 + 4 + 1000,
        "broker": 32 * (2 + 1 + 2 + 1 + 2 + 4 + 1 + 2 + 2 + 1),
        "ovn": 2 + 4 + 1 + 2,
    }


def test_the_pool_of_each_database_is_its_own():
    """Nova's API has one connection pool for its own database, and one for each of two cells."""
    plain = capacity.demand(site(4))["database"]
    larger = {"nova_control": {"api_database": {"max_pool_size": 6}}}
    assert capacity.demand(site(4, overrides=larger))["database"] - plain == 3 * (4 + 1 + 4 + 1)


def test_an_option_of_the_site_replaces_the_declared_number():
    plain = capacity.demand(site(4))["broker"]
    more = {"nova_control": {"conductor": {"workers": 10}}}
    assert capacity.demand(site(4, overrides=more))["broker"] - plain == 32 * 3 * 6


def test_a_number_that_is_counted_is_the_default_of_the_role():
    own = [
        (service["role"], process)
        for service in SERVICES
        for process in service["processes"]
        if isinstance(process["count"], str) and process["count"] != "site_workers"
    ]
    assert {role for role, _ in own} >= {"neutron", "heat"}
    for role, process in own:
        assert defaults(role)[process["count"]] == process.get("default", "{{ site_workers }}"), role


@given(st.integers(1, 64), st.integers(1, 7), st.integers(0, 2000))
def test_more_of_anything_never_needs_less(processes, controllers, hypervisors):
    have = capacity.demand(site(processes, controllers, hypervisors=hypervisors))
    more = capacity.demand(site(processes + 1, controllers + 1, hypervisors=hypervisors + 1))
    assert all(more[name] > have[name] for name in have)


@pytest.mark.parametrize("role", ROLES)
def test_every_service_has_the_pools_that_are_counted(role):
    sections = defaults(role)[f"{role}_config"]
    connected = {name: options for name, options in sections.items() if "connection" in options}
    declared = next(service for service in SERVICES if service["role"] == role)
    assert {section for process in declared["processes"] for section in process["pools"]} == connected.keys()
    for options in connected.values():
        assert options["max_pool_size"] == "{{ site_database_pool.max_pool_size }}"
        assert options["max_overflow"] == "{{ site_database_pool.max_overflow }}"


@pytest.mark.parametrize("role", ROLES)
def test_every_unit_with_a_database_is_counted(role):
    counted = {process["unit"] for service in SERVICES for process in service["processes"]}
    folder = ROOT / "roles" / role
    variables = folder / "vars" / "main.yml"
    calls = [yaml.safe_load(variables.read_text())[f"{role}_service"]] if variables.is_file() else []
    tasks = yaml.safe_load((folder / "tasks" / "main.yml").read_text())
    calls += [task.get("cloudwatt.socle.node_service") or {} for task in tasks]
    units = {unit["name"] for call in calls for unit in call.get("units", [])}
    assert units
    assert {name for name in units if not name.endswith(".timer")} <= counted


def verdict(**over: Any) -> list[str]:
    """Return the result of the deployment's assertion for a site with three controllers of 128 cores."""
    loader = DataLoader()
    load = lambda path: loader.load_from_file(str(ROOT / path), trusted_as_template=True)  # noqa: E731
    play = next(play for play in load("playbooks/deploy.yml") if "tasks" in play)
    task = next(task for task in play["tasks"] if "site_sizes" in task.get("vars", {}))
    groups = {"control": ["ctl1", "ctl2", "ctl3"], "compute": ["cmp1"], "gateway": ["gw1"]}
    hostvars = {"ctl1": over, "cmp1": {key: value for key, value in over.items() if key.startswith("nova_compute")}}
    values = load("roles/site/defaults/main.yml") | {"site_services": SERVICES} | task["vars"]
    values |= {"groups": groups, "hostvars": hostvars, "ansible_facts": of(128), "inventory_hostname": "ctl1", **over}
    values["site_workers"] = over.get("site_workers", workers(of(128), values["site_workers_max"]))
    return capacity.overload(Templar(loader=loader, variables=values).template(values["site_sizes"]))


def test_the_deployment_looks_at_what_the_inventory_says():
    assert verdict() == []
    assert "MariaDB takes 1000" in verdict(mariadb_connections=1000)[0]
    assert "HAProxy takes 2000" in verdict(haproxy_connections="2000")[0]
    assert "MariaDB takes 4500" in verdict(site_workers=64)[0]
    assert "MariaDB takes 4500" in verdict(neutron_workers=125)[0]
    assert "MariaDB takes 4500" in verdict(heat_engine_workers=40)[0]
    assert "MariaDB takes 4500" in verdict(nova_control_config_overrides={"database": {"max_overflow": 50}})[0]
    assert "an OVN database" in verdict(nova_compute_metadata_workers=100_000)[-1]
