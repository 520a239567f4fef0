#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: l3vpn_info
short_description: State of the BGP and BFD sessions of a gateway's VRFs
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Reads each VRF's FRR instance and compares it with the sessions that the plan asks for.
  - Repeats until all are up or O(timeout) is over. Does not fail by itself; the report that it feeds judges.
attributes:
  check_mode: {support: full, description: Only reads.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  gateway: {description: Name of this gateway., type: str, required: true}
  vrfs:
    description: RV(cloudwatt.socle.l3vpn_plan#module:plan.gateways), the VRFs of this gateway.
    type: list
    elements: dict
    required: true
  timeout: {description: Seconds until every session must be up., type: int, default: 30}
  routes:
    description: Also read the routes of every session with a provider edge.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the sessions
  cloudwatt.socle.l3vpn_info:
    gateway: "{{ inventory_hostname }}"
    vrfs: "{{ rie_plan_result.plan.gateways[inventory_hostname].vrfs }}"
  register: smoke_sessions_result
"""

RETURN = r"""
sessions:
  description: Each session with C(gateway), C(vrf), C(what), C(neighbor), C(state), C(ok), C(detail).
  returned: always
  type: list
  elements: dict
routes:
  description: With O(routes), by session C(gateway), C(vrf), C(neighbor), C(family), and the prefixes C(accepted),
    C(refused) and C(announced).
  returned: always
  type: list
  elements: dict
drained:
  description: Whether an operator has taken the traffic off this gateway.
  returned: always
  type: bool
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import tcp_md5
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import run
from ansible_collections.cloudwatt.socle.plugins.module_utils.frr_host import is_drained
from ansible_collections.cloudwatt.socle.plugins.module_utils.l3vpn_sessions import expected, judge, prefixes

ARGUMENTS = {
    "gateway": {"type": "str", "required": True},
    "vrfs": {"type": "list", "elements": "dict", "required": True},
    "timeout": {"type": "int", "default": 30},
    "routes": {"type": "bool", "default": False},
}


def ask(vrf: str, question: str) -> Any:
    """The JSON answer of a VRF's FRR instance, None when there is none."""
    done = run(["vtysh", "-N", vrf, "-c", question], timeout=10)
    try:
        return json.loads(done.stdout) if done.ok else None
    except ValueError:
        return None


def look(gateway: str, vrf: dict) -> list[dict]:
    name = vrf["name"]
    keys = tcp_md5.words(tcp_md5.dropped(name))
    return judge(gateway, vrf, ask(name, "show bgp summary json"), ask(name, "show bfd peers json"), keys)


def routes(gateway: str, vrf: dict) -> list[dict]:
    """What each session with a provider edge brings, what of it is refused, and what is announced there."""
    found = []
    for session in expected(vrf):
        if session["kind"] != "PE":
            continue
        family = {"v4": "ipv4", "v6": "ipv6"}[session["family"]]
        show = f"show bgp {family} unicast neighbors {session['neighbor']}"
        received, accepted, announced = (
            prefixes(ask(vrf["name"], f"{show} {what} json"))
            for what in ("received-routes", "routes", "advertised-routes")
        )
        found.append(
            {
                "gateway": gateway,
                "vrf": vrf["name"],
                "neighbor": session["neighbor"],
                "family": session["family"],
                "accepted": accepted,
                "refused": [prefix for prefix in received if prefix not in accepted],
                "announced": announced,
            }
        )
    return found


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gateway, vrfs = module.params["gateway"], module.params["vrfs"]
    deadline = time.monotonic() + module.params["timeout"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        while True:
            found = pool.map(lambda vrf: look(gateway, vrf), vrfs)
            sessions = [session for sessions in found for session in sessions]
            if all(session["ok"] for session in sessions) or time.monotonic() >= deadline:
                break
            time.sleep(1)
        known = pool.map(lambda vrf: routes(gateway, vrf), vrfs if module.params["routes"] else [])
        known = [entry for entries in known for entry in entries]
    module.exit_json(changed=False, sessions=sessions, routes=known, drained=is_drained())


if __name__ == "__main__":
    main()
