# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Write and parse lines of sudoers(5) that let an account run every command without a password."""

from __future__ import annotations

import re

_RULE = " ALL=(ALL:ALL) NOPASSWD: ALL"
_OURS = re.compile(rf"^((?:\\.|[^\s\\#%@])(?:\\.|[^\s\\])*){re.escape(_RULE)}$", re.MULTILINE)


def escaped(name: str) -> str:
    r"""Return a name as a word of sudoers; a directory service may have names with ``@``, ``\`` and blanks."""
    return re.sub(r"([^\w.-])", r"\\\1", name)


def rule(account: str) -> str:
    """Return the line that lets an account run every command without a password."""
    return f"{escaped(account)}{_RULE}"


def without_password(text: str) -> list[str]:
    """Return the accounts of all lines in a file that have the form of :func:`rule`."""
    return [re.sub(r"\\(.)", r"\1", name) for name in _OURS.findall(text)]
