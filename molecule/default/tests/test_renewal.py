# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""All certificates of a node are renewed under load: every service uses the new one, and no request fails."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://ctl1"]

ROOT = Path(__file__).resolve().parents[3]
ASKED = {
    "identity": "/v3/projects",
    "image": "/v2/images?limit=1",
    "placement": "/resource_providers",
    "compute": "/v2.1/flavors",
    "network": "/v2.0/networks?limit=1",
}
SERVE = {5000, 5671, 6641, 6642, 8004, 8774, 8775, 8778, 9292, 9696}
"""Ports on the address of a controller that use TLS from the first byte."""


@pytest.fixture
def served(host, settings):
    """`served()`: mapping of each service to the serial number of the certificate that it uses."""
    own, shared = settings["ansible_host"], settings["site_public_vip"]
    places = {**{f"{own}:{port}": "" for port in SERVE}, f"{own}:3306": "-starttls mysql", f"{shared}:5000": ""}

    def look():
        serial = "openssl s_client -connect {} {} </dev/null 2>/dev/null | openssl x509 -noout -serial"
        return {where: host.check_output(serial.format(where, words)) for where, words in places.items()}

    return look


@pytest.fixture
def asking(api):
    """Send requests to every API several times a second. Yields the failures, and the number of requests by API."""
    done = threading.Event()
    failed: list[str] = []
    asked = dict.fromkeys(ASKED, 0)

    def ask(service, path):
        while not done.wait(0.7):
            begin = time.monotonic()
            try:
                status, body, _ = api.ask("GET", service, path)
                said = "" if status == 200 else f"{status} {body!r:.200}"
            except OSError as error:
                said = repr(error)
            if said:
                failed.append(f"{service} after {time.monotonic() - begin:.1f} s: {said}")
            asked[service] += 1

    clients = [threading.Thread(target=ask, args=item) for item in ASKED.items()]
    for client in clients:
        client.start()
    yield failed, asked
    done.set()
    for client in clients:
        client.join()


def test_no_request_fails_while_certificates_are_renewed(host, inventory, served, asking):
    failed, asked = asking
    before = served()
    words = ["ansible-playbook", "-i", str(inventory), "--vault-password-file", str(inventory / ".vault-password")]
    words += ["-e", f"@{ROOT / 'molecule' / 'default' / 'vars.yml'}"]
    end = "$(openssl x509 -noout -enddate -in /etc/socle/pki/node.pem | cut -d= -f2)"
    until = host.check_output(f'date +%s -d "{end}"')
    left = int(float(until) - time.time()) // 86400
    words += ["-e", f"pki_days={left + 30}", "-e", f"pki_renew_days={left + 15}"]
    env = {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run([*words, "playbooks/deploy.yml"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    enough = {service: count + 5 for service, count in asked.items()}
    deadline = time.monotonic() + 60
    while any(asked[service] < count for service, count in enough.items()) and time.monotonic() < deadline:
        time.sleep(0.5)
    own = host.check_output("openssl x509 -noout -serial -in /etc/socle/pki/node.pem")
    assert own not in before.values()
    assert set(served().values()) == {own}
    assert failed == []
    assert min(asked.values()) >= 20


def test_and_nothing_is_left_to_do(socle):
    code, outcome = socle("deploy")
    assert (code, outcome["failures"]) == (0, [])
    assert not any(counts.get("changed") for counts in outcome["hosts"].values())
