# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Values that contradict each other, or that name a missing object: each is a violation with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_utils.inventory.test_site_rules import HOSTS, SITE, Copy, site  # noqa: F401

from ansible_collections.cloudwatt.socle.plugins.action import site_validate

GATEWAY = "group_vars/gateway.yml"
LAB = "group_vars/all/lab.yml"
NEW = "group_vars/all/new.yml"

#: Faults by name: file, text to replace ("" to add a line), new text, and the key and reason of the violation.
WRONG = {
    "VIP is the network address": (
        SITE,
        "internal_vip: 10.99.0.5",
        "internal_vip: 10.99.0.0",
        "site_internal_vip: is not usable in 10.99.0.0/24",
    ),
    "VIP is the broadcast address": (
        SITE,
        "10.99.0.6",
        "10.99.0.255",
        "site_public_vip: is not usable in 10.99.0.0/24",
    ),
    "VIP of a node": (HOSTS, "10.99.0.11", "10.99.0.5", "ansible_host: is also site_internal_vip"),
    "node at the broadcast address": (HOSTS, "10.99.0.41", "10.99.0.255", "ansible_host: is not usable"),
    "one name for both VIPs": (
        NEW,
        "",
        "site_internal_name: a.example\nsite_public_name: a.example",
        "is also site_internal_name",
    ),
    "no such rule": (
        NEW,
        "",
        "hardening_rules_off: {R390: it does not fit}",
        "hardening_rules_off.R390: the key R390 is not a rule",
    ),
    "rule off without a reason": (
        NEW,
        "",
        "hardening_rules_off: {R39: x}",
        "hardening_rules_off.R39: is not a sentence",
    ),
    "prefix length": (
        NEW,
        "",
        "hardening_operator_networks: [10.11.0.0/33, notanet]",
        "hardening_operator_networks[0]: ",
    ),
    "no network": (NEW, "", "hardening_operator_networks: [10.11.0.0/33, notanet]", "hardening_operator_networks[1]: "),
    "nobody may come": (NEW, "", "hardening_operator_networks: []", "nobody could log in"),
    "only loopback may come": (
        NEW,
        "",
        "hardening_operator_networks: [127.0.0.0/8]",
        "has no network from which anybody",
    ),
    "mirror without a scheme": (
        NEW,
        "",
        "base_mirror: deb.example/debian",
        "base_mirror: is not a URL that begins with http://",
    ),
    "section without options": (
        NEW,
        "",
        "nova_control_config_overrides: {DEFAULT: 5}",
        "nova_control_config_overrides.DEFAULT: ",
    ),
    "misspelt DEFAULT": (NEW, "", "glance_config_overrides: {default: {debug: true}}", "did you mean DEFAULT?"),
    "port that no bridge has": (
        GATEWAY,
        "",
        "rie_gateway_uplinks: {rie: ens9f9, peer: peer0}",
        "rie_gateway_uplinks.rie: bridge br-rie of gw1 has no port ens9f9",
    ),
    "half of the uplinks": (GATEWAY, "", "rie_gateway_uplinks: {rie: rie0}", "rie_gateway_uplinks: peer is missing"),
    "bridge that is not there": (GATEWAY, "", "rie_gateway_bridge: br-rei", "did you mean br-rie?"),
    "mapping to no bridge": (
        GATEWAY,
        "{rie: br-rie}",
        "{rie: br-rei}",
        "ovn_chassis_bridge_mappings.rie: gw1 has no bridge br-rei",
    ),
    "no mapping for the transits": (
        GATEWAY,
        "{rie: br-rie}",
        "{rei: br-rie}",
        "has no bridge for the physical network rie",
    ),
    "port in two bridges": (
        GATEWAY,
        "{name: rie0}, {name: peer0}",
        "{name: rie0}, {name: tun0}",
        "tun0 is in bridge br-underlay already",
    ),
    "lab link on no bridge": (
        HOSTS,
        "bridge: sol-rie1",
        "bridge: sol-rei1",
        "lab_links[1].bridge: is not one of lab_bridges; did you mean sol-rie1?",
    ),
    "lab without its bridge": (
        LAB,
        "lab_management_bridge: sol-mgmt",
        "lab_management_bridge: sol-mgt",
        "did you mean sol-mgmt?",
    ),
    "uplink of no gateway": (
        "group_vars/backbone.yml",
        "  gw1: {pe",
        "  gw9: {pe",
        "backbone_uplinks.gw9: the key gw9 is not a host",
    ),
    "site of no VRF": (
        "group_vars/backbone.yml",
        "vrf: finances",
        "vrf: finance",
        "backbone_sites[1].vrf: is not a VRF of rie_tenants; did you mean finances?",
    ),
    "guest in no network": (
        NEW,
        "",
        "verify_networks: [wbe]",
        "verify_networks[0]: is not a network of rie_tenants; did you mean web?",
    ),
    "collector that is not there": (
        SITE,
        "ctl1.{{ site_domain }}",
        "ctl9.lab.socle.internal",
        "hardening_log_collector: is named like a node",
    ),
    "collector by its short name": (SITE, "ctl1.{{ site_domain }}", "clt1", "did you mean ctl1?"),
    "waiver of no group": (
        SITE,
        "groups: [all]",
        "groups: [contrl]",
        "site_own_waivers[0].groups[0]: is neither one of all nor a group",
    ),
    "waiver that is there": (
        SITE,
        "check: sshd_disable_root_login",
        "check: sudoers_no_root_target",
        "is waived already",
    ),
    "place that is none": (SITE, "[kernel, boot,", "[kernle, boot,", "site_not_live[0]: is not one of the choices"),
    "role that is none": (
        NEW,
        "",
        "site_roles: {nodes: [base, pkj]}",
        "site_roles.nodes[1]: is not a role of this project",
    ),
    "member that is none": (
        NEW,
        "",
        "mariadb_members: [ctl1, ctl9]",
        "mariadb_members[1]: is not a host of the inventory; did you mean ctl1?",
    ),
    "ports that differ": (NEW, "", "mariadb_port: 3307", "mariadb_port is 3307"),
    "port of another": (NEW, "", "haproxy_health_port: 9696", "is also the port of the API neutron"),
    "check of another port": (NEW, "", "haproxy_health_port: 8405", "keepalived_check_url asks port 8404"),
    "file of another": (NEW, "", "haproxy_state_file: /run/ended", "keepalived_check_file is /run/haproxy.ended"),
    "certificates for ever new": (NEW, "", "pki_renew_days: 365", "every run would replace each certificate"),
    "certificates longer than their authority": (NEW, "", "pki_ca_days: 100", "outlives its authority"),
    "tokens longer than their key": (NEW, "", "keystone_fernet_keep: 3600", "tokens would outlive their key"),
    "too many days": (NEW, "", "mariadb_binlog_days: 100", "use a number from 0 to 99"),
    "firewall without SSH": (
        NEW,
        "",
        "hardening_firewall_services: [{name: a, groups: [nodes], from: [any], ports: [80]}]",
        "does not let SSH in",
    ),
    "firewall ports without TCP": (
        NEW,
        "",
        "hardening_firewall_services: [{name: a, groups: [nodes], from: [any], ports: [22]}, "
        "{name: b, groups: [nodes], from: [any], protocol: vrrp, ports: [1]}]",
        "hardening_firewall_services[1]: has ports",
    ),
    "firewall for no group": (
        NEW,
        "",
        "hardening_firewall_services: [{name: a, groups: [nodes], from: [contrl], ports: [22]}]",
        "did you mean control?",
    ),
    "truth values for sshd": (NEW, "", "hardening_ssh_options: {X11Forwarding: no}", "write yes or no in quotes"),
    "nothing for an option": (NEW, "", "base_mirror:", "base_mirror: is not a URL"),
    "domain with a blank": (
        SITE,
        "site_domain: lab.socle.internal",
        "site_domain: lab socle",
        "site_domain: is not a DNS name",
    ),
    "port of sshd": (NEW, "", "ansible_port: 99999", "ansible_port: is out of range"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_told_with_its_place(site, name):  # noqa: F811
    file, old, new, said = WRONG[name]
    site.edit(file, old, new) if old else site.add(file, f"{new}\n")
    found = [line for line in site.check() if said in line]
    assert found, site.check()
    assert any(line.startswith(f"{Path(file).name}:{site.line(file, new.splitlines()[-1])} ") for line in found), found


RIGHT = {
    "an external collector": (SITE, "ctl1.{{ site_domain }}", "logs.example.net"),
    "a collector by its address": (SITE, "ctl1.{{ site_domain }}", "192.0.2.7"),
    "operators from elsewhere": (NEW, "", "hardening_operator_networks: [192.0.2.0/24, 'fd20::/48']"),
    "nobody in public": (NEW, "", "hardening_client_networks: []"),
    "a mirror with a login": (NEW, "", "base_mirror: http://user:secret@deb.example:8080/debian"),
    "a local mirror": (NEW, "", "base_mirror: file:/srv/debian"),
    "numbers in quotes": (NEW, "", "mariadb_binlog_days: '7'"),
    "rules in quotes": (NEW, "", "hardening_rules_off: {'R39': helpers need it here}"),
    "a bind of a lab's machine": (NEW, "", "lab_binds: ['/srv/data:/data']"),
    "an image of a lab's machine": (NEW, "", "lab_image: /var/lib/socle/images/plain"),
    "another port, everywhere": (
        NEW,
        "",
        "haproxy_health_port: 8405\nkeepalived_check_url: http://127.0.0.1:8405/health",
    ),
    "a network without room for its own address": (NEW, "", "hardening_operator_networks: [192.0.2.7/32]"),
    "names in other languages": (NEW, "", "keystone_projects: [{name: santé, description: Ministère de la Santé}]"),
    "an option with two values": (
        NEW,
        "",
        "nova_control_config_overrides: {pci: {alias: [a, b]}, DEFAULT: {debug: null}}",
    ),
    "sections that are repeated": (
        NEW,
        "",
        "base_networks: [{name: eth0, sections: {Network: {LinkLocalAddressing: 'no'}, Route: [{Gateway: 10.0.0.1}]}}]",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_fits_is_accepted(site, name):  # noqa: F811
    file, old, new = RIGHT[name]
    site.edit(file, old, new) if old else site.add(file, f"{new}\n")
    assert site.check() == []


def test_a_secret_in_a_wrong_place_is_not_shown(site):  # noqa: F811
    site.add(
        NEW, "site_openstack_auth: [{password: tell-no-one}]\nkeystone_users: [{name: a, password: [tell-no-one]}]\n"
    )
    site.add(
        NEW,
        "glance_config_overrides: {database: {connection: {url: tell-no-one}}}\nbase_mirror: htp://me:tell-no-one@x/\n",
    )
    site.add(NEW, "site_databases: tell-no-one\nhardening_boot_password_hash: tell-no-one\n")
    found = site_validate.violations(site.folder, site.folder / ".vault-password")
    assert len({violation["path"].partition("[")[0].partition(".")[0] for violation in found}) >= 6
    assert "tell-no-one" not in str([v for v in found if v["path"] != "site_databases"])


def test_this_machine_outside_of_the_operators_networks_is_a_warning(site, monkeypatch):  # noqa: F811
    site.add(NEW, "hardening_operator_networks: [192.0.2.0/24]\n")
    monkeypatch.setattr(site_validate, "source_of", lambda address: "198.51.100.7")
    [found] = site_validate.findings(site.folder, site.folder / ".vault-password")
    assert found["severity"] == "warning"
    assert found["path"] == "hardening_operator_networks"
    assert "it reaches cmp1 from 198.51.100.7" in found["reason"]
    monkeypatch.setattr(site_validate, "source_of", lambda address: "192.0.2.9")
    assert site_validate.findings(site.folder, site.folder / ".vault-password") == []


def test_the_address_toward_a_node_is_found_without_sending_anything():
    assert site_validate.source_of("127.0.0.1") == "127.0.0.1"
    assert site_validate.source_of("not an address") == ""


def test_a_bad_intent_is_no_exception(site):  # noqa: F811
    for tenants in (
        "x",
        "[x]",
        "[{vrfs: 5}]",
        "[{vrfs: [5, {networks: 7}]}]",
        "[{vrfs: [{name: [a], networks: [{name: {}}]}]}]",
    ):
        (site.folder / "group_vars/all/zz.yml").write_text(
            f"rie_tenants: {tenants}\nrie_physical_network: [x]\nsmoke_networks: [web]\n"
        )
        assert any("rie_tenants" in line for line in site.check())
