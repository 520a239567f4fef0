# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Keystone's API with the standard library alone.

Importing openstacksdk costs more than a second; a catalogue that needs no change is seven GETs. The class has
the ``request`` of a keystoneauth adapter, as far as :func:`openstack_rest.call` uses it.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .openstack_rest import ApiError

NOT_YET = frozenset({0, 502, 503, 504})
"""Statuses that mean that no Keystone answers behind its address; 0 is no answer at all."""


@dataclass(frozen=True)
class Response:
    status_code: int
    content: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.content)


class Keystone:
    """A session of one user. Safe to use from several threads."""

    def __init__(self, auth: Mapping[str, Any]) -> None:
        """``auth`` as openstacksdk takes it: ``{auth_url, username, password, project_name, cacert}``..."""
        self.auth = auth
        self.url = auth["auth_url"].rstrip("/")
        self.token = ""
        self.lock = threading.Lock()
        self.opener: urllib.request.OpenerDirector | None = None

    def request(
        self, path: str, method: str, raise_exc: bool = False, json: Any = None, signed: bool = True
    ) -> Response:
        """One request below the v3 root. Without an answer, raises OSError."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if signed:
            headers["X-Auth-Token"] = self.sign_in()
        data = None if json is None else _dump(json)
        query = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with self._open(query) as answer:
                return Response(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as answer:
            return Response(answer.code, answer.read(), answer.headers)
        except urllib.error.URLError as error:
            raise OSError(f"{self.url}: {error.reason}") from error

    def _open(self, query: urllib.request.Request) -> Any:
        with self.lock:
            if self.opener is None:
                context = ssl.create_default_context(cafile=self.auth.get("cacert"))
                self.opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
                )
        return self.opener.open(query, timeout=60)

    def sign_in(self, wait: float = 0) -> str:
        """The session's token; waits up to ``wait`` seconds for Keystone to answer.

        :raises ApiError: with a status of :data:`NOT_YET`, or with the refusal.
        """
        deadline = time.monotonic() + wait
        while not self.token:
            try:
                self.token = self._token()
            except ApiError as error:
                if error.status not in NOT_YET or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        return self.token

    def _token(self) -> str:
        scope = {"project": {"name": self.auth["project_name"], "domain": self._domain("project")}}
        who = self.auth["username"]
        try:
            answer = self._post_token(who, self.auth["password"], self._domain("user"), {"scope": scope})
        except OSError as error:
            raise ApiError(f"no answer from Keystone: {error}") from error
        if answer.status_code != 201:
            text = f"{self.url} refuses {who}: {answer.status_code} {answer.text[:300]}"
            raise ApiError(text, answer.status_code)
        return answer.headers["X-Subject-Token"]

    def accepts(self, name: str, password: str, domain_id: str) -> bool:
        """Whether a user can sign in with this password."""
        answer = self._post_token(name, password, {"id": domain_id}, {"scope": "unscoped"})
        if answer.status_code not in (201, 401):
            raise ApiError(f"probe of {name}: {answer.status_code} {answer.text[:300]}", answer.status_code)
        return answer.status_code == 201

    def _post_token(
        self, name: str, password: str, domain: Mapping[str, str], more: Mapping[str, Any]
    ) -> Response:
        user = {"name": name, "password": password, "domain": domain}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, **more}}
        return self.request("/auth/tokens", "POST", json=body, signed=False)

    def _domain(self, whose: str) -> dict[str, str]:
        if identifier := self.auth.get(f"{whose}_domain_id"):
            return {"id": identifier}
        return {"name": self.auth.get(f"{whose}_domain_name") or "Default"}


def _dump(body: Any) -> bytes:
    return json.dumps(body).encode()
