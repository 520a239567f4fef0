# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Calls of OpenStack's REST APIs through openstacksdk's adapters.

The SDK finds endpoints, signs requests and renews tokens. Its resource classes lack attributes that we need
and send requests that we do not, so bodies are sent and returned as in the API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Argument spec of the modules' option ``auth``: only the password is secret, and it is never logged.
AUTH_OPTIONS: dict[str, dict[str, Any]] = {
    "auth_url": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "project_name": {"type": "str", "required": True},
    "user_domain_name": {"type": "str", "default": "Default"},
    "project_domain_name": {"type": "str", "default": "Default"},
    "cacert": {"type": "path"},
}


class ApiError(Exception):
    """An API refused or did not answer. ``status`` is the HTTP code, 0 without an answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def connect(auth: Mapping[str, Any], region: str | None = None, project: str | None = None) -> Any:
    """Return a Connection of openstacksdk. ``auth``: ``{auth_url, username, password, project_name, ..., cacert}``.

    :param project: scope to this project instead of the one in ``auth``.
    """
    import openstack

    auth = dict(auth)
    cacert = auth.pop("cacert", None)
    if project:
        auth.pop("project_id", None)
        auth["project_name"] = project
    return openstack.connection.Connection(  # type: ignore[no-untyped-call]  # openstacksdk has no types here
        auth=auth,
        region_name=region,
        interface="internal",
        cacert=cacert,
        app_name="socle",
    )


def call(adapter: Any, method: str, path: str, what: str, **arguments: Any) -> Any:
    """Send one request; return the decoded JSON body, None for an empty one.

    :param what: the purpose, for the error ("server guest-a").
    :raises ApiError: with the API's own text.
    """
    try:
        response = adapter.request(path, method, raise_exc=False, **arguments)
    except Exception as error:
        raise ApiError(f"{what}: {method} {path}: {error}") from error
    if response.status_code >= 400:
        raise ApiError(f"{what}: {method} {path}: {response.status_code} {_words(response)}", response.status_code)
    return response.json() if response.content else None


def find(adapter: Any, path: str, what: str, **arguments: Any) -> Any:
    """Like a GET by :func:`call`, but return None if there is no such object."""
    try:
        return call(adapter, "GET", path, what, **arguments)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _words(response: Any) -> str:
    """Return the message of an error body, in any of the services' formats."""
    try:
        body = response.json()
    except ValueError:
        return " ".join(re.sub(r"<[^>]*>", " ", response.text).split())[:300]
    if isinstance(body, dict):
        for value in (body, *body.values()):
            if isinstance(value, dict) and isinstance(message := value.get("message"), str):
                return message
            if isinstance(value, list) and value and isinstance(value[0], dict) and value[0].get("detail"):
                return str(value[0]["detail"])
    return str(body)[:300]
