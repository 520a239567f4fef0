# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Read dpkg's status file (deb-control paragraphs, see deb822(5) and dpkg-query(1))."""

from __future__ import annotations

from collections.abc import Iterable


def present(status: Iterable[str]) -> set[str]:
    """Return the names of fully installed packages, and the names that these provide."""
    names: set[str] = set()
    package, installed, provides = "", False, ""
    for line in [*status, "\n"]:
        if not line.strip():
            if installed:
                names.add(package)
                names.update(item.split()[0] for item in provides.split(",") if item.strip())
            package, installed, provides = "", False, ""
        elif line.startswith("Package:"):
            package = line[8:].strip()
        elif line.startswith("Status:"):
            installed = line.split()[-1] == "installed"
        elif line.startswith("Provides:"):
            provides = line[9:]
    return names


def missing(names: Iterable[str], status: Iterable[str]) -> list[str]:
    """Return the wanted names that no installed package has or provides, sorted."""
    return sorted(set(names) - present(status))
