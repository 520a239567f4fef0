# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong with an inventory, found at once and before a node is touched.

Each rule takes a `Context` of site_context and yields violations; none stops another. `check` runs them all.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ...module_utils.common import url_logins
from ..common import yaml_lines
from ..common.shapes import ADDRESS, PREFIX
from ..hardening import pam_stacks
from . import (
    command_line,
    host_rules,
    name_limits,
    role_shapes,
    role_specs,
    secrets,
    site_authority,
    site_model,
    site_references,
    variable_rules,
)
from .command_line import CommandLine
from .host_rules import ROLE_GROUPS
from .site_context import Context, Fetch
from .site_model import Inventory, Violation
from .typed_values import is_template
from .variable_rules import intent_keys

TUNNEL_GROUPS = ("compute", "gateway")
URLS = {
    "base_mirror",
    "base_security_mirror",
    "base_apt_options",
    "image_mirror",
    "image_security_mirror",
    "guest_image_mirror",
    "guest_image_security_mirror",
    "audit_content_mirror",
}
"""Variables with URLs of mirrors and proxies, which may have a login."""


def check(
    project: Path,
    folder: Path,
    decrypt: site_model.Decrypt,
    fetch: Fetch,
    view: site_model.View | None = None,
    given: CommandLine | None = None,
    source_of: Callable[[str], str] = lambda address: "",
    installs: bool = True,
) -> list[Violation]:
    """Return every violation of the inventory in `folder`, judged by the roles of `project`, by file.

    `view` is the inventory as Ansible sees it; None when Ansible cannot load it.
    What is given on the command line counts as a part of the inventory, and as the strongest.
    """
    given = given or CommandLine()
    inventory = site_model.load(folder, decrypt, project, view)
    extra, faults = command_line.sources(given, decrypt, project)
    inventory.sources += extra
    waivers = role_specs.read(project / "roles" / "site" / "files" / "waivers.yml")
    context = Context(
        inventory,
        role_specs.load(project),
        fetch,
        date.today().isoformat(),
        project,
        role_shapes.load(project),
        source_of,
        tuple((str(waiver["check"]), set(waiver["groups"])) for waiver in waivers),
        installs,
    )
    found = [*inventory.faults, *faults, *_command_line(given, project, inventory)]
    for rule in RULES:
        found += rule(context)
    return sorted({_masked(violation, inventory) for violation in found})


def check_command_line(
    project: Path,
    folder: Path,
    decrypt: site_model.Decrypt,
    given: CommandLine,
    view: site_model.View | None = None,
) -> list[Violation]:
    """Return the violations of the command line alone, for playbooks that make what an inventory describes."""
    inventory = site_model.load(folder, decrypt, project, view)
    inventory.sources, faults = command_line.sources(given, decrypt, project)
    context = Context(inventory, role_specs.load(project), lambda url: "", "", project, role_shapes.load(project))
    found = [*faults, *_command_line(given, project, inventory)]
    for rule in (variable_rules.keys, variable_rules.types):
        found += rule(context)
    return sorted({_masked(violation, inventory) for violation in found})


def _command_line(given: CommandLine, project: Path, inventory: Inventory) -> Iterator[Violation]:
    yield from command_line.check_tags(given, project)
    yield from command_line.check_limit(given, inventory.hosts, {*inventory.groups, *inventory.hosts})


def _masked(violation: Violation, inventory: Inventory) -> Violation:
    """The violation without logins of URLs, and without secrets, which a value may hold once it is rendered."""
    held = inventory.value("secrets")
    secret = (
        [text for text in held.values() if isinstance(text, str) and len(text) > 5] if isinstance(held, dict) else []
    )

    def hide(text: str) -> str:
        for word in secret:
            text = text.replace(word, "********")
        return re.sub(r"//[^/@\s]*@", "//********@", text)

    return replace(violation, value=hide(violation.value), reason=hide(violation.reason), remedy=hide(violation.remedy))


def site_variables(context: Context) -> Iterator[Violation]:
    """Variables without a default are set."""
    for name, role in sorted(context.roles.mandatory.items()):
        if name.startswith("site_") and context.inventory.find(name) is None:
            yield _missing(context, name, f"is missing (role {role} has no default for it)", f"add `{name}:`")


def addresses(context: Context) -> Iterator[Violation]:
    """Hosts have their addresses; management addresses are in their network; no address is used twice."""
    inventory = context.inventory
    network, _wrong = context.shape(PREFIX[4], "site_management_cidr")
    holders: dict[Any, str] = {}
    wanted = [("", name, network) for name in ("site_internal_vip", "site_public_vip")]
    for host, member_of in inventory.hosts.items():
        if not member_of & set(ROLE_GROUPS):
            continue
        wanted.append((host, "ansible_host", network))
        if any(host in inventory.members(group) for group in TUNNEL_GROUPS) or inventory.find("tunnel_address", host):
            wanted.append((host, "tunnel_address", None))
    for host, name, within in wanted:
        found = inventory.find(name, host)
        if found is None:
            if host:
                reason, remedy = f"host {host} has no {name}", f"add `{name}:` to it"
                yield inventory.at_host(host, reason, remedy)
            continue
        source, value = found
        address, _wrong = context.shape(ADDRESS[4], name, host)
        if address is None:
            continue
        if within is not None and address not in within:
            yield source.violation((name,), value, f"is outside of {within}", "use an address of site_management_cidr")
        holder = f"{name} of {host}" if host else name
        if address in holders:
            yield source.violation((name,), value, f"is also {holders[address]}", "give each its own address")
        holders.setdefault(address, holder)


def images(context: Context) -> Iterator[Violation]:
    """A controller serves the images. If only one of several controllers does, it is a single point of failure."""
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
            else inventory.at_group("control", reason, remedy)
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
        elif fault := secrets.fault(name, value, session_key=name in required.keys() - secrets.FIXED.keys()):
            yield source.violation(("secrets", name), None, *fault)
    if not source.secret and Path(source.file).name == "secrets.yml":
        yield source.violation(("secrets",), None, "is not encrypted", f"ansible-vault encrypt {source.file}")


def authority(context: Context) -> Iterator[Violation]:
    """The existing CA of the site can sign with the available secrets."""
    held = context.inventory.value("secrets")
    passphrase = held.get("pki_ca_passphrase") if isinstance(held, dict) else None
    written = context.inventory.value("pki_directory")
    if not isinstance(passphrase, str) or not isinstance(written, str | None) or "{{" in str(written):
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
    suite = context.inventory.value("base_suite") or context.roles.defaults.get("base_suite", ("",))[-1]
    if not re.match(r"https?://", url) or "{{" in f"{url}{suite}":
        return
    try:
        url_logins.login(url)
    except url_logins.LoginError:
        return  # rule `logins` says why
    if why := context.fetch(f"{url.rstrip('/')}/dists/{suite}/InRelease"):
        reason, remedy = f"does not answer: {why}", "set it to a mirror that can be reached from here"
        if written:
            found = written[0].violation(("base_mirror",), url, reason, remedy)
        elif default:
            found = Violation(default[0], default[1], "base_mirror", url, reason, remedy)
        else:
            return
        # Traffic can be drained, keys rotated and reports written while no package mirror answers.
        yield found if context.installs else replace(found, severity="warning")


def logins(context: Context) -> Iterator[Violation]:
    """Logins in the URLs of mirrors and proxies can be passed to apt."""
    for source in context.inventory.sources:
        for key, value in source.variables.items():
            if key not in context.roles.specs or key not in URLS:
                continue
            for path, url in _texts(value, (key,)):
                try:
                    url_logins.login(url)
                except url_logins.LoginError as fault:
                    yield source.violation(path, url, str(fault), "percent-encode it: http://user:p%40ss@mirror/debian")


def _texts(value: Any, path: yaml_lines.Path) -> Iterator[tuple[yaml_lines.Path, str]]:
    """Every text of a structure that contains no template, with its path."""
    if isinstance(value, str) and not is_template(value):
        yield path, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from _texts(item, (*path, key))


def intent(context: Context) -> Iterator[Violation]:
    """The RIE intent, checked by the engine that plans it. Every deployment wires, so every site has an intent."""
    from ..rie import planner

    inventory = context.inventory
    written = {key: found for key in inventory.names() if key in intent_keys() and (found := inventory.find(key))}
    held = inventory.value("secrets")
    site = {
        "gateways": inventory.members("gateway"),
        "reserved": _reserved(context),
        "secrets": sorted(held) if isinstance(held, dict) else None,
        "allow_documentation": False,
        "today": context.today,
    }
    values = {key: value for key, (_source, value) in written.items()}
    for fault in planner.plan(values, inventory.ledger.variables, site=site).violations:
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


def pam_lines(context: Context) -> Iterator[Violation]:
    """The site's PAM lines can become part of the stacks of a hardened node."""
    name = "hardening_pam_lines"
    for source in context.inventory.sources:
        value = source.variables.get(name)
        if not value or "{{" in str(value):
            continue
        try:
            pam_stacks.parse(value)
        except pam_stacks.PamError as error:
            for fault in error.faults:
                yield source.violation((name,), None, fault, "see docs/hardening.md, accounts from a directory")


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


def _missing(context: Context, name: str, reason: str, remedy: str, file: str = "site.yml") -> Violation:
    return Violation(f"{context.inventory.label}/group_vars/all/{file}", 1, name, "", reason, remedy)


RULES = (
    host_rules.groups,
    host_rules.apart,
    host_rules.home,
    host_rules.names,
    name_limits.limits,
    variable_rules.keys,
    variable_rules.types,
    variable_rules.rendered_types,
    site_variables,
    addresses,
    images,
    secret_names,
    authority,
    mirror,
    logins,
    intent,
    pam_lines,
    *site_references.RULES,
)
