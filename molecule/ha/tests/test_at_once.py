# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A change on one of three controllers is valid on all of them at once. A change of shared data causes no outage."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONTROLLERS = ("ctl1", "ctl2", "ctl3")
testinfra_hosts = ["ansible://ctl1"]


class Api:
    """A service at one address: that of a controller, for the service on that node, or a VIP."""

    def __init__(self, address: str, trust: ssl.SSLContext) -> None:
        self.address, self.trust = address, trust

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes, Any]:
        """Return status, content and headers of the response, also of an error."""
        request = urllib.request.Request(f"https://{self.address}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as refused:
            return refused.code, b"", refused.headers

    def json(self, method: str, path: str, body: Any, **headers: str) -> tuple[int, Any, Any]:
        """Like `send`, with JSON documents as the bodies of request and response."""
        names = {"Content-Type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        status, text, got = self.send(method, path, content, names)
        return status, json.loads(text) if text else None, got


class Glance(Api):
    """Images."""

    def upload(self, token: str, name: str, content: bytes) -> str:
        """Upload `content` as a new image and return its id."""
        wanted = {"name": name, "disk_format": "raw", "container_format": "bare"}
        _, made, _ = self.json("POST", ":9292/v2/images", wanted, X_Auth_Token=token)
        headers = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
        status, _, _ = self.send("PUT", f":9292/v2/images/{made['id']}/file", content, headers)
        assert status == 204
        return made["id"]

    def download(self, token: str, image: str) -> tuple[int, bytes]:
        return self.send("GET", f":9292/v2/images/{image}/file", None, {"X-Auth-Token": token})[:2]

    def accepts(self, token: str) -> bool:
        return self.send("GET", ":9292/v2/images", None, {"X-Auth-Token": token})[0] == 200


class Keystone(Api):
    """Identity."""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        return self.json(method, f":5000/v3{path}", body, **headers)

    def sign_in(self, name: str, password: str, project: str) -> str:
        """Return a token, or an empty string if Keystone refuses."""
        user = {"name": name, "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        status, _, headers = self.ask("POST", "/auth/tokens", body)
        assert status in (201, 401), status
        return headers["X-Subject-Token"] if status == 201 else ""

    def accepts(self, token: str) -> bool:
        """Return whether Keystone accepts a token at this address."""
        return self.ask("GET", "/auth/tokens", X_Auth_Token=token, X_Subject_Token=token)[0] == 200

    def types(self, token: str) -> set[str]:
        """Return the types of the services that have endpoints in the catalogue."""
        _, body, _ = self.ask("GET", "/auth/catalog", X_Auth_Token=token)
        return {service["type"] for service in body["catalog"] if service["endpoints"]}


@pytest.fixture(scope="module")
def keystones(hostvars, inventory) -> list[Keystone]:
    trust = ssl.create_default_context(cafile=inventory / "pki" / "ca.pem")
    return [Keystone(hostvars[name]["ansible_host"], trust) for name in CONTROLLERS]


@pytest.fixture(scope="module")
def glances(keystones) -> list[Glance]:
    return [Glance(keystone.address, keystone.trust) for keystone in keystones]


@pytest.fixture(scope="module")
def admin(keystones, hostvars) -> str:
    return keystones[0].sign_in("admin", hostvars["ctl1"]["secrets"]["keystone_admin"], "admin")


@pytest.fixture
def playbook(inventory, tmp_path):
    """`playbook(text, *options)`: run a playbook on the site."""

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "play.yml").write_text(text)
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, tmp_path / "play.yml",
                   "--vault-password-file", inventory / ".vault-password", *options]  # fmt: skip
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)

    return run


@pytest.fixture
def user(keystones, admin) -> Iterator[dict[str, str]]:
    """A user with a role on project `service`, and a token that all controllers have accepted."""
    first = keystones[0]
    made = {"name": f"molecule-{uuid.uuid4().hex[:8]}", "password": uuid.uuid4().hex}
    _, body, _ = first.ask("POST", "/users", {"user": made}, X_Auth_Token=admin)
    made["id"] = body["user"]["id"]
    found = {}
    for kind, name in (("roles", "member"), ("projects", "service")):
        _, body, _ = first.ask("GET", f"/{kind}?name={name}", X_Auth_Token=admin)
        found[kind] = body[kind][0]["id"]
    made["grant"] = f"/projects/{found['projects']}/users/{made['id']}/roles/{found['roles']}"
    assert first.ask("PUT", made["grant"], X_Auth_Token=admin)[0] == 204
    made["token"] = first.sign_in(made["name"], made["password"], "service")
    for _ in range(2):  # after this, the caches of all controllers are filled
        assert [keystone.accepts(made["token"]) for keystone in keystones] == [True] * 3
        assert all(keystone.sign_in(made["name"], made["password"], "service") for keystone in keystones)
    yield made
    first.ask("DELETE", f"/users/{made['id']}", X_Auth_Token=admin)


def refused(keystones, user) -> None:
    assert [keystone.accepts(user["token"]) for keystone in reversed(keystones)] == [False] * 3


def test_a_disabled_user_is_refused_by_all(keystones, admin, user):
    change = {"user": {"enabled": False}}
    assert keystones[0].ask("PATCH", f"/users/{user['id']}", change, X_Auth_Token=admin)[0] == 200
    refused(keystones, user)
    assert not any(keystone.sign_in(user["name"], user["password"], "service") for keystone in keystones)


def test_a_new_password_holds_on_all(keystones, admin, user):
    change = {"user": {"password": "another"}}
    assert keystones[0].ask("PATCH", f"/users/{user['id']}", change, X_Auth_Token=admin)[0] == 200
    assert not any(keystone.sign_in(user["name"], user["password"], "service") for keystone in reversed(keystones))
    assert all(keystone.sign_in(user["name"], "another", "service") for keystone in keystones)
    refused(keystones, user)


def test_a_removed_role_gives_no_more_rights_anywhere(keystones, admin, user):
    assert keystones[0].ask("DELETE", user["grant"], X_Auth_Token=admin)[0] == 204
    refused(keystones, user)
    assert not any(keystone.sign_in(user["name"], user["password"], "service") for keystone in keystones)


def test_a_revoked_token_is_refused_by_all(keystones, user):
    token = user["token"]
    assert keystones[0].ask("DELETE", "/auth/tokens", X_Auth_Token=token, X_Subject_Token=token)[0] == 204
    refused(keystones, user)


def test_a_new_endpoint_is_in_every_catalogue(keystones, admin, hostvars):
    first = keystones[0]
    kind = f"molecule-{uuid.uuid4().hex[:8]}"
    _, body, _ = first.ask("POST", "/services", {"service": {"name": kind, "type": kind}}, X_Auth_Token=admin)
    service = body["service"]["id"]
    try:
        # This request comes between the creation of a service and of its endpoints, as in a first deployment.
        assert not any(kind in keystone.types(admin) for keystone in keystones)
        region = hostvars["ctl1"].get("site_region", hostvars["ctl1"]["site_name"])
        endpoint = {"service_id": service, "interface": "internal", "url": "https://example.org", "region_id": region}
        assert first.ask("POST", "/endpoints", {"endpoint": endpoint}, X_Auth_Token=admin)[0] == 201
        assert all(kind in keystone.types(admin) for keystone in reversed(keystones))
    finally:
        first.ask("DELETE", f"/services/{service}", X_Auth_Token=admin)
    assert not any(kind in keystone.types(admin) for keystone in reversed(keystones))


def test_every_service_refuses_a_disabled_user_at_once(keystones, glances, admin, user):
    for _ in range(2):
        assert [glance.accepts(user["token"]) for glance in glances] == [True] * 3
    change = {"user": {"enabled": False}}
    assert keystones[0].ask("PATCH", f"/users/{user['id']}", change, X_Auth_Token=admin)[0] == 200
    assert [glance.accepts(user["token"]) for glance in reversed(glances)] == [False] * 3


LOSSES = [
    ("systemctl stop memcached", "systemctl start memcached"),
    ("systemctl kill --signal=STOP memcached", "systemctl kill --signal=CONT memcached"),
]


@pytest.fixture
def lose(machine, eventually):
    """`lose(away, back, *controllers)`: stop memcached on the controllers, and start it again at the end."""
    lost: list[tuple[str, str]] = []

    def go(away: str, back: str, *controllers: str) -> None:
        lost.extend((name, back) for name in controllers)
        for name in controllers:
            machine(name).check_output(away)

    yield go
    for name, back in lost:
        machine(name).check_output(back)
    for name in CONTROLLERS if lost else ():
        assert eventually(lambda name=name: active_cache(machine(name)) == "ctl1")


def active_cache(controller) -> str:
    """Return the controller whose memcached HAProxy uses on this node, or an empty string if none is up."""
    show = "echo show servers state cache | socat - /run/haproxy/admin.sock"
    lines = [line.split() for line in controller.check_output(show).splitlines()]
    return next((line[3] for line in lines if len(line) > 5 and line[1] == "cache" and line[5] == "2"), "")


@pytest.mark.parametrize(("away", "back"), LOSSES)
@pytest.mark.parametrize("lost", [("ctl1",), CONTROLLERS])
def test_a_lost_memcached_costs_no_second(keystones, admin, lose, lost, away, back):
    """The test uses the fastest of several requests, as the machine may be busy. A wait for the cache slows all."""
    keystone = keystones[1]

    def quickest() -> float:
        taken = []
        for _ in range(4):
            begun = time.monotonic()
            assert keystone.accepts(admin)
            taken.append(time.monotonic() - begun)
        return min(taken)

    before = quickest()
    lose(away, back, *lost)
    assert quickest() < before + 1


@pytest.mark.parametrize(("away", "back"), LOSSES)
def test_the_controllers_agree_on_another_memcached(keystones, admin, user, machine, lose, eventually, away, back):
    assert [active_cache(machine(name)) for name in CONTROLLERS] == ["ctl1"] * 3
    lose(away, back, "ctl1")
    assert eventually(lambda: [active_cache(machine(name)) for name in CONTROLLERS] == ["ctl2"] * 3, 30)
    time.sleep(3)  # a process retries two seconds after it has lost its cache
    for _ in range(2):
        assert [keystone.accepts(user["token"]) for keystone in keystones] == [True] * 3
    assert keystones[0].ask("DELETE", user["grant"], X_Auth_Token=admin)[0] == 204
    refused(keystones, user)
    assert not any(keystone.sign_in(user["name"], user["password"], "service") for keystone in keystones)


@pytest.mark.parametrize("lost", [("ctl1",), CONTROLLERS])
def test_a_disabled_user_is_refused_in_the_moment_a_memcached_is_lost(keystones, admin, user, lose, lost):
    """Keystone reads revocations from the database each time, so an old state of the cache has no effect."""
    lose(*LOSSES[0], *lost)
    change = {"user": {"enabled": False}}
    assert keystones[0].ask("PATCH", f"/users/{user['id']}", change, X_Auth_Token=admin)[0] == 200
    refused(keystones, user)


def test_the_cache_answers_controllers_with_a_certificate_only(machine):
    say = "(printf 'version\\r\\n'; sleep 1) | timeout 5"
    tls = f"{say} openssl s_client -quiet -connect ctl1:11212 -CAfile /etc/socle/pki/ca.pem"
    certificate = "-cert /etc/socle/pki/node.pem -key /etc/socle/pki/node.key"
    ask = machine("ctl2").run
    assert "VERSION" in ask(f"{tls} {certificate}").stdout
    assert "VERSION" not in ask(tls).stdout
    assert "VERSION" not in ask(f"{say} socat - TCP:ctl1:11212").stdout


# --- images, which are files on one controller

FILE = b"socle" * 1000
IMAGES = """\
- hosts: control
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: cloudwatt.socle.site}
    - ansible.builtin.import_role: {name: cloudwatt.socle.glance, tasks_from: images}
"""


@pytest.fixture
def image(glances, admin, hostvars) -> Iterator[str]:
    """An image that was uploaded through a VIP, as clients do."""
    virtual = Glance(hostvars["ctl1"]["site_public_vip"], glances[0].trust)
    made = virtual.upload(admin, "molecule", FILE)
    yield made
    virtual.json("DELETE", f":9292/v2/images/{made}", None, X_Auth_Token=admin)


def test_an_image_is_read_by_every_address(glances, admin, hostvars, image, machine):
    for name in ("site_internal_vip", "site_public_vip"):
        virtual = Glance(hostvars["ctl1"][name], glances[0].trust)
        assert [virtual.download(admin, image) for _ in range(6)] == [(200, FILE)] * 6
    held = [name for name in CONTROLLERS if machine(name).file(f"/var/lib/glance/images/{image}").exists]
    assert held == ["ctl1"]


def test_no_controller_serves_images_that_it_lacks(playbook, image):
    assert playbook(IMAGES).returncode == 0
    refused = playbook(IMAGES, "-e", "site_image_host=ctl2")
    assert refused.returncode != 0
    assert f"image molecule ({image}) is on ctl1 and not on ctl2" in refused.stdout
    unmounted = playbook(IMAGES, "-e", '{"site_image_store_shared": true}')
    assert unmounted.returncode != 0
    for name in CONTROLLERS:
        assert f"/var/lib/glance of {name} is on its own" in unmounted.stdout


# --- OVN's databases

UNITS = ("ovn-ovsdb-server-nb", "ovn-ovsdb-server-sb", "ovn-northd")
DATABASES = {"OVN_Northbound": "/run/ovn/ovnnb_db.ctl", "OVN_Southbound": "/run/ovn/ovnsb_db.ctl"}
PLAY = """\
- hosts: control
  gather_facts: false
  roles: [cloudwatt.socle.site, cloudwatt.socle.ovn_central]
"""
# Counts many times a second how many members of a cluster accept no connection.
WATCH = """
import socket, sys, time, os
most, end = 0, time.monotonic() + 300
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    down = 0
    for address in sys.argv[2:]:
        try:
            socket.create_connection((address, 6641), timeout=2).close()
        except OSError:
            down += 1
    most = max(most, down)
    time.sleep(0.02)
print(most)
"""


@pytest.fixture
def ovn_central(playbook):
    """`ovn_central(*options)`: run the role on all controllers and return the changed hosts."""

    def run(*options: str) -> list[str]:
        done = playbook(PLAY, *options)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        return [line.split()[0] for line in recap.splitlines() if "changed=" in line and "changed=0" not in line]

    return run


def timers(machine) -> set[str]:
    found = set()
    for name in CONTROLLERS:
        for database, socket in DATABASES.items():
            text = machine(name).check_output(f"ovs-appctl -t {socket} cluster/status {database}")
            found |= {line.partition(": ")[2] for line in text.splitlines() if line.startswith("Election timer: ")}
    return found


def processes(machine) -> list[str]:
    show = f"systemctl show --property=InvocationID --value {' '.join(UNITS)}"
    return [machine(name).check_output(show) for name in CONTROLLERS]


def test_the_election_timer_changes_while_the_databases_run(machine, ovn_central, eventually):
    assert timers(machine) == {"4000"}
    before = processes(machine)
    another = ("-e", "ovn_central_election_timer_ms=18000")
    assert ovn_central(*another, "--check") == list(CONTROLLERS)
    assert timers(machine) == {"4000"}
    assert ovn_central(*another) == list(CONTROLLERS)
    assert timers(machine) == {"18000"}
    assert ovn_central(*another) == []
    assert ovn_central() == list(CONTROLLERS)
    assert timers(machine) == {"4000"}
    assert processes(machine) == before


def test_the_databases_restart_one_after_the_other(host, machine, hostvars, ovn_central):
    addresses = [hostvars[name]["ansible_host"] for name in CONTROLLERS]
    stop = f"/run/molecule-{uuid.uuid4().hex[:8]}"
    seen: list[str] = []
    command = f"python3 -c '{WATCH}' {stop} {' '.join(addresses)}"
    watcher = threading.Thread(target=lambda: seen.append(host.run(command).stdout.strip()))
    before = processes(machine)
    watcher.start()
    try:
        # The same addresses in another order: the database servers and northd must read them again.
        remotes = ",".join(f"ssl:{address}:6641" for address in reversed(addresses))
        ovn_central("-e", f"site_ovn_nb_remotes={remotes}")
    finally:
        host.check_output(f"touch {stop}")
        watcher.join()
        host.check_output(f"rm -f {stop}")
    after = processes(machine)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert seen == ["1"]
    ovn_central()
