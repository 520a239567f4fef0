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
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ...module_utils.common import url_logins
from ..common import yaml_lines
from ..common.shapes import ADDRESS, BAD, PREFIX, Faults, Shape
from ..common.yaml_lines import Document, Vaulted
from ..hardening import pam_stacks
from . import (
    ansible_variables,
    command_line,
    host_rules,
    name_limits,
    role_shapes,
    role_specs,
    secrets,
    site_authority,
    site_model,
    site_references,
)
from .command_line import CommandLine
from .host_rules import KNOWN_GROUPS, ROLE_GROUPS
from .site_model import Inventory, Source, Violation
from .typed_values import is_template

TUNNEL_GROUPS = ("compute", "gateway")
OTHER_KEYS = {"secrets", "tunnel_address", "ovs_datapath_type", "lab_binds", "lab_image", "lab_links"}
"""Variables that belong to the site or host rather than to one role."""
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
FREE_PREFIXES = ("ansible_", "molecule_", "socle_")

Fetch = Callable[[str], str]
"""Takes a URL; returns "" when it answers, else the reason why not."""
TELLING = re.compile(r"(pass(word|phrase)?|secret|token|connection|transport_url|cookie|seeds?|hash)$", re.IGNORECASE)
"""Keys whose values are never shown."""


@dataclass(frozen=True)
class Context:
    inventory: Inventory
    roles: role_specs.Roles
    fetch: Fetch
    today: str
    project: Path
    shapes: dict[str, role_shapes.Shape] = field(default_factory=dict)
    source_of: Callable[[str], str] = field(default=lambda address: "")
    """Takes an address; returns that of this machine from which it is reached, or ""."""
    shipped_waivers: tuple[tuple[str, set[str]], ...] = ()
    """Check and groups of the project's own waivers."""
    installs: bool = True
    """Whether the run installs packages."""

    def resolved(self, name: str, host: str = "") -> Any:
        """The value that a role will see: of the inventory, else the default. None if only a run can tell it."""
        found = self.inventory.find(name, host)
        if found is not None:
            value = found[1]
        elif self.inventory.view and name in self.roles.defaults:
            defaults = self.project / self.roles.defaults[name][0]
            value = self.inventory.view.derived(name, host or "localhost", defaults)
        else:
            value = self.roles.values.get(name)
        return None if role_shapes.is_template(value) else value

    def known(self, name: str, host: str = "") -> Any:
        """The value that a role will see, unless another rule refuses it for its shape: then None."""
        value, shape = self.resolved(name, host), self.shapes.get(name)
        return None if shape and any(shape.faults(value, self.names)) else value

    def default(self, name: str) -> Source | None:
        """Where the role that has variable `name` gives its default."""
        if name not in self.roles.defaults:
            return None
        file, line, _text = self.roles.defaults[name]
        return Source(file, Document({name: self.roles.values.get(name)}, {(): 1, (name,): line}))

    @cached_property
    def names(self) -> role_shapes.Names:
        groups = {*self.inventory.groups, *KNOWN_GROUPS}
        return role_shapes.Names(frozenset(self.inventory.hosts), frozenset(groups), frozenset(self.roles.names))

    def shape(self, shape: Shape, name: str, host: str = "") -> tuple[Any, list[Violation]]:
        """Parse variable `name`; return (parsed or None, violations). Unset and templated give None."""
        found = self.inventory.find(name, host)
        if found is None or "{{" in str(found[1]):
            return None, []
        faults: Faults = []
        parsed = shape(found[1], name, faults)
        wrong = [found[0].violation((name,), found[1], fault.reason, fault.remedy) for fault in faults]
        return (None if parsed is BAD else parsed), wrong


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
    for rule in (keys, types):
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


def keys(context: Context) -> Iterator[Violation]:
    """Every variable is one that a role, or the site itself, has."""
    for source in context.inventory.sources:
        known = _specs(context, source).keys() | OTHER_KEYS | _intent_keys()
        for key, value in source.variables.items():
            meant = ansible_variables.meant(str(key)) if str(key).startswith("ansible_") else ""
            if not meant and (key in known or str(key).startswith(FREE_PREFIXES)):
                continue
            shown = None if isinstance(value, list | dict) or TELLING.search(str(key)) else value
            remedy = f"did you mean {meant}?" if meant else _near(str(key), known)
            if source.generated and not difflib.get_close_matches(str(key), map(str, known), 1, 0.9):
                continue  # inventory plugins have variables of their own
            yield source.violation((key,), shown, "unknown variable", remedy)


def types(context: Context) -> Iterator[Violation]:
    """Values have the type that their role declares, and the shape that their reader takes."""
    for source in context.inventory.sources:
        specs = _specs(context, source)
        for key, value in source.variables.items():
            if isinstance(value, Vaulted) or _templated(value):
                continue
            for path, part, reason, remedy in _value_faults(context, specs.get(key), key, value):
                yield source.violation((key, *path), part, reason, remedy)


def _specs(context: Context, source: Source) -> dict[str, role_specs.Spec]:
    """What may be in a source: a command line may also have what is for one run alone."""
    extra = context.roles.entry_points if source.extra else {}
    return {**context.roles.specs, **extra}


def _value_faults(context: Context, spec: role_specs.Spec | None, key: Any, value: Any) -> Iterator[role_shapes.Fault]:
    """What the type and the shape of a variable refuse; the part is None where it may hold a secret."""
    shape = context.shapes.get(key)
    found = list(role_specs.faults(spec, value)) if spec else []
    secret = bool(spec and spec.get("no_log")) or bool(TELLING.search(str(key)))
    if shape and not found:
        found = list(shape.faults(value, context.names))
    for path, part, reason, remedy in found:
        hidden = secret or isinstance(part, list | dict) or any(TELLING.search(str(step)) for step in path)
        yield path, None if hidden else part, reason, remedy


def _templated(value: Any) -> bool:
    return "{{" in str(value) or "{%" in str(value)


def rendered_types(context: Context) -> Iterator[Violation]:
    """Values that are written as templates have the type and the shape of their variable once they are rendered."""
    for source in context.inventory.sources:
        specs = _specs(context, source)
        templated = {key: value for key, value in source.variables.items() if _templated(value)}
        for key in templated.keys() & (specs.keys() | context.shapes.keys()):
            told: set[tuple[Any, ...]] = set()
            for host in _hosts_of(context.inventory, source.scope):
                found = context.inventory.find(key, host)
                if found is None or found[0] is not source:
                    continue
                for path, _part, reason, remedy in _value_faults(context, specs.get(key), key, found[1]):
                    if (path, reason) in told:
                        continue
                    told.add((path, reason))
                    # The text is shown as it is written: what it is rendered to may hold a secret.
                    shown = templated[key] if isinstance(templated[key], str) else None
                    where = f", once it is rendered for {host}" if host else ", once it is rendered"
                    yield source.violation((key, *path), shown, f"{reason}{where}", remedy)


def _hosts_of(inventory: Inventory, scope: str) -> list[str]:
    """Hosts that a scope is for: the host, or one of each role in the group. "" stands for the site as a whole."""
    if scope in inventory.hosts:
        return [scope]
    members = set(inventory.members(scope))
    firsts = [next((host for host in inventory.members(group) if host in members), None) for group in ROLE_GROUPS]
    return [*([""] if scope == "all" else []), *(host for host in firsts if host is not None)]


def site_variables(context: Context) -> Iterator[Violation]:
    """What has no default is given."""
    for name, role in sorted(context.roles.mandatory.items()):
        if name.startswith("site_") and context.inventory.find(name) is None:
            yield _missing(context, name, f"is missing (role {role} has no default for it)", f"add `{name}:`")


def addresses(context: Context) -> Iterator[Violation]:
    """Hosts have their addresses; management addresses are in their network; nothing is given out twice."""
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
    """The authority that the site already has can sign with the secrets at hand."""
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
        else:
            found = Violation(*default[:2], "base_mirror", url, reason, remedy)
        # Traffic can be drained, keys rotated and reports written while no package can be had.
        yield found if context.installs else replace(found, severity="warning")


def logins(context: Context) -> Iterator[Violation]:
    """Logins in URLs, of mirrors and of proxies, are such as apt can be given."""
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
    """Every text of a structure that no template makes, with its path."""
    if isinstance(value, str) and not is_template(value):
        yield path, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from _texts(item, (*path, key))


def intent(context: Context) -> Iterator[Violation]:
    """The RIE intent, judged by the engine that plans it. Every deployment wires, so no site is without."""
    from ..rie import planner as l3vpn

    inventory = context.inventory
    written = {key: found for key in inventory.names() if key in _intent_keys() and (found := inventory.find(key))}
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


@cache
def _intent_keys() -> frozenset[str]:
    """The keys of the intent, as its engine has them."""
    from ..rie import intent as l3vpn_intent

    return frozenset(l3vpn_intent.json_schema()["properties"])


def _missing(context: Context, name: str, reason: str, remedy: str, file: str = "site.yml") -> Violation:
    return Violation(f"{context.inventory.label}/group_vars/all/{file}", 1, name, "", reason, remedy)


def _near(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(map(str, known)), 1, 0.75)
    return f"did you mean {near[0]}?" if near else "remove it, or correct its name"


RULES = (
    host_rules.groups,
    host_rules.apart,
    host_rules.home,
    host_rules.names,
    name_limits.limits,
    keys,
    types,
    rendered_types,
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
