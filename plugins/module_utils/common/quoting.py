# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Values in the notations of their readers, for passwords with characters that have a meaning there.

Pure. Each function documents how its reader interprets the text, because that determines the notation.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

BLANKS = (" ", "\t")
QUOTES = ("'", '"')


def oslo_literal(value: str) -> str:
    r"""Return a value for a file of oslo.config that is read literally, whatever it contains.

    oslo.config takes ``\$`` for a dollar, replaces ``$option`` by that option's value, and removes blanks around a
    value and one pair of quotes. A dollar is written ``\$``: written as ``$$`` it would join a backslash before it.
    """
    text = value.replace("$", r"\$")
    if text.startswith((*BLANKS, *QUOTES)) or text.endswith(BLANKS):
        return f'"{text}"'
    return text


def oslo_literals(values: Mapping[str, str]) -> dict[str, str]:
    """:func:`oslo_literal` of every value: secrets by name."""
    return {name: oslo_literal(value) for name, value in values.items()}


def url_part(value: str) -> str:
    """Return a value as one part of a URL: of user and password, or of a path.

    No character of it keeps a special meaning.
    """
    return quote(value, safe="")


def database_url(password: str, user: str, host: str, database: str, options: str) -> str:
    """Return a database URL for SQLAlchemy; ``options`` is its query.

    oslo.config finds no dollar of the password in it.
    """
    return f"mysql+pymysql://{url_part(user)}:{url_part(password)}@{host}/{url_part(database)}?{options}"
