# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Filters over module_utils/hardening, hardening_rules and host_firewall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import host_firewall, rules
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import (
    apparmor,
    audit_rules,
    files,
    kernel,
    pam_stacks,
)


def hardening_files(settings: Mapping[str, Any], groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return the files of the hardening for `config_files`: settings -> entries."""
    try:
        policy = rules.Policy.of(settings["level"], settings["rules_off"])
        skip = set(rules.waived(rules.waivers(settings["waivers"]), groups))
        entries = files.files(policy, {**settings, "skip": skip})
    except rules.PolicyError as fault:
        raise AnsibleFilterError(str(fault)) from fault
    except pam_stacks.PamError as fault:
        raise AnsibleFilterError(f"hardening_pam_lines: {fault}") from fault
    return [{"mode": "0644", **entry} for entry in entries]


def hardening_diverted(settings: Mapping[str, Any], groups: Sequence[str]) -> dict[str, bool]:
    """Return files of packages for `node_access`: settings -> path, and whether it is diverted."""
    try:
        policy = rules.Policy.of(settings["level"], settings["rules_off"])
        skip = set(rules.waived(rules.waivers(settings["waivers"]), groups))
    except rules.PolicyError as fault:
        raise AnsibleFilterError(str(fault)) from fault
    return kernel.diverted(policy, {**settings, "skip": skip})


def anssi_rule(number: int, settings: Mapping[str, Any]) -> bool:
    """Tell whether a rule of ANSSI-BP-028 holds at a level, with some rules off."""
    try:
        return rules.Policy.of(settings["level"], settings["rules_off"]).holds(number)
    except rules.PolicyError as fault:
        raise AnsibleFilterError(str(fault)) from fault


def hardening_units(settings: Mapping[str, Any], not_live: Sequence[str], lock: bool) -> list[dict[str, Any]]:
    """Return the units of the hardening for `service_units`."""
    policy = rules.Policy.of(settings["level"], settings["rules_off"])
    return files.units(policy, settings, not_live, lock)


def apparmor_off(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return links that prevent AppArmor profiles from being loaded, for `service`."""
    return apparmor.profile_links(names)


def audit_programs(programs: Sequence[str]) -> str:
    """Return audit rules for privileged programs."""
    return audit_rules.privileged_rules(programs)


def host_ruleset(
    services: Sequence[Mapping[str, Any]],
    own: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    variables: Sequence[str],
    networks: Mapping[str, Any],
) -> str:
    """Return the nftables ruleset of a node."""
    hosts = {host for members in groups.values() for host in members if host != "localhost"}
    addresses = {host: _addresses(hostvars[host], variables) for host in hosts}
    anywhere = ["0.0.0.0/0", "::/0"]
    known = {name: anywhere if given == "any" else list(given) for name, given in networks.items()}
    try:
        return host_firewall.ruleset(services, own, groups, addresses, known)
    except host_firewall.FirewallError as fault:
        raise AnsibleFilterError(str(fault)) from fault


def _addresses(host: Mapping[str, Any], variables: Sequence[str]) -> list[str]:
    return [str(host[name]) for name in variables if host.get(name)]


def filter_strangers(
    answers: Sequence[Mapping[str, Any]],
    hosts: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    variables: Sequence[str],
) -> dict[str, list[str]]:
    """Return hardened nodes whose packet filter misses some of `hosts`, with these; from results of `access_info`."""
    wanted = {host: set(_addresses(hostvars[host], variables)) for host in hosts}
    found = {
        answer["item"]: [host for host in hosts if not wanted[host] <= set(answer["filter_knows"])]
        for answer in answers
        if answer.get("hardened")
    }
    return {node: unknown for node, unknown in found.items() if unknown}


def audit_nodes(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the audited nodes among `hosts`, in the form that `audit_report` takes."""
    judged = [(host, hostvars[host]) for host in hosts if "checks" in (hostvars[host].get("audit_judged") or {})]
    return [
        {
            "name": host,
            "groups": list(known["group_names"]),
            "places": list(known.get("site_not_live") or []),
            **{key: known["audit_judged"][key] for key in ("checks", "lynis", "guide", "seconds")},
        }
        for host, known in judged
    ]


class FilterModule:
    """Filters of the hardening."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "anssi_rule": anssi_rule,
            "apparmor_off": apparmor_off,
            "audit_nodes": audit_nodes,
            "audit_programs": audit_programs,
            "filter_strangers": filter_strangers,
            "hardening_diverted": hardening_diverted,
            "hardening_files": hardening_files,
            "hardening_units": hardening_units,
            "host_ruleset": host_ruleset,
        }
