# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The environment of Ansible: the operator's own, and the variables that the playbooks need."""

from __future__ import annotations

import locale
import os
import sys
from contextlib import suppress
from pathlib import Path

from . import OPERATORS_CONFIG
from .project import ROOT, STATE

CONFIG = ROOT / "ansible.cfg"
FACTS_KEPT = 3600  # seconds; cores and memory of a node, which change with the machine only
RESULT_KEPT = 16_000_000
"""Maximum length of a task's result in characters. ansible-runner drops a longer one, with the message of a
failure. The first diff of Debian's commented configuration files alone has half a million."""


def of_ansible() -> dict[str, str]:
    """Return the variables that differ from the operator's own environment."""
    mine = os.environ
    return {
        **_settings(),
        # Set explicitly, because Ansible looks for it in the current folder, unless others may write to that folder.
        "ANSIBLE_CONFIG": str(CONFIG),
        "ANSIBLE_COLLECTIONS_PATH": _joined(ROOT / ".ansible" / "collections", mine.get("ANSIBLE_COLLECTIONS_PATH")),
        "ANSIBLE_ROLES_PATH": _joined(ROOT / "roles", mine.get("ANSIBLE_ROLES_PATH")),
        "ANSIBLE_CACHE_PLUGIN_TIMEOUT": mine.get("ANSIBLE_CACHE_PLUGIN_TIMEOUT", str(FACTS_KEPT)),
        "ANSIBLE_HOST_KEY_CHECKING": mine.get("ANSIBLE_HOST_KEY_CHECKING", "True"),  # else ansible-runner turns it off
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": mine.get("ANSIBLE_INVENTORY_UNPARSED_FAILED", "True"),
        # The displays add their own colours.
        "ANSIBLE_FORCE_COLOR": "False",
        "ANSIBLE_NOCOLOR": "True",
        "MAX_EVENT_RES": str(RESULT_KEPT),
        "PYTHONDONTWRITEBYTECODE": "",  # else every run, and each of its processes, compiles Ansible anew
        "PATH": _joined(Path(sys.executable).parent, mine.get("PATH", "/usr/bin:/bin")),
        **utf8_locale(),
        **_home(),
    }


def _joined(first: Path, others: str | None) -> str:
    """A search path that begins with `first`."""
    return ":".join([str(first), *(folder for folder in (others or "").split(":") if folder not in ("", str(first)))])


def utf8_locale() -> dict[str, str]:
    """A UTF-8 locale if the operator's is not UTF-8 or does not exist here: Ansible requires one."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        encoding = locale.getlocale()[1] or ""
    except (locale.Error, ValueError):
        encoding = ""
    finally:
        locale.setlocale(locale.LC_ALL, before)
    return {} if encoding.lower() in ("utf-8", "utf8") else {"LC_ALL": "C.UTF-8"}


def _home() -> dict[str, str]:
    """A writable home if the operator's is not writable: Ansible stores temporary files and sockets there."""
    home = Path(os.path.expanduser("~"))
    ansible = home / ".ansible"
    if os.access(ansible if ansible.exists() else home, os.W_OK | os.X_OK):
        return {}
    mine = STATE / "home"
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # it is there already, or there are no keys
        if (home / ".ssh").is_dir():
            (mine / ".ssh").symlink_to(home / ".ssh")
    return {"HOME": str(mine)}


def _settings() -> dict[str, str]:
    """The settings of the operator's own configuration file, as variables, which override the project's ansible.cfg.

    The operator's file cannot replace ansible.cfg, because the playbooks need its settings. Options of Ansible itself,
    of the connection plugin ssh and of sudo are used; a variable that the operator has set overrides them.
    """
    own = OPERATORS_CONFIG
    file = Path(own) / "ansible.cfg" if own and Path(own).is_dir() else Path(own)
    if not own or not file.is_file() or file.resolve() == CONFIG:
        return {}
    from ansible import constants
    from ansible.config.manager import ConfigManager
    from ansible.plugins.loader import become_loader, connection_loader

    manager = ConfigManager(conf_file=str(file))
    known: list[tuple[str | None, str | None]] = [(None, None)]
    for kind, name, loader in (("connection", "ssh", connection_loader), ("become", "sudo", become_loader)):
        loader.get(name, class_only=True)
        options = constants.config.get_configuration_definitions(kind, name)
        manager.initialize_plugin_configuration_definitions(kind, name, options)
        known.append((kind, name))
    found = {}
    for plugin_type, plugin in known:
        for option, about in manager.get_configuration_definitions(plugin_type, plugin).items():
            variables = [entry["name"] for entry in about.get("env") or [] if entry.get("name")]
            if not variables or any(variable in os.environ for variable in variables):
                continue
            with suppress(Exception):  # a value that Ansible refuses has no meaning to keep
                value, origin = manager.get_config_value_and_origin(
                    option, cfile=str(file), plugin_type=plugin_type, plugin_name=plugin
                )
                if origin == str(file):
                    found[variables[0]] = _spelt(value, about.get("type", ""))
    return found


def _spelt(value: object, kind: str) -> str:
    if isinstance(value, list | tuple):
        return (":" if kind == "pathspec" else ",").join(map(str, value))
    return str(value)
