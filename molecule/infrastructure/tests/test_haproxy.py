# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role haproxy: TLS on both VIPs, headers about the client, the health check on loopback, and crashes."""

from __future__ import annotations

import http.client
import json
import ssl

import pytest

testinfra_hosts = ["ansible://control"]

VIPS = {"internal": "site_internal_vip", "api": "site_public_vip"}
CLIENT = "openssl s_client -verify_return_error -CAfile /etc/socle/pki/ca.pem -connect %s -verify_hostname %s"


def test_the_configuration_is_valid_and_for_its_users_only(host):
    host.run_expect([0], "haproxy -c -q -f /etc/haproxy/haproxy.cfg")
    file = host.file("/etc/haproxy/haproxy.cfg")
    assert (file.user, file.group, file.mode) == ("root", "haproxy", 0o640)


@pytest.mark.parametrize("name", VIPS)
def test_each_virtual_address_proves_its_name(host, settings, name):
    address, wanted = f"{settings[VIPS[name]]}:5000", f"{name}.{settings['site_domain']}"
    for version in ("-tls1_2", "-tls1_3"):
        host.run_expect([0], f"echo | {CLIENT} {version}", address, wanted)
    host.run_expect([1], f"echo | {CLIENT}", address, "example.org")


@pytest.mark.parametrize("name", VIPS)
def test_old_tls_is_refused_by_us(host, settings, name):
    """A client that still speaks TLS 1.1 gets an alert."""
    address, wanted = f"{settings[VIPS[name]]}:5000", f"{name}.{settings['site_domain']}"
    answer = host.run(f"echo | {CLIENT} -tls1_1 -cipher DEFAULT@SECLEVEL=0", address, wanted)
    assert answer.rc != 0
    assert "alert protocol version" in answer.stderr


def test_without_tls_there_is_no_api(host, settings):
    assert host.run("curl -s --max-time 5 http://%s:5000/", settings["site_public_vip"]).rc != 0


def test_metadata_and_database_are_internal(host):
    listens = host.check_output("ss -Hltn 'sport = 8775 or sport = 3306'")
    public = host.check_output("getent hosts api.lab.socle.internal").split()[0]
    assert listens
    assert f"{public}:" not in listens


def test_health_and_metrics_are_on_loopback(host):
    assert host.check_output("ss -Hltn 'sport = 8404'").split()[3] == "127.0.0.1:8404"
    metrics = host.check_output("curl -sSf --max-time 5 http://127.0.0.1:8404/metrics")
    assert 'haproxy_server_status{proxy="database",server="ctl1",state="UP"} 1' in metrics


# A server in place of Keystone that returns the headers of each request.
ECHO = """
import http.server, json, os, shutil, socketserver
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "haproxy"
os.makedirs("/run/socle/keystone", exist_ok=True)
server = Server("/run/socle/keystone/http.sock", Echo)
shutil.chown("/run/socle/keystone/http.sock", group="haproxy")
os.chmod("/run/socle/keystone/http.sock", 0o660)
server.serve_forever()
"""
FORGED = {
    "X-Forwarded-Host": "evil.example", "x-forwarded-for": "192.0.2.66", "X-FORWARDED-PROTO": "gopher",
    "X-Forwarded-Prefix": "/evil", "X-Forwarded": "for=192.0.2.66", "Forwarded": "host=evil.example;for=192.0.2.66",
    "X_Forwarded_Host": "evil.example", "X-Forwarded_Host": "evil.example", "X_FORWARDED-FOR": "192.0.2.66",
    "X-Real-IP": "192.0.2.66", "X-Original-URL": "/evil", "X-Rewrite-URL": "/evil", "Client-IP": "192.0.2.66",
    "Proxy": "http://evil.example", "X-Identity-Status": "Confirmed", "X-Service-Catalog": "[]",
}  # fmt: skip


@pytest.fixture(scope="module")
def echo(host, settings, inventory):
    """`echo(address, name)`: the headers that Keystone receives after a request with forged headers to an address."""
    host.run_expect([0], "systemd-run --quiet --unit=molecule-echo python3 -c %s", ECHO)
    trust = ssl.create_default_context(cafile=inventory / "pki" / "ca.pem")

    def ask(address: str, name: str) -> tuple[int, dict[str, list[str]]]:
        link = http.client.HTTPSConnection(address, 5000, timeout=20, context=trust)
        link.putrequest("GET", "/v3", skip_host=True)
        for header, value in {"Host": name, "X-Auth-Token": "secret", **FORGED}.items():
            link.putheader(header, value)
        link.endheaders()
        answer = link.getresponse()
        told: dict[str, list[str]] = {}
        for header, value in json.loads(answer.read()) if answer.status == 200 else ():
            told.setdefault(header.lower().replace("_", "-"), []).append(value)
        return answer.status, told

    yield ask
    host.run("systemctl stop molecule-echo; rm -rf /run/socle/keystone")


@pytest.mark.parametrize("place", ["site_internal_vip", "site_public_vip", "ansible_host"])
@pytest.mark.parametrize("asked", ["address", "evil.example:5000"])
def test_a_service_is_told_by_us_who_asks_and_for_what(echo, settings, eventually, place, asked):
    address = settings[place]
    name = f"{address}:5000" if asked == "address" else asked
    eventually(lambda: echo(address, name)[0] == 200)
    _, told = echo(address, name)
    canonical = "api" if place == "site_public_vip" else "internal"
    host = name if asked == "address" else f"{canonical}.{settings['site_domain']}:5000"
    assert told["x-forwarded-host"] == [host]
    assert told["x-forwarded-for"] == [settings["lab_bridges"][0]["address"].partition("/")[0]]
    assert told["x-forwarded-proto"] == ["https"]
    forged = {header.lower().replace("_", "-") for header in FORGED}
    assert forged & told.keys() == {"x-forwarded-host", "x-forwarded-for", "x-forwarded-proto"}
    assert told["x-auth-token"] == ["secret"]


def test_it_survives_a_crash(host, service, eventually):
    before = service("haproxy")["MainPID"]
    host.check_output("kill -9 %s", before)
    eventually(lambda: service("haproxy")["MainPID"] not in (before, "0"))
    eventually(lambda: host.run("curl -sSf --max-time 2 http://127.0.0.1:8404/health").rc == 0)
