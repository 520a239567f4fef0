# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""URLs with a login, such as ``http://user:password@mirror/debian``: they are used, but never shown.

apt accepts such URLs in its sources, which everybody may read. This module removes the login from the URLs and writes
it to a file of ``/etc/apt/auth.conf.d``, which only root can read and where apt finds it. Standard library only.
"""

from __future__ import annotations

import base64
import re
import urllib.request
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

MASK = "********"
# Up to the last @, because a password may contain one; also matches all logins in a URL of several RabbitMQ nodes.
_LOGIN = re.compile(r"(?<=://)[^\s\"'<>]*@")
_WORD = re.compile(r"[!-~]+")


class LoginError(ValueError):
    """A URL whose login cannot be used; the message has the reason, without the login."""


def shown(text: str) -> str:
    """Return a text without the logins of the URLs in it."""
    return _LOGIN.sub(f"{MASK}@", text)


def bare(url: Any) -> Any:
    """Return the URL without its login; a value that is no text is returned unchanged."""
    return _LOGIN.sub("", url, count=1) if isinstance(url, str) else url


def login(url: str) -> tuple[str, str] | None:
    """Return user and password of a URL, decoded; None without them.

    :raises LoginError: the part before the host is ambiguous, or cannot be passed to apt.
    """
    parts = _split(url)
    if parts is None:
        return None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user and password and _WORD.fullmatch(user) and _WORD.fullmatch(password)):
        raise LoginError("has a login that is not user:password in printable ASCII without blanks")
    return user, password


def _split(url: str) -> SplitResult | None:
    if "://" not in url or not _LOGIN.search(url):
        return None
    try:
        parts = urlsplit(url)
        _port = parts.port  # raises if an unencoded password is in its place
        known = parts.username and parts.hostname and "@" not in parts.path
    except ValueError:
        known = False
    if not known:
        raise LoginError("has a login that ends before its @: write / as %2F, ? as %3F and # as %23 in it")
    return parts


def passwords(values: Any) -> list[str]:
    """Return the passwords in all texts of a structure, in every form that occurs there, without duplicates."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        return list(dict.fromkeys(found for value in values for found in passwords(value)))
    if not isinstance(values, str):
        return []
    found = []
    for userinfo in _LOGIN.findall(values):
        _user, _colon, password = userinfo[:-1].partition(":")
        found += [form for form in (password, unquote(password), quote(unquote(password), safe="")) if form]
    return list(dict.fromkeys(found))


def apt_auth(urls: Iterable[str]) -> str:
    """Return a file of ``/etc/apt/auth.conf.d`` with the logins of mirrors' and proxies' URLs; "" if none has one.

    Each token is on a line of its own, so that a diff can mask the password. A machine has its scheme, without which
    apt uses an entry only for https, and a path that ends in a slash, so that ``/debian`` does not match
    ``/debian-security``.
    """
    entries = []
    for url in urls:
        if found := login(str(url)):
            parts = urlsplit(url)
            path = parts.path.rstrip("/")
            host = parts.netloc.rpartition("@")[2]
            machine = f"{parts.scheme}://{host}{path}/" if path else f"{parts.scheme}://{host}"
            entries.append(f"machine {machine}\nlogin {found[0]}\npassword {found[1]}\n")
    return "\n".join(dict.fromkeys(entries))


def request(url: str) -> urllib.request.Request:
    """Return a request with the login in its header, which a redirect does not pass on."""
    found = login(url)
    wanted = urllib.request.Request(bare(url))
    if found:
        token = base64.b64encode(":".join(found).encode()).decode()
        wanted.add_unredirected_header("Authorization", f"Basic {token}")
    return wanted
