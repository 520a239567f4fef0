# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Three hardened controllers: after the loss of a node the VIPs move, and APIs, database and broker keep working."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = Path(__file__).resolve().parents[1]
CONTROLLERS = ("ctl1", "ctl2", "ctl3")
PORT = 5000
MOVED = 10.0
"""Limit in seconds. A move takes less than one second, or 37 and more if gratuitous ARP is dropped."""
testinfra_hosts = ["ansible://ctl1"]


class Watch:
    """Connects to an address continuously. ``outage`` is the longest time without an answer."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers = 0
        self.outage = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        while not self._end.is_set():
            try:
                socket.create_connection((self.address, PORT), timeout=0.1).close()
            except OSError:
                pass
            else:
                now = time.monotonic()
                self.outage, last = max(self.outage, now - last), now
                self.answers += 1
            time.sleep(0.01)
        self.outage = max(self.outage, time.monotonic() - last)

    @contextmanager
    def on(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()


@pytest.fixture(scope="module")
def public(hostvars) -> str:
    return hostvars["ctl1"]["site_public_vip"]


@pytest.fixture
def holders(hostvars, machine, public):
    """`holders()`: the controllers that have both VIPs. The test fails if a node has only one of them."""
    both = {public, hostvars["ctl1"]["site_internal_vip"]}

    def ask(among=CONTROLLERS) -> list[str]:
        found = []
        for name in among:
            command = f"ip -j -4 address show dev {hostvars[name]['site_management_interface']}"
            (link,) = json.loads(machine(name).check_output(command))
            held = both & {item["local"] for item in link["addr_info"]}
            assert held in (set(), both), f"{name} has {held} only"
            found += [name] if held else []
        return found

    return ask


@pytest.fixture
def power(inventory):
    """`power(state, name)`: power a controller off or on, as the scenario itself does."""

    def run(state: str, name: str) -> None:
        playbook = ROOT / "molecule" / "shared" / ("create.yml" if state == "present" else "destroy.yml")
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", inventory, playbook,
                   "--vault-password-file", inventory / ".vault-password", "-e", f"@{SCENARIO / 'vars.yml'}",
                   "-e", json.dumps({"lab_state": state, "lab_only": [name] if state == "killed" else []})]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    return run


def signed_in(address: str, hostvars, inventory) -> bool:
    """Return whether a client gets a token at an address: a VIP, or that of a controller, for Keystone on that node."""
    trust = ssl.create_default_context(cafile=inventory / "pki" / "ca.pem")
    user = {"name": "admin", "domain": {"id": "default"}, "password": hostvars["ctl1"]["secrets"]["keystone_admin"]}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    request = urllib.request.Request(
        f"https://{address}:{PORT}/v3/auth/tokens", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
            return answer.status == 201
    except OSError:
        return False


def members(host) -> int:
    """Return the size of the Galera cluster, as one member reports it."""
    return int(host.check_output("mariadb -NBe \"SHOW STATUS LIKE 'wsrep_cluster_size'\"").split()[1])


def brokers(host) -> set[str]:
    running = json.loads(host.check_output("rabbitmqctl --quiet --formatter json cluster_status"))["running_nodes"]
    return {name.partition("@")[2].partition(".")[0] for name in running}


def test_one_controller_has_the_addresses(holders, eventually):
    assert eventually(lambda: len(holders()) == 1)


def test_all_controllers_share_the_database_the_broker_and_the_networks(machine, eventually):
    for name in CONTROLLERS:
        host = machine(name)
        assert eventually(lambda host=host: members(host) == 3)
        assert eventually(lambda host=host: brokers(host) == set(CONTROLLERS))
        status = host.check_output("ovn-appctl -t /run/ovn/ovnsb_db.ctl cluster/status OVN_Southbound")
        assert "Status: cluster member" in status


@pytest.mark.parametrize("unit", ["keepalived", "haproxy"])
def test_the_addresses_leave_a_controller_whose_front_ends(unit, holders, machine, public, eventually):
    assert eventually(lambda: len(holders()) == 1)
    (former,) = holders()
    others = [name for name in CONTROLLERS if name != former]
    watch = Watch(public)
    with watch.on():
        time.sleep(1)
        machine(former).check_output("systemctl stop %s", unit)
        try:
            eventually(lambda: holders(others))
            time.sleep(2)
        finally:
            machine(former).check_output("systemctl start %s", unit)
    print(f"{unit} of {former} stopped: nobody answered for {watch.outage:.2f} s")
    assert watch.answers
    assert watch.outage < MOVED
    # The current node keeps the VIPs, because a second move would cause another outage.
    time.sleep(5)
    assert holders() == holders(others)


def test_no_address_stays_on_two_nodes_when_keepalived_was_killed(holders, machine, eventually):
    assert eventually(lambda: len(holders()) == 1)
    (former,) = holders()

    def process() -> str:
        return machine(former).check_output("systemctl show --property=MainPID --value keepalived")

    before = process()
    machine(former).check_output("systemctl kill --signal=KILL keepalived")
    assert eventually(lambda: process() not in ("0", before))
    time.sleep(5)  # the other nodes have noticed the loss after this time
    assert eventually(lambda: len(holders()) == 1)


def test_clients_outlive_a_controller_without_power(holders, machine, public, power, hostvars, inventory, eventually):
    assert eventually(lambda: len(holders()) == 1)
    (dead,) = holders()
    others = [name for name in CONTROLLERS if name != dead]
    watch = Watch(public)
    with watch.on():
        time.sleep(1)
        power("killed", dead)
        try:
            eventually(lambda: holders(others))
            eventually(lambda: signed_in(public, hostvars, inventory))
            for name in others:
                assert eventually(lambda name=name: members(machine(name)) == 2)
                # None of them waits for the lost database.
                eventually(lambda name=name: signed_in(hostvars[name]["ansible_host"], hostvars, inventory))
        finally:
            power("present", dead)
    print(f"{dead} without power: nobody answered for {watch.outage:.2f} s")
    assert watch.outage < MOVED
    assert eventually(lambda: members(machine(dead)) == 3)
    assert eventually(lambda: brokers(machine(dead)) == set(CONTROLLERS))
    assert holders() == holders(others)
    for name in CONTROLLERS:
        eventually(lambda name=name: signed_in(hostvars[name]["ansible_host"], hostvars, inventory))
    assert signed_in(public, hostvars, inventory)
