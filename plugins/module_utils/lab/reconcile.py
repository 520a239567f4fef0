# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Bring a whole lab to a state: compare the present state with the definition, then apply the differences.

Every state first makes a list of steps (action and reason); check mode stops there. Everything that a lab owns on the
control node is marked: interfaces by alias, the nftables table by name, saved sysctls and machines by files under the
state directory. Therefore the removal finds everything, also after a crash, and touches nothing else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import host
from .host import LabHostError
from .machine import (
    MachineDisk,
    boot,
    clear_remains,
    missing_links,
    power_cut,
    restore_links,
    ssh_answers,
    supervised_machines,
    system_state,
    wait_ready,
    wait_ssh,
)
from .plan import (
    Bridge,
    Lab,
    Machine,
    alias,
    definition,
    differences,
    mac_address,
    nft_ruleset,
    nft_table,
    usable_nameservers,
)
from .ssh_keys import SshKeys
from .steps import Step, side_by_side, write_json
from .sysctls import Sysctls

TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "ssh-keygen": "openssh-client",
    "mount": "mount",
}

#: Kinds of steps that concern one machine and depend on no other machine.
PARALLEL = frozenset({"boot", "create", "recreate", "remove machine", "cut power of", "restore links of"})


class LabManager:
    """Applies a :class:`Lab` to the control node.

    :param state_dir: the folder of the labs' disks and records, e.g. ``/var/lib/socle/lab``.
    :param ssh_dir: the folder in which Ansible finds the operator's key and known_hosts; None to write neither.
    """

    def __init__(
        self,
        lab: Lab,
        state_dir: Path,
        ssh_dir: Path | None = None,
        nameservers: list[str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.lab = lab
        self.state_dir = state_dir
        self.path = state_dir / lab.name
        self.ssh_dir = ssh_dir
        self.nameservers = nameservers or []
        self.timeout = timeout
        self.warnings: list[str] = []
        self.sysctls = Sysctls(lab, state_dir / "sysctls.json")
        self.keys = SshKeys(lab, self.path / "ssh", ssh_dir)

    # --- states -------------------------------------------------------------------------------------------------

    def disk(self, name: str) -> MachineDisk:
        """Return the disk of a machine of this lab."""
        return MachineDisk(self.lab.name, name, self.state_dir)

    def known_machines(self) -> list[str]:
        """Return machines of this lab that have a directory, finished or not, or that run without one."""
        folder = self.path / "machines"
        names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        return sorted(names | supervised_machines(folder))

    def info(self, deep: bool = True) -> list[dict[str, Any]]:
        """Return every machine, defined or found: name, address, state (running, dead, absent), pid, and if ``deep``
        also whether SSH answers and systemd's state."""
        names = [machine.name for machine in self.lab.machines]
        names += [name for name in self.known_machines() if name not in names]
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(lambda name: self._machine_info(name, deep), names))

    def _machine_info(self, name: str, deep: bool) -> dict[str, Any]:
        disk = self.disk(name)
        made = disk.definition()
        supervisor = disk.supervisor()
        state = "running" if supervisor else "dead" if made else "absent"
        address, port = str((made or {}).get("address", "")).split("/")[0], 22
        with contextlib.suppress(KeyError):
            address, port = address or self.lab.machine(name).ip, self.lab.machine(name).ssh_port
        result: dict[str, Any] = {
            "name": name,
            "address": address,
            "state": state,
            "pid": supervisor,
            "leader": disk.leader(),
            "root": str(disk.root),
            "log": str(disk.log),
            "image": (made or {}).get("image", ""),
        }
        if deep and supervisor:
            result["ssh"] = ssh_answers(address, port)
            result["system"], result["failed_units"] = system_state(disk)
        return result

    def plan_present(self, recreate: list[str] | bool = False) -> list[Step]:
        """Return the steps to the defined lab. Machines whose definition changed are reported in ``warnings``, and
        recreated only if ``recreate`` (all of them, or names) requests it."""
        host.require_tools(TOOLS)
        steps: list[Step] = []
        interfaces = host.interfaces()
        steps += self._plan_strays(interfaces)
        steps += self.sysctls.plan()
        steps += [step for bridge in self.lab.bridges for step in self._plan_bridge(bridge, interfaces)]
        steps += self._plan_nat()
        steps += self.keys.plan()
        public_key = self.keys.public()
        for machine in self.lab.machines:
            steps += self._plan_machine(machine, public_key, interfaces, recreate)
        return steps

    def plan_absent(self) -> list[Step]:
        """Return the steps that remove everything of this lab, including the remains of a crash."""
        steps = [Step("remove machine", name, self._remover(name)) for name in self.known_machines()]
        steps += self._plan_strays(host.interfaces(), everything=True)
        if host.nft_listing(nft_table(self.lab.name)):
            table = nft_table(self.lab.name)
            steps.append(Step("remove nftables table", table, lambda: self._delete_table(table)))
        steps += self.sysctls.plan_back()
        if self.path.exists():
            steps.append(Step("remove directory", str(self.path), self._remove_directory))
        elif self.ssh_dir and self.ssh_dir.is_dir():
            steps.append(Step("remove directory", str(self.ssh_dir), self._remove_directory))
        return steps

    def plan_killed(self, names: list[str]) -> list[Step]:
        """Return the steps that cut the power of machines."""
        return [
            Step("cut power of", name, self._cutter(name))
            for name in names
            if self.disk(name).supervisor() is not None or self.disk(name).leader() is not None
        ]

    def apply(self, steps: list[Step]) -> None:
        """Do the steps in order; consecutive steps that each concern a single machine run in parallel."""
        for together, group in itertools.groupby(steps, key=lambda step: step.kind in PARALLEL):
            if together:
                problems = side_by_side(list(group))
                if problems:
                    raise LabHostError("\n".join(problems))
            else:
                for step in group:
                    step.action()

    def wait(self) -> None:
        """Wait until SSH answers on every machine that was up before; the boot step has waited for the others."""
        up = [machine for machine in self.lab.machines if self.disk(machine.name).supervisor() is not None]
        problems = side_by_side([Step("wait for", machine.name, self._waiter(machine)) for machine in up])
        if problems:
            raise LabHostError("\n".join(problems))

    def _waiter(self, machine: Machine) -> Callable[[], None]:
        return lambda: wait_ssh(machine, self.disk(machine.name), self.timeout)

    # --- parts --------------------------------------------------------------------------------------------------

    def _plan_strays(self, interfaces: dict[str, Any], everything: bool = False) -> list[Step]:
        """Find interfaces marked as this lab's that belong to no defined bridge or running machine."""
        wanted = set() if everything else {alias(self.lab.name, "bridge", bridge.name) for bridge in self.lab.bridges}
        if not everything:
            for machine in self.lab.machines:
                if self.disk(machine.name).supervisor() is not None:
                    wanted |= {alias(self.lab.name, machine.name, link.name) for link in machine.all_links()}
        prefix = alias(self.lab.name, "")
        strays = [
            name
            for name, item in interfaces.items()
            if str(item.get("ifalias", "")).startswith(prefix) and item["ifalias"] not in wanted
        ]
        steps = [Step("remove interface", name, _deleter(name)) for name in strays]
        if not everything:
            defined = {machine.name for machine in self.lab.machines}
            steps = [
                Step("remove machine", name, self._remover(name))
                for name in self.known_machines()
                if name not in defined
            ] + steps
        return steps

    def _plan_bridge(self, bridge: Bridge, interfaces: dict[str, Any]) -> list[Step]:
        live = interfaces.get(bridge.name)
        mark = alias(self.lab.name, "bridge", bridge.name)
        if live is not None and live.get("ifalias") != mark:
            raise LabHostError(
                f"{bridge.name} exists on this machine and is not of this lab "
                f"({live.get('ifalias') or 'unmarked'}). Remedy: take another name in lab_bridges, "
                f"or remove it (ip link del {bridge.name})"
            )
        if bridge.address:
            self._refuse_overlap(bridge, interfaces)
        if live is None:
            return [Step("create bridge", bridge.name, lambda: self._make_bridge(bridge))]
        addresses = {
            f"{item['local']}/{item['prefixlen']}"
            for item in live.get("addr_info", [])
            if item.get("scope") == "global"
        }
        wanted = {bridge.address} if bridge.address else set()
        if live.get("mtu") != bridge.mtu or addresses != wanted or "UP" not in live.get("flags", []):
            return [Step("correct bridge", bridge.name, lambda: self._set_bridge(bridge))]
        return []

    @staticmethod
    def _refuse_overlap(bridge: Bridge, interfaces: dict[str, Any]) -> None:
        """Refuse two interfaces of the host in one prefix, because packets would take the wrong one."""
        network = ipaddress.ip_interface(str(bridge.address)).network
        for name, item in interfaces.items():
            for address in item.get("addr_info", []):
                other = ipaddress.ip_interface(f"{address['local']}/{address['prefixlen']}").network
                if name != bridge.name and other.version == network.version and other.overlaps(network):
                    raise LabHostError(
                        f"bridge {bridge.name}: {network} overlaps {other} of {name} on this machine. "
                        "Remedy: take another lab_management_cidr, or remove what uses it"
                    )

    def _make_bridge(self, bridge: Bridge) -> None:
        host.ip_batch(
            f"link add name {bridge.name} address {mac_address('bridge', bridge.name)} type bridge "
            "stp_state 0 mcast_snooping 0\n" + self._bridge_settings(bridge)
        )

    def _set_bridge(self, bridge: Bridge) -> None:
        host.ip_batch(f"addr flush dev {bridge.name}\n" + self._bridge_settings(bridge))

    def _bridge_settings(self, bridge: Bridge) -> str:
        text = (
            f'link set dev {bridge.name} alias "{alias(self.lab.name, "bridge", bridge.name)}" mtu {bridge.mtu} '
            "addrgenmode none up\n"
        )
        return text + (f"addr add {bridge.address} dev {bridge.name}\n" if bridge.address else "")

    def _plan_nat(self) -> list[Step]:
        nat = self.lab.nat
        if nat is None:
            return []
        table = nft_table(self.lab.name)
        drops = host.foreign_forward_drops(table)
        if drops:
            self.warnings.append(
                f"the machines may not reach beyond this host: {', '.join(drops)} drops forwarded packets by default. "
                f"Remedy: accept forwarding from and to {nat.bridge} there (for Docker: in DOCKER-USER)"
            )
        saved = self._read("nat.json")
        ruleset = nft_ruleset(self.lab.name, nat)
        if saved.get("ruleset") == ruleset and saved.get("listing") == host.nft_listing(table) != "":
            return []

        def apply() -> None:
            host.run(["nft", "-f", "-"], stdin=ruleset)
            self._write("nat.json", {"ruleset": ruleset, "listing": host.nft_listing(table)})

        return [Step("load nftables table", table, apply)]

    def _delete_table(self, table: str) -> None:
        host.run(["nft", "delete", "table", "ip", table], check=False)

    # --- machines -----------------------------------------------------------------------------------------------

    def _plan_machine(
        self, machine: Machine, public_key: str, interfaces: dict[str, Any], recreate: list[str] | bool
    ) -> list[Step]:
        disk = self.disk(machine.name)
        made = disk.definition()
        if made is None:
            return [Step("create", machine.name, self._booter(machine, new=True))]
        changes = differences(made, definition(machine, public_key))
        if recreate is True or (isinstance(recreate, list) and machine.name in recreate):
            if changes or isinstance(recreate, list):
                return [Step("recreate", machine.name, self._booter(machine, new=True))]
        elif changes:
            self.warnings.append(
                f"{machine.name} is left as it is, but its definition changed ({'; '.join(changes)}). "
                "Remedy: recreate it (lab_recreate: true), its disk is lost then"
            )
        if disk.supervisor() is None:
            return [Step("boot", machine.name, self._booter(machine, new=False))]
        if not changes and missing_links(self.lab.name, machine, interfaces):
            return [
                Step(
                    "restore links of",
                    machine.name,
                    lambda: restore_links(self.lab.name, machine, disk, host.interfaces()),
                )
            ]
        return []

    def _booter(self, machine: Machine, new: bool) -> Callable[[], None]:
        def apply() -> None:
            disk = self.disk(machine.name)
            if new:
                power_cut(self.lab.name, machine.name, disk)
                key = self.path / "ssh" / machine.name
                disk.create(machine, self.keys.public(), key, self._nameservers())
            boot(self.lab, machine, disk)
            ready = wait_ready(machine, disk, self.timeout)
            if ready["failed_units"]:
                self.warnings.append(f"{machine.name} booted with failed units: {', '.join(ready['failed_units'])}")

        return apply

    def _nameservers(self) -> list[str]:
        if self.nameservers:
            return self.nameservers
        for name in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
            with contextlib.suppress(OSError):
                found = usable_nameservers(Path(name).read_text(encoding="utf-8", errors="replace"))
                if found:
                    return found
        self.warnings.append(
            "this host's resolver listens on loopback only, so the machines have none. Remedy: set lab_nameservers"
        )
        return []

    def _remover(self, name: str) -> Callable[[], None]:
        def apply() -> None:
            disk = self.disk(name)
            power_cut(self.lab.name, name, disk)
            clear_remains(self.lab.name, name, disk)
            disk.remove()

        return apply

    def _cutter(self, name: str) -> Callable[[], None]:
        def apply() -> None:
            disk = self.disk(name)
            power_cut(self.lab.name, name, disk)
            clear_remains(self.lab.name, name, disk)

        return apply

    def _remove_directory(self) -> None:
        for where in host.mounts_under(self.path):
            host.unmount(where)
        for group in host.remove_cgroups(self.lab.name):
            self.warnings.append(f"control group {group} still holds processes")
        if self.path.exists():
            shutil.rmtree(self.path)
        if self.ssh_dir and self.ssh_dir.is_dir():
            shutil.rmtree(self.ssh_dir)

    def _read(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.path / name).read_text(encoding="utf-8")))
        return {}

    def _write(self, name: str, value: dict[str, Any]) -> None:
        write_json(self.path / name, value)


def _deleter(name: str) -> Callable[[], None]:
    return lambda: host.delete_links([name])
