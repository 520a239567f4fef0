# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Probes between real network namespaces (root): a site and a guest connected by a veth, and an isolated site."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.verify import probing, reachability

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2 to make network namespaces"
)

GUEST = """
import http.server, json, socket
class Guest(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = {"name": "guest-a", "remote_addr": self.client_address[0]}
        if self.path.startswith("/cgi-bin/probe"):
            said = {"name": "guest-a", "reached": "10.98.0.1" in self.path, "answer": None}
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(said).encode())
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 80), Guest).serve_forever()
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def namespaces() -> Iterator[dict[str, str]]:
    names = {role: f"socle-test-{role}-{os.getpid()}" for role in ("site", "guest", "lone")}
    server = None
    try:
        for name in names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names["site"], "link", "add", "e0", "type", "veth", "peer", "e0", "netns", names["guest"])
        for role, number in (("site", 1), ("guest", 2)):
            ip("-n", names[role], "address", "add", f"10.98.0.{number}/24", "dev", "e0")
            ip("-n", names[role], "address", "add", f"fd98::{number}/64", "dev", "e0", "nodad")
            ip("-n", names[role], "link", "set", "e0", "up")
        ip("-n", names["lone"], "address", "add", "10.98.1.1/32", "dev", "lo")
        ip("-n", names["lone"], "address", "add", "fd98:1::1/128", "dev", "lo")
        server = subprocess.Popen(["ip", "netns", "exec", names["guest"], sys.executable, "-c", GUEST])
        eventually_answers(names)
        yield names
    finally:
        if server:
            server.kill()
            server.wait()
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def eventually_answers(names: dict[str, str]) -> None:
    """Wait for the server of the guest. The duration of its start depends on the load of the machine."""
    end = time.monotonic() + 60
    while once(names, proto="http")["outcome"] != "reach":
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_matrix_of_real_packets(namespaces: dict[str, str]) -> None:
    guests = [{"tenant": "a", "vrf": "a", "name": "guest-a", "v4": "10.98.0.2", "v6": "fd98::2"}]
    sites = [
        {"name": "site-a", "vrf": "a", "netns": namespaces["site"], "v4": "10.98.0.1", "v6": "fd98::1"},
        {"name": "site-b", "vrf": "b", "netns": namespaces["lone"], "v4": "10.98.1.1", "v6": "fd98:1::1"},
    ]
    probes = reachability.matrix(guests, sites, {}, mtu=1500)
    probes = [probe for probe in probes if probe["family"] == "v4" or probe["kind"] != reachability.GUEST_SITE]
    report = reachability.judge(probes, probing.run(probes, timeout=240, tries=2, wait=2, workers=8))
    assert report["violations"] == [], json.dumps(report["probes"], indent=1)
    assert report["counts"]["total"] == 12


def once(namespaces: dict[str, str], **changes: Any) -> dict[str, Any]:
    probe = {
        "netns": namespaces["site"],
        "source": "10.98.0.1",
        "target": "10.98.0.2",
        "family": "v4",
        "proto": "icmp",
    }
    return probing.probe_once(probe | changes, 5)


def test_what_is_silence_and_what_is_not(namespaces: dict[str, str]) -> None:
    assert once(namespaces)["outcome"] == "reach"
    assert once(namespaces, target="10.98.0.77")["outcome"] == "unreachable"
    assert once(namespaces, size=1473)["outcome"] == "unreachable"  # 1501 bytes on a link of 1500
    assert once(namespaces, target="192.0.2.1")["outcome"] == "unreachable"
    assert once(namespaces, target="192.0.2.1", proto="http")["outcome"] == "unreachable"
    assert once(namespaces, target="10.98.0.1", proto="http")["outcome"] == "refused"
    assert once(namespaces, source="10.98.0.9")["outcome"] == "error"
    assert once(namespaces, source="10.98.0.9", proto="http")["outcome"] == "error"
