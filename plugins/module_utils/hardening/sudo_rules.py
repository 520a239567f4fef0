# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Lines of sudoers(5) that let an account run everything without a password, written and read back."""

from __future__ import annotations

import re

_RULE = " ALL=(ALL:ALL) NOPASSWD: ALL"
_OURS = re.compile(rf"^((?:\\.|[^\s\\#%@])(?:\\.|[^\s\\])*){re.escape(_RULE)}$", re.MULTILINE)


def escaped(name: str) -> str:
    r"""A name as a word of sudoers: names of a directory service hold characters such as ``@``, ``\`` and blanks."""
    return re.sub(r"([^\w.-])", r"\\\1", name)


def rule(account: str) -> str:
    """The line that lets an account run everything without a password."""
    return f"{escaped(account)}{_RULE}"


def without_password(text: str) -> list[str]:
    """Accounts of the lines of :func:`rule` in a file."""
    return [re.sub(r"\\(.)", r"\1", name) for name in _OURS.findall(text)]
