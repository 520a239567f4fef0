#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: ovn_gateways
short_description: BFD timers and placement of routers' gateways in OVN
version_added: 0.1.0
author: [Cloudwatt, Orange (@cloudwatt)]
description:
  - Neutron makes a BFD session for each default route and leaves its timers at OVN's default of one second.
    This sets them, in one transaction, on the sessions of the given routers only.
  - Then checks that every gateway port is scheduled on the chassis of its own gateway node and on no other,
    so that no node's loss takes both ways out.
  - Runs on a node with OVN's databases; a member of the cluster that does not lead passes the write on.
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
options:
  routers:
    description: C(routers) of M(cloudwatt.socle.l3vpn_neutron).
    type: list
    elements: dict
    required: true
  transmit_ms: {description: Wanted interval between control packets sent., type: int, default: 300}
  receive_ms: {description: Shortest interval accepted., type: int, default: 300}
  multiplier: {description: Packets lost before the session is down., type: int, default: 3}
  nb: {description: The northbound database., type: str, default: 'unix:/run/ovn/ovnnb_db.sock'}
  sb: {description: The southbound database., type: str, default: 'unix:/run/ovn/ovnsb_db.sock'}
  timeout: {description: Seconds to wait for sessions and placement to appear., type: int, default: 30}
"""

EXAMPLES = r"""
- name: Detect the loss of a gateway within a second
  cloudwatt.socle.ovn_gateways:
    routers: "{{ rie_cloud_neutron.routers }}"
"""

RETURN = r"""
sessions:
  description: BFD sessions whose timers changed, by gateway port.
  returned: success
  type: list
  elements: dict
placed:
  description: Host names of the chassis that each gateway port is scheduled on, by the port's id.
  returned: when OVN answers
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils import ovn_gateways as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.common import diff_entry, lines, run

ARGUMENTS = {
    "routers": {"type": "list", "elements": "dict", "required": True},
    "transmit_ms": {"type": "int", "default": 300},
    "receive_ms": {"type": "int", "default": 300},
    "multiplier": {"type": "int", "default": 3},
    "nb": {"type": "str", "default": "unix:/run/ovn/ovnnb_db.sock"},
    "sb": {"type": "str", "default": "unix:/run/ovn/ovnsb_db.sock"},
    "timeout": {"type": "int", "default": 30},
}


class OvnError(Exception):
    """A database did not answer, or refused."""


def ctl(program: str, database: str, *words: str) -> str:
    done = run([program, f"--db={database}", "--no-leader-only", "--timeout=30", "--format=json", *words])
    if not done.ok:
        raise OvnError(done.output)
    return done.stdout


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    wanted = {
        "min_tx": options["transmit_ms"],
        "min_rx": options["receive_ms"],
        "detect_mult": options["multiplier"],
    }
    ports = {gateway["port_id"] for router in options["routers"] for gateway in router["gateways"]} - {None}
    deadline = time.monotonic() + options["timeout"]
    try:
        while True:
            text = ctl("ovn-nbctl", options["nb"], "list", "BFD", "--", "list", "Gateway_Chassis")
            bfd, gateway_chassis = map(engine.rows, text.splitlines())
            chassis = engine.rows(ctl("ovn-sbctl", options["sb"], "list", "Chassis"))
            hosts = {row["name"]: row["hostname"] for row in chassis}
            waiting = ports - {row["logical_port"].removeprefix("lrp-") for row in bfd}
            faults = [f"no BFD session for gateway port {port}" for port in sorted(waiting)]
            placed = engine.placed(gateway_chassis, hosts)
            faults += engine.misplaced(options["routers"], placed)
            if not faults or module.check_mode or time.monotonic() > deadline:
                break
            time.sleep(1)
        found = engine.timers(bfd, ports, wanted)
        if found and not module.check_mode:
            ctl("ovn-nbctl", options["nb"], *engine.commands(found, wanted)[1:])
    except (OvnError, ValueError) as error:
        if module.check_mode and not ports:  # nothing is there yet, not even OVN
            module.exit_json(changed=False, sessions=[], placed={})
        module.fail_json(msg=str(error))
    if faults:
        module.fail_json(msg="\n".join(faults), placed=placed)
    module.exit_json(
        changed=bool(found),
        placed=placed,
        sessions=[{"port_id": timer.port, "before": timer.before, "after": wanted} for timer in found],
        diff=[
            diff_entry(f"BFD {timer.port}", lines(f"{k}: {v}" for k, v in timer.before.items()),
                       lines(f"{k}: {v}" for k, v in wanted.items()))
            for timer in found
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
