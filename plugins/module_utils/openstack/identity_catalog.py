# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Engine of ``identity_catalog``: Keystone's regions, domains, projects, roles, users, services and endpoints.

Pure: :func:`read` takes the API's lists, :func:`plan` returns steps. A step refers by :class:`Ref` to objects that an
earlier step creates, so a plan can be made and shown before any object exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

STAGES = (
    ("region", "domain", "project", "role", "service"),
    ("user", "domain_user"),
    ("endpoint", "assignment", "domain_assignment"),
)
"""Kinds that depend on earlier stages only: the steps of a stage can run in parallel."""

Key = Any
"""Name of a domain, project, role or user; type of a service; (type, interface); (user, project or domain, role)."""
USERS = ("user", "domain_user")
"""Kinds that are users in the API: those of the domain of the call, and administrators of further domains."""
DOMAIN_ADMINISTRATOR = "admin"
"""Role of an administrator on its domain."""


class CatalogError(ValueError):
    """Options that contradict each other, or a list that Keystone truncated."""


@dataclass(frozen=True)
class Ref:
    """The id of an object, known once it exists."""

    kind: str
    key: Key


@dataclass(frozen=True)
class Step:
    """``verb``: create, update or delete. ``fields`` may contain a password: show only ``text``."""

    verb: str
    kind: str
    key: Key
    fields: Mapping[str, Any]
    text: str


Objects = Mapping[str, Mapping[Key, Mapping[str, Any]]]
"""Kind to key to fields. Live objects have their ``id`` in the fields."""


@dataclass(frozen=True)
class Wanted:
    objects: Objects
    assignments: frozenset[tuple[str, str, str]] = frozenset()
    passwords: Mapping[str, str] = field(default_factory=dict)
    """By the name of the user, including users of another domain."""
    domain_assignments: frozenset[tuple[str, str, str]] = frozenset()


def lists(region: str, domain: str, administrators: Iterable[str] = ()) -> dict[str, str]:
    """Return kind to the path of its only list request, with one more for each of the domains' ``administrators``."""
    return {
        "domain": "/domains",
        **{f"domain_user {name}": f"/users?name={quote(name, safe='')}" for name in administrators},
        "region": "/regions",
        "project": f"/projects?domain_id={domain}",
        "role": "/roles",
        "user": f"/users?domain_id={domain}",
        "service": "/services",
        "endpoint": f"/endpoints?region_id={region}",
        "role_assignment": "/role_assignments",
    }


def wanted(options: Mapping[str, Any]) -> Wanted:
    """Return the module's options as objects; all contradictions are reported at once."""
    region, domain, faults = options["region"], options["domain_id"], []
    objects: dict[str, dict[Key, dict[str, Any]]] = {kind: {} for stage in STAGES for kind in stage}

    def add(kind: str, key: Key, fields: Mapping[str, Any]) -> None:
        if key in objects[kind]:
            faults.append(f"{kind} {_show(key)} is given twice")
        objects[kind][key] = {name: value for name, value in fields.items() if value is not None}

    add("region", region, {"id": region})
    for item in options["projects"]:
        fields = {"name": item["name"], "description": item.get("description")}
        add("project", item["name"], {**fields, "domain_id": domain, "enabled": True})
    assignments = set()
    for item in options["users"]:
        fields = {"name": item["name"], "description": item.get("description")}
        add("user", item["name"], {**fields, "domain_id": domain, "enabled": True})
        if item.get("roles") and not item.get("project"):
            faults.append(f"user {item['name']}: roles without a project")
        assignments |= {(item["name"], item["project"], role) for role in item.get("roles") or ()}
    assignments |= {(item["user"], item["project"], item["role"]) for item in options.get("assignments", ())}
    domain_assignments = set()
    for item in options.get("domains", ()):
        fields = {"name": item["name"], "description": item.get("description")}
        add("domain", item["name"], {**fields, "enabled": True})
        if item["administrator"] in objects["user"]:
            faults.append(f"domain {item['name']}: its administrator {item['administrator']} is also a user")
        where = {"name": item["administrator"], "domain_id": Ref("domain", item["name"])}
        add("domain_user", item["administrator"], {**where, "enabled": True})
        domain_assignments.add((item["administrator"], item["name"], DOMAIN_ADMINISTRATOR))
    named = sorted(role for _, _, role in assignments | domain_assignments)
    for role in dict.fromkeys([*options["roles"], *named]):
        add("role", role, {"name": role})
    for item in options["services"]:
        fields = {"name": item["name"], "type": item["type"], "description": item.get("description")}
        add("service", item["type"], {**fields, "enabled": True})
        for interface, url in (item.get("endpoints") or {}).items():
            if interface not in ("public", "internal", "admin"):
                faults.append(f"service {item['type']}: {interface!r} is not public, internal or admin")
            where = {"region_id": region, "interface": interface, "service_id": Ref("service", item["type"])}
            add("endpoint", (item["type"], interface), {**where, "url": url, "enabled": True})
    if faults:
        raise CatalogError("; ".join(faults))
    passwords = {item["name"]: item["password"] for item in options["users"]}
    passwords |= {item["administrator"]: item["password"] for item in options.get("domains", ())}
    return Wanted(objects, frozenset(assignments), passwords, frozenset(domain_assignments))


@dataclass(frozen=True)
class Live:
    objects: Objects = field(default_factory=dict)
    assignments: frozenset[tuple[str, str, str]] = frozenset()
    domain_assignments: frozenset[tuple[str, str, str]] = frozenset()


def read(answers: Mapping[str, Mapping[str, Any]]) -> Live:
    """Return the state from the answers to the requests of :func:`lists`."""
    if cut := sorted(kind for kind, body in answers.items() if body.get("truncated")):
        raise CatalogError(f"Keystone cuts its lists of {', '.join(cut)} short: raise list_limit")
    raw = {kind: body[f"{'user' if kind.startswith('domain_user ') else kind}s"] for kind, body in answers.items()}
    types = {item["id"]: item["type"] for item in raw["service"]}
    objects: dict[str, dict[Key, Mapping[str, Any]]] = {
        "region": {item["id"]: item for item in raw["region"]},
        "service": {item["type"]: item for item in raw["service"]},
        "endpoint": {
            (types.get(item["service_id"], ""), item["interface"]): {
                **item,
                "service_id": Ref("service", types.get(item["service_id"], "")),
            }
            for item in raw["endpoint"]
        },
        **{kind: {item["name"]: item for item in raw[kind]} for kind in ("project", "role", "user")},
        "domain": {item["name"]: item for item in raw.get("domain", ())},
    }
    domains = {item["id"]: name for name, item in objects["domain"].items()}
    administrators = [item for kind, items in raw.items() if kind.startswith("domain_user ") for item in items]
    ours = {item["id"] for item in objects["user"].values()}
    objects["domain_user"] = {
        item["name"]: {**item, "domain_id": Ref("domain", domains.get(item["domain_id"], ""))}
        for item in administrators
        if item["id"] not in ours
    }
    named = ("project", "role", "user", "domain", "domain_user")
    names = {item["id"]: name for kind in named for name, item in objects[kind].items()}
    assignments: dict[str, set[tuple[str, str, str]]] = {"project": set(), "domain": set()}
    for item in raw["role_assignment"]:
        user, role = (item.get(kind, {}).get("id") for kind in ("user", "role"))
        for kind, found in assignments.items():
            scope = item["scope"].get(kind, {}).get("id")
            if all(name in names for name in (user, role, scope)) and "OS-INHERIT:inherited_to" not in item["scope"]:
                found.add((names[user], names[scope], names[role]))
    return Live(objects, frozenset(assignments["project"]), frozenset(assignments["domain"]))


def plan(want: Wanted, live: Live, stale: Iterable[str] = ()) -> list[Step]:
    """Return the steps in the order of application.

    Objects that are not wanted are left alone. If a wanted user should have roles on a project, its other
    roles there are removed. ``stale``: existing users whose password is not the wanted one.
    """
    old = set(stale)
    steps: list[Step] = []
    for stage in STAGES:
        for kind in stage:
            for key, fields in want.objects.get(kind, {}).items():
                secret = {"password": want.passwords[key]} if kind in USERS else {}
                present = live.objects.get(kind, {}).get(key)
                if present is None:
                    steps.append(Step("create", kind, key, {**fields, **secret}, f"create {_word(kind)} {_show(key)}"))
                    continue
                differ = {name: value for name, value in fields.items() if present.get(name) != value}
                if key in old and kind in USERS:
                    differ.update(secret)
                if differ:
                    text = f"update {_word(kind)} {_show(key)}: {', '.join(differ)}"
                    steps.append(Step("update", kind, key, differ, text))
    steps += _assign("assignment", "project", want.assignments, live.assignments)
    return steps + _assign("domain_assignment", "domain", want.domain_assignments, live.domain_assignments)


Assignments = frozenset[tuple[str, str, str]]


def _assign(kind: str, scope: str, want: Assignments, live: Assignments) -> list[Step]:
    owned = {(user, where) for user, where, _ in want}
    excess = {item for item in live - want if item[:2] in owned}
    return [
        Step(verb, kind, item, {}, f"{word} {item[0]} role {item[2]} on {scope} {item[1]}")
        for verb, word, items in (("create", "give", want - live), ("delete", "take from", excess))
        for item in sorted(items)
    ]


def _word(kind: str) -> str:
    return "user" if kind in USERS else kind


def _show(key: Key) -> str:
    return "/".join(key) if isinstance(key, tuple) else str(key)


def stages(steps: Sequence[Step]) -> list[list[Step]]:
    return [[step for step in steps if step.kind in kinds] for kinds in STAGES]


def request(step: Step, ids: Mapping[tuple[str, Key], str]) -> tuple[str, str, Any]:
    """Return method, path and body of a step, with the ids of all objects that exist by now."""
    if step.kind in ("assignment", "domain_assignment"):
        user, scope, role = step.key
        method = "PUT" if step.verb == "create" else "DELETE"
        kind, of = ("project", "user") if step.kind == "assignment" else ("domain", "domain_user")
        return method, f"/{kind}s/{ids[kind, scope]}/users/{ids[of, user]}/roles/{ids['role', role]}", None
    fields = {
        name: ids[value.kind, value.key] if isinstance(value, Ref) else value for name, value in step.fields.items()
    }
    if step.verb == "create":
        return "POST", f"/{_word(step.kind)}s", {_word(step.kind): fields}
    return "PATCH", f"/{_word(step.kind)}s/{ids[step.kind, step.key]}", {_word(step.kind): fields}


def created(step: Step, answer: Mapping[str, Any]) -> str:
    """Return the id of the object that a step has created, from the answer to its request."""
    return str(answer[_word(step.kind)]["id"])
