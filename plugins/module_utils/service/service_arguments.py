# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The options of module ``node_service``."""

from __future__ import annotations

from typing import Any

from ..common.results import list_of
from ..database.client import OPTIONS
from .config_files import FORMATS
from .phases import PHASES

TEXT = {"type": "str"}
NAME = {"type": "str", "required": True}
PATH = {"type": "path", "required": True}


def owned(mode: str) -> dict[str, dict[str, Any]]:
    """Return the options of an entry that has a path, an owner and a mode."""
    return {
        "path": PATH,
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": mode},
    }


FILE: dict[str, dict[str, Any]] = {
    **owned("0644"),
    "content": {"type": "raw"},
    "format": {"type": "str", "choices": list(FORMATS), "default": "text"},
    "requires": {"type": "path"},
    "keeps": {"type": "path"},
    "validate": TEXT,
}
SOURCES: dict[str, dict[str, Any]] = {
    "mirror": NAME,
    "security_mirror": TEXT,
    "suite": NAME,
    "components": {"type": "list", "elements": "str", "required": True},
    "keyring": PATH,
}
SCHEMA: dict[str, dict[str, Any]] = {
    "name": NAME,
    "database": TEXT,
    "commands": {"type": "list", "elements": "raw", "required": True},
    "user": TEXT,
    "package": NAME,
    "version_table": {"type": "str", "default": "alembic_version"},
    "wave": {"type": "int", "default": 0},
}
LINK = {"name": NAME, "file": PATH, "addresses": {"type": "list", "elements": "str", "default": []}}
READY: dict[str, dict[str, Any]] = {
    "port": {"type": "int"},
    "host": {"type": "str", "default": "127.0.0.1"},
    "unix_socket": {"type": "path"},
    "url": TEXT,
    "command": TEXT,
    "links": {"type": "list", "elements": "dict", "options": LINK},
    "timeout": {"type": "int", "default": 60},
}
UNIT: dict[str, dict[str, Any]] = {
    "name": NAME,
    "reads": {"type": "list", "elements": "str", "default": []},
    "reloads": {"type": "list", "elements": "str", "default": []},
    "on_change": {"type": "str", "choices": ["restart", "reload", "none"], "default": "restart"},
    "test": TEXT,
    "ready": {"type": "dict", "options": READY},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "enabled": {"type": "bool"},
    "wave": {"type": "int", "default": 0},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "calls": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "phases": {"type": "list", "elements": "str", "choices": list(PHASES), "default": list(PHASES)},
    "directories": list_of(owned("0755")),
    "files": list_of(FILE),
    "links": list_of({"path": PATH, "target": NAME}),
    "absent": {"type": "list", "elements": "path", "default": []},
    "apt_sources": {"type": "dict", "options": SOURCES},
    "packages": {"type": "list", "elements": "str", "default": []},
    "schemas": list_of(SCHEMA),
    "schemas_here": {"type": "bool", "default": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "schema_timeout": {"type": "int", "default": 1800},
    "schema_wait": {"type": "int", "default": 600},
    **OPTIONS,
    "units": list_of(UNIT),
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
}
