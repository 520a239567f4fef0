#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: ovn_gateways
short_description: BFD timers and placement of the gateway ports of routers in OVN
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Neutron creates a BFD session for each default route with OVN's default timers of one second. This module sets the
    timers of the sessions of the given routers only, in one transaction.
  - Gives every gateway port the chassis of its own gateway node as first choice, and the other gateway of the VRF as
    second. Sets the BFD timers of the tunnels between chassis. OVN then moves the ports of a failed gateway to the
    other one, and back, and the ports of one router are on the same node only while the other node is down.
  - Refuses a port that is scheduled on a chassis other than the gateways of its VRF.
  - Runs on a node with OVN's databases. A member that is not the leader forwards the write.
attributes:
  check_mode: {support: full, description: The result is that of a real run.}
  diff_mode: {support: full, description: The changes.}
options:
  routers:
    description: C(routers) of M(cloudwatt.socle.rie_neutron).
    type: list
    elements: dict
    required: true
  transmit_ms: {description: Wanted interval between control packets sent., type: int, default: 300}
  receive_ms: {description: Shortest interval accepted., type: int, default: 300}
  multiplier: {description: Packets lost before the session is down., type: int, default: 3}
  tunnels:
    description: The same three for the tunnels between chassis.
    type: dict
    suboptions:
      transmit_ms: {description: Wanted interval between control packets sent., type: int, default: 200}
      receive_ms: {description: Shortest interval accepted., type: int, default: 200}
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
  description: Host names of the chassis of each gateway port, the first choice first, by the id of the port.
  returned: when OVN answers
  type: dict
places:
  description: Gateway ports that got another chassis, or another priority on it.
  returned: success
  type: list
  elements: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import run
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry, lines
from ansible_collections.cloudwatt.socle.plugins.module_utils.ovs import ovn_gateways as engine


def timers(milliseconds: int) -> dict:
    return {
        "transmit_ms": {"type": "int", "default": milliseconds},
        "receive_ms": {"type": "int", "default": milliseconds},
        "multiplier": {"type": "int", "default": 3},
    }


ARGUMENTS = {
    "routers": {"type": "list", "elements": "dict", "required": True},
    **timers(300),
    "tunnels": {"type": "dict", "apply_defaults": True, "options": timers(200)},
    "nb": {"type": "str", "default": "unix:/run/ovn/ovnnb_db.sock"},
    "sb": {"type": "str", "default": "unix:/run/ovn/ovnsb_db.sock"},
    "timeout": {"type": "int", "default": 30},
}


class OvnError(Exception):
    """A database did not answer, or refused the request."""


def ctl(program: str, database: str, *words: str) -> str:
    done = run([program, f"--db={database}", "--no-leader-only", "--timeout=30", "--format=json", *words])
    if not done.ok:
        raise OvnError(done.output)
    return done.stdout


def wanted_timers(options: dict) -> dict[str, int]:
    return {
        "min_tx": options["transmit_ms"],
        "min_rx": options["receive_ms"],
        "detect_mult": options["multiplier"],
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    options = module.params
    routers, wanted = options["routers"], wanted_timers(options)
    ports = {gateway["port_id"] for router in routers for gateway in router["gateways"]} - {None}
    deadline = time.monotonic() + options["timeout"]
    tables = ("BFD", "Gateway_Chassis", "NB_Global")
    try:
        while True:
            text = ctl("ovn-nbctl", options["nb"], *[word for name in tables for word in ("--", "list", name)][1:])
            bfd, gateway_chassis, settings = map(engine.rows, text.splitlines())
            rows = engine.rows(ctl("ovn-sbctl", options["sb"], "list", "Chassis"))
            chassis = {row["hostname"].partition(".")[0]: row["name"] for row in rows}
            placed = engine.placed(gateway_chassis, {row["name"]: row["hostname"] for row in rows})
            waiting = ports - {row["logical_port"].removeprefix("lrp-") for row in bfd}
            places, faults = engine.places(routers, gateway_chassis, chassis)
            faults += [f"no BFD session for gateway port {port}" for port in sorted(waiting)]
            if not faults or module.check_mode or time.monotonic() > deadline:
                break
            time.sleep(1)
        sessions = engine.timers(bfd, ports, wanted)
        tunnels = engine.tunnel_commands(settings[0]["options"], wanted_timers(options["tunnels"])) if ports else []
        commands = [*engine.commands(sessions, wanted), *engine.place_commands(places), *tunnels]
        if commands and not faults and not module.check_mode:
            ctl("ovn-nbctl", options["nb"], *commands[1:])
    except (OvnError, ValueError) as error:
        if module.check_mode and not ports:  # nothing is installed yet, not even OVN
            module.exit_json(changed=False, sessions=[], places=[], placed={})
        module.fail_json(msg=str(error))
    if faults:
        module.fail_json(msg="\n".join(faults), placed=placed)
    module.exit_json(
        changed=bool(commands),
        sessions=[{"port_id": timer.port, "before": timer.before, "after": wanted} for timer in sessions],
        placed=placed,
        places=[place._asdict() for place in places],
        diff=[
            *(
                diff_entry(f"BFD {timer.port}", lines(f"{k}: {v}" for k, v in timer.before.items()),
                           lines(f"{k}: {v}" for k, v in wanted.items()))
                for timer in sessions
            ),
            *(
                diff_entry(f"chassis of {place.port}", lines([f"{place.chassis}: {place.before}"]),
                           lines([f"{place.chassis}: {place.priority}"]))
                for place in places
            ),
            *([diff_entry("BFD of tunnels", "", lines(tunnels[3:]))] if tunnels else []),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
