# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Rules about the hosts of an inventory: which groups they are in, and what they are called.

Each takes a `site_context.Context` and yields violations. The roles take a node's names from `node_names`.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from ...module_utils.common.node_names import NODE_NAME_MAX, full_name, short_name
from .site_model import Violation

if TYPE_CHECKING:
    from .site_context import Context

ROLE_GROUPS = ("control", "compute", "gateway", "backbone")
NODE_GROUPS = ("control", "compute", "gateway")
KNOWN_GROUPS = ("all", "ungrouped", "nodes", *ROLE_GROUPS)
APART = {
    frozenset({"control", "compute"}): "nova_control and nova_compute each write the whole of /etc/nova/nova.conf",
    frozenset({"control", "gateway"}): "tenants' routes and the secrets of the control plane would share a machine",
    frozenset({"compute", "gateway"}): "draining or restarting a gateway would interrupt the guests on it",
    **{
        frozenset({"backbone", group}): "the backbone stands for a network outside of the site, which judges it"
        for group in NODE_GROUPS
    },
}
"""Groups that no host may share, with the reason. A unit test compares it with the files that the roles write."""
OF_EVERY_NODE = {"localhost", "ip6-localhost", "ip6-loopback"}
"""Names that /etc/hosts gives to the loopback address."""
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"{LABEL}(\.{LABEL})*")


def groups(context: Context) -> Iterator[Violation]:
    """Every host is in a role group and in `nodes`; the site may define other groups."""
    inventory = context.inventory
    idle = [host for host, member_of in inventory.hosts.items() if not member_of & set(ROLE_GROUPS)]
    for group in sorted(inventory.groups.keys() - set(KNOWN_GROUPS)):
        near = difflib.get_close_matches(group, [*ROLE_GROUPS, "nodes"], 1, 0.75)
        members = inventory.members(group)
        if near and (not members or set(members) & set(idle)):
            yield inventory.at_group(group, f"no playbook knows a group {group}", f"did you mean {near[0]}?")
    remedy = f"put it in {', '.join(sorted(ROLE_GROUPS))}"
    for host in sorted(set(idle) - {"localhost"}):
        yield inventory.at_host(host, f"host {host} is in no known group", remedy)
    for host, member_of in sorted(inventory.hosts.items()):
        if (roles := sorted(member_of & set(NODE_GROUPS))) and "nodes" not in member_of:
            reason = f"host {host} is in {' and '.join(roles)}, but not in nodes"
            yield inventory.at_host(host, reason, f"make {roles[0]} a child of group nodes")
    if not inventory.hosts:
        yield inventory.at_host("", "the inventory has no hosts", "write them into hosts.yml")
    elif not inventory.members("control"):
        yield inventory.at_host("", "no host is in group control", "put at least one there")


def apart(context: Context) -> Iterator[Violation]:
    """No host has two roles that cannot share a machine."""
    for host, member_of in sorted(context.inventory.hosts.items()):
        for pair in combinations([group for group in ROLE_GROUPS if group in member_of], 2):
            reason = f"host {host} is in {pair[0]} and in {pair[1]}: {APART[frozenset(pair)]}"
            yield context.inventory.at_host(host, reason, "use a machine (or a virtual one) for each")


def home(context: Context) -> Iterator[Violation]:
    """The first controller is defined in the folder of the site, next to which the files of the CA are stored."""
    inventory = context.inventory
    view = inventory.view
    first = next(iter(view.groups.get("control", ())), None) if view else None
    if view is None or first is None or inventory.find("pki_directory", first):
        return
    folder = view.variables(first).get("inventory_dir")
    if folder is None or Path(folder).resolve() != inventory.folder.resolve():
        reason = f"controller {first} is defined outside of {inventory.label}, where the files of the authority are"
        yield inventory.at_host(first, reason, "define it there, or set pki_directory and verify_signer_directory")


def names(context: Context) -> Iterator[Violation]:
    """Hosts have unique names that are valid in DNS, certificates, RabbitMQ and /etc/hosts."""
    inventory = context.inventory
    domain = str(context.resolved("site_domain") or "")
    holders = {str(context.resolved(name) or ""): name for name in ("site_internal_name", "site_public_name")}
    shorts: dict[str, str] = {}
    for host, member_of in sorted(inventory.hosts.items()):
        if host == "localhost" and not member_of & set(ROLE_GROUPS):
            continue
        for reason, remedy in _name_faults(host, domain):
            yield inventory.at_host(host, f"host name {brief(host)} {reason}", remedy)
        if host in inventory.groups:
            yield inventory.at_host(host, f"host {host} has the name of a group", "rename one of them")
        short, full = short_name(host), full_name(host, domain)
        if short in shorts:
            reason = f"the short name of host {host} is that of {shorts[short]}: {short}"
            yield inventory.at_host(host, reason, "give each node a first label of its own: RabbitMQ knows nodes by it")
        shorts.setdefault(short, host)
        if full in holders:
            reason = f"host {host} is called {full}, which is {holders[full]}"
            yield inventory.at_host(host, reason, "rename one of them")


def _name_faults(host: str, domain: str) -> Iterator[tuple[str, str]]:
    spelling = "write lower-case letters, digits and inner hyphens, labels of up to 63 characters"
    if _is_address(host):
        yield "is an address", "give the host a name, and write the address as its ansible_host"
    elif not HOST_NAME.fullmatch(host):
        yield "is not a DNS name in lower case", spelling
    elif short_name(host).isdigit():
        yield "begins with a number alone, which programs take for an address", "add a letter to it"
    elif short_name(host) in OF_EVERY_NODE:
        yield "is a name of the loopback address", "rename it"
    elif len(host) > NODE_NAME_MAX:
        yield f"has {len(host)} characters", f"use {NODE_NAME_MAX} at most, as the kernel takes no more"
    elif len(full_name(host, domain)) > 253:
        yield f"has {len(full_name(host, domain))} characters with site_domain", "use 253 at most"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def brief(name: str) -> str:
    """A name as messages show it: in quotes if it contains unusual characters."""
    return name if re.fullmatch(r"[\w.-]+", name) else repr(name)
