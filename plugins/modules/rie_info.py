#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: rie_info
short_description: State of the BGP and BFD sessions of a gateway's VRFs
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Reads the FRR instance of each VRF and compares it with the sessions of the plan.
  - Repeats until all sessions are up or O(timeout) is over. Does not fail by itself; M(cloudwatt.socle.verify_report)
    evaluates the result.
attributes:
  check_mode: {support: full, description: Only reads.}
  diff_mode: {support: none, description: Changes nothing.}
options:
  gateway: {description: Name of this gateway., type: str, required: true}
  vrfs:
    description: C(gateways) of RV(cloudwatt.socle.rie_plan#module:plan), the VRFs of this gateway.
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
- name: Read the BGP and BFD sessions
  cloudwatt.socle.rie_info:
    gateway: "{{ inventory_hostname }}"
    vrfs: "{{ rie_plan_result.plan.gateways[inventory_hostname].vrfs }}"
  register: verify_sessions_result
"""

RETURN = r"""
sessions:
  description: Each session with C(gateway), C(vrf), C(what), C(neighbor), C(state), C(ok), C(detail), the C(seconds) it
    has been so, and the numbers of prefixes C(accepted) and C(announced), null where FRR does not tell.
  returned: always
  type: list
  elements: dict
faults:
  description: Those that are not as they should be, a line each.
  returned: always
  type: list
  elements: str
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

from ansible_collections.cloudwatt.socle.plugins.module_utils.programs import tcp_md5
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import frr_host
from ansible_collections.cloudwatt.socle.plugins.module_utils.rie.sessions import expected, judge, prefixes, text

ARGUMENTS = {
    "gateway": {"type": "str", "required": True},
    "vrfs": {"type": "list", "elements": "dict", "required": True},
    "timeout": {"type": "int", "default": 30},
    "routes": {"type": "bool", "default": False},
}


def ask(vrf: str, daemon: str, questions: list[str]) -> list[Any]:
    """Return the JSON answers of a daemon in a VRF's FRR instance; None for a question without an answer.

    It does not use vtysh, which takes much longer and also connects to mgmtd: when any client disconnects, mgmtd loses
    the configuration that is being sent to it.
    """
    try:
        said = frr_host.ask(frr_host.RUN / vrf / f"{daemon}.vty", questions)
    except OSError:
        return [None for _question in questions]
    return [document(answer) for answer in said]


def document(said: bytes) -> Any:
    """Return the parsed JSON of FRR, or None."""
    try:
        return json.loads(said)
    except ValueError:
        return None


def look(gateway: str, vrf: dict, with_routes: bool) -> tuple[list[dict], list[dict]]:
    """Return the sessions of a VRF, and the refused and announced routes of its sessions with provider edges."""
    edges = [session for session in expected(vrf) if session["kind"] == "PE"] if with_routes else []
    questions = ["show bgp summary json"]
    for session in edges:
        family = {"v4": "ipv4", "v6": "ipv6"}[session["family"]]
        show = f"show bgp {family} unicast neighbors {session['neighbor']}"
        questions += [f"{show} {what} json" for what in ("received-routes", "routes", "advertised-routes")]
    bgp, *tables = ask(vrf["name"], "bgpd", questions)
    bfd = ask(vrf["name"], "bfdd", ["show bfd peers json"])[0]
    known = []
    for place, session in enumerate(edges):
        received, accepted, announced = map(prefixes, tables[3 * place : 3 * place + 3])
        known.append(
            {
                "gateway": gateway,
                "vrf": vrf["name"],
                "neighbor": session["neighbor"],
                "family": session["family"],
                "accepted": accepted,
                "refused": sorted(set(received) - set(accepted), key=received.index),
                "announced": announced,
            }
        )
    keys = tcp_md5.words(tcp_md5.dropped(vrf["name"]))
    return judge(gateway, vrf, bgp, bfd, keys), known


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gateway, vrfs = module.params["gateway"], module.params["vrfs"]
    deadline = time.monotonic() + module.params["timeout"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        while True:
            seen = list(pool.map(lambda vrf: look(gateway, vrf, module.params["routes"]), vrfs))
            sessions = [session for found, _routes in seen for session in found]
            faults = [text(session) for session in sessions if not session["ok"]]
            if not faults or time.monotonic() >= deadline:
                break
            time.sleep(1)
    module.exit_json(
        changed=False,
        sessions=sessions,
        faults=faults,
        routes=[entry for _found, entries in seen for entry in entries],
        drained=frr_host.is_drained(),
    )


if __name__ == "__main__":
    main()
