# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A site's inventory as Ansible has loaded it: its plugins, precedence, vault and templates are Ansible's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.inventory.data import InventoryData
from ansible.inventory.manager import IGNORED, InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultSecret, VaultSecretsContext
from ansible.plugins.inventory import detect_range, expand_hostname_range
from ansible.plugins.loader import inventory_loader
from ansible.template import Templar
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.path import unfrackpath
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible.vars.reserved import get_reserved_names

UNKNOWN = "{{ unknown }}"
"""Stands for what cannot be decrypted: rules pass over it as over a template that only the run can render."""
OF_HOSTS = {"inventory_dir", "inventory_file", "inventory_hostname", "inventory_hostname_short"}
INTERNAL = get_reserved_names() | OF_HOSTS | {"group_names", "groups", "hostvars", "omit", "playbook_dir"}


class AnsibleView:
    """Implements :class:`site_model.View`."""

    def __init__(
        self,
        hostvars: HostVars,
        inventory: InventoryData,
        sources: Sequence[str],
        loader: DataLoader,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        groups = inventory.get_groups_dict()
        self._parsed = set(inventory.processed_sources)
        self.groups: Mapping[str, list[str]] = {group: list(members) for group, members in groups.items()}
        # `-i host,` is a list of hosts and no file.
        files = [source for source in sources if "," not in source or Path(source).exists()]
        self.sources = [Path(unfrackpath(file, follow=False)) for file in files]
        self.extra = extra or {}
        self.faults: list[str] = []
        near = [path if path.is_dir() else path.parent for path in self.sources]
        self.folders = list(dict.fromkeys([*near, Path(loader.get_basedir()).resolve()]))
        self._hostvars = hostvars
        self._loader = loader
        self._held: dict[str, Mapping[str, Any]] = {}
        self._defaults: dict[Path, Mapping[str, Any]] = {}

    @classmethod
    def load(
        cls, sources: Sequence[str], vault_secrets: Sequence[tuple[str, VaultSecret]], playbooks: Path
    ) -> AnsibleView:
        """Load an inventory where Ansible does not run, hence without plugins of collections. Raises AnsibleError."""
        plugin = sys.modules.get("ansible.plugins.vars.host_group_vars")
        for cache in ("FOUND", "NAK"):  # which files there were when this process last looked
            getattr(plugin, cache, set()).clear()
        loader = DataLoader()
        loader.set_vault_secrets(list(vault_secrets))
        if context := VaultSecretsContext.current(optional=True):
            context.secrets = list(vault_secrets)
        else:
            VaultSecretsContext.initialize(VaultSecretsContext(list(vault_secrets)))
        inventory = InventoryManager(loader=loader, sources=list(sources))
        hostvars = HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)
        loader.set_basedir(str(playbooks))
        return cls(hostvars, inventory._inventory, sources, loader)

    def variables(self, host: str) -> Mapping[str, Any]:
        """Variables of a host with Ansible's precedence, not templated; empty if a file of them cannot be read."""
        if host not in self._held:
            self._held[host] = self._try(lambda: self._hostvars.raw_get(host)) or {}
        return self._held[host]

    def same(self, written: Any, held: Any) -> bool:
        """Whether a value is the one that is written in a file."""
        return bool(written == plain(held))

    def resolve(self, value: Any, host: str) -> Any:
        """Plain data of a value, its templates rendered for the host unless only the run can tell them."""
        known = plain(value)
        return plain(self._render(value, self.variables(host))) if _templated(known) else known

    def derived(self, name: str, host: str, defaults: Path) -> Any:
        """A variable with the defaults of a role in place of what the inventory does not set; None if unknown."""
        if defaults not in self._defaults:
            # Unsafe: what is read is not copied, as nothing here changes it.
            read = self._loader.load_from_file(str(defaults), unsafe=True, trusted_as_template=True)
            self._defaults[defaults] = read or {}
        known = {**self._defaults[defaults], **self.variables(host)}
        value = plain(self._render(known.get(name), known))
        return None if _templated(value) else value

    def files(self, folder: Path, name: str) -> list[Path]:
        """Files of variables that Ansible reads for a group or host."""
        return [Path(path) for path in self._loader.find_vars_files(str(folder), name)]

    def expand(self, pattern: str) -> list[str]:
        """Host names of a pattern such as ``gw[1:2]``."""
        try:
            return expand_hostname_range(pattern) if detect_range(pattern) else [pattern]
        except Exception:  # no range; the plugin that reads the file says what is wrong with it
            return [pattern]

    def ignores(self, name: str) -> bool:
        """Whether Ansible passes over a name in an inventory folder."""
        return bool(IGNORED.search(name.encode()))

    def is_variable(self, name: str) -> bool:
        """Whether a variable belongs to the inventory, as opposed to Ansible itself."""
        return name not in INTERNAL and not name.startswith("ansible_")

    def unparsed(self, path: Path) -> str:
        """Why no inventory plugin has read the file; empty when one has, or when that cannot be told."""
        if str(path) in self._parsed:
            return ""
        reasons: list[str] = []
        for name in C.INVENTORY_ENABLED:
            plugin = inventory_loader.get(name)
            try:
                if plugin and plugin.verify_file(str(path)):
                    plugin.parse(InventoryData(), self._loader, str(path), cache=True)
                    return "a plugin failed when the run began, and does not fail now: run it again"
            except Exception as error:  # whatever a plugin raises, Ansible goes on with the next one
                reasons.append(f"{name}: {' '.join(str(error).split())}")
        if AnsibleCollectionConfig.collection_finder is None and "unknown plugin" in "".join(reasons):
            return ""
        # Plugins for YAML come before that for INI, which takes every file. The first is for configurations of plugins.
        told = [reason for reason in reasons if "no root 'plugin' key" not in reason] or ["no plugin takes it"]
        return told[0 if path.suffix in C.YAML_FILENAME_EXTENSIONS else -1]

    def _render(self, value: Any, variables: Mapping[str, Any]) -> Any:
        try:
            return Templar(loader=self._loader, variables=dict(variables)).template(value)
        except Exception:  # undefined here, or a lookup that only works in a role
            return value

    def _try(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:  # bad input, which vars plugins and parsers report in many ways
            if (fault := " ".join(str(error).split())) not in self.faults:
                self.faults.append(fault)
            return None


def _templated(value: Any) -> bool:
    return "{{" in str(value) or "{%" in str(value)


def plain(value: Any) -> Any:
    """The value without Ansible's own kinds of text and mapping, decrypted if possible."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, EncryptedString):
        try:
            return str(value)
        except Exception:  # without its password; the file of secrets, if it has the same, is told of
            return UNKNOWN
    return str(value) if isinstance(value, str) else value
