# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Values in the notations of those who read them: passwords that hold what has a meaning there.

Pure. Each function says what its reader does with the text, as that decides how it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

BLANKS = (" ", "\t")
QUOTES = ("'", '"')


def oslo_literal(value: str) -> str:
    r"""A value of a file of oslo.config that is read as it stands, whatever it holds.

    oslo.config takes ``\$`` for a dollar, replaces ``$option`` by that option's value, and drops blanks around a value
    and one pair of quotes. A dollar is written ``\$``: as ``$$`` it would join a backslash before it.
    """
    text = value.replace("$", r"\$")
    if text.startswith((*BLANKS, *QUOTES)) or text.endswith(BLANKS):
        return f'"{text}"'
    return text


def oslo_literals(values: Mapping[str, str]) -> dict[str, str]:
    """:func:`oslo_literal` of every value: secrets by name."""
    return {name: oslo_literal(value) for name, value in values.items()}


def url_part(value: str) -> str:
    """A value as one part of a URL: of user and password, of a path. No character of it has a meaning there."""
    return quote(value, safe="")


def database_url(password: str, user: str, host: str, database: str, options: str) -> str:
    """URL of a database for SQLAlchemy; ``options`` is its query. No dollar of a password is left for oslo.config."""
    return f"mysql+pymysql://{url_part(user)}:{url_part(password)}@{host}/{url_part(database)}?{options}"
