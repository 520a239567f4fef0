# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Lookup: the Debian packages that roles need."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_packages
short_description: Debian packages that roles need, as one sorted list without duplicates
version_added: "0.1.0"
description:
  - Reads C(ROLE_packages) from F(roles/ROLE/defaults/main.yml) of this collection.
  - The node image and the install phase of a node therefore use the same lists.
options:
  _terms:
    description:
      - Role names, or lists of them. None means every role.
      - A role without such a list, or with a computed one, adds nothing.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Install what the roles of a controller need
  ansible.builtin.apt:
    name: "{{ query('cloudwatt.socle.role_packages', 'base', 'keystone') }}"

- name: Show the packages of all roles
  ansible.builtin.debug:
    msg: "{{ query('cloudwatt.socle.role_packages') }}"
"""

RETURN = r"""
_raw:
  description: Package names, sorted.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

ROLES = Path(__file__).resolve().parents[2] / "roles"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml may be missing
    """Reads defaults that may contain tags of Ansible. Lists of packages never contain any."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def role_packages(names: list[str], roles: Path = ROLES) -> list[str]:
    """Return the sorted union of the packages of ``names`` (empty: of every role in ``roles``).

    :raises ValueError: a role does not exist, or a list contains anything but plain names.
    """
    wanted = names or sorted(path.parent.parent.name for path in roles.glob("*/defaults/main.yml"))
    packages: set[str] = set()
    for name in wanted:
        path = roles / name / "defaults" / "main.yml"
        if not path.is_file():
            if (roles / name).is_dir():
                continue
            raise ValueError(f"there is no role {name} in {roles}")
        defaults = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}
        found = defaults.get(f"{name}_packages") or []
        if isinstance(found, str) and "{{" in found:
            continue  # Computed from lists of other roles, which are counted there.
        if not isinstance(found, list) or any(not isinstance(item, str) or "{" in item for item in found):
            raise ValueError(f"{path}: {name}_packages must be a list of plain package names")
        packages.update(found)
    return sorted(packages)


class LookupModule(LookupBase):
    """The lookup plugin."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        """Return the packages, see DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        names = [name for term in terms for name in (term if isinstance(term, (list, tuple)) else [term])]
        try:
            return role_packages([str(name) for name in names])
        except (ValueError, yaml.YAMLError) as error:
            raise AnsibleLookupError(f"role_packages: {error}") from error
