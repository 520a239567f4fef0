# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong with an inventory, found at once and before a node is touched.

Each rule takes a `Context` and yields violations; none stops another. `check` runs them all.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from . import role_specs, secrets, site_authority, site_model, yaml_lines
from .shapes import ADDRESS, BAD, PREFIX, Faults, Shape, text
from .site_model import Inventory, Violation

GROUPS = {"all", "ungrouped", "nodes", "control", "compute", "gateway", "backbone"}
ROLE_GROUPS = {"control", "compute", "gateway", "backbone"}
TUNNEL_GROUPS = ("compute", "gateway")
OTHER_KEYS = {"secrets", "tunnel_address", "ovs_datapath_type", "lab_links"}
"""Variables that belong to the site or host rather than to one role."""
FREE_PREFIXES = ("ansible_", "socle_")

DNS_LABELS = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
SITE_SHAPES: dict[str, Shape] = {
    "site_name": text(r"[a-z][a-z0-9-]{0,30}", "a site name in lower case"),
    "site_region": text(r"[A-Za-z0-9][\w.-]{0,63}", "a region name"),
    "site_domain": text(DNS_LABELS, "a DNS domain"),
    "site_internal_name": text(DNS_LABELS, "a DNS name"),
    "site_public_name": text(DNS_LABELS, "a DNS name"),
    "site_management_cidr": PREFIX[4],
    "site_internal_vip": ADDRESS[4],
    "site_public_vip": ADDRESS[4],
    "site_management_interface": text(r"[^\s/]{1,15}", "an interface name"),
    "site_vip_interface": text(r"[^\s/]{1,15}", "an interface name"),
    "ovs_datapath_type": text(r"system|netdev", "a datapath type"),
}

Fetch = Callable[[str], str]
"""Takes a URL; returns "" when it answers, else the reason why not."""


@dataclass(frozen=True)
class Context:
    inventory: Inventory
    roles: role_specs.Roles
    fetch: Fetch
    today: str

    def shape(self, shape: Shape, name: str, host: str = "") -> tuple[Any, list[Violation]]:
        """Parse variable `name`; return (parsed or None, violations). Unset and templated give None."""
        found = self.inventory.find(name, host)
        if found is None or "{{" in str(found[1]):
            return None, []
        faults: Faults = []
        parsed = shape(found[1], name, faults)
        wrong = [found[0].violation((name,), found[1], fault.reason, fault.remedy) for fault in faults]
        return (None if parsed is BAD else parsed), wrong


def check(project: Path, folder: Path, decrypt: site_model.Decrypt, fetch: Fetch) -> list[Violation]:
    """Return every violation of the inventory in `folder`, judged by the roles of `project`, by file."""
    inventory = site_model.load(folder, decrypt, project)
    context = Context(inventory, role_specs.load(project), fetch, date.today().isoformat())
    found = list(inventory.faults)
    for rule in RULES:
        found += rule(context)
    return sorted(set(found))


def groups(context: Context) -> Iterator[Violation]:
    """Groups are those the playbooks know, and every host is in one that has a role to play."""
    inventory = context.inventory
    for group in sorted(inventory.groups.keys() - GROUPS):
        yield _at(
            context, _path_of(inventory, group), f"no playbook knows a group {group}", _near(group, GROUPS)
        )
    for host, member_of in sorted(inventory.hosts.items()):
        if not member_of & ROLE_GROUPS:
            remedy = f"put it in {', '.join(sorted(ROLE_GROUPS))}"
            yield _at(context, _path_of(inventory, host), f"host {host} is in no known group", remedy)
    if inventory.hosts and not inventory.members("control"):
        yield _at(context, (), "no host is in group control", "put at least one there")


def keys(context: Context) -> Iterator[Violation]:
    """Every variable is one that a role, or the site itself, has."""
    known = context.roles.specs.keys() | OTHER_KEYS
    for source in context.inventory.sources:
        for key, value in source.variables.items():
            if key in known or str(key).startswith(FREE_PREFIXES) or _is_intent(context, key):
                continue
            yield source.violation((key,), value, "unknown variable", _near(str(key), known))


def types(context: Context) -> Iterator[Violation]:
    """Values have the type, the choices and the keys that their role declares."""
    for source in context.inventory.sources:
        for key, value in source.variables.items():
            spec = context.roles.specs.get(key)
            for path, part, reason, remedy in role_specs.faults(spec, value) if spec else ():
                shown = None if spec.get("no_log") else part
                yield source.violation((key, *path), shown, reason, remedy)


def site_variables(context: Context) -> Iterator[Violation]:
    """What has no default is given, and the site's names and addresses are well formed."""
    for name, role in sorted(context.roles.mandatory.items()):
        if name.startswith("site_") and context.inventory.find(name) is None:
            yield _missing(context, name, f"is missing (role {role} has no default for it)", f"add `{name}:`")
    for name, shape in SITE_SHAPES.items():
        yield from context.shape(shape, name)[1]


def addresses(context: Context) -> Iterator[Violation]:
    """Hosts have their addresses; management addresses are in their network; nothing is given out twice."""
    inventory = context.inventory
    network, _wrong = context.shape(PREFIX[4], "site_management_cidr")
    holders: dict[Any, str] = {}
    wanted = [("", name, network) for name in ("site_internal_vip", "site_public_vip")]
    for host in inventory.hosts:
        wanted.append((host, "ansible_host", network))
        if any(host in inventory.members(group) for group in TUNNEL_GROUPS) or inventory.find(
            "tunnel_address", host
        ):
            wanted.append((host, "tunnel_address", None))
    for host, name, within in wanted:
        found = inventory.find(name, host)
        if found is None:
            if host:
                reason, remedy = f"host {host} has no {name}", f"add `{name}:` to it"
                yield _at(context, _path_of(inventory, host), reason, remedy)
            continue
        source, value = found
        address, wrong = context.shape(ADDRESS[4], name, host)
        yield from wrong if host else ()
        if address is None:
            continue
        if within is not None and address not in within:
            yield source.violation(
                (name,), value, f"is outside of {within}", "use an address of site_management_cidr"
            )
        holder = f"{name} of {host}" if host else name
        if address in holders:
            yield source.violation((name,), value, f"is also {holders[address]}", "give each its own address")
        holders.setdefault(address, holder)


def images(context: Context) -> Iterator[Violation]:
    """A controller serves the images. One of several that has them alone is a single point of failure."""
    inventory = context.inventory
    control = [host for host, member_of in inventory.hosts.items() if "control" in member_of]
    named = inventory.find("site_image_host")
    if named and named[1] not in control and "{{" not in str(named[1]):
        yield named[0].violation(
            ("site_image_host",), named[1], "is no host of group control", f"use one of {', '.join(control)}"
        )
    elif len(control) > 1 and not inventory.value("site_image_store_shared"):
        holder = named[1] if named else control[0]
        reason = f"{holder} alone has the images: while it is down, no image is read and no guest is made"
        remedy = "mount a shared file system at glance_directory of every controller, set site_image_store_shared: true"
        found = (
            named[0].violation(("site_image_host",), holder, reason, remedy)
            if named
            else _at(context, _path_of(inventory, "control"), reason, remedy)
        )
        yield replace(found, severity="warning")


def secret_names(context: Context) -> Iterator[Violation]:
    """The site has every secret that its services and its RIE sessions need, each a text."""
    found = context.inventory.find("secrets")
    remedy = f"socle secrets init -i {context.inventory.folder.name}"
    required = secrets.required(context.inventory.value("rie_tenants"))
    if found is None:
        if not any(fault.file.endswith("secrets.yml") for fault in context.inventory.faults):
            file = f"{context.inventory.label}/group_vars/all/secrets.yml"
            yield Violation(file, 1, "secrets", "", "there are no secrets", remedy)
        return
    source, held = found
    if not isinstance(held, dict):
        yield source.violation(("secrets",), None, "is not a mapping of names to secrets", remedy)
        return
    for name in sorted(required.keys() - held.keys()):
        yield source.violation(("secrets", name), None, "is missing", remedy)
    for name, value in held.items():
        if not isinstance(value, str) or not value:
            yield source.violation(("secrets", name), None, "is not a text", "write it in quotes")
    if not source.secret and Path(source.file).name == "secrets.yml":
        yield source.violation(("secrets",), None, "is not encrypted", f"ansible-vault encrypt {source.file}")


def authority(context: Context) -> Iterator[Violation]:
    """The authority that the site already has can sign with the secrets at hand."""
    held = context.inventory.value("secrets")
    passphrase = held.get("pki_ca_passphrase") if isinstance(held, dict) else None
    written = context.inventory.value("pki_directory")
    if not isinstance(passphrase, str) or "{{" in str(written):
        return
    label = str(written or f"{context.inventory.label}/pki")
    folder = Path(written) if written else context.inventory.folder / "pki"
    for fault in site_authority.faults(folder, passphrase, datetime.now(UTC)):
        yield Violation(f"{label}/{fault.file}", 1, "", "", fault.reason, fault.remedy)


def mirror(context: Context) -> Iterator[Violation]:
    """The package mirror answers for the suite that the nodes install."""
    written, default = (
        context.inventory.find("base_mirror"),
        context.roles.defaults.get("base_mirror"),
    )
    url = str(written[1] if written else default[2] if default else "")
    suite = (
        context.inventory.value("base_suite") or context.roles.defaults.get("base_suite", ("",))[-1]
    )
    if not re.match(r"https?://", url) or "{{" in f"{url}{suite}":
        return
    if why := context.fetch(f"{url.rstrip('/')}/dists/{suite}/InRelease"):
        reason, remedy = f"does not answer: {why}", "set it to a mirror that can be reached from here"
        if written:
            yield written[0].violation(("base_mirror",), url, reason, remedy)
        else:
            yield Violation(*default[:2], "base_mirror", url, reason, remedy)


def intent(context: Context) -> Iterator[Violation]:
    """The RIE intent, judged by the engine that plans it. Every deployment wires, so no site is without."""
    from . import l3vpn

    inventory = context.inventory
    written = {
        key: (source, value)
        for source in inventory.sources
        for key, value in source.variables.items()
        if _is_intent(context, key)
    }
    held = inventory.value("secrets")
    site = {
        "gateways": inventory.members("gateway"),
        "reserved": _reserved(context),
        "secrets": sorted(held) if isinstance(held, dict) else None,
        "allow_documentation": False,
        "today": context.today,
    }
    values = {key: value for key, (_source, value) in written.items()}
    for fault in l3vpn.plan(values, inventory.ledger.variables, site=site).violations:
        path = site_model.undotted(fault.path)
        if path[:1] == ("ledger",):
            yield inventory.ledger.violation(path[1:], fault.value, fault.reason, fault.remedy)
        elif path[:1] and path[0] in written:
            yield written[path[0]][0].violation(path, fault.value, fault.reason, fault.remedy)
        elif written:
            source, _value = next(iter(written.values()))
            yield source.violation(path, fault.value, fault.reason, fault.remedy)
        else:
            yield _missing(context, fault.path, fault.reason, fault.remedy, "rie.yml")


def _reserved(context: Context) -> dict[str, list[str]]:
    """Prefixes of the site itself, which no tenant may use."""
    reserved: dict[str, list[str]] = defaultdict(list)
    network, _wrong = context.shape(PREFIX[4], "site_management_cidr")
    if network is not None:
        reserved["the management network"].append(str(network))
    for host in context.inventory.hosts:
        address, _wrong = context.shape(ADDRESS[4], "tunnel_address", host)
        if address is not None:
            reserved["the tunnel network"].append(str(ipaddress.ip_network(address)))
    return dict(reserved)


def _is_intent(context: Context, key: Any) -> bool:
    """The intent's keys are known to its engine, which refuses others; a role's keys are that role's."""
    return str(key).startswith("rie_") and key not in context.roles.specs


def _path_of(inventory: Inventory, name: str) -> yaml_lines.Path:
    """Where hosts.yml has the host or group `name`."""
    return min(
        (path for path in inventory.listing.document.lines if path[-1:] == (name,)), key=len, default=()
    )


def _at(context: Context, path: yaml_lines.Path, reason: str, remedy: str) -> Violation:
    return context.inventory.listing.violation(path, None, reason, remedy)


def _missing(context: Context, name: str, reason: str, remedy: str, file: str = "site.yml") -> Violation:
    return Violation(f"{context.inventory.label}/group_vars/all/{file}", 1, name, "", reason, remedy)


def _near(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(map(str, known)), 1, 0.75)
    return f"did you mean {near[0]}?" if near else "remove it, or correct its name"


RULES = (groups, keys, types, site_variables, addresses, images, secret_names, authority, mirror, intent)
