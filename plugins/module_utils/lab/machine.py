# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The life cycle of one lab machine: disk, links, boot, power cut, removal.

A machine's directory contains ``upper`` and ``work`` (its disk: the differences from the image), ``root`` (the mount),
``console.log``, ``definition.json`` (its definition; written last, so an unfinished machine has none) and
``process.json`` (PID and start time of systemd-nspawn).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from . import host
from .host import LabHostError
from .plan import (
    NSPAWN_ENVIRONMENT,
    Lab,
    Link,
    Machine,
    adopt_batch,
    alias,
    definition,
    host_ifname,
    hosts_file,
    links_batch,
    machine_uuid,
    netns_name,
    network_file,
    nspawn_argv,
    peer_ifname,
    resolv_conf,
    unit_name,
)

#: Joins control groups and then starts a command: files to join, "--", command.
LAUNCHER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 97; shift; done; shift; exec "$@"'


class MachineDisk:
    """The directory of one machine."""

    def __init__(self, lab: str, name: str, state_dir: Path) -> None:
        self.lab = lab
        self.name = name
        self.path = state_dir / lab / "machines" / name
        self.upper, self.work, self.root = self.path / "upper", self.path / "work", self.path / "root"
        self.log = self.path / "console.log"
        self._definition = self.path / "definition.json"
        self._process = self.path / "process.json"

    def definition(self) -> dict[str, Any] | None:
        """Return the definition that the machine was made from; None if it was never finished."""
        return _read_json(self._definition)

    def exists(self) -> bool:
        """Return whether there is a finished disk."""
        return self._definition.exists()

    def create(self, machine: Machine, authorized_key: str, host_key: Path, nameservers: list[str]) -> None:
        """Create a new disk over the image and add the files that an installer would write: names, network, keys."""
        self.remove()
        for part in (self.upper, self.work, self.root):
            part.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.mount(Path(machine.image))
        _write(self.root, "etc/hostname", machine.name + "\n")
        _write(self.root, "etc/hosts", hosts_file(machine))
        _write(self.root, "etc/resolv.conf", resolv_conf(nameservers))
        _write(self.root, f"etc/systemd/network/10-{machine.interface}.network", network_file(machine))
        _write(self.root, "root/.ssh/authorized_keys", authorized_key, mode=0o600, directory_mode=0o700)
        _write(self.root, "etc/ssh/ssh_host_ed25519_key", host_key.read_text(encoding="ascii"), mode=0o600)
        _write(self.root, "etc/ssh/ssh_host_ed25519_key.pub", Path(f"{host_key}.pub").read_text(encoding="ascii"))
        if machine.ssh_port != 22:
            _write(self.root, "etc/ssh/sshd_config.d/port.conf", f"Port {machine.ssh_port}\n")
        for unit in machine.masked_units:
            _link(self.root, f"etc/systemd/system/{unit}", "/dev/null")
        text = json.dumps(definition(machine, authorized_key), indent=1, sort_keys=True)
        temporary = self._definition.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(self._definition)

    def mount(self, image: Path) -> None:
        """Mount the disk unless it is already mounted."""
        if str(self.root) in {where for where, _kind, _options in host.mounts()}:
            return
        if not image.is_dir():
            raise LabHostError(f"{self.name}: the image {image} is not there. Remedy: run playbooks/image.yml")
        # After an unclean end, the work directory may have files that some kernels refuse.
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(mode=0o755)
        host.mount_overlay(image, self.upper, self.work, self.root)

    def remove(self) -> None:
        """Unmount and delete; also works after a crash, and on a partly deleted machine."""
        self._definition.unlink(missing_ok=True)
        for where in host.mounts_under(self.path):
            host.unmount(where)
        if self.path.exists():
            _make_deletable(self.path)
            shutil.rmtree(self.path)

    def remember(self, pid: int) -> None:
        """Record the systemd-nspawn process."""
        self._process.write_text(json.dumps({"pid": pid, "start": host.start_time(pid)}), encoding="ascii")

    def supervisor(self) -> int | None:
        """Return the PID of the machine's running systemd-nspawn, None if it is not running."""
        noted = _read_json(self._process)
        if noted and noted.get("start") is not None and host.start_time(int(noted["pid"])) == noted["start"]:
            return int(noted["pid"])
        return next(iter(self.supervisors()), None)

    def supervisors(self) -> list[int]:
        """Return all processes that keep the machine up: first the loop around systemd-nspawn, then systemd-nspawn."""
        return _supervisors().get(self.root, [])

    def leader(self) -> int | None:
        """Return the PID (on the host) of the machine's own PID 1. It may still run after its supervisor was killed."""
        return _leaders().get(machine_uuid(self.lab, self.name).replace("-", ""))

    def log_tail(self, lines: int = 25) -> str:
        """Return the end of the console, for an error message."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no console log)"
        return "\n".join(text.splitlines()[-lines:])


def boot(lab: Lab, machine: Machine, disk: MachineDisk) -> int:
    """Power on: namespace, links, systemd-nspawn.

    Returns the supervisor's PID; does not wait for the end of the boot.
    """
    power_cut(lab.name, machine.name, disk)
    clear_remains(lab.name, machine.name, disk)
    disk.mount(Path(machine.image))
    namespace = netns_name(lab.name, machine.name)
    host.add_netns(namespace)
    add_links(lab.name, machine, machine.all_links(), namespace)
    argv = ["nsenter", f"--net=/run/netns/{namespace}", *nspawn_argv(lab.name, machine, str(disk.root))]
    pid = _start_unit(lab, machine, disk, argv) if host.systemd_is_pid1() else _start_process(lab, machine, disk, argv)
    disk.remember(pid)
    inode = host.netns_inode(f"/run/netns/{namespace}")
    deadline = time.monotonic() + 10
    while host.netns_inode(f"/proc/{pid}/ns/net") != inode:
        if host.start_time(pid) is None or time.monotonic() > deadline:
            raise LabHostError(f"{machine.name}: systemd-nspawn did not start:\n{disk.log_tail()}")
        time.sleep(0.02)
    host.delete_netns(namespace)
    return pid


def _start_process(lab: Lab, machine: Machine, disk: MachineDisk, argv: list[str]) -> int:
    groups = host.make_cgroups(lab.name, machine.name)
    command = ["sh", "-c", LAUNCHER, "socle-machine", *groups, "--", *argv]
    with open(disk.log, "wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(),
            cwd="/",
            start_new_session=True,
            close_fds=True,
        )
    return process.pid


def _start_unit(lab: Lab, machine: Machine, disk: MachineDisk, argv: list[str]) -> int:
    unit = unit_name(lab.name, machine.name)
    host.run(["systemctl", "reset-failed", unit], check=False)
    disk.log.write_bytes(b"")
    host.run(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={unit}",
            f"--description=Machine {machine.name} of the lab {lab.name}",
            "--property=Type=exec",
            "--property=Delegate=yes",
            "--property=KillMode=mixed",
            "--property=TasksMax=infinity",
            f"--property=StandardOutput=append:{disk.log}",
            f"--property=StandardError=append:{disk.log}",
            *(f"--setenv={key}={value}" for key, value in NSPAWN_ENVIRONMENT.items()),
            "--",
            *argv,
        ]
    )
    return int(host.run(["systemctl", "show", "--property=MainPID", "--value", unit]).stdout.strip() or 0)


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        **NSPAWN_ENVIRONMENT,
    }


def add_links(lab: str, machine: Machine, links: tuple[Link, ...], netns: str) -> None:
    """Create links on the bridges and move their far ends into ``netns`` (a name, or a PID as text)."""
    if not links:
        return
    wanted = {alias(lab, machine.name, link.name): host_ifname(lab, machine.name, link.name) for link in links}
    # Remains of a killed run. If another owner has the name, the kernel refuses to create the link.
    host.delete_links(
        [
            name
            for name, item in host.interfaces().items()
            if item.get("ifalias") in wanted or (name in wanted.values() and not item.get("ifalias"))
        ]
    )
    host.ip_batch(links_batch(lab, machine, links))
    for link in links:
        if not link.offload:
            host.turn_off_tx_checksum(peer_ifname(lab, machine.name, link.name))
    host.ip_batch(adopt_batch(lab, machine, links, netns))


def missing_links(lab: str, machine: Machine, interfaces: dict[str, Any]) -> tuple[Link, ...]:
    """Return links of a running machine whose host end is missing (then both ends are) or not on its bridge."""
    marked = {item.get("ifalias"): item for item in interfaces.values()}
    return tuple(
        link
        for link in machine.all_links()
        if marked.get(alias(lab, machine.name, link.name), {}).get("master") != link.bridge
    )


def restore_links(lab: str, machine: Machine, disk: MachineDisk, interfaces: dict[str, Any]) -> None:
    """Repair the links found by :func:`missing_links`: attach those that exist, create the others again."""
    leader = disk.leader()
    if leader is None:
        raise LabHostError(f"{machine.name}: died while its links were restored")
    marked = {item.get("ifalias"): name for name, item in interfaces.items()}
    gone = []
    for link in missing_links(lab, machine, interfaces):
        name = marked.get(alias(lab, machine.name, link.name))
        if name:
            host.run(["ip", "link", "set", "dev", name, "master", link.bridge, "up"])
        else:
            gone.append(link)
    add_links(lab, machine, tuple(gone), str(leader))


def power_cut(lab: str, name: str, disk: MachineDisk, timeout: float = 20.0) -> bool:
    """Kill a machine at once, like a power failure; the disk is kept. Returns whether it was running."""
    # The loop is killed first, so that it does not take the machine's end for a reboot. A killed systemd-nspawn leaves
    # its machine running; the kernel kills a whole PID namespace with its first process.
    victims = [*disk.supervisors(), *filter(None, [disk.leader()])]
    for pid in victims:
        host.kill(pid)
    deadline = time.monotonic() + timeout
    while any(host.start_time(pid) is not None for pid in victims):
        if time.monotonic() > deadline:
            raise LabHostError(f"{name}: processes {victims} outlive SIGKILL")
        time.sleep(0.02)
    return bool(victims)


def clear_remains(lab: str, name: str, disk: MachineDisk) -> None:
    """Remove everything outside its disk that a dead machine may have left: unit, groups, namespace name, links."""
    if host.systemd_is_pid1():
        host.run(["systemctl", "stop", unit_name(lab, name)], check=False)
    host.remove_cgroups(lab, name)
    host.delete_netns(netns_name(lab, name))
    prefix = alias(lab, name, "")
    host.delete_links(
        [ifname for ifname, item in host.interfaces().items() if str(item.get("ifalias", "")).startswith(prefix)]
    )


def wait_ready(machine: Machine, disk: MachineDisk, timeout: float) -> dict[str, Any]:
    """Wait until SSH answers and the machine's systemd has finished booting.

    :returns: ``{"seconds": float, "system": "running" | "degraded", "failed_units": [...]}``.
    :raises LabHostError: with the tail of the console if the machine dies or takes too long.
    """
    begin = time.monotonic()
    wait_ssh(machine, disk, timeout)
    system, failed = system_state(disk, timeout - (time.monotonic() - begin))
    return {"seconds": round(time.monotonic() - begin, 1), "system": system, "failed_units": failed}


def wait_ssh(machine: Machine, disk: MachineDisk, timeout: float) -> None:
    """Wait until SSH answers.

    :raises LabHostError: with the tail of the console if the machine dies or takes too long.
    """
    deadline = time.monotonic() + timeout
    while not ssh_answers(machine.ip, machine.ssh_port):
        if disk.supervisor() is None:
            raise LabHostError(f"{machine.name} died while booting. End of its console:\n{disk.log_tail()}")
        if time.monotonic() > deadline:
            raise LabHostError(
                f"{machine.name}: no SSH on {machine.ip}:{machine.ssh_port} after {timeout:.0f} s. "
                f"End of its console:\n{disk.log_tail()}"
            )
        time.sleep(0.1)


def ssh_answers(address: str, port: int, timeout: float = 1.0) -> bool:
    """Return whether an SSH server sends its greeting."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=timeout) as connection:
        connection.settimeout(timeout)
        return connection.recv(64).startswith(b"SSH-2.0")
    return False


def system_state(disk: MachineDisk, timeout: float = 0.0) -> tuple[str, list[str]]:
    """Return systemd's state of the machine and its failed units; with ``timeout``, wait for the end of the boot."""
    leader = disk.leader()
    if leader is None:
        return "off", []
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root"]
    inside = ["nsenter", f"--target={leader}", *namespaces, "--"]
    deadline = time.monotonic() + timeout
    while True:
        state = host.run([*inside, "systemctl", "is-system-running"], check=False).stdout.strip()
        if state in ("running", "degraded", "maintenance") or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    failed: list[str] = []
    if state == "degraded":
        failed = ["systemctl", "list-units", "--failed", "--plain", "--no-legend"]
        listed = host.run([*inside, *failed], check=False).stdout
        failed = [line.split()[0] for line in listed.splitlines() if line.split()]
    return state or "unknown", failed


def supervised_machines(folder: Path) -> set[str]:
    """Return the names of the machines under ``folder`` on which a systemd-nspawn runs, independent of our records."""
    return {root.parent.name for root in _supervisors() if root.parent.parent == folder}


def _supervisors() -> dict[Path, list[int]]:
    """Return the processes around systemd-nspawn, by the root directory of their machine, oldest first."""
    found: dict[Path, list[int]] = {}
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"systemd-nspawn" not in arguments:
                continue
            for argument in arguments:
                if argument.startswith(b"--directory=") and len(host.namespace_pids(pid)) == 1:
                    root = Path(os.fsdecode(argument.removeprefix(b"--directory=")))
                    found.setdefault(root, []).append(pid)
    return found


def _leaders() -> dict[str, int]:
    """Return every process on this host that is PID 1 of a systemd-nspawn machine, by the machine's id (32 digits)."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and host.is_namespace_init(int(entry)) and host.start_time(int(entry)) is not None:
            with contextlib.suppress(OSError):
                for variable in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    if variable.startswith(b"container_uuid="):
                        found[variable.partition(b"=")[2].decode().replace("-", "")] = int(entry)
    return found


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _write(root: Path, name: str, text: str, mode: int = 0o644, directory_mode: int = 0o755) -> None:
    path = root / name
    path.parent.mkdir(mode=directory_mode, parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _link(root: Path, name: str, target: str) -> None:
    path = root / name
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    path.symlink_to(target)


def _make_deletable(path: Path) -> None:
    """Clear the immutable flag of files that a node has protected with it; only if needed."""
    if shutil.which("chattr"):
        host.run(["chattr", "-R", "-i", "-a", str(path)], check=False)
