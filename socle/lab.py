# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""`socle lab status` and `socle lab ssh`: the nodes of a site, whether they answer, a shell on one."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from . import inventory
from .project import Site, UsageError


@dataclass(frozen=True)
class Node:
    name: str
    groups: list[str]
    address: str
    ssh: list[str]
    """The ssh command that reaches the node, without a remote command."""


def nodes(site: Site) -> list[Node]:
    """Read the site's nodes from its inventory, their connection variables rendered as Ansible does it."""
    loader, hosts = inventory.load(site, inventory.vault_secrets(site))
    from ansible.template import Templar
    from ansible.vars.manager import VariableManager

    manager = VariableManager(loader=loader, inventory=hosts)
    return [_node(host, Templar(loader, manager.get_vars(host=host))) for host in hosts.get_hosts()]


def _node(host: Any, templar: Any) -> Node:
    def value(name: str, default: str = "") -> str:
        return str(templar.template(templar.available_variables.get(name, default)))

    address = value("ansible_host", host.name)
    command = ["ssh"]
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        command += shlex.split(value(name))
    for name, option in {"ansible_ssh_private_key_file": "-i", "ansible_port": "-p"}.items():
        if found := value(name):
            command += [option, os.path.expanduser(found)]
    # Without one, ssh decides as it does for Ansible: by ~/.ssh/config, otherwise the operator's own name.
    user = f"{found}@" if (found := value("ansible_user")) else ""
    groups = sorted(group.name for group in host.get_groups() if group.name not in ("all", "nodes"))
    return Node(host.name, groups, address, [*command, f"{user}{address}"])


def ssh(site: Site, name: str, command: list[str]) -> None:
    """Replace this process by an ssh to node `name`; does not return."""
    known = {node.name: node for node in nodes(site)}
    if name not in known:
        raise UsageError(f"no node {name!r} in {site.path}: it has {', '.join(known)}")
    os.execvp("ssh", [*known[name].ssh, *command])


def status(site: Site) -> list[tuple[Node, bool]]:
    """Return every node, and whether its SSH port answers within a second."""
    every = nodes(site)
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(zip(every, pool.map(_answers, every), strict=True))


def _answers(node: Node) -> bool:
    try:
        with socket.create_connection(_endpoint(node), timeout=1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _endpoint(node: Node) -> tuple[str, int]:
    """Where ssh would connect: the inventory may leave the address and the port to ~/.ssh/config."""
    told = subprocess.run([*node.ssh[:-1], "-G", node.ssh[-1]], capture_output=True, text=True, check=False)
    known = dict(line.split(" ", 1) for line in told.stdout.splitlines() if " " in line)
    return known.get("hostname", node.address), int(known.get("port", 22))
