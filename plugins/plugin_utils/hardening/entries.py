# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The form of a file's entry for ``config_files``, and the complete files of folder templates."""

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
    """A file of text under the header; an empty ``comment`` leaves the header out."""
    head = f"{comment}{HEADER[1:]}" if comment else ""
    return {"path": path, "content": head + content}


def service_unit(name: str, description: str, kind: str, command: str, **more: Any) -> Entry:
    """A unit of ours that does a thing once, and again when what it reads has changed."""
    content = {
        "Unit": {"Description": description},
        "Service": {"Type": kind, "RemainAfterExit": True, "ExecStart": command, **more},
        "Install": {"WantedBy": "multi-user.target"},
    }
    return {"path": f"/etc/systemd/system/{name}.service", "format": "ini", "content": content}


def template(name: str, **values: object) -> str:
    """The text of a file of folder templates, with each ``@NAME@`` of ``values`` replaced."""
    text = _read(name)
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    return text


@cache
def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
