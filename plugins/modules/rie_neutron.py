#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_neutron
short_description: OpenStack part of the wiring of all tenants into the RIE
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Creates, updates and deletes the scopes, pools, networks, subnets, routers, gateways and interfaces of a plan, for
    all tenants in one task.
  - Lists each type of object once, in pages, and joins them in memory. Changes only what differs, in the order of
    dependencies, with bulk requests in parallel. A run without changes only reads.
  - Objects are identified by their C(description) (C(rie:<vrf>:<network>)), never by name.
  - An update is conditional on the revision that was read. If something else changes Neutron meanwhile, the module
    lists and plans again, and ends only when no difference is left.
attributes:
  check_mode: {support: full, description: The exact operations and diff; Neutron is only read.}
  diff_mode: {support: full, description: The Neutron objects before and after.}
options:
  plan:
    description: C(plan.neutron) of M(cloudwatt.socle.rie_plan).
    type: dict
    required: true
  auth:
    description: Credentials of an administrator.
    type: dict
    required: true
    suboptions:
      auth_url: {description: The v3 root of Keystone., type: str, required: true}
      username: {description: User., type: str, required: true}
      password: {description: Password., type: str, required: true}
      project_name: {description: Project., type: str, required: true}
      user_domain_name: {description: Domain of the user., type: str, default: Default}
      project_domain_name: {description: Domain of the project., type: str, default: Default}
      cacert: {description: Certificate authorities; by default those of the system., type: path}
  region:
    description: Region of the Neutron.
    type: str
  prune:
    description: Delete objects with a key of ours that the plan does not have. They are always reported.
    type: bool
    default: false
  max_deletes:
    description: Maximum number of deletions. If there would be more, nothing is changed.
    type: int
    default: 10
  allow_replace:
    description: Delete and make again what cannot be changed in place, with all that depends on it.
    type: bool
    default: false
  workers:
    description: Requests side by side.
    type: int
    default: 4
  batch:
    description: Objects in one bulk request, at most.
    type: int
    default: 5
  attempts:
    description: How many times to plan again when the live state moves.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Wire the tenants' networks in Neutron
  cloudwatt.socle.rie_neutron:
    plan: "{{ rie_plan_result.plan.neutron }}"
    auth: "{{ site_openstack_auth }}"
    region: "{{ site_region }}"
"""

RETURN = r"""
operations:
  description: Operations that were done, or that check mode predicts, each with C(action), C(kind), C(key), C(before)
    and C(after).
  returned: always
  type: list
  elements: dict
orphans:
  description: Objects with a key of ours that are not in the plan and were left.
  returned: always
  type: list
  elements: dict
api_calls:
  description: Requests by method, and their C(total).
  returned: always
  type: dict
forecast:
  description: The writes that RV(operations) take, by method.
  returned: always
  type: dict
routers:
  description: Each VRF's router, and its gateways with the ids of their ports (null before they exist).
  returned: success
  type: list
  elements: dict
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.keystone_client import Keystone
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_client import (
    LISTS,
    NEUTRON_API,
    Moved,
    NeutronClient,
)
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_diff import Operation, diff, index
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.neutron_objects import Ref, link_key, wanted
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack.rest import AUTH_OPTIONS, ApiError, call

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "auth": {"type": "dict", "required": True, "options": AUTH_OPTIONS},
    "region": {"type": "str"},
    "prune": {"type": "bool", "default": False},
    "max_deletes": {"type": "int", "default": 10},
    "allow_replace": {"type": "bool", "default": False},
    "workers": {"type": "int", "default": 4},
    "batch": {"type": "int", "default": 5},
    "attempts": {"type": "int", "default": 5},
}


def routers(plan: dict, live: dict) -> list[dict]:
    """Return the location of each VRF's router and gateway ports, for later tasks."""

    def found(kind: str, key: str) -> str | None:
        entries = live.get(Ref(kind, key))
        return entries[0].id if entries else None

    return [
        {
            "vrf": vrf["name"],
            "id": found("router", vrf["router"]["tag"]),
            "gateways": [
                {
                    "gateway": external["gateway"],
                    "network_id": found("network", external["tag"]),
                    "port_id": found("gateway", link_key(vrf["router"]["tag"], external["tag"])),
                }
                for external in vrf["externals"]
            ],
        }
        for vrf in plan["vrfs"]
    ]


def shown(operations: list[Operation]) -> list[dict]:
    """Return the diff of a run: one entry per changed object."""

    def text(attrs: dict) -> str:
        return json.dumps(attrs, indent=1, sort_keys=True, ensure_ascii=False) + "\n" if attrs else ""

    entries = []
    for operation in operations:
        as_dict = operation.as_dict()
        header = f"{operation.kind} {operation.key}"
        before, after = as_dict["before"], as_dict["after"]
        if operation.action == "delete":
            before = {name: before.get(name) for name in ("id", "name", "cidr", "router_id") if name in before}
        entries.append({"before_header": header, "after_header": header, "before": text(before), "after": text(after)})
    return entries


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    plan = options["plan"]
    done: list[Operation] = []
    report: dict = {"operations": [], "orphans": [], "api_calls": {}, "forecast": {}}

    def state(operations: list[Operation], changed: bool = True) -> dict:
        kept = {(entry.action, entry.kind, entry.key): entry for entry in reversed(operations)}  # rounds repeat
        operations = list(reversed(kept.values()))
        report["operations"] = [operation.as_dict() for operation in operations]
        report["api_calls"] = dict(client.api_calls, total=client.api_calls.total())
        report["forecast"] = dict(client.forecast(operations))
        return report | {"changed": changed and bool(operations), "diff": shown(operations)}

    try:
        keystone = Keystone(options["auth"])
        neutron = keystone.service("network", options["region"], NEUTRON_API)
        client = NeutronClient(neutron, workers=options["workers"], batch=options["batch"])
        listed = call(keystone, "GET", "/projects", "projects")["projects"]
        operator: str | Ref = keystone.project_id
        snapshot = client.snapshot()
    except Exception as error:
        if not module.check_mode:
            module.fail_json(msg=f"OpenStack does not answer: {error}", **report)
        module.warn(f"OpenStack does not answer yet, so everything would be made: {error}")
        client, listed, snapshot = NeutronClient(None), [], {kind: [] for kind in LISTS}
        operator = Ref("project", "the operator's")
    projects = {row["name"]: row["id"] for row in listed}
    missing = sorted({project["name"] for project in plan["projects"]} - projects.keys())
    if missing and not module.check_mode:
        module.fail_json(msg=f"these projects do not exist: {', '.join(missing)}", **report)
    objects = wanted(plan, operator=operator)
    limits = {name: options[name] for name in ("prune", "allow_replace", "max_deletes")}
    fault = ""
    try:
        for _round in range(options["attempts"] + 1):
            live = index(snapshot)
            changes = diff(objects, live, projects, **limits)
            report["orphans"] = [
                {"kind": orphan.kind, "key": orphan.key, "id": orphan.id} for orphan in changes.orphans
            ]
            if changes.refused:
                why = "refused, nothing was done:\n" if not done else "refused, nothing more was done:\n"
                seen = state(done or changes.operations, changed=bool(done))
                module.fail_json(msg=why + "\n".join(changes.refused), **seen)
            if module.check_mode or not changes.operations:
                module.exit_json(routers=routers(plan, live), **state(done + changes.operations))
            done += changes.operations
            try:
                client.apply(changes.operations, live, projects)
            except Moved as error:
                fault = str(error)
                time.sleep(1)
            snapshot = client.snapshot()
    except ApiError as error:
        module.fail_json(msg=str(error), **state(done))
    module.fail_json(msg=f"Neutron does not converge: {fault or done[-1].as_dict()}", **state(done))


if __name__ == "__main__":
    main()
