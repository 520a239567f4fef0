# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The shape of every option of the roles: roles/ROLE/meta/shapes.yml, and how values are checked against it.

Ansible's argument specifications know types and choices. Ranges, addresses, URLs, paths and names of hosts are beyond
them, and their files may hold no key of ours. So each role has one more file with a line for each option::

    haproxy_connections: integer 100..1000000       # a word of shape_words.py, with its arguments
    base_security_mirror: mirror | empty            # either of two
    pki_addresses: [address]                        # a list
    lab_bridges: [{name: interface, (mtu): mtu}]     # mappings with known keys; one in parentheses may be left out
    base_sysctl: {<kernel parameter>: scalar}       # a mapping whose keys have a shape too
    site_waivers: [waiver]                          # a word of RECORDS, which several roles share

The words are in shape_words.py. Values that hold Jinja expressions pass, as do the parts of a list or mapping that do.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from .role_specs import read
from .shape_kinds import Either, ListOf, Record, Shape
from .shape_words import PARAMETRIC, RECORDS, WORDS


def parse(notation: Any) -> Shape:
    """The shape that a notation (see the top of this file) stands for.

    :raises ValueError: a word that is not known.
    """
    if isinstance(notation, list):
        [item] = notation
        return ListOf(parse(item))
    if isinstance(notation, dict):
        fields = {key.strip("()"): parse(value) for key, value in notation.items() if key[0] != "<"}
        others = [(parse(key[1:-1]), parse(value)) for key, value in notation.items() if key[0] == "<"]
        optional = frozenset(key[1:-1] for key in notation if key[0] == "(")
        return Record(fields, optional, others[0] if others else None)
    parts = notation.split(" | ")
    return Either(tuple(map(_word, parts))) if len(parts) > 1 else _word(notation)


@cache
def _word(text: str) -> Shape:
    if text[:1] == "[":
        return ListOf(_word(text[1:-1]))
    if text in WORDS:
        return WORDS[text]
    if text in RECORDS:
        return parse(RECORDS[text])
    for word, make in PARAMETRIC.items():
        if text.startswith(f"{word} "):
            return make(text.removeprefix(f"{word} "))
    raise ValueError(f"shapes.yml: {text!r} is not a word of plugins/plugin_utils/inventory/shape_words.py")


def load(project: Path) -> dict[str, Shape]:
    """The shapes of all roles of the project, by option."""
    return {
        option: parse(notation)
        for path in sorted(project.glob("roles/*/meta/shapes.yml"))
        for option, notation in read(path).items()
    }
