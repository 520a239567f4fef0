# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Make `ansible_collections.cloudwatt.socle` importable: this checkout, linked under .ansible/collections."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".ansible" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "cloudwatt" / "socle"

if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(ROOT)
sys.path.insert(0, str(COLLECTIONS))


@pytest.fixture
def root() -> Path:
    return ROOT
