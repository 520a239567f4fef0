# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The operator's guide: its reference is current, and its links lead somewhere."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re

import pytest

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
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
