# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The operator's guide: its reference is current, and its links are valid."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re

import pytest
import yaml

from socle.project import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def program():
    loader = importlib.machinery.SourceFileLoader("docs", str(ROOT / "scripts" / "docs"))
    spec = importlib.util.spec_from_loader("docs", loader)
    assert spec
    program = importlib.util.module_from_spec(spec)
    loader.exec_module(program)
    return program


def test_the_reference_of_roles_is_current(program):
    assert program.TARGET.read_text() == program.render(ROOT / "roles"), "run `make docs`"


def test_the_schema_of_the_intent_is_current(program):
    assert program.SCHEMA.read_text() == program.render_schema(), "run `make docs`"


def test_the_checks_of_the_security_guide_are_current(program):
    assert program.SECURITY_GUIDE.read_text() == program.render_security_guide(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)[)#]", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_navigation_of_the_site():
    index = (ROOT / "docs" / "site" / "index.md").read_text()
    listed = set(re.findall(r"^(?:.+ <)?([\w/-]+)>?$", index, re.MULTILINE))
    pages = [page for page in PAGES if page.name != "README.md" and page.parent.name != "site"]
    assert [name for page in pages if (name := str(page.relative_to(ROOT).with_suffix(""))) not in listed] == []


def documentation():
    """Yield the documentation of every module, plugin and role, by file."""
    for path in sorted((ROOT / "plugins").glob("*/*.py")):
        for block in re.findall(
            r'^(?:DOCUMENTATION|RETURN) = r?"""\n(.*?)"""', path.read_text(), re.MULTILINE | re.DOTALL
        ):
            yield path, yaml.safe_load(block)
    for path in [*sorted((ROOT / "plugins").glob("*/*.yml")), *sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))]:
        yield path, yaml.safe_load(path.read_text())


def empty(value, where=()):
    """Yield the paths of keys without a value: a comma in a flow mapping turns the rest of a sentence into a key."""
    if value is None and where[-1] not in ("default", "_input", "EXAMPLES"):
        yield ".".join(where)
    for key, below in value.items() if isinstance(value, dict) else ():
        yield from empty(below, (*where, str(key)))


def test_no_text_of_the_documentation_is_cut_at_a_comma():
    assert [(path.name, where) for path, block in documentation() for where in empty(block)] == []


def test_every_attribute_and_entry_point_is_described():
    things = [
        (path, name, thing)
        for path, block in documentation()
        for name, thing in {**block.get("attributes", {}), **block.get("argument_specs", {})}.items()
    ]
    assert len(things) > 80
    assert [(str(path), name) for path, name, thing in things if not thing.get("description")] == []
