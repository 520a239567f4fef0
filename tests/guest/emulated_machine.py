#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""A QEMU guest from the node image: a machine with a kernel, a boot loader and file systems of its own.

    emulated_machine.py up [--plain]    make its disk and boot it
    emulated_machine.py ssh COMMAND     run a command on it
    emulated_machine.py down            stop and remove it, also the rest of a killed run

The disk has the partitions that ANSSI-BP-028 requires (R28). The image lacks a kernel, GRUB and an initramfs. They are
installed over a copy. QEMU comes from the image and emulates the CPU, so no KVM is needed. The guest is on a network of
QEMU, and only its SSH port is reachable, from 127.0.0.1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from plugins.module_utils.lab import host as lab_host
from plugins.module_utils.lab import node_image

STATE = Path("/var/lib/socle/guest")
IMAGE = Path("/var/lib/socle/images/node")
CACHE = Path("/var/lib/socle/cache/apt")
PORT = 2297
NETWORK, HOST, ADDRESS = "10.97.0.0/24", "10.97.0.2", "10.97.0.15"
MAC = "52:54:00:97:00:15"
BOOT_SECONDS = 900
#: Packages of a virtual machine that the node image lacks. They are installed over it.
KERNEL_PACKAGES = ("linux-image-amd64", "initramfs-tools", "grub-pc")
#: A minimal Debian with the scanners, installed from the packages of the image (role image). It is not hardened yet.
PLAIN_PACKAGES = (
    "ca-certificates", "dbus", "debian-archive-keyring", "iproute2", "iputils-ping", "kmod", "libpam-systemd",
    "openssh-server", "procps", "python3", "python3-apt", "systemd", "systemd-sysv", "udev", "e2fsprogs", "fdisk",
    "linux-base", "lynis", "openscap-scanner",
)  # fmt: skip


class GuestError(RuntimeError):
    """The guest could not be created or does not answer. The message gives the reason."""


@dataclass(frozen=True)
class Partition:
    """A file system of the guest: its mount point, and its size and start on the disk in MiB."""

    where: str
    size: int
    start: int

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"socle-guest:{self.where}"))


def _layout(sizes: dict[str, int]) -> tuple[Partition, ...]:
    """Return the partitions. They start after 2 MiB: one for the partition table and one for GRUB's core image."""
    found, start = [], 2
    for where, size in sizes.items():
        found.append(Partition(where, size, start))
        start += size
    return tuple(found)


PARTITIONS = _layout(
    {"/boot": 384, "/": 1024, "/usr": 5120, "/var": 3072, "/var/log": 512, "/var/log/audit": 512, "/var/tmp": 512,
     "/tmp": 512, "/home": 128, "/srv": 128, "/opt": 128}
)  # fmt: skip
SECTORS = 2048
"""Number of sectors in a MiB."""

#: Arguments: image, directory of the guest, package cache. It has its own namespaces, so a killed run leaves no mounts.
BUILD = r"""
image=$1 dir=$2 cache=$3 root=$2/root
mount -t overlay socle-guest -o "lowerdir=$image,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -m 1777 "$root/run/lock"
mount -t tmpfs tmpfs "$root/mnt"
mkdir "$root/mnt/disk"
mount --bind "$dir" "$root/mnt/disk"
mount --bind "$cache" "$root/var/cache/apt/archives"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp -a "$dir/tree/." "$root/"
printf 'grub-pc grub-pc/install_devices_empty boolean true\n' | chroot "$root" debconf-set-selections
in="chroot $root"
$in apt-get -qq update
$in apt-get -qq -y --no-install-recommends -o APT::Keep-Downloaded-Packages=true install $packages
rm -f "$root/etc/resolv.conf" "$root/usr/sbin/policy-rc.d"
find "$root/var/lib/apt/lists" -type f -delete
version=$(ls "$root/lib/modules" | tail -1)
mkdir -p "$root/boot/grub"
cp -r "$root/usr/lib/grub/i386-pc" "$root/boot/grub/"
sed "s/VERSION/$version/" "$dir/grub.cfg" > "$root/boot/grub/grub.cfg"
chmod 444 "$root/boot/grub/grub.cfg"
test -e "$root/boot/initrd.img-$version"
$in grub-mkimage -O i386-pc -o /mnt/disk/core.img -p '(hd0,gpt2)/grub' biosdisk part_gpt ext2 normal configfile \
    search search_fs_uuid linux test echo serial terminal minicmd
cp "$root/usr/lib/grub/i386-pc/boot.img" "$dir/boot.img"
$in sfdisk --quiet --wipe never /mnt/disk/disk.img < "$dir/table"
umount "$root/var/cache/apt/archives" "$root/mnt/disk" "$root/mnt" "$root/run" "$root/proc" "$root/dev/pts" "$root/dev"
# The deepest first; what has a file system of its own is then covered by an empty one. They end with the namespace.
while read -r where start size uuid; do
    mkdir -p "$root$where"
    mkfs.ext4 -q -F -m 1 -O ^metadata_csum_seed,^orphan_file -U "$uuid" -d "$root$where" -E "offset=$((start << 20))" \
        "$dir/disk.img" "${size}M"
    test "$where" = / || mount -t tmpfs -o "mode=$(stat -c %a "$root$where")" tmpfs "$root$where"
done < "$dir/partitions"
"""
RUN = """
root=$1 dir=$2; shift 2
mount --bind "$dir" "$root/mnt"
mount --bind /dev "$root/dev"
exec chroot "$root" "$@"
"""
ALONE = ("unshare", "--mount", "--propagation", "private")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", *ALONE, "--pid", "--fork", "--kill-child=KILL")


class Guest:
    """A guest on this host."""

    runs: list[int]
    """Number of changes of each hardening run, if a test sets it."""

    def __init__(self, name: str = "node", port: int = PORT) -> None:
        self.dir = STATE / name
        self.port = port
        self.console = self.dir / "console.log"
        self.inventory = self.dir / "inventory.json"
        self._process = self.dir / "process.json"

    # --- life cycle

    def make(self, plain: bool = False) -> None:
        """Create its disk from the node image or from plain Debian. Remove a former guest."""
        lab_host.require_tools({"setpriv": "util-linux", "mkfs.ext4": "e2fsprogs", "ssh-keygen": "openssh-client"})
        self.remove()
        for part in ("upper", "work", "root", "tree"):
            (self.dir / part).mkdir(mode=0o755, parents=True)
        image = self._plain_image() if plain else IMAGE.resolve()
        if not image.is_dir():
            raise GuestError(f"{image} is not there. Remedy: make lab, or .venv/bin/socle image build")
        self._write_settings()
        self._build(image)
        for part in ("upper", "work", "root", "tree"):
            shutil.rmtree(self.dir / part)

    def boot(self) -> float:
        """Power on and wait until the system is up. Return the duration in seconds."""
        begun = time.monotonic()
        image = IMAGE.resolve()
        qemu = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc",
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072", "-vga", "std",
            "-serial", "file:/mnt/console.log", "-device", "virtio-rng-pci",
            "-drive", "file=/mnt/disk.img,format=raw,if=virtio,cache=unsafe",
            "-netdev", f"user,id=net,restrict=on,ipv6=off,net={NETWORK},host={HOST},"
                       f"hostfwd=tcp:127.0.0.1:{self.port}-{ADDRESS}:22",
            "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile=",
            # A keyboard, like that of a server's management controller, and an unauthorized USB stick.
            "-device", "qemu-xhci", "-device", "usb-kbd", "-device", "usb-storage,drive=stick",
            "-drive", "if=none,id=stick,format=raw,file=/mnt/stick.img",
        ]  # fmt: skip
        with open(self.dir / "stick.img", "wb") as stick:
            stick.truncate(1 << 20)
        with open(self.dir / "qemu.log", "wb") as log:
            process = subprocess.Popen(
                ["nice", "-n", "10", *ALONE, "sh", "-euc", RUN, "guest", str(image), str(self.dir), *qemu],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._process.write_text(json.dumps({"pid": process.pid, "start": lab_host.start_time(process.pid)}))
        self.wait_up(BOOT_SECONDS)
        return time.monotonic() - begun

    def reboot(self) -> float:
        """Reboot through the boot menu on its disk. Return the duration in seconds."""
        begun = time.monotonic()
        before = self._boot_id()
        self.run("systemctl reboot", check=False, timeout=60)
        self._hang_up()
        self.wait_up(BOOT_SECONDS, before)
        return time.monotonic() - begun

    def wait_up(self, seconds: float, former: str = "") -> None:
        """Wait until SSH answers with another boot id than ``former`` and systemd has finished the start."""
        deadline = time.monotonic() + seconds
        while not (self._greets() and self._boot_id() not in ("", former)):
            if not self._alive():
                raise GuestError(f"qemu ended: {(self.dir / 'qemu.log').read_text(errors='replace')[-1000:]}")
            if time.monotonic() > deadline:
                raise GuestError(f"no SSH after {seconds:.0f} s. End of the console:\n{self.console_tail()}")
            time.sleep(1)
        self.run("systemctl is-system-running --wait", check=False, timeout=max(30, deadline - time.monotonic()))

    def stop(self) -> None:
        """Power off without a shutdown."""
        self._hang_up()
        if self._alive():
            pid = json.loads(self._process.read_text())["pid"]
            lab_host.kill(pid)
            deadline = time.monotonic() + 20
            while self._alive() and time.monotonic() < deadline:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.05)
        self._process.unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and delete all its files, also those of a killed run."""
        if self.dir.exists():
            self.stop()
            for where in lab_host.mounts_under(self.dir):
                lab_host.unmount(where)
            shutil.rmtree(self.dir)

    # --- commands on the guest

    @property
    def ssh(self) -> list[str]:
        """The SSH command that connects to it."""
        return ["ssh", "-p", str(self.port), *shlex.split(self.ssh_options()), "root@127.0.0.1"]

    def ssh_options(self) -> str:
        """Return SSH options: the key of the guest, one host key, and long timeouts for a busy guest."""
        options = {
            "IdentityFile": self.dir / "id_ed25519", "IdentitiesOnly": "yes", "BatchMode": "yes", "LogLevel": "ERROR",
            "UserKnownHostsFile": self.dir / "known_hosts", "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes", "ConnectTimeout": 60, "ControlMaster": "auto", "ControlPersist": 600,
            "ControlPath": self.dir / "ssh", "ServerAliveInterval": 15, "ServerAliveCountMax": 20,
        }  # fmt: skip
        return " ".join(f"-o {key}={value}" for key, value in options.items())

    def run(self, command: str, check: bool = True, timeout: float = 600) -> str:
        """Run a command and return its output. Its exit code is ignored unless ``check``."""
        try:
            done = subprocess.run(
                [*self.ssh, command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            if check:
                raise GuestError(f"`{command}` has no end after {timeout:.0f} s") from None
            return ""
        if check and done.returncode:
            raise GuestError(f"`{command}` ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def play(self, playbook: Path, **more: Any) -> str:
        """Run a playbook with the variables of the guest, overridden by ``more``. Return its output."""
        done = subprocess.run(
            [str(ROOT / ".venv/bin/ansible-playbook"), "--inventory", str(self.inventory),
             "--extra-vars", f"@{playbook.parent / 'vars.yml'}", "--extra-vars", json.dumps(more), str(playbook)],
            cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_TIMEOUT": "120"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = f"{done.stdout[-6000:]}{done.stderr[-2000:]}"
            raise GuestError(f"{playbook.name} ended with {done.returncode}:\n{said}")
        return done.stdout

    def console_tail(self, lines: int = 30) -> str:
        """Return the end of its output on the serial port."""
        with contextlib.suppress(OSError):
            return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])
        return "(no console)"

    # --- parts

    def _alive(self) -> bool:
        try:
            noted = json.loads(self._process.read_text())
        except (OSError, ValueError):
            return False
        return noted["start"] is not None and lab_host.start_time(noted["pid"]) == noted["start"]

    def _greets(self) -> bool:
        # QEMU accepts every connection, so only a greeting from the guest shows that it is up.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as stream:
            stream.settimeout(20)
            return stream.recv(16).startswith(b"SSH-2.0")
        return False

    def _boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id", check=False, timeout=120)

    def _hang_up(self) -> None:
        if (self.dir / "ssh").exists():
            subprocess.run([*self.ssh[:-1], "-O", "exit", self.ssh[-1]], capture_output=True, check=False)

    def _plain_image(self) -> Path:
        spec = node_image.ImageSpec(PLAIN_PACKAGES, **_sources())
        store = node_image.ImageStore(STATE / "images", CACHE)
        store.clear_unfinished()
        return store.find(spec.digest(), "plain") or store.build(spec, "plain")

    def _write_settings(self) -> None:
        """Write keys, inventory, and the files that an installer would write."""
        for name in ("id_ed25519", "host_key"):
            key = str(self.dir / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", key], check=True)
        host_key = (self.dir / "host_key.pub").read_text()
        (self.dir / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        host = {
            "ansible_host": "127.0.0.1", "ansible_port": self.port, "ansible_user": "root",
            "ansible_ssh_args": self.ssh_options(), "ansible_ssh_control_path": str(self.dir / "ssh"),
        }  # fmt: skip
        groups = {"control": {"hosts": {"ctl1": host}}, "compute": {}, "gateway": {}}
        self.inventory.write_text(json.dumps({"all": {"children": {"nodes": {"children": groups}, "backbone": {}}}}))
        by_path = {partition.where: partition for partition in PARTITIONS}
        fstab = [
            f"UUID={item.uuid} {item.where} ext4 defaults 0 {1 if item.where == '/' else 2}"
            for item in sorted(PARTITIONS, key=lambda item: item.where)
        ]
        for name, text, mode in (
            ("etc/fstab", "\n".join(fstab) + "\n", 0o644),
            ("etc/hostname", "ctl1\n", 0o644),
            ("etc/systemd/network/10-guest.network",
             f"[Match]\nMACAddress={MAC}\n\n[Network]\nAddress={ADDRESS}/24\nGateway={HOST}\n", 0o644),
            ("etc/default/grub.d/guest.cfg",
             'GRUB_TIMEOUT=0\nGRUB_TERMINAL="console"\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
             'GRUB_CMDLINE_LINUX="console=ttyS0"\n', 0o644),
            ("etc/ssh/ssh_host_ed25519_key", (self.dir / "host_key").read_text(), 0o600),
            ("etc/ssh/ssh_host_ed25519_key.pub", host_key, 0o644),
            ("root/.ssh/authorized_keys", (self.dir / "id_ed25519.pub").read_text(), 0o600),
        ):  # fmt: skip
            path = self.dir / "tree" / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
        for name in ("root", "root/.ssh"):
            (self.dir / "tree" / name).chmod(0o700)
        # This configuration is used until update-grub can run on the booted system.
        (self.dir / "grub.cfg").write_text(
            f"search --no-floppy --fs-uuid --set=root {by_path['/boot'].uuid}\n"
            f"linux /vmlinuz-VERSION root=UUID={by_path['/'].uuid} ro console=ttyS0\ninitrd /initrd.img-VERSION\nboot\n"
        )
        rows = [f"start={SECTORS}, size={SECTORS}, type=21686148-6449-6E6F-744E-656564454649"]
        rows += [f"start={item.start * SECTORS}, size={item.size * SECTORS}, type=L" for item in PARTITIONS]
        (self.dir / "table").write_text("label: gpt\n" + "\n".join(rows) + "\n")
        deepest = sorted(PARTITIONS, key=lambda item: (-item.where.rstrip("/").count("/"), item.where))
        lines = [f"{item.where} {item.start} {item.size} {item.uuid}" for item in deepest]
        (self.dir / "partitions").write_text("\n".join(lines) + "\n")
        with open(self.dir / "disk.img", "wb") as disk:
            disk.truncate((PARTITIONS[-1].start + PARTITIONS[-1].size + 1) << 20)

    def _build(self, image: Path) -> None:
        log = self.dir / "build.log"
        with open(log, "wb") as stream:
            done = subprocess.run(
                [*DIES_WITH_US, "sh", "-euc", BUILD, "build", str(image), str(self.dir), str(CACHE)],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False,
                env={
                    **node_image.build_environment(), "NEEDRESTART_SUSPEND": "1", "packages": " ".join(KERNEL_PACKAGES)
                },
            )  # fmt: skip
        if done.returncode:
            reason = node_image.failure_reason(log.read_text(errors="replace"))
            raise GuestError(f"its disk could not be made: {reason}")
        with open(self.dir / "disk.img", "r+b") as disk:
            for place, data in boot_sectors((self.dir / "boot.img").read_bytes(), (self.dir / "core.img").read_bytes()):
                disk.seek(place)
                disk.write(data)


def boot_sectors(boot: bytes, core: bytes, sector: int = SECTORS) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, data) as grub-install writes it: GRUB's first sector without the table, the core at ``sector``.

    The first sector contains the position of the core, and the first sector of the core that of the rest.
    """
    yield 0, boot[:0x5C] + struct.pack("<Q", sector) + boot[0x64:440]
    core = core + bytes(-len(core) % 512)
    if len(core) > SECTORS * 512:
        raise GuestError("GRUB's core image is too large for its partition")
    rest = struct.pack("<QH", sector + 1, len(core) // 512 - 1)
    yield sector * 512, core[:0x1F4] + rest + core[0x1FE:]


def _sources() -> dict[str, Any]:
    """Return suite and mirrors of the node image, which are those of the site."""
    manifest = json.loads((IMAGE / node_image.MANIFEST).read_text())
    uris = [
        line.split()[1]
        for line in (IMAGE / "etc/apt/sources.list.d/debian.sources").read_text().splitlines()
        if line.startswith("URIs:")
    ]
    return {"suite": manifest["suite"], "mirror": uris[0], "security_mirror": uris[1] if len(uris) > 1 else ""}


@contextlib.contextmanager
def running(name: str = "node", plain: bool = False) -> Iterator[Guest]:
    """A running guest, which is removed at the end."""
    with lab_host.exclusive("guest"):
        guest = Guest(name)
        try:
            guest.make(plain)
            guest.boot()
            yield guest
        finally:
            guest.remove()


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--plain", action="store_true", help="a plain Debian in place of the node image")
    options.add_argument("verb", choices=["up", "ssh", "down"])
    options.add_argument("command", nargs=argparse.REMAINDER)
    given = options.parse_args()
    guest = Guest()
    if given.verb == "ssh":
        return subprocess.run([*guest.ssh, *given.command], check=False).returncode
    try:
        if given.verb == "down":
            guest.remove()
            return 0
        begun = time.monotonic()
        guest.make(given.plain)
        print(f"disk: {time.monotonic() - begun:.0f} s", flush=True)
        print(f"boot: {guest.boot():.0f} s", flush=True)
    except (GuestError, lab_host.LabHostError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
