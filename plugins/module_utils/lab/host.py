# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The control node as the host of a lab: interfaces, mounts, nftables, sysctls, control groups, processes."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CGROUP_ROOT = Path("/sys/fs/cgroup")
RUN_DIR = Path("/run/socle")
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


class LabHostError(RuntimeError):
    """Something on the control node failed or is missing; the message has the remedy."""


def run(argv: list[str], stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result.

    :raises LabHostError: with the command and its output, if ``check`` is set and it fails or does not exist.
    """
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabHostError(f"{argv[0]} is not installed on the operator's machine") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabHostError(f"{' '.join(argv)} failed with {done.returncode}: {said}")
    return done


def require_tools(tools: dict[str, str]) -> None:
    """Check that commands exist. ``tools`` maps a command to its Debian package."""
    missing = {tool: package for tool, package in tools.items() if shutil.which(tool) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise LabHostError(f"missing on this machine: {', '.join(sorted(missing))}. Remedy: apt-get install {packages}")
    if os.geteuid() != 0:
        raise LabHostError("a lab needs root: it makes namespaces, bridges and mounts. Remedy: run as root")


@contextlib.contextmanager
def exclusive(name: str, timeout: float = 600.0) -> Iterator[None]:
    """Hold the lock ``name`` of the control node; another run waits, at most ``timeout`` seconds."""
    RUN_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(RUN_DIR / f"{name}.lock", "w", encoding="ascii") as handle:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LabHostError(f"another run holds {handle.name} for more than {timeout:.0f} s") from error
                time.sleep(0.2)
        yield


# --- interfaces -------------------------------------------------------------------------------------------------


def interfaces() -> dict[str, dict[str, Any]]:
    """Return every interface of the host by name, as ``ip -json -details addr`` shows it."""
    shown = run(["ip", "-json", "-details", "addr", "show"]).stdout
    return {item["ifname"]: item for item in json.loads(shown or "[]") if item.get("ifname")}


def ip_batch(text: str, netns: str | None = None) -> None:
    """Run several ``ip`` commands in one process, which stops at the first that fails."""
    if text:
        run(["ip", *(["-n", netns] if netns else []), "-batch", "-"], stdin=text)


def delete_links(names: list[str]) -> None:
    """Remove interfaces; ignore those that are already gone."""
    if names:
        run(["ip", "-force", "-batch", "-"], "".join(f"link del dev {name}\n" for name in names), check=False)


def turn_off_tx_checksum(name: str) -> None:
    """Run ``ethtool -K NAME tx off``, because a userspace bridge would forward packets with unfinished checksums."""
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCETHTOOL, request)


def add_netns(name: str) -> None:
    """Create an empty, named network namespace; a remaining one with that name is replaced."""
    delete_netns(name)
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])


def delete_netns(name: str) -> None:
    """Delete the name of a namespace; the namespace itself is deleted with the last process in it."""
    if os.path.lexists(f"/run/netns/{name}"):
        run(["ip", "netns", "del", name], check=False)
        with contextlib.suppress(FileNotFoundError, OSError):
            os.unlink(f"/run/netns/{name}")


def netns_inode(path: str) -> int | None:
    """Return the inode number of a network namespace, or None if ``path`` does not exist."""
    with contextlib.suppress(OSError):
        return os.stat(path).st_ino
    return None


# --- nftables and sysctls ---------------------------------------------------------------------------------------


def nft_listing(table: str) -> str:
    """Return the rules of ``ip TABLE`` as nft prints them, "" if there is no such table."""
    done = run(["nft", "list", "table", "ip", table], check=False)
    return done.stdout if done.returncode == 0 else ""


def foreign_forward_drops(own_table: str) -> list[str]:
    """Return tables whose forward chain drops by default: the lab's own table cannot override them."""
    done = run(["nft", "-j", "list", "chains"], check=False)
    if done.returncode != 0:
        return []
    chains = [item["chain"] for item in json.loads(done.stdout or "{}").get("nftables", []) if "chain" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward"
        and chain.get("policy") == "drop"
        and chain["table"] != own_table
        and chain["family"] in ("ip", "inet")
    ]


def sysctl_path(key: str) -> Path:
    """Return the file of a sysctl; the caller writes dots in an interface's name as slashes."""
    return Path("/proc/sys") / key.replace(".", "/")


def read_sysctl(key: str) -> str | None:
    """Return the live value, None if this kernel has no such key."""
    try:
        return sysctl_path(key).read_text(encoding="ascii").strip()
    except OSError:
        return None


def write_sysctl(key: str, value: str) -> None:
    """Set a sysctl of the host."""
    try:
        sysctl_path(key).write_text(value, encoding="ascii")
    except OSError as error:
        raise LabHostError(f"cannot set {key} to {value} on this machine: {error.strerror}") from error


# --- mounts -----------------------------------------------------------------------------------------------------


def mounts() -> list[tuple[str, str, str]]:
    """Return every mount as (mount point, type, options), oldest first."""
    found = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _device, where, kind, options, *_rest = line.split(" ")
        found.append((where.encode().decode("unicode_escape"), kind, options))
    return found


def mounts_under(path: Path) -> list[str]:
    """Mount points at or below ``path``, deepest and newest first, the order in which to unmount."""
    prefix = str(path)
    return [where for where, _kind, _options in reversed(mounts()) if where == prefix or where.startswith(prefix + "/")]


def unmount(where: str) -> None:
    """Unmount; a busy mount is detached, and is removed when its last user ends."""
    if run(["umount", where], check=False).returncode != 0:
        run(["umount", "--lazy", where], check=False)


def mount_overlay(lower: Path, upper: Path, work: Path, root: Path) -> None:
    """Mount ``lower`` under a private writable layer at ``root``."""
    done = run(
        ["mount", "-t", "overlay", "socle", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", str(root)],
        check=False,
    )
    if done.returncode != 0:
        raise LabHostError(
            f"overlay mount at {root} failed: {done.stderr.strip()}. Remedy: the lab's state directory must lie on a "
            "file system that can be an overlay's upper layer (ext4, xfs, btrfs, tmpfs), not on an overlay or NFS; "
            "set lab_state_dir to such a place"
        )


def lower_dirs_in_use() -> set[str]:
    """Return the directories that some overlay on the control node has as its lower layer."""
    used: set[str] = set()
    for _where, kind, options in mounts():
        if kind == "overlay":
            for option in options.split(","):
                if option.startswith("lowerdir="):
                    used.update(option.removeprefix("lowerdir=").split(":"))
    return used


# --- processes and control groups -------------------------------------------------------------------------------


def systemd_is_pid1() -> bool:
    """Return whether systemd booted the host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; together with the PID it identifies the process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def namespace_pids(pid: int | str) -> list[int]:
    """Return the PIDs of a process from our PID namespace inwards: one number for a process in ours; [] if it is gone.

    Levels are counted from /proc/self, so that a lab inside a machine of a lab is not mistaken for one of ours.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def is_namespace_init(pid: int) -> bool:
    """Return whether a process is PID 1 of a PID namespace directly below ours."""
    pids = namespace_pids(pid)
    return len(pids) == len(namespace_pids("self")) + 1 and pids[-1] == 1


def kill(pid: int, signal: int = 9) -> None:
    """Send a signal to a process; ignore a process that is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal)


def own_cgroups(lab: str, machine: str) -> list[Path]:
    """Return the control groups of a machine's processes if the host has no systemd to make a unit for it.

    In the trees that systemd manages, each machine has a group of its own (two machines in one group would share the
    whole tree inside). In the other version 1 controllers the machine moves to the root group, so that it does not end
    or share limits with the shell that started it.
    """
    found = []
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        found.append(CGROUP_ROOT / "socle" / lab / machine)
    else:
        for entry in sorted(CGROUP_ROOT.iterdir()) if CGROUP_ROOT.is_dir() else []:
            if not (entry / "cgroup.procs").exists():
                continue
            found.append(entry / "socle" / lab / machine if entry.name in ("unified", "systemd") else entry)
    return found


def make_cgroups(lab: str, machine: str) -> list[str]:
    """Create a machine's groups; return the files to which a process writes its PID."""
    files = []
    for group in own_cgroups(lab, machine):
        _make_group(group)
        files.append(str(group / "cgroup.procs"))
    return files


def _make_group(group: Path) -> None:
    """Create a group and its parents. The removal of another machine may delete an empty parent at the same time."""
    for _attempt in range(50):
        # FileExistsError: the path existed, and was gone when Python checked its type.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            group.mkdir(parents=True, exist_ok=True)
            return
    raise LabHostError(f"{group}: its parent vanishes again and again")


def remove_cgroups(lab: str, machine: str | None = None) -> list[str]:
    """Remove the groups of a machine, or of the whole lab; return those that still contain a process."""
    stuck = []
    roots = [CGROUP_ROOT, CGROUP_ROOT / "unified", CGROUP_ROOT / "systemd"]
    for root in roots:
        top = root / "socle" / lab
        if machine:
            top = top / machine
        if top.is_dir():
            _remove_tree_of_groups(top)
            if top.is_dir():
                stuck.append(str(top))
        for parent in (root / "socle" / lab, root / "socle"):
            with contextlib.suppress(OSError):
                parent.rmdir()
    return stuck


def _remove_tree_of_groups(top: Path) -> None:
    for attempt in range(20):
        for where, _dirs, _files in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(where)
        if not top.is_dir():
            return
        time.sleep(0.05 * (attempt + 1))
