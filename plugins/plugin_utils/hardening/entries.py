# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Entries of files for ``config_files``, and complete files from the folder templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

HEADER = "# Managed by Socle: local changes are overwritten.\n"
TEMPLATES = Path(__file__).resolve().parent / "templates"
Entry = dict[str, Any]
Settings = Mapping[str, Any]


def text_file(path: str, content: str, comment: str = "#") -> Entry:
    """Return the entry of a text file below the header; an empty ``comment`` omits the header."""
    head = f"{comment}{HEADER[1:]}" if comment else ""
    return {"path": path, "content": head + content}


def service_unit(name: str, description: str, kind: str, command: str, **more: Any) -> Entry:
    """Return a unit of Socle that runs once, and again when the files that it reads have changed."""
    content = {
        "Unit": {"Description": description},
        "Service": {"Type": kind, "RemainAfterExit": True, "ExecStart": command, **more},
        "Install": {"WantedBy": "multi-user.target"},
    }
    return {"path": f"/etc/systemd/system/{name}.service", "format": "ini", "content": content}


def template(name: str, **values: object) -> str:
    """Return the text of a file of the folder templates, with each ``@NAME@`` of ``values`` replaced."""
    text = _read(name)
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    return text


@cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
