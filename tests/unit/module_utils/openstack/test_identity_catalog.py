# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The identity catalogue with a simulated Keystone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import identity_catalog as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import ApiError
from ansible_collections.cloudwatt.socle.plugins.modules import identity_catalog as module


def options(**given_):
    empty: dict[str, list] = {"projects": [], "roles": [], "users": [], "services": [], "domains": []}
    return {"region": "lab", "domain_id": "default", **empty, **given_}


GLANCE = options(
    projects=[{"name": "service", "description": "Services"}],
    users=[{"name": "glance", "password": "Hunter2!", "project": "service", "roles": ["service"]}],
    services=[{"name": "glance", "type": "image", "endpoints": {"public": "https://p", "internal": "https://i"}}],
)


class FakeKeystone:
    """The behaviour of Keystone that the engine uses: lists, creation, changes and assignments."""

    def __init__(self):
        self.counter = itertools.count()
        kinds = ("region", "domain", "project", "role", "user", "service", "endpoint")
        self.kinds: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
        self.assigned = set()
        self.passwords = {}

    def answers(self, opts):
        found = {kind: {f"{kind}s": list(items.values())} for kind, items in self.kinds.items()}
        users = list(self.kinds["user"].values())
        found["user"] = {"users": [user for user in users if user["domain_id"] == opts["domain_id"]]}
        for name in [item["administrator"] for item in opts.get("domains", ())]:
            found[f"domain_user {name}"] = {"users": [user for user in users if user["name"] == name]}
        found["role_assignment"] = {
            "role_assignments": [
                {"user": {"id": user}, "role": {"id": role}, "scope": {kind: {"id": scope}}}
                for kind, scope, user, role in self.assigned
            ]
        }
        return found

    def request(self, method, path, body):
        parts = path.strip("/").split("/")
        if len(parts) == 6:
            kind, (scope, user, role) = parts[0].removesuffix("s"), parts[1::2]
            assert scope in self.kinds[kind]
            assert user in self.kinds["user"]
            assert role in self.kinds["role"]
            (self.assigned.add if method == "PUT" else self.assigned.discard)((kind, scope, user, role))
            return None
        kind = parts[0].removesuffix("s")
        fields = dict(body[kind])
        password = fields.pop("password", None)
        if method == "POST":
            fields.setdefault("id", f"{kind}-{next(self.counter)}")
            self.kinds[kind][fields["id"]] = fields
        else:
            self.kinds[kind][parts[1]].update(fields)
            fields = self.kinds[kind][parts[1]]
        if kind == "endpoint":
            assert fields["service_id"] in self.kinds["service"]
        if password:
            self.passwords[fields["name"]] = password
        return {kind: fields}

    def reconcile(self, opts):
        want = engine.wanted(opts)
        assert set(self.answers(opts)) == set(
            engine.lists("lab", "default", [x["administrator"] for x in opts["domains"]])
        )
        live = engine.read(self.answers(opts))
        stale = [
            name
            for name in want.passwords
            if (name in live.objects["user"] or name in live.objects["domain_user"])
            and self.passwords.get(name) != want.passwords[name]
        ]
        steps = engine.plan(want, live, stale)
        ids = {(kind, key): item["id"] for kind, items in live.objects.items() for key, item in items.items()}
        for step in itertools.chain.from_iterable(engine.stages(steps)):
            answer = self.request(*engine.request(step, ids))
            if step.verb == "create" and answer:
                ids[step.kind, step.key] = engine.created(step, answer)
        return [step.text for step in steps]


def test_from_nothing_and_then_nothing():
    keystone = FakeKeystone()
    assert keystone.reconcile(GLANCE) == [
        "create region lab",
        "create project service",
        "create role service",
        "create service image",
        "create user glance",
        "create endpoint image/public",
        "create endpoint image/internal",
        "give glance role service on project service",
    ]
    assert keystone.reconcile(GLANCE) == []


def test_only_what_differs_is_changed():
    keystone = FakeKeystone()
    keystone.reconcile(GLANCE)
    changed = options(
        projects=[{"name": "service", "description": "Others"}],
        users=[{**GLANCE["users"][0], "password": "changed!", "roles": ["reader"]}],
        services=[{"name": "glance", "type": "image", "endpoints": {"public": "https://q"}}],
    )
    assert keystone.reconcile(changed) == [
        "update project service: description",
        "create role reader",
        "update user glance: password",
        "update endpoint image/public: url",
        "give glance role reader on project service",
        "take from glance role service on project service",
    ]
    assert keystone.reconcile(changed) == []


STACKS = {"name": "heat", "administrator": "heat_domain_admin", "password": "Hunter3!", "description": "Stacks"}


def test_a_domain_has_an_administrator_of_its_own():
    keystone = FakeKeystone()
    assert keystone.reconcile(options(domains=[STACKS])) == [
        "create region lab",
        "create domain heat",
        "create role admin",
        "create user heat_domain_admin",
        "give heat_domain_admin role admin on domain heat",
    ]
    (user,) = keystone.kinds["user"].values()
    (domain,) = keystone.kinds["domain"].values()
    assert user["domain_id"] == domain["id"]
    assert keystone.reconcile(options(domains=[STACKS])) == []
    rotated = {**STACKS, "password": "Hunter4!"}
    assert keystone.reconcile(options(domains=[rotated])) == ["update user heat_domain_admin: password"]


def test_a_user_of_that_name_elsewhere_is_another_one():
    """The engine must not confuse the administrator of a domain with a user of the services' domain."""
    keystone = FakeKeystone()
    keystone.kinds["user"]["u1"] = {"id": "u1", "name": STACKS["administrator"], "domain_id": "default"}
    assert "create user heat_domain_admin" in keystone.reconcile(options(domains=[STACKS]))
    with pytest.raises(engine.CatalogError, match="its administrator glance is also a user"):
        engine.wanted({**GLANCE, "domains": [{**STACKS, "administrator": "glance"}]})


def test_no_secret_in_words():
    assert "Hunter2" not in " ".join(FakeKeystone().reconcile(GLANCE))


def test_contradictions_are_reported_together():
    with pytest.raises(engine.CatalogError) as fault:
        engine.wanted(
            options(
                projects=[{"name": "a"}, {"name": "a"}],
                users=[{"name": "u", "password": "x", "roles": ["r"], "project": None}],
                services=[{"name": "s", "type": "t", "endpoints": {"pubic": "x"}}],
            )
        )
    assert all(word in str(fault.value) for word in ("project a is given twice", "roles without", "'pubic'"))


def test_a_truncated_list_is_refused():
    answers = FakeKeystone().answers(GLANCE)
    answers["user"]["truncated"] = True
    with pytest.raises(engine.CatalogError, match="user"):
        engine.read(answers)


names = st.sampled_from("abc")
catalogs = st.builds(
    options,
    projects=st.just([{"name": "p"}, {"name": "q", "description": "Q"}]),
    users=st.lists(
        st.builds(
            lambda name, password, project, roles: {
                "name": name,
                "password": password,
                "project": project,
                "roles": roles,
            },
            names,
            st.sampled_from(["one", "two"]),
            st.sampled_from("pq"),
            st.lists(names, unique=True),
        ),
        unique_by=lambda item: item["name"],
    ),
    services=st.lists(
        st.builds(
            lambda type_, name, urls: {"name": name, "type": type_, "description": name, "endpoints": urls},
            names,
            names,
            st.dictionaries(st.sampled_from(["public", "internal"]), st.sampled_from(["u", "v"])),
        ),
        unique_by=lambda item: item["type"],
    ),
)


@given(st.lists(catalogs, min_size=1, max_size=3))
def test_whatever_was_there_one_run_settles_it(history):
    keystone = FakeKeystone()
    for catalog in history:
        keystone.reconcile(catalog)
    assert keystone.reconcile(history[-1]) == []
    for item in history[-1]["users"]:
        assert keystone.passwords[item["name"]] == item["password"]


@given(catalogs)
def test_before_anything_exists_the_plan_is_the_same_as_on_an_empty_keystone(catalog):
    forecast = [step.text for step in engine.plan(engine.wanted(catalog), engine.Live())]
    assert forecast == FakeKeystone().reconcile(catalog)


def test_a_user_has_roles_on_further_projects():
    keystone = FakeKeystone()
    keystone.reconcile(GLANCE)
    given = {"user": "glance", "project": "other", "role": "admin"}
    more = {**GLANCE, "projects": [{"name": "other"}], "assignments": [given]}
    assert keystone.reconcile(more) == [
        "create project other",
        "create role admin",
        "give glance role admin on project other",
    ]
    assert keystone.reconcile(more) == []


class Locked(module.Keystone):
    """A Keystone that accepts the administrator only after the recovery has run."""

    def __init__(self, door):
        self.door, self.waits = door, []

    def sign_in(self, wait: float = 0) -> str:
        self.waits.append(wait)
        if not self.door.exists():
            raise ApiError("refused", 401)
        return "token"


@pytest.fixture
def rotated(tmp_path, monkeypatch):
    """`rotated(check, recovery)`: the result of a sign-in with a rotated password, and whether the password was set."""
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    door = tmp_path / "door"

    def sign_in(check=False, recovery=("sh", "-c", f'test "$OS_BOOTSTRAP_PASSWORD" = new && touch {door}')):
        options = {"auth": {"username": "admin", "password": "new"}, "wait": 5, "recovery": list(recovery)}
        return module.enter(Locked(door), options, check), door.exists()

    return sign_in


def test_a_refused_administrator_gets_the_password_by_the_recovery(rotated):
    told = ["set the password of admin"]
    assert rotated(check=True) == (told, False)
    assert rotated() == (told, True)
    assert rotated() == ([], True)


@pytest.mark.parametrize(
    ("recovery", "told"), [((), "refused"), (("sh", "-c", "echo why; exit 3"), "ended with 3: why")]
)
def test_a_refusal_without_a_recovery_that_works_is_an_error(rotated, recovery, told):
    with pytest.raises(ApiError, match=told):
        rotated(recovery=recovery)
