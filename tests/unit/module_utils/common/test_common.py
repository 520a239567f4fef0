# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Helpers that engines and modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import files, results


@pytest.fixture
def hardened() -> Iterator[None]:
    """The umask of a session on a hardened node."""
    former = os.umask(0o077)
    yield
    os.umask(former)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.rglob("*")}


@pytest.mark.usefixtures("hardened")
def test_directories_have_their_mode_whatever_the_umask(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "parent" / "private", 0o750)
    files.make_directory(f"{tmp_path}/public/")
    assert modes(tmp_path) == {"parent": "0o755", "private": "0o750", "public": "0o755"}
    files.make_directory(tmp_path / "public", 0o700)  # the mode of an existing directory is not changed
    assert modes(tmp_path)["public"] == "0o755"


@pytest.mark.usefixtures("hardened")
def test_parents_of_a_file_can_be_entered(tmp_path: Path) -> None:
    files.write(tmp_path / "lib" / "part" / "programme", "x", owner=None)
    assert modes(tmp_path) == {"lib": "0o755", "part": "0o755", "programme": "0o644"}


def test_a_result_holds_neither_what_is_large_nor_what_is_secret() -> None:
    options = {"vrfs": [{"name": "a"}], "passwords": {"a": "b"}, "prune": True}
    assert results.told(options, "vrfs", "passwords") == {"module_args": {"prune": True}}
