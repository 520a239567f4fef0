# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Security properties that a change could break without a failure of another test. The expectations are exact."""

from __future__ import annotations

import ipaddress
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from module_utils.openstack.test_rie_neutron import Run, cloud_plan
from module_utils.rie.test_gateway_half import vrf
from module_utils.service.test_node_service import RUNNING, US
from neutron_double import Neutron
from rie_intents import SITE, intent

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import process
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import host_firewall
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_client import REVISED, Moved
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import firewall, frr
from ansible_collections.cloudwatt.socle.plugins.module_utils.service import (
    config_files,
    schema_sync,
    schema_sync_host,
    service_units,
    service_units_host,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_arguments import ARGUMENTS
from ansible_collections.cloudwatt.socle.plugins.modules import node_service
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import services
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

ROOT = Path(__file__).resolve().parents[3]
EXPECTED = Path(__file__).parent / "expected"


def expected(name: str) -> str:
    return (EXPECTED / name).read_text(encoding="utf-8")


# --- the complete configuration of a gateway ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vrf.frr.conf", frr.render_frr(vrf(), "s3cret", "gw1")),
        ("vrf.daemons", frr.render_daemons(vrf())),
        ("vrf.nft", firewall.render_ruleset(vrf())),
    ],
)
def test_a_vrf_runs_exactly_this(name: str, text: str) -> None:
    """This test detects every added, changed or lost line: limits, filters, keys, GTSM, source checks."""
    assert text == expected(name)


def test_a_limit_of_prefixes_counts_what_the_allow_list_refuses_too() -> None:
    lines = [line for line in frr.render_frr(vrf()).splitlines() if "maximum-prefix " in line]
    limits = [line.split("maximum-prefix ")[1] for line in lines]
    assert limits == ["100 restart 5 force", "50 restart 5 force"]


# --- the packet filter of a node ----------------------------------------------------------------------------


def test_a_node_accepts_exactly_this() -> None:
    services: list[dict[str, Any]] = [
        {"name": "SSH", "groups": ["nodes"], "from": ["operators"], "ports": [22]},
        {"name": "MariaDB", "groups": ["control"], "from": ["control"], "ports": [3306, "4567-4568"]},
        {"name": "VRRP", "groups": ["control"], "from": ["control"], "protocol": "vrrp"},
        {"name": 'API "1"; drop', "groups": ["control"], "from": ["any"], "to": "10.0.0.9", "ports": [443]},
        {"name": "Geneve", "groups": ["compute"], "from": ["compute"], "protocol": "udp", "ports": [6081]},
    ]
    members = {"control": ["c1", "c2"], "compute": ["n1"], "nodes": ["c1", "c2", "n1"]}
    addresses = {"c1": ["10.0.0.2"], "c2": ["10.0.0.3"], "n1": ["10.0.0.4", "fd00::4"]}
    networks = {"operators": ["192.0.2.0/24", "2001:db8::/32"]}
    text = host_firewall.ruleset(services, ["control", "nodes"], members, addresses, networks)
    assert text == expected("control.nft")


# --- files of services --------------------------------------------------------------------------------------


@pytest.fixture
def checked(tmp_path: Path):
    """`checked(content)`: change a file and another one in one call. The checker of the file accepts or rejects it."""
    for name in ("daemon.conf", "other.conf"):
        (tmp_path / name).write_text("old\n")
    checker = tmp_path / "checker"
    checker.write_text('#!/bin/sh\ncp "$1" "$0.seen"; echo "$1" >"$0.path"; grep -q good "$1"\n')
    checker.chmod(0o755)

    def change(content: str) -> None:
        files = [
            US | {"path": str(tmp_path / name), "content": content, "mode": "0600", "validate": validate}
            for name, validate in (("other.conf", ""), ("daemon.conf", f"{checker} %s"))
        ]
        config_files.apply(config_files.differing(config_files.wanted(files)))

    return change


def test_a_file_that_its_consumer_refuses_is_not_installed_nor_any_other_of_the_call(checked, tmp_path: Path) -> None:
    with pytest.raises(config_files.ConfigError, match=r"daemon\.conf: checker refuses"):
        checked("bad\n")
    assert {(tmp_path / name).read_text() for name in ("daemon.conf", "other.conf")} == {"old\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checker", "checker.path", "checker.seen", "daemon.conf", "other.conf",
    ]  # fmt: skip


def test_what_is_checked_is_what_is_installed(checked, tmp_path: Path) -> None:
    checked("good\n")
    assert {(tmp_path / name).read_text() for name in ("daemon.conf", "other.conf")} == {"good\n"}
    assert (tmp_path / "checker.seen").read_text() == "good\n"
    staged = Path((tmp_path / "checker.path").read_text().strip())
    assert staged.parent == tmp_path
    assert not staged.exists()


def test_a_checker_that_is_not_given_the_file_is_refused() -> None:
    with pytest.raises(config_files.ConfigError, match="has no %s"):
        config_files.wanted([{"path": "/etc/x", "content": "", "mode": "0600", "validate": "/bin/true"}])


def test_the_module_hands_the_checker_on(tmp_path: Path) -> None:
    """This tests the path from the option of the task to the error."""
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    file = {"path": str(tmp_path / "x.conf"), "content": "new\n", "mode": "0600", "validate": "/bin/false %s"} | US
    call = node_service.Call({**defaults, "files": [file], "phases": ["configure"]}, False)
    with pytest.raises(config_files.ConfigError, match="false refuses the new content"):
        call.apply()
    assert not (tmp_path / "x.conf").exists()


def test_files_that_can_cut_a_node_off_have_a_checker() -> None:
    """HAProxy and keepalived serve the addresses of the site, and the packet filter affects every connection."""
    found = {}
    for source in (*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/vars/*.yml")):
        lines = source.read_text().splitlines()
        for number, line in enumerate(lines):
            if line.strip().startswith("validate: "):
                path = next(entry for entry in reversed(lines[:number]) if "path: " in entry)
                found[path.split("path: ")[1].strip()] = line.split("validate: ")[1]
    assert (
        found.items()
        >= {
            "/etc/haproxy/haproxy.cfg": "/usr/sbin/haproxy -c -q -f %s",
            "/etc/keepalived/keepalived.conf": "/usr/sbin/keepalived --config-test --use-file=%s",
            "/etc/nftables.conf": "nft -c -f %s",
        }.items()
    )


# --- units and schemas, by wave -----------------------------------------------------------------------------


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The calls of systemd and the waits, in order. Every unit is stopped at the start."""
    said: list[str] = []
    stopped = RUNNING.__class__("loaded", "inactive", "dead", "enabled", "/u/x.service", (), "", since=0)

    def run(argv, **_options):
        said.append(" ".join(argv[1:]))
        return process.Completed(argv, 0, "", "")

    def wait(unit):
        said.append(f"ready {unit.name}")
        return "" if unit.name != "broken.service" else "broken.service is not ready"

    monkeypatch.setattr(service_units, "STAMPS", tmp_path, raising=False)
    monkeypatch.setattr(service_units_host.Runner, "look", lambda self: {unit.name: stopped for unit in self.units})
    monkeypatch.setattr(service_units_host.Runner, "stamp", lambda self, units: None)
    monkeypatch.setattr(service_units_host, "run", run)
    monkeypatch.setattr(service_units_host, "wait", wait)
    return said


def units(**waves: int) -> list[service_units.Unit]:
    ready = {"port": 1, "timeout": 1}
    return [service_units.Unit.of({"name": name, "wave": wave, "ready": ready}) for name, wave in waves.items()]


def test_units_of_a_wave_are_ready_before_the_next_is_touched(systemd: list[str]) -> None:
    service_units_host.Runner(units(api=1, agent=2, database=0, cache=0), [], False).apply()
    systemd[1:3] = sorted(systemd[1:3])  # these waits run in parallel
    assert systemd == [
        "start database.service cache.service",
        "ready cache.service",
        "ready database.service",
        "start api.service",
        "ready api.service",
        "start agent.service",
        "ready agent.service",
    ]


def test_nothing_is_started_on_a_wave_that_is_not_ready(systemd: list[str]) -> None:
    with pytest.raises(service_units.UnitError, match=r"broken\.service is not ready"):
        service_units_host.Runner(units(broken=0, api=1), [], False).apply()
    assert "start api.service" not in systemd


def test_schemas_of_a_wave_are_made_before_the_next_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def sync(self, schema):
        made.append(f"begin {schema.name}")
        time.sleep(0.01)
        made.append(f"end {schema.name}")
        return "it broke" if schema.name == "broken" else ""

    monkeypatch.setattr(schema_sync_host.Runner, "sync", sync)

    def apply(**waves: int) -> None:
        runner: Any = object.__new__(schema_sync_host.Runner)
        runner.schemas = [SimpleNamespace(name=name, wave=wave) for name, wave in waves.items()]
        runner.due = {name: ["x"] for name in waves}
        runner.apply()

    apply(nova=1, nova_api=0, cells=2)
    assert made == ["begin nova_api", "end nova_api", "begin nova", "end nova", "begin cells", "end cells"]
    made.clear()
    with pytest.raises(schema_sync.SchemaError, match="it broke"):
        apply(broken=0, nova=1)
    assert made == ["begin broken", "end broken"]


# --- the cloud ----------------------------------------------------------------------------------------------


class Recording(Neutron):
    """Records the condition of every update."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions: list[tuple[str, str | None]] = []

    def request(self, path, method, raise_exc=True, **arguments):
        parts = path.split("?")[0].strip("/").split("/")
        if method == "PUT" and len(parts) == 2 and parts[0] != "quotas":
            given = (arguments.get("headers") or {}).get("If-Match")
            self.conditions.append((parts[0], given))
        return super().request(path, method, raise_exc, **arguments)


def drifted() -> tuple[Recording, Run]:
    """Return a cloud in which one object of each kind with a revision was changed by hand."""
    neutron = Recording()
    run = Run(neutron, cloud_plan(intent(1, 1)))
    run.converge()
    neutron.conditions.clear()
    for kind in REVISED:
        for row in neutron.rows[kind].values():
            row |= {"revision_number": 7, "name": "by hand"}
    return neutron, run


def test_every_update_says_which_revision_it_changes() -> None:
    neutron, run = drifted()
    changes = run.look()
    kinds = {entry.kind for entry in changes.operations if entry.action == "update"}
    assert kinds == {"subnetpool", "network", "subnet", "router"} == set(REVISED)
    run.client.apply(changes.operations, run.live, run.projects)
    paths = {"subnetpool": "subnetpools", "network": "networks", "subnet": "subnets", "router": "routers"}
    assert {(path, condition) for path, condition in neutron.conditions if path in paths.values()} == {
        (paths[kind], "revision_number=7") for kind in kinds
    }


def test_what_somebody_changed_meanwhile_is_never_overwritten() -> None:
    neutron, run = drifted()
    changes = run.look()
    victim = changes.operations[0]
    assert victim.id

    def meddle(double: Neutron) -> None:
        for kind in REVISED:
            for row in double.rows[kind].values():
                row |= {"revision_number": row["revision_number"] + 1, "by": "somebody"}

    before = dict(neutron.rows[victim.kind][victim.id])
    neutron.before_write = meddle
    with pytest.raises(Moved):
        run.client.apply([victim], run.live, run.projects)
    after = neutron.rows[victim.kind][victim.id]
    assert after == before | {"revision_number": before["revision_number"] + 1, "by": "somebody"}


# --- address ranges of tenants ------------------------------------------------------------------------------

NEVER = [
    "0.1.0.0/16", "100.64.0.0/16", "127.0.0.0/16", "169.254.0.0/16", "169.254.169.0/24", "192.0.0.0/24",
    "192.88.99.0/24", "198.18.0.0/16", "198.19.0.0/16", "224.0.0.0/16", "239.1.0.0/16", "240.0.0.0/16",
    "255.255.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
    "::/48", "::ffff:0:0/96", "64:ff9b::/96", "2001::/32", "2001:db8::/48", "2002:a00::/32", "3fff:1::/48",
    "4000::/48", "8000::/48", "c000::/48", "e000::/48", "f000::/48", "f800::/48", "fe00::/48", "fe80::/48",
    "fe80::/64", "febf::/48", "fec0::/48", "ff00::/48", "ff05::/48",
]  # fmt: skip
"""Prefixes of the IANA registries for special use, and unallocated prefixes."""


@pytest.mark.parametrize("prefix", NEVER)
def test_a_prefix_for_special_use_is_delegated_to_nobody(prefix: str) -> None:
    family = "v6" if ":" in prefix else "v4"
    source = intent(1, 1)
    source["rie_tenants"][0]["vrfs"][0]["delegated"][family].append(prefix)
    found = [fault for fault in planner.plan(source, {}, site=SITE).violations if ".delegated." in fault.path]
    assert [(fault.path.rpartition(".")[2], "touches" in fault.reason) for fault in found] == [(f"{family}[1]", True)]


@pytest.mark.parametrize("prefix", ["10.9.0.0/16", "172.16.0.0/16", "192.168.7.0/24", "fd99::/48", "2a01:c000::/48"])
def test_a_prefix_for_common_use_may_be_delegated(prefix: str) -> None:
    source = intent(1, 1)
    source["rie_tenants"][0]["vrfs"][0]["delegated"]["v6" if ":" in prefix else "v4"].append(prefix)
    assert planner.plan(source, {}, site=SITE).violations == []


@pytest.mark.parametrize(
    ("family", "own", "peer", "fine"),
    [
        ("v4", "100.90.0.1/29", "100.90.0.6", True),
        ("v4", "100.90.0.1/29", "100.90.0.7", False),
        ("v4", "100.90.0.1/29", "100.90.0.0", False),
        ("v4", "100.90.0.0/31", "100.90.0.1", True),
        ("v6", "fd90::1/64", "fd90::2", True),
        ("v6", "fd90::1/64", "fd90::ffff:ffff:ffff:ffff", True),
        ("v6", "fd90::1/64", "fd90::", False),
        ("v6", "fd90::/127", "fd90::1", True),
    ],
)
def test_the_ends_of_a_link_are_hosts_of_its_subnet(family: str, own: str, peer: str, fine: bool) -> None:
    """In IPv4 the last address is the broadcast address. In IPv6 the first is the anycast address of routers."""
    source = intent(1, 1)
    source["rie_tenants"][0]["vrfs"][0]["links"]["gw1"] |= {f"local_{family}": own, f"peer_{family}": peer}
    found = [fault.path.rpartition(".")[2] for fault in planner.plan(source, {}, site=SITE).violations]
    assert found == ([] if fine else [f"peer_{family}"])


def test_the_gateway_of_a_network_is_its_first_host_in_both_families() -> None:
    source = intent(1, 1)
    source["rie_tenants"][0]["vrfs"][0]["networks"] = [{"name": "web", "v4": "10.20.16.0/28", "v6": "fd20:1:1:7::/64"}]
    source["rie_tenants"][0]["vrfs"][0]["delegated"] = {"v4": ["10.20.16.0/20"], "v6": ["fd20:1:1::/48"]}
    result = planner.plan(source, {}, site=SITE)
    assert result.violations == []
    [cloud] = result.plan["neutron"]["vrfs"]
    assert {key: cloud["networks"][0][key]["gateway_ip"] for key in ("v4", "v6")} == {
        "v4": "10.20.16.1",
        "v6": "fd20:1:1:7::1",
    }
    for external in cloud["externals"]:
        for key in ("v4", "v6"):
            first = ipaddress.ip_network(external[key]["cidr"]).network_address
            assert external[key]["gateway_ip"] == str(first + 1)


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def haproxy() -> list[str]:
    """The lines of haproxy.cfg for a site with two controllers."""
    files = yaml.safe_load((ROOT / "roles" / "haproxy" / "vars" / "main.yml").read_text())["haproxy_service"]["files"]
    text = next(file["content"] for file in files if file["path"] == "/etc/haproxy/haproxy.cfg")
    environment = jinja2.Environment(trim_blocks=True)  # like Ansible
    environment.filters["extract"] = lambda key, container, path: container[key][path]
    template = environment.from_string(text)
    apis = [
        {"name": "keystone", "port": 5000, "unit": "keystone"},
        {"name": "x", "port": 1, "unit": "x", "public": False},
    ]
    rendered = template.render(
        haproxy_services=apis,
        haproxy_members=["ctl1", "ctl2"],
        haproxy_database_members=["ctl1", "ctl2"],
        haproxy_cache_members=["ctl1", "ctl2"],
        site_cache_port=11212,
        site_memcached_port=11211,
        hostvars={"ctl1": {"ansible_host": "10.0.0.1"}, "ctl2": {"ansible_host": "10.0.0.2"}},
        haproxy_ca_file="/ca.pem",
        haproxy_address="10.0.0.1",
        haproxy_internal_address="10.0.0.8",
        haproxy_public_address="10.0.0.9",
        haproxy_database_port=3306,
        haproxy_database_check_port=9200,
        haproxy_internal_name="internal.example",
        haproxy_public_name="api.example",
        haproxy_health_port=8080,
        haproxy_connections=100,
        haproxy_hsts_seconds=31536000,
    )
    return [" ".join(line.split()) for line in rendered.splitlines()]


def test_haproxy_proves_who_answers_for_a_service(haproxy: list[str]) -> None:
    """HAProxy checks the certificate and name of each controller. Only the TLS of MariaDB passes through."""
    servers = [line for line in haproxy if line.startswith("server ") and "unix@" not in line and ":3306" not in line]
    assert servers.pop() == "server memcached 127.0.0.1:11211"
    cache = [line for line in servers if ":11212 " in line]
    assert cache == [
        "server ctl1 10.0.0.1:11212 verifyhost ctl1 on-marked-up shutdown-backup-sessions",
        "server ctl2 10.0.0.2:11212 verifyhost ctl2 backup",
    ]
    before = [line for line in haproxy[: haproxy.index(cache[0])] if line.startswith("default-server ")]
    assert before[-1].endswith(" ssl crt @socle/node verify required ca-file /ca.pem")
    assert [line[line.index(" ssl ") + 1 :] for line in servers if line not in cache] == [
        f"ssl verify required ca-file /ca.pem verifyhost {name}"
        for _service in ("keystone", "x")
        for name in ("ctl1", "ctl2")
    ]
    assert "ssl-server-verify required" in haproxy
    assert not any("verify none" in line for line in haproxy)


def test_haproxy_listens_without_tls_for_nothing_but_its_health_and_the_database(haproxy: list[str]) -> None:
    binds = [line for line in haproxy if line.startswith("bind ")]
    plain = [line for line in binds if " ssl crt @socle/" not in line]
    assert plain == ["bind 127.0.0.1:8080", "bind 10.0.0.8:3306 transparent", "bind 127.0.0.1:11212"]
    assert [line for line in binds if ":1 " in line and "10.0.0.9" in line] == []  # none on the public VIP
    assert "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets" in haproxy
    assert "ssl-default-server-options ssl-min-ver TLSv1.2" in haproxy
    ciphers = [line for line in haproxy if line.startswith("ssl-default-bind-cipher")]
    assert ciphers == [
        "ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20",
        "ssl-default-bind-ciphersuites TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
    ]
    assert haproxy.count("http-response set-header Strict-Transport-Security max-age=31536000") == 2


def test_haproxy_lets_only_controllers_with_a_certificate_to_the_cache(haproxy: list[str]) -> None:
    start = haproxy.index("frontend cache-here")
    block = haproxy[start : haproxy.index("backend cache-here")]
    assert "bind 10.0.0.1:11212 ssl crt @socle/node ca-file /ca.pem verify required" in block
    assert "tcp-request connection reject unless { src 10.0.0.1 10.0.0.2 }" in block


def test_what_revokes_a_token_is_never_cached() -> None:
    config = defaults("keystone")["keystone_config"]
    assert config["revoke"]["caching"] is False
    assert config["token"]["caching"] is False
    assert config["token"]["cache_on_issue"] is False


def defaults(role: str) -> dict:
    return yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())


def test_mariadb_encrypts_clients_and_the_cluster() -> None:
    """The options are, as in the manual, for clients, for the links of Galera, and for state transfers."""
    found = defaults("mariadb")
    server = next(section for section in found["mariadb_config"].values() if "ssl_ca" in section)
    assert {key: value for key, value in server.items() if key.startswith(("ssl", "tls", "require_secure"))} == {
        "ssl_ca": "/etc/socle/pki/ca.pem",
        "ssl_cert": "/etc/socle/pki/node.pem",
        "ssl_key": "/etc/socle/pki/node.key",
        "tls_version": "TLSv1.2,TLSv1.3",
        "require_secure_transport": True,
    }
    assert server["wsrep_provider_options"].startswith(
        "{{ (mariadb_provider_options | cloudwatt.socle.merged({})).items()"
    )
    assert found["mariadb_config"]["sst"] == {
        "encrypt": 3,
        "tca": "/etc/socle/pki/ca.pem",
        "tcert": "/etc/socle/pki/node.pem",
        "tkey": "/etc/socle/pki/node.key",
        "ssl-mode": "VERIFY_CA",
    }
    provider = found["mariadb_provider_options"]
    assert {key: value for key, value in provider.items() if key.startswith("socket.ssl") or "addr" in key} == {
        "socket.ssl": "yes",
        "socket.ssl_ca": "/etc/socle/pki/ca.pem",
        "socket.ssl_cert": "/etc/socle/pki/node.pem",
        "socket.ssl_key": "/etc/socle/pki/node.key",
        "gmcast.listen_addr": "ssl://{{ mariadb_address }}:4567",
        "ist.recv_addr": "ssl://{{ mariadb_address }}:4568",
    }


def test_rabbitmq_listens_with_tls_alone() -> None:
    dicts = [value for value in defaults("rabbitmq").values() if isinstance(value, dict)]
    found = next(value for value in dicts if "listeners.ssl.1" in value)
    assert found["listeners.tcp"] == "none"
    assert {key: value for key, value in found.items() if key.startswith(("listeners.", "ssl_options."))} == {
        "listeners.tcp": "none",
        "listeners.ssl.1": "{{ rabbitmq_address }}:{{ rabbitmq_port }}",
        "ssl_options.cacertfile": "/etc/socle/pki/ca.pem",
        "ssl_options.certfile": "/etc/socle/pki/node.pem",
        "ssl_options.keyfile": "/etc/socle/pki/node.key",
        "ssl_options.versions.1": "tlsv1.3",
        "ssl_options.versions.2": "tlsv1.2",
        "ssl_options.verify": "verify_none",  # clients have passwords, not certificates
        "ssl_options.fail_if_no_peer_cert": "false",
    }


def test_clients_of_the_site_check_certificates() -> None:
    """All services connect with these shared facts."""
    found = defaults("site")
    declared = services.declared(ROOT / "roles")
    passwords = dict.fromkeys(services.secret_names(declared), "x")
    accounts = [user for database in services.databases(declared, passwords) for user in database["users"]]
    assert {user["require"] for user in accounts} == {"SSL"}
    assert found["site_database_options"] == "charset=utf8mb4&ssl_ca={{ site_ca_file }}"
    rabbit = next(value for value in found.values() if isinstance(value, dict) and "ssl_ca_file" in value)
    assert (rabbit["ssl"], rabbit["ssl_ca_file"]) == (True, "{{ site_ca_file }}")
    for name, port in (("site_ovn_nb_remotes", 6641), ("site_ovn_sb_remotes", 6642)):
        assert f"'ssl:\\1:{port}'" in found[name]
        assert "tcp:" not in found[name]


def test_brokers_prove_themselves_to_each_other_where_their_links_have_tls() -> None:
    text = (ROOT / "roles" / "rabbitmq" / "tasks" / "configure.yml").read_text()
    assert text.count("{verify, verify_peer}") == 1  # in a loop over both sides
    assert "{% for side in ['server', 'client'] %}" in text
    assert "{fail_if_no_peer_cert, true}" in text


def test_ovn_listens_with_tls_alone() -> None:
    text = (ROOT / "roles" / "ovn_central" / "vars" / "main.yml").read_text()
    assert "--db-{{ db }}-create-insecure-remote=no" in text
    for line in text.splitlines():
        if "--remote=" in line:
            assert "--remote=pssl:" in line
        assert "ptcp:" not in line
    assert text.count("-proto=ssl") == 2  # the links of the cluster, at both ends


def test_nothing_turns_the_check_of_certificates_off() -> None:
    """No role, playbook or module may turn it off. Exceptions are listed here with their reasons."""
    words = (
        "verify none", "insecure = true", "insecure: true", "validate_certs: false", "CERT_NONE",
        "_create_unverified_context", "verify=False", "check_hostname = False", "StrictHostKeyChecking=no",
    )  # fmt: skip
    found = {
        (str(path.relative_to(ROOT)), word)
        for folder in ("roles", "playbooks", "plugins", "inventories", "socle")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".yml", ".py", ".j2", ".cfg", ".conf") and "__pycache__" not in path.parts
        for word in words
        if word in path.read_text(errors="replace")
    }
    assert found == {
        # The audit makes a TLS handshake with every port to detect its protocol. It sends no data.
        ("plugins/module_utils/audit/security_guide_host.py", "CERT_NONE"),
        ("plugins/module_utils/audit/security_guide_host.py", "check_hostname = False"),
    }


# --- files: owners, links, removal --------------------------------------------------------------------------


def put(**option: str) -> None:
    item = {"content": "new\n", "mode": "0640"} | US | option
    config_files.apply(config_files.differing(config_files.wanted([item])))


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    """This holds even if the target has the wanted content, owner and mode, because its owner could change it later."""
    target, file = tmp_path / "target", tmp_path / "x.conf"
    target.write_text("new\n")
    target.chmod(0o640)
    file.symlink_to(target)
    put(path=str(file))
    assert not file.is_symlink()
    assert (file.read_text(), target.read_text()) == ("new\n", "new\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_files_and_folders_belong_to_whom_they_are_wanted_for(tmp_path: Path) -> None:
    other = {"owner": "nobody", "group": "nogroup"}
    put(path=str(tmp_path / "x.conf"), **other)
    folder = {"path": str(tmp_path / "folder"), "mode": "0750"} | other
    config_files.apply(config_files.differing(config_files.wanted([], [folder])))
    for name, mode in (("x.conf", 0o640), ("folder", 0o750)):
        info = (tmp_path / name).stat()
        assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (65534, 65534, mode)


def test_a_folder_that_holds_files_is_never_removed(tmp_path: Path) -> None:
    def absent(name: str) -> None:
        config_files.apply(config_files.differing(config_files.wanted([], absent=[str(tmp_path / name)])))

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "data").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("empty", "file", "never"):
        absent(name)
    with pytest.raises(config_files.ConfigError, match="full: cannot be removed"):
        absent("full")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "full"]


def test_a_folder_or_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, kind in (("folder", "directory"), ("fifo", "special")):
        with pytest.raises(config_files.ConfigError, match=f"a {kind} is in the way of the file"):
            put(path=str(tmp_path / name))
    (tmp_path / "file").touch()
    folder = {"path": str(tmp_path / "file"), "mode": "0750"} | US
    with pytest.raises(config_files.ConfigError, match="a file is in the way of the directory"):
        config_files.apply(config_files.differing(config_files.wanted([], [folder])))
