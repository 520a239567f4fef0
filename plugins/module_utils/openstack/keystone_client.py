# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Clients of Keystone's API and of the APIs in its catalogue, with only the standard library.

Importing openstacksdk costs more than a second, while a catalogue without changes takes seven GETs and a converged
Neutron eight. The classes have the ``request`` of a keystoneauth adapter, as far as :func:`openstack_rest.call` uses
it.
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
from email.message import Message
from typing import Any

from .rest import ApiError

NOT_YET = frozenset({0, 502, 503, 504})
"""Statuses that mean that no Keystone answers behind its address; 0 means no answer at all."""
BUSY = (0.5, 1, 2, 4, 8, 16)
"""Seconds to wait before a request is sent again for which a proxy had no server."""
TIMEOUT = 150
"""Seconds to wait for an answer: a little more than the timeout of the site's own proxy."""


@dataclass(frozen=True)
class Response:
    status_code: int
    content: bytes
    headers: Message

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.content)


class Keystone:
    """A session of one user. Safe to use from several threads."""

    def __init__(self, auth: Mapping[str, Any]) -> None:
        """``auth`` in the form of openstacksdk: ``{auth_url, username, password, project_name, cacert}``..."""
        self.auth = auth
        self.url = auth["auth_url"].rstrip("/")
        self.token = ""
        self.session: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.opener: urllib.request.OpenerDirector | None = None

    def request(
        self, path: str, method: str, raise_exc: bool = False, json: Any = None, signed: bool = True
    ) -> Response:
        """Send one request below the v3 root. Without an answer, raises OSError."""
        return self.send(self.url + path, method, json, {"X-Auth-Token": self.sign_in()} if signed else {})

    def send(self, url: str, method: str, json: Any, headers: Mapping[str, str]) -> Response:
        """Send one request to any address. Without an answer, raises OSError."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        data = None if json is None else _dump(json)
        query = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with self._open(query) as answer:
                return Response(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as answer:
            return Response(answer.code, answer.read(), answer.headers)
        except urllib.error.URLError as error:
            raise OSError(f"{url}: {error.reason}") from error

    def _open(self, query: urllib.request.Request) -> Any:
        with self.lock:
            if self.opener is None:
                context = ssl.create_default_context(cafile=self.auth.get("cacert"))
                self.opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
                )
        return self.opener.open(query, timeout=TIMEOUT)

    def sign_in(self, wait: float = 0) -> str:
        """Return the session's token; wait up to ``wait`` seconds for Keystone to answer.

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
        self.session = answer.json()["token"]
        token: str = answer.headers["X-Subject-Token"]
        return token

    @property
    def project_id(self) -> str:
        """Return the project that the session is scoped to."""
        self.sign_in()
        project: str = self.session["project"]["id"]
        return project

    def service(self, kind: str, region: str | None = None, version: str = "") -> Service:
        """Return the internal API of a type of service. ``version``: path of the API's version below its endpoint.

        :raises ApiError: if the catalogue has none.
        """
        self.sign_in()
        for service in self.session["catalog"]:
            for endpoint in service["endpoints"] if service["type"] == kind else ():
                if endpoint["interface"] == "internal" and region in (None, endpoint["region_id"]):
                    return Service(self, endpoint["url"].rstrip("/") + version)
        raise ApiError(f"the catalogue has no internal endpoint of type {kind} in region {region or 'any'}")

    def accepts(self, name: str, password: str, domain_id: str) -> bool:
        """Return whether a user can sign in with this password."""
        answer = self._post_token(name, password, {"id": domain_id}, {"scope": "unscoped"})
        if answer.status_code not in (201, 401):
            raise ApiError(f"probe of {name}: {answer.status_code} {answer.text[:300]}", answer.status_code)
        return answer.status_code == 201

    def _post_token(self, name: str, password: str, domain: Mapping[str, str], more: Mapping[str, Any]) -> Response:
        user = {"name": name, "password": password, "domain": domain}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, **more}}
        return self.request("/auth/tokens", "POST", json=body, signed=False)

    def _domain(self, whose: str) -> dict[str, str]:
        if identifier := self.auth.get(f"{whose}_domain_id"):
            return {"id": identifier}
        return {"name": self.auth.get(f"{whose}_domain_name") or "Default"}


class Service:
    """Another API, through a session of Keystone. Safe to use from several threads."""

    def __init__(self, keystone: Keystone, url: str) -> None:
        self.keystone = keystone
        self.url = url

    def request(
        self,
        path: str,
        method: str,
        raise_exc: bool = False,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request; repeat it for half a minute while a proxy answers 503.

        Without an answer, raises OSError.
        """
        for delay in (*BUSY, None):
            signed = {"X-Auth-Token": self.keystone.sign_in(), **(headers or {})}
            answer = self.keystone.send(self.url + path, method, json, signed)
            if answer.status_code != 503 or delay is None:
                break
            time.sleep(delay)
        return answer


def _dump(body: Any) -> bytes:
    return json.dumps(body).encode()
