# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the APIs as an external client uses them: through the public VIP, verified with the internal CA."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PORTS = {"identity": 5000, "image": 9292, "placement": 8778, "compute": 8774, "network": 9696, "orchestration": 8004}


@dataclass
class Api:
    """Requests with the administrator's token."""

    address: str
    password: str
    trust: ssl.SSLContext
    token: str = ""

    def ask(self, method: str, service: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Message]:
        """Return status, decoded body and headers of one request."""
        raw = isinstance(body, bytes)
        data = body if raw or body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/octet-stream" if raw else "application/json"}
        url = f"https://{self.address}:{PORTS[service]}{path}"
        request = urllib.request.Request(url, data, {**kind, "X-Auth-Token": self.token} | headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:
                content, status = answer.read(), answer.status
                found = answer.headers
        except urllib.error.HTTPError as error:
            content, status, found = error.read(), error.code, error.headers
        is_json = "json" in found.get("Content-Type", "")
        return status, json.loads(content) if is_json and content else content, found

    def get(self, service: str, path: str, **headers: str) -> Any:
        status, body, _ = self.ask("GET", service, path, **headers)
        assert status == 200, body
        return body

    def log_in(self, password: str) -> tuple[int, str]:
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        status, _, headers = self.ask("POST", "identity", "/v3/auth/tokens", body)
        return status, headers.get("X-Subject-Token", "")


@pytest.fixture(scope="session")
def api(hostvars: dict[str, Any], inventory: Path) -> Api:
    values = hostvars["ctl1"]
    trust = ssl.create_default_context(cafile=inventory / "pki" / "ca.pem")
    client = Api(values["site_public_vip"], values["secrets"]["keystone_admin"], trust)
    status, client.token = client.log_in(client.password)
    assert status == 201
    return client


@pytest.fixture(scope="session")
def socle(inventory: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """`socle(*words)`: exit code and result of a command on the site."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        command = [str(Path(sys.executable).parent / "socle"), *words, "-i", str(inventory), "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert done.stdout, done.stderr[-2000:]
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def proven() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`proven(outcome)`: the report of `socle verify`, which must contain no violation."""

    def read(outcome: dict[str, Any]) -> dict[str, Any]:
        report = json.loads(next(Path(name) for name in outcome["reports"] if name.endswith(".json")).read_text())
        texts = [violation["text"] for violation in report["violations"]]
        assert not texts, f"{len(texts)} violations: {'; '.join(texts)}"
        return report

    return read


@pytest.fixture(scope="session")
def vrfs(hostvars: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {vrf["name"]: vrf for tenant in hostvars["ctl1"]["rie_tenants"] for vrf in tenant["vrfs"]}


@pytest.fixture(scope="module")
def guarded(host: Any, service: Any) -> Any:
    """`guarded(units, file, group)`: the units run and are enabled, and only the service may read its configuration."""

    def check(units: list[str], file: str, group: str) -> None:
        for unit in units:
            state = service(unit)
            assert (unit, state["ActiveState"], state["UnitFileState"]) == (unit, "active", "enabled")
        config = host.file(file)
        assert config.group == group
        assert config.mode == 0o640
        assert host.run("runuser -u nobody -- cat %s", file).rc != 0

    return check


@pytest.fixture(scope="module")
def on_gateways(host: Any) -> Any:
    """`on_gateways()`: the number of gateway ports of routers by chassis; None counts those without a chassis."""

    def count() -> Counter[str | None]:
        chassis = "ovn-sbctl --format=json --columns=_uuid,name list Chassis"
        names = {uuid[1]: name for uuid, name in json.loads(host.check_output(chassis))["data"]}
        ports = "ovn-sbctl --format=json --columns=chassis find Port_Binding type=chassisredirect"
        cells = [cell for (cell,) in json.loads(host.check_output(ports))["data"]]
        return Counter(names[value] if kind == "uuid" else None for kind, value in cells)

    return count
