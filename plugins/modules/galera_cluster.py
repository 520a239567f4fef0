#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: galera_cluster
short_description: Bootstrap a Galera cluster on the member where no data are lost
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - V(probed) returns the state of this member. On a stopped member whose position is unknown, it runs C(mariadbd
    --wsrep-recover).
  - V(formed) decides from the states of all members. If any member runs the primary component, there is nothing to
    do. A new cluster is bootstrapped only if no member has ever been in one, and a stopped cluster only on the member
    with the highest sequence number. If any member could not be read, the module refuses.
  - C(safe_to_bootstrap) in grastate.dat is ignored.
attributes:
  check_mode: {support: full, description: Recovers nothing and starts nothing.}
  diff_mode: {support: full, description: The decision.}
options:
  state: {description: Action., type: str, choices: [probed, formed], required: true}
  name: {description: 'This node, as in O(members).', type: str, default: ''}
  members:
    description: Every member and its RV(member); an empty one was not read.
    type: dict
    default: {}
  directory: {description: Data directory., type: path, default: /var/lib/mysql}
  socket: {description: Socket of the server., type: path, default: /run/mysqld/mysqld.sock}
  timeout:
    description: Seconds until a member that starts or bootstraps must be ready.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Read the Galera state of every member
  cloudwatt.socle.galera_cluster:
    state: probed
  register: probe

- name: Bootstrap Galera if it is safe
  cloudwatt.socle.galera_cluster:
    state: formed
    name: "{{ inventory_hostname }}"
    members: "{{ dict(groups['control'] | zip(groups['control'] | map('extract', hostvars, ['probe', 'member']))) }}"
"""

RETURN = r"""
member:
  description: C(run), C(status), C(uuid), C(seqno) and C(databases) of this node.
  returned: O(state=probed)
  type: dict
decision:
  description: C(verb) (none, form, refuse), C(node) and C(reason).
  returned: O(state=formed)
  type: dict
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cloudwatt.socle.plugins.module_utils.common.process import run
from ansible_collections.cloudwatt.socle.plugins.module_utils.common.results import diff_entry
from ansible_collections.cloudwatt.socle.plugins.module_utils.database import galera as engine

OWN = {"mysql", "performance_schema", "sys", "lost+found"}
STATUS = (
    "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_cluster_state_uuid', 'wsrep_last_committed')"
)
START_TIMEOUT = 960.0  # seconds; the timeout of the unit is 900
ACTIVE = {"active": "running", "reloading": "running", "activating": "starting", "deactivating": "starting"}


class ClusterError(Exception):
    """The cluster cannot be bootstrapped; the message is for the operator."""


def unit_state() -> str:
    shown = run(["systemctl", "show", "--value", "--property=ActiveState", "mariadb"])
    return ACTIVE.get(shown.stdout.strip(), "stopped")


def wait_while(starting: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while starting() and time.monotonic() < deadline:
        time.sleep(0.5)


def databases(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries if entry.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(name for name in found if name not in OWN and not name.startswith((".", "#")))


def ask(socket: str) -> dict[str, str]:
    """Return the status of the running server."""
    done = run(["mariadb", f"--socket={socket}", "--batch", "--skip-column-names", f"--execute={STATUS}"], timeout=30)
    if not done.ok:
        raise ClusterError(f"mariadb runs but does not answer on {socket}: {done.output}")
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def recover() -> tuple[str, int] | None:
    """Return the position of the last committed transaction in InnoDB's records. The server must be stopped."""
    done = run(["/usr/sbin/mariadbd", "--user=mysql", "--wsrep-recover", "--disable-log-error"], timeout=900)
    return engine.parse_position(done.output)


def probe(directory: str, socket: str, timeout: float, check: bool) -> engine.Member:
    if not check:
        wait_while(lambda: unit_state() == "starting", timeout)
    state = unit_state()
    held = databases(directory)
    if state == "running":
        status = ask(socket)
        committed = status.get("wsrep_last_committed", "")
        member = engine.Member(
            run="running",
            status=status.get("wsrep_cluster_status", "Disconnected"),
            uuid=status.get("wsrep_cluster_state_uuid", ""),
            seqno=int(committed) if committed.isdigit() else None,
            databases=held,
        )
        # A server that runs without Galera is treated as stopped: the position on disk counts.
        return member if member.status in ("Primary", "non-Primary") else replace(member, run="stopped")
    try:
        with open(os.path.join(directory, "grastate.dat"), encoding="utf-8") as file:
            uuid, seqno = engine.parse_state(file.read())
    except FileNotFoundError:
        uuid, seqno = "", None
    if state == "stopped" and seqno is None and not check and (uuid or held) and (position := recover()):
        uuid, seqno = position if position[0] != engine.NO_UUID else (uuid, position[1])
    return engine.Member(run=state, uuid=uuid, seqno=seqno, databases=held)


def form(directory: str, socket: str, timeout: float) -> None:
    """Start this node as the first member of its cluster."""
    run(["systemctl", "stop", "mariadb"])
    path = os.path.join(directory, "grastate.dat")
    if os.path.exists(path):
        with open(path, "r+", encoding="utf-8") as file:
            text = re.sub(r"(?m)^safe_to_bootstrap:.*$", "safe_to_bootstrap: 1", file.read())
            file.seek(0)
            file.truncate()
            file.write(text)
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "reset-failed", "mariadb"])
    # Use the program of the package: the place where the unit reads the bootstrap option differs between versions.
    started = run(["galera_new_cluster"], timeout=START_TIMEOUT)
    if not started.ok:
        journal = run(["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=30", "--unit=mariadb"])
        raise ClusterError(f"mariadb does not start: {started.output}\n{journal.output}")
    wait_while(lambda: ask(socket).get("wsrep_cluster_status") != "Primary", timeout)


def main() -> None:
    module = AnsibleModule(
        {
            "state": {"type": "str", "choices": ["probed", "formed"], "required": True},
            "name": {"type": "str", "default": ""},
            "members": {"type": "dict", "default": {}},
            "directory": {"type": "path", "default": "/var/lib/mysql"},
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
        required_if=[("state", "formed", ("name", "members"))],
    )
    params = module.params
    where = (params["directory"], params["socket"], params["timeout"])
    try:
        if params["state"] == "probed":
            module.exit_json(changed=False, member=asdict(probe(*where, module.check_mode)))
        members = {name: engine.Member(**said) if said else None for name, said in params["members"].items()}
        decision = engine.decide(members, forecast=module.check_mode)
        if decision.verb == "refuse":
            raise ClusterError(f"the cluster is not formed: {decision.reason}")
        forms = decision.verb == "form" and decision.node in (params["name"], "")
        if forms and not module.check_mode:
            form(*where)
    except (ClusterError, OSError) as error:
        module.fail_json(msg=str(error))
    text = f"formed on {decision.node or 'one member'}: {decision.reason}\n"
    module.exit_json(
        changed=forms,
        decision=asdict(decision),
        diff=[diff_entry("Galera cluster", "stopped\n", text)] if forms else [],
    )


if __name__ == "__main__":
    main()
