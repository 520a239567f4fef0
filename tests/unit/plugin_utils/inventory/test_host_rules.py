# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The names of hosts, their groups, and the length of names."""

from __future__ import annotations

import ast
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from jinja2 import Environment

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import node_names
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import plan as lab_plan
from ansible_collections.cloudwatt.socle.plugins.module_utils.pki import certificates as node_certificates
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.facts import infrastructure, services
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import host_rules, name_limits
from socle import vault
from socle.project import ROOT, Site

FULL = "ctl1.fr1.cloud.example"


class Folder:
    """A copy of the lab's inventory that a test may change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        ignore = shutil.ignore_patterns("secrets.yml", ".vault-password", "pki")
        shutil.copytree(ROOT / "inventories" / "lab", path, ignore=ignore)
        vault.init(Site(path))

    def add(self, name: str, text: str) -> Folder:
        path = self.path / name
        path.write_text((path.read_text() if path.exists() else "") + text)
        return self

    def rename(self, pattern: str, replacement: str, *names: str) -> Folder:
        for name in names:
            path = self.path / name
            path.write_text(re.sub(pattern, replacement, path.read_text()))
        return self

    def found(self) -> list[str]:
        """Return the violations as "file:line path: reason"."""
        violations = site_validate.violations(self.path, self.path / ".vault-password")
        return [f"{v['file'].rsplit('/', 1)[-1]}:{v['line']} {v['path']}: {v['reason']}" for v in violations]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(site_validate, "fetch", lambda url: "")
    monkeypatch.setattr(site_validate, "source_of", lambda address: "")
    return Folder(tmp_path / "lab")


# --- names of hosts ------------------------------------------------------------------------------------------


def test_hosts_may_be_called_by_their_full_names(lab):
    full = r"\1.fr1.cloud.example"
    lab.rename(r"\b(ctl1|cmp1|gw1|gw2|rie)(?=:\n)", full, "hosts.yml")
    lab.rename(r"\b(gw1|gw2)\b", full, "group_vars/all/rie.yml", "allocations.yml", "group_vars/backbone.yml")
    lab.rename(r"ctl1\.{{ site_domain }}", "ctl1.fr1.cloud.example", "group_vars/all/site.yml")
    assert lab.found() == []


NAMES = {
    "cmp 2": "host name 'cmp 2' is not a DNS name in lower case",
    "CMP2": "host name CMP2 is not a DNS name in lower case",
    "cmp_2": "host name cmp_2 is not a DNS name in lower case",
    "-cmp2": "host name -cmp2 is not a DNS name in lower case",
    "cmp2-": "host name cmp2- is not a DNS name in lower case",
    "cmp2.": "host name cmp2. is not a DNS name in lower case",
    "a..b": "host name a..b is not a DNS name in lower case",
    "été": "host name été is not a DNS name in lower case",
    "c" * 64: f"host name {'c' * 64} is not a DNS name in lower case",
    "c." * 32 + "d": f"host name {'c.' * 32}d has 65 characters",
    "22": "host name 22 begins with a number alone, which programs take for an address",
    "10.99.0.22": "host name 10.99.0.22 is an address",
    "fd00--22": None,
    "2cmp": None,
    "c" * 63: None,
    "cmp2.rack1.example": None,
    "localhost": "host name localhost is a name of the loopback address",
    "api": "host api is called api.lab.socle.internal, which is site_public_name",
    "internal.lab.socle.internal": "host internal.lab.socle.internal is called internal.lab.socle.internal, "
    "which is site_internal_name",
    "ctl1.other.example": "the short name of host ctl1.other.example is that of ctl1: ctl1",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_or_refused_at_its_line(lab, name):
    variables = "{ansible_host: 10.99.0.22, tunnel_address: 10.99.1.22}"
    lab.add("more.yml", f'---\ncompute:\n  hosts:\n    "{name}": {variables}\n')
    assert lab.found() == ([f"more.yml:4 compute.hosts.{name}: {NAMES[name]}"] if NAMES[name] else [])


def test_a_host_may_not_have_the_name_of_a_group(lab):
    lab.add("more.yml", "gateway:\n  hosts:\n    compute:\n")
    assert "more.yml:3 gateway.hosts.compute: host compute has the name of a group" in lab.found()


def test_names_of_a_node_are_derived_in_one_place():
    assert node_names.node_names("ctl1", "fr1.example") == ["ctl1.fr1.example", "ctl1"]
    assert node_names.node_names(FULL, "fr1.example") == [FULL, "ctl1"]
    hosts = {FULL: {"ansible_host": "10.0.0.1"}, "cmp1": {"ansible_host": "10.0.0.2"}}
    assert infrastructure.host_names(hosts, hosts, "fr1.example") == {
        "10.0.0.1": [FULL, "ctl1"],
        "10.0.0.2": ["cmp1.fr1.example", "cmp1"],
    }


def test_rabbitmq_knows_its_nodes_by_short_names():
    environment = Environment(keep_trailing_newline=True)
    environment.filters["cloudwatt.socle.short_name"] = node_names.short_name
    environment.filters["regex_replace"] = lambda text, pattern, new: re.sub(pattern, new, str(text))
    environment.filters["zip"] = zip
    environment.globals["dict"] = dict
    tasks = yaml.safe_load((ROOT / "roles" / "rabbitmq" / "tasks" / "configure.yml").read_text())
    nodes = next(task["vars"]["rabbitmq_nodes"] for task in tasks if "rabbitmq_nodes" in task.get("vars", {}))
    made = environment.from_string(nodes).render(rabbitmq_members=[FULL, "ctl2"])
    assert ast.literal_eval(made) == {
        "cluster_formation.classic_config.nodes.1": "rabbit@ctl1",
        "cluster_formation.classic_config.nodes.2": "rabbit@ctl2",
    }
    text = (ROOT / "roles" / "rabbitmq" / "tasks" / "configure.yml").read_text()
    [name] = [line.strip() for line in text.splitlines() if line.strip().startswith("NODENAME=")]
    assert environment.from_string(name).render(inventory_hostname=FULL) == "NODENAME=rabbit@ctl1"


def test_machines_of_a_lab_may_have_full_names():
    assert lab_plan._NAME.match(FULL)
    assert not lab_plan._NAME.match("CTL1")
    assert not lab_plan._NAME.match("c." * 32 + "d")


# --- long names ----------------------------------------------------------------------------------------------


def domain(lab: Folder, name: str) -> Folder:
    return lab.rename("site_domain: .*", f"site_domain: {name}", "group_vars/all/site.yml")


LONG = ".".join(["d" * 60] * 3)


def test_a_long_domain_is_taken_as_certificates_name_it_among_their_alternatives(lab):
    assert domain(lab, LONG).found() == []
    names = node_names.node_names("ctl1", LONG)
    assert node_names.common_name(names) == "ctl1"
    key = node_certificates.new_key()
    pem = node_certificates.request(key, node_names.common_name(names), names, ["10.0.0.1"])
    request = x509.load_pem_x509_csr(pem.encode())
    alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == [f"ctl1.{LONG}", "ctl1"]


def test_a_short_name_stays_the_subject_that_it_was():
    assert node_names.common_name(node_names.node_names("ctl1", "fr1.example")) == "ctl1.fr1.example"


def test_a_domain_that_makes_names_too_long_for_dns_is_refused(lab):
    long = ".".join(["d" * 60] * 4) + ".example"
    text = "\n".join(domain(lab, long).found())
    assert "host name ctl1 has 256 characters with site_domain" in text
    assert "site_internal_name: has 260 characters" in text


LIMITED = {
    "rie_gateway_uplinks: {rie: rie0, peer: a-long-interface}": "rie_gateway_uplinks.peer: has 16 characters",
    "ovn_chassis_bridges: [{name: br-0123456789abc, ports: []}]": "ovn_chassis_bridges[0].name: has 16 characters",
    f"mariadb_cluster_name: {'c' * 33}": "mariadb_cluster_name: has 33 characters",
    'pki_ca_name: "{{ site_name }} ' + "c" * 61 + '"': "pki_ca_name: has 65 characters",
    f"hardening_sudo_group: {'g' * 33}": "hardening_sudo_group: has 33 characters",
    f"site_rabbitmq_vhost: {'é' * 128}": "site_rabbitmq_vhost: has 256 characters",
    f"site_api_services: [{{name: x, unit: {'u' * 87}, port: 1}}]": "site_api_services[0].unit: has 87 characters",
    f"mariadb_databases: [{{name: {'d' * 65}}}]": "mariadb_databases[0].name: has 65 characters",
}


@pytest.mark.parametrize("line", LIMITED)
def test_a_name_longer_than_its_limit_is_refused(lab, line):
    lab.path.joinpath("group_vars/gateway.yml").unlink()
    lab.add("group_vars/all/more.yml", f"---\n{line}\n")
    assert any(text.startswith(f"more.yml:2 {LIMITED[line]}") for text in lab.found())


def test_every_limit_is_of_a_variable_that_a_role_has():
    known = yaml.safe_load((ROOT / "roles" / "site" / "meta" / "argument_specs.yml").read_text())
    names = set(known["argument_specs"]["main"]["options"]) | {"ansible_user", "lab_links"}
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        names |= set(re.findall(r"^(\w+):", path.read_text(), re.MULTILINE))
    assert {limit.path[0] for limit in name_limits.LIMITS} <= names


# --- groups --------------------------------------------------------------------------------------------------


def test_groups_of_ones_own_may_have_variables(lab):
    lab.add(
        "more.yml",
        "compute: {children: {compute_gen2: {hosts: {cmp2: {ansible_host: 10.99.0.22, tunnel_address: 10.99.1.22}}}}}\n"
        "rack1: {hosts: {ctl1: {}, cmp2: {}}}\n",
    )
    lab.add("group_vars/compute_gen2.yml", "nova_compute_cpu_mode: none\n").add("group_vars/rack1.yml", "---\n")
    assert lab.found() == []
    lab.add("group_vars/rack1.yml", "base_timezon: Europe/Paris\n")
    assert lab.found() == ["rack1.yml:2 base_timezon: unknown variable"]


def test_a_misspelt_group_and_its_hosts_are_told(lab):
    lab.add("more.yml", "---\ncomputes:\n  hosts:\n    cmp2: {ansible_host: 10.99.0.22}\n")
    assert lab.found() == [
        "more.yml:2 computes: no playbook knows a group computes",
        "more.yml:4 computes.hosts.cmp2: host cmp2 is in no known group",
    ]


def test_a_role_group_outside_of_nodes_is_told(lab):
    text = lab.path.joinpath("hosts.yml").read_text()
    lab.path.joinpath("hosts.yml").write_text(text.replace("        gateway:\n", "    gateway:\n"))
    assert [line.rpartition(": ")[2] for line in lab.found()] == [
        "host gw1 is in gateway, but not in nodes",
        "host gw2 is in gateway, but not in nodes",
    ]


@pytest.mark.parametrize(("first", "second"), list(combinations(host_rules.ROLE_GROUPS, 2)))
def test_a_host_with_two_roles_is_refused(lab, first, second):
    host = {"control": "ctl1", "compute": "cmp1", "gateway": "gw1"}[first]
    lab.add("more.yml", f"{second}: {{hosts: {{{host}: {{tunnel_address: 10.99.1.77}}}}}}\n")
    assert any(f": host {host} is in {first} and in {second}: " in line for line in lab.found())


class Tags(yaml.SafeLoader):
    pass


Tags.add_multi_constructor("!", lambda loader, suffix, node: None)


def files(node: Any) -> Iterator[str]:
    """Return the paths of the files that tasks write with `files` of module node_service."""
    if isinstance(node, dict):
        if "content" in node and str(node.get("path", "")).startswith("/"):
            yield node["path"]
        for value in node.values():
            yield from files(value)
    elif isinstance(node, list):
        for item in node:
            yield from files(item)


def test_groups_whose_roles_write_the_same_file_are_kept_apart():
    roles = yaml.load((ROOT / "roles" / "site" / "defaults" / "main.yml").read_text(), Tags)["site_roles"]
    roles["control"] += [service["role"] for service in services.declared(ROOT / "roles")]
    writers = defaultdict(set)
    for path in ROOT.glob("roles/*/*/*.yml"):
        if path.parts[-2] in ("defaults", "tasks", "vars"):
            for file in files(yaml.load(path.read_text(), Tags)):
                writers[file].add(path.parts[-3])
    assert len(writers) > 50, "the files of the roles are found"
    for file, of in writers.items():
        for one, other in combinations(sorted(of), 2):
            for first, second in combinations(host_rules.ROLE_GROUPS, 2):
                if {one, other} <= {*roles[first], *roles[second]} and not {one, other} <= {*roles[first]}:
                    assert file in host_rules.APART[frozenset({first, second})]
