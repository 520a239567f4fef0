# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Every fault of an intent is found with its path, without any change and without an exception."""

from __future__ import annotations

import ast
import copy
import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jsonschema
import pytest
import yaml
from bad_intents import BAD, GLOBAL, LOCAL, STRUCTURAL, Bad, at, in_vrf, vrf_path
from hypothesis import given, settings
from hypothesis import strategies as st
from rie_intents import SITE, full

from ansible_collections.cloudwatt.socle.plugins.action import rie_plan
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.common import shapes
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import (
    exchange_rules,
    link_rules,
    planner,
    prefix_rules,
)
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import intent as intent_model
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import ledger as ledger_model
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import rules as intent_rules

ROOT = Path(__file__).parents[4]
SCHEMA = intent_model.json_schema()
ENGINE = (shapes, intent_model, intent_rules, exchange_rules, link_rules, prefix_rules, ledger_model, planner)
# Faults of a single value. None of them hides another fault, as a missing mapping would.
INDEPENDENT = [
    (where, bad)
    for where, bad in STRUCTURAL
    if not bad.name.endswith(("no mapping", "no list")) and ": without " not in bad.name
]


def found(result: planner.PlanResult, path: str, reason: str) -> bool:
    return any(fault.path == path and reason in fault.reason for fault in result.violations)


def said(result: planner.PlanResult) -> str:
    return "\n".join(map(str, result.violations)) or "nothing"


def test_what_is_spoilt_here_is_valid_before() -> None:
    assert said(planner.plan(full(), {}, site=SITE)) == "nothing"
    assert len(BAD) >= 100
    assert len({bad.name for bad in BAD}) == len(BAD)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_intent_is_refused_where_it_is_bad(bad: Bad) -> None:
    source, ledger, site = bad.arguments()
    before = copy.deepcopy(ledger)
    result = planner.plan(source, ledger, site=site)
    assert found(result, bad.path, bad.reason), said(result)
    assert all(fault.reason and fault.remedy for fault in result.violations)
    assert (result.plan, result.ledger) == ({}, before)


def places() -> Iterator[tuple[str, int, int]]:
    """Yield (module, first line, last line) of each place in the engine that reports a fault."""
    for module in ENGINE:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Violation", "_refuse"):
                yield module.__name__, node.lineno, node.end_lineno or node.lineno


def test_every_rule_has_a_bad_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule without a bad intent would be untested."""
    reached: set[tuple[str, int]] = set()
    make = shapes.Violation.__init__

    def noted(self: shapes.Violation, *args: Any) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame and frame.f_globals["__name__"] in {module.__name__ for module in ENGINE}:
            reached.add((frame.f_globals["__name__"], frame.f_lineno))
            frame = frame.f_back
        make(self, *args)

    monkeypatch.setattr(shapes.Violation, "__init__", noted)
    reasons = set()
    for bad in BAD:
        source, ledger, site = bad.arguments()
        reasons |= {fault.reason for fault in planner.plan(source, ledger, site=site).violations}
    unreached = [
        f"{module.rpartition('.')[2]}.py:{first}"
        for module, first, last in places()
        if not any((module, line) in reached for line in range(first, last + 1))
    ]
    assert unreached == []
    raised = [
        node.exc.args[0]
        for node in ast.walk(ast.parse(Path(ledger_model.__file__).read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) == "ValueError"
    ]
    assert raised
    plain = {arg.value for arg in raised if isinstance(arg, ast.Constant)}
    assert plain <= reasons


def test_the_schema_takes_what_is_valid() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(full(), SCHEMA, cls=jsonschema.Draft7Validator)
    jsonschema.validate(full() | {"rie_cloud_prune": True}, SCHEMA, cls=jsonschema.Draft7Validator)


SHIPPED = sorted(ROOT.glob("inventories/*/group_vars/all/rie.yml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parts[-4])
def test_the_schema_takes_a_shipped_intent_that_names_it(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), SCHEMA, cls=jsonschema.Draft7Validator)
    [named] = re.findall(r"^# yaml-language-server: \$schema=(.+)$", path.read_text(), re.MULTILINE)
    assert (path.parent / named).resolve() == ROOT / "docs" / "reference" / "rie-intent.schema.json"


def test_the_schema_refuses_every_structural_fault() -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    missed = []
    for _where, bad in STRUCTURAL:
        source = full()
        bad.spoil(source)
        if validator.is_valid(source):
            missed.append(bad.name)
    assert missed == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(INDEPENDENT), unique_by=lambda item: item[0], max_size=8),
    # VRF 1 does not change: one of the faults is a prefix that overlaps its link.
    st.dictionaries(st.integers(2, 6), st.sampled_from(sorted(LOCAL)), max_size=5),
)
def test_k_faults_at_once_are_all_reported(structural: list[Any], local: dict[int, str]) -> None:
    """Structural faults are at the top and in VRF 0. Each other VRF breaks one rule."""
    source = full(7)
    expected = []
    for number, name in local.items():
        path, reason, spoil = LOCAL[name]
        in_vrf(number, spoil)(source)
        expected.append((f"{vrf_path(number)}.{path}", reason))
    # Without the pool or the AS number, rules about overlaps with them cannot be checked.
    if local:
        structural = [(where, bad) for where, bad in structural if where[0] == "rie_tenants"]
    for _where, bad in structural:
        bad.spoil(source)
        expected.append((bad.path, bad.reason))
    result = planner.plan(source, {}, site=SITE)
    assert [fault for fault in expected if not found(result, *fault)] == [], said(result)
    assert bool(result.violations) == bool(expected)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.dates()
    | st.sampled_from(["10.20.0.0/20", "fd20::/64", "64900:1", "v1", "gw1", "1-2", 65010, 4294967296]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.integers() | st.none() | st.sampled_from(["v4", "name", "gw1"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def every_place(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if where:
        yield where
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from every_place(inner, (*where, key))


LEDGER: Any = planner.plan(full(), {}, site=SITE).ledger | {
    "quarantine": {"vlan": {1999: {"owner": "v9/gw1", "until": "2026-12-01"}}}
}


def replaced(original: dict[str, Any], changes: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
    """Return a copy with replaced nodes, the deepest first, so that no path leads into a replaced node."""
    source = copy.deepcopy(original)
    for where, value in sorted(changes, key=lambda change: -len(change[0])):
        at(source, where[:-1])[where[-1]] = copy.deepcopy(value)
    return source


def changes_of(original: dict[str, Any]) -> Any:
    return st.lists(st.tuples(st.sampled_from(list(every_place(original))), anything), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(changes_of(full()), anything)
def test_no_value_anywhere_raises(changes: list[Any], key: Any) -> None:
    source = replaced(full(), changes) | {str(key): key}
    result = planner.plan(source, {}, site=SITE)
    assert result.violations
    assert all(isinstance(text, str) for fault in result.violations for text in fault.as_dict().values())
    without = replaced(full(), changes)
    if not jsonschema.Draft7Validator(SCHEMA).is_valid(without):
        assert planner.plan(without, {}, site=SITE).violations, "the schema refuses what planning takes"


@settings(max_examples=200, deadline=None)
@given(changes_of(LEDGER))
def test_no_value_anywhere_in_the_ledger_raises(changes: list[Any]) -> None:
    ledger = replaced(LEDGER, changes)
    before = copy.deepcopy(ledger)
    result = planner.plan(full(), ledger, site=SITE)
    assert bool(result.plan) != bool(result.violations)
    if result.violations:
        assert repr(result.ledger) == repr(before)
    else:
        assert ledger_model.check(result.ledger) == []


class Ran:
    """The result of a task, and the ledger file that it may have written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "allocations.yml"

    def __call__(self, source: Any, site: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
        options = {
            "intent": source,
            "ledger_path": str(self.path),
            "gateways": site["gateways"],
            "reserved": site["reserved"],
            "secret_names": site["secrets"],
            "allow_documentation": False,
            "today": site["today"],
        }
        return rie_plan.planned(options, check_mode)

    def state(self) -> tuple[bytes, int, list[str]]:
        return self.path.read_bytes(), self.path.stat().st_mtime_ns, os.listdir(self.path.parent)


@pytest.fixture
def module(tmp_path: Path) -> Ran:
    return Ran(tmp_path)


def test_the_module_writes_nothing_for_a_bad_intent_and_says_all(module: Ran) -> None:
    for bad in [*BAD[::5], *GLOBAL]:
        source, ledger, site = bad.arguments()
        module.path.write_text(rie_plan.render(ledger))
        os.utime(module.path, ns=(1, 1))
        before = module.state()
        result = module(source, site)
        assert module.state() == before, bad.name
        wanted = [fault.as_dict() for fault in planner.plan(source, ledger, site=site).violations]
        assert (result["failed"], result["violations"]) == (True, wanted), bad.name
        assert bad.path in result["msg"]


def test_the_module_writes_once_for_a_good_intent_and_not_when_only_asked(module: Ran) -> None:
    assert module(full(), SITE, check_mode=True)["changed"]
    assert not module.path.exists()
    assert module(full(), SITE)["changed"]
    os.utime(module.path, ns=(1, 1))
    before = module.state()
    assert not module(full(), SITE)["changed"]
    assert module.state() == before


UNREADABLE = "allocations.yml: cannot be read: "
NO_LEDGER = "is not an allocation ledger of version 1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", UNREADABLE),
        (b"a: [", UNREADABLE),
        (b"a: 2026-13-45", UNREADABLE),
        (b"[]\nb", UNREADABLE),
        (b"just text", NO_LEDGER),
        (b"- 1", NO_LEDGER),
    ],
)
def test_a_ledger_file_that_is_none_is_left_alone(module: Ran, content: bytes, said: str) -> None:
    module.path.write_bytes(content)
    before = module.state()
    result = module(full(), SITE)
    assert result["failed"]
    assert said in result["msg"]
    assert module.state() == before


def test_a_day_that_is_none_is_refused(module: Ran) -> None:
    assert module(full(), SITE | {"today": "2026-02-30"})["msg"].startswith("today: ")
    assert not module.path.exists()
