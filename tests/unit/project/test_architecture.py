# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The guides for developers name files, packages and make targets that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GUIDES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md")
PLACEHOLDERS = {"ROLE": "placement", "SCENARIO": "rie"}
"""Placeholders of the guides, and a name to test for each."""


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the two cells of each row of the table with this heading."""
    table = ARCHITECTURE.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]
    found = [(first, second) for first, second in cells]
    assert found, heading
    return found


def exists(path: str) -> bool:
    for word, name in PLACEHOLDERS.items():
        path = path.replace(word, name)
    return (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).exists()


def test_the_table_of_changes_names_files_that_exist():
    table = rows("to change | open")
    paths = [path for _, cell in table for path in re.findall(r"`([^`]+)`", cell)]
    assert len(table) >= 20
    assert len(paths) >= len(table)
    assert [path for path in paths if not exists(path)] == []


@pytest.mark.parametrize("parent", ["module_utils", "plugin_utils"])
def test_every_package_is_described(parent: str) -> None:
    described = [cell.strip("`") for cell, _ in rows(f"package of `plugins/{parent}/` | holds")]
    assert described == sorted({path.parent.name for path in (ROOT / "plugins" / parent).glob("*/*.py")})


def test_every_module_that_is_described_exists():
    table = rows("module | in one call, for one node or one site")
    modules = [name for cell, _ in table for name in re.findall(r"`(\w+)`", cell)]
    assert [name for name in modules if not exists(f"plugins/modules/{name}.py")] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_make_target_of_the_guides_exists(guide: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / guide).read_text(encoding="utf-8")
    named = re.findall(r"(?:^ {4}(?:.*&& )?|`)(?:nice -n \d+ )?make ([a-z-]+)", text, re.MULTILINE)
    assert named
    assert [name for name in named if name not in targets] == []


def test_the_paths_of_the_contributors_guide_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = "docs|inventories|molecule|playbooks|plugins|roles|scripts|socle|tests"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    assert len(paths) >= 20
    assert [path for path in paths if "NAME" not in path and not exists(path)] == []
