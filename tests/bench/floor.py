# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The floor of a deployment: the work that no tool can avoid, run bare over SSH. See deploy.py for (a), (b) and (c)."""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.cloudwatt.socle.plugins.lookup.role_packages import ROLES, role_packages
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import services
from socle.lab import Node, nodes
from socle.project import Site

DEFAULTS: dict[str, Any] = yaml.safe_load((ROLES / "site" / "defaults" / "main.yml").read_text())
SERVICES = services.declared(ROLES)

INSTALL = """\
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d && apt-get -qq update &&
DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o Dpkg::Options::=--force-confdef \
-o Dpkg::Options::=--force-confold install {packages} </dev/null"""

SCHEMAS = (
    ("keystone", "keystone-manage db_sync"),
    ("glance", "glance-manage db_sync"),
    ("heat", "heat-manage db_sync"),
    ("placement", "placement-manage db sync"),
    ("nova", "nova-manage api_db sync"),
    ("nova", "nova-manage cell_v2 map_cell0"),
    ("nova", "nova-manage db sync"),
    ("nova", "nova-manage cell_v2 create_cell --name cell1"),
    (
        "neutron",
        "neutron-db-manage --config-file /etc/neutron/neutron.conf "
        "--config-file /etc/neutron/plugins/ml2/ml2_conf.ini upgrade heads",
    ),
)
"""System user and command, in the order of their dependencies."""

Units = dict[str, list[list[str]]]
"""The units of each node in stages. Each stage needs the services of the previous stages."""
STAGES = ("", "keystone", ("glance-", "heat-", "placement-", "neutron-"), "nova-", "")
"""Name prefixes of the controllers' units. The first stage has all but OpenStack, the last OpenStack on hypervisors."""
UNITS = "ls /run/socle/units; systemctl list-units --plain --no-legend 'frr@*.service' | cut -d' ' -f1"
"""Command that lists the units of the roles on a node: the stamps of module node_service, and the FRR instances."""
SYNCED = """\
until mariadb -BNe "SHOW STATUS LIKE 'wsrep_local_state_comment'" 2>/dev/null | grep -q Synced; do sleep 0.2; done"""


def install(site: Site) -> None:
    """(a): install the packages of each node's roles with apt, on all nodes in parallel."""
    groups = InventoryManager(loader=DataLoader(), sources=[str(site.path)]).get_groups_dict()

    def packages(node: Node) -> str:
        mine = [role for group, roles in DEFAULTS["site_roles"].items() if node.name in groups[group] for role in roles]
        mine += [service["role"] for service in SERVICES] if node.name in groups["control"] else []
        return " ".join(role_packages(mine))

    on_all(nodes(site), lambda node: remote(node, INSTALL.format(packages=packages(node))))


def stop(every: list[Node]) -> Units:
    """Stop the units of the roles, the last stage first, and return them."""

    def of_node(node: Node) -> list[list[str]]:
        stages: list[list[str]] = [[] for _ in STAGES]
        for unit in (line.removesuffix(".json") for line in remote(node, UNITS).split()):
            if not unit.startswith("systemd-"):
                stages[_stage(unit, node)].append(unit)
        remote(node, " && ".join(f"systemctl stop {shlex.join(stage)}" for stage in reversed(stages) if stage))
        return stages

    return dict(zip((node.name for node in every), on_all(every, of_node), strict=True))


def _stage(unit: str, node: Node) -> int:
    """Return the stage of a unit of a node."""
    found = next((number for number in (1, 2, 3) if unit.startswith(STAGES[number])), 0)
    return found if "control" in node.groups or not found else 4


def start(every: list[Node], units: Units, vip: str) -> None:
    """(c): start the units of all nodes by stage, and wait after each stage until its services answer."""
    controllers = [node for node in every if "control" in node.groups]
    apis = {api["name"]: (api["port"], api["check_path"]) for api in services.apis(SERVICES, {})}

    def url(address: str, name: str) -> tuple[str, str]:
        return "url", f"https://{address}:{apis[name][0]}{apis[name][1]}"

    ready: list[list[tuple[str, Any]]] = [
        [("tcp", (node.address, 5671)) for node in controllers] + [("tcp", (vip, 3306))],
        [url(vip, "keystone")],
        [url(vip, "placement")],
        [url(node.address, name) for node in controllers for name in apis],
        [],
    ]
    for stage, answers in enumerate(ready):

        def begin(node: Node, stage: int = stage) -> None:
            remote(node, f"systemctl start {shlex.join(units[node.name][stage])}")

        on_all([node for node in every if units[node.name][stage]], begin)
        if stage == 0:
            on_all(controllers, lambda node: remote(node, SYNCED))
        await_all(answers)


def empty(every: list[Node], units: Units) -> None:
    """Stop the users of the databases, and empty these. The accounts keep their rights, because rights are by name."""
    users = {name: [unit for stage in stages[1:] for unit in stage] for name, stages in units.items()}
    concerned = [node for node in every if users[node.name]]
    on_all(concerned, lambda node: remote(node, f"systemctl stop {shlex.join(users[node.name])}"))
    every_database = [database for service in SERVICES for database in service.get("databases", ())]
    sets = {database["name"]: database.get("charset", "utf8mb4") for database in every_database}
    emptied = "".join(f"DROP DATABASE {name}; CREATE DATABASE {name} CHARACTER SET {sets[name]};" for name in sets)
    remote(first_controller(every), f"mariadb -e {shlex.quote(emptied)}")


def schemas(every: list[Node]) -> None:
    """(b): run the schema commands in sequence."""
    remote(first_controller(every), " && ".join(f"runuser -u {user} -- {command}" for user, command in SCHEMAS))


def first_controller(every: list[Node]) -> Node:
    return next(node for node in every if "control" in node.groups)


def remote(node: Node, script: str) -> str:
    """Run a script on a node; return its output."""
    alive = ["-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
    done = subprocess.run([*node.ssh[:1], *alive, *node.ssh[1:], script], text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{node.name}: {script[:80]}... ended with {done.returncode}: {done.stderr[-800:]}")
    return done.stdout


def on_all(every: list[Node], act: Callable[[Node], Any]) -> list[Any]:
    """Run ``act`` on nodes in parallel. If interrupted, do not wait: scripts end when the machines are removed."""
    pool = ThreadPoolExecutor(max_workers=16)
    try:
        return list(pool.map(act, every))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def await_all(targets: list[tuple[str, Any]], timeout: float = 180.0) -> None:
    """Wait until every TCP port accepts connections and every URL answers below 500, as the roles do."""
    deadline = time.monotonic() + timeout
    while targets := [target for target in targets if not _answers(*target)]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no answer after {timeout:.0f} s: {targets}")
        time.sleep(0.2)


def _answers(kind: str, where: Any) -> bool:
    try:
        if kind == "tcp":
            socket.create_connection(where, timeout=3).close()
            return True
        context = ssl._create_unverified_context()
        handlers = urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
        urllib.request.build_opener(*handlers).open(where, timeout=10).close()
        return True
    except urllib.error.HTTPError as answer:
        return answer.code < 500
    except OSError:
        return False
