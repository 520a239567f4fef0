# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The Keystone session and requests to services, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import keystone_client
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.keystone_client import Keystone
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import ApiError, call


class Cloud(ThreadingHTTPServer):
    """A Keystone with a Neutron endpoint on the same port in its catalogue."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.busy = 0
        self.seen: list[tuple[str, str, Any]] = []

    def token(self) -> dict[str, Any]:
        endpoints = [
            {"interface": interface, "region_id": region, "url": f"{self.url}/{interface}-{region}/"}
            for interface in ("public", "internal")
            for region in ("here", "there")
        ]
        catalog = [{"type": "image", "endpoints": []}, {"type": "network", "endpoints": endpoints}]
        return {"token": {"project": {"id": "operator"}, "catalog": catalog}}


class Handler(BaseHTTPRequestHandler):
    server: Cloud

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-Subject-Token", "token-1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("X-Auth-Token")))
        if self.server.busy:
            self.server.busy -= 1
            self.answer(503, {})
        else:
            self.answer(200, {"revision": self.headers.get("If-Match")})

    do_PUT = do_GET

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = body["auth"]["identity"]["password"]["user"]["password"] == "right"
        self.answer(*((201, self.server.token()) if good else (401, {"error": {"message": "no"}})))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr(keystone_client, "BUSY", (0.01, 0.01))
    server = Cloud()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def session(cloud: Cloud, password: str = "right") -> Keystone:
    return Keystone({"auth_url": f"{cloud.url}/v3/", "username": "u", "password": password, "project_name": "p"})


def test_a_service_is_the_internal_endpoint_of_its_region(cloud: Cloud) -> None:
    keystone = session(cloud)
    network = keystone.service("network", "there", "/v2.0")
    answer = call(network, "PUT", "/routers/1", "a router", json={}, headers={"If-Match": "revision_number=7"})
    assert answer == {"revision": "revision_number=7"}
    assert cloud.seen == [("PUT", "/internal-there/v2.0/routers/1", "token-1")]
    assert keystone.project_id == "operator"


@pytest.mark.parametrize(("kind", "region"), [("network", "nowhere"), ("image", None), ("dns", "here")])
def test_what_the_catalogue_lacks_is_named(cloud: Cloud, kind: str, region: str | None) -> None:
    with pytest.raises(ApiError, match=f"type {kind} in region"):
        session(cloud).service(kind, region)


def test_a_wrong_password_is_an_error_of_the_api(cloud: Cloud) -> None:
    with pytest.raises(ApiError, match="refuses u: 401"):
        session(cloud, "wrong").service("network")


def test_a_busy_proxy_is_asked_again_but_not_forever(cloud: Cloud) -> None:
    network = session(cloud).service("network")
    cloud.busy = 2
    assert call(network, "GET", "/networks", "networks") == {"revision": None}
    cloud.busy = 4
    with pytest.raises(ApiError) as caught:
        call(network, "GET", "/networks", "networks")
    assert (caught.value.status, len(cloud.seen)) == (503, 6)


def test_nobody_there_is_an_error_of_the_api(cloud: Cloud) -> None:
    keystone = session(cloud)
    network = keystone.service("network")
    cloud.shutdown()
    cloud.server_close()
    with pytest.raises(ApiError, match="Connection refused") as caught:
        call(network, "GET", "/networks", "networks")
    assert caught.value.status == 0
