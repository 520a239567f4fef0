# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The smoke guest: Debian's cloud kernel and an initramfs of busybox that reports its name and who asks.

It is the smallest guest that tests a tenant network: DHCPv4 with the MTU that the network announces, IPv6 by router
advertisement, and over HTTP (both families)

* ``/cgi-bin/whoami``: ``{"name": ..., "remote_addr": ...}``, so the caller learns which guest it reached and the
  source address of its packets on arrival;
* ``/cgi-bin/probe?proto=icmp|http&target=ADDRESS``: the guest sends the same request to another address:
  ``{"name": ..., "proto": ..., "target": ..., "reached": true|false, "answer": {...}|null}``.

The guest's name comes from the kernel command line, ``socle.name=NAME``.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .host import LabHostError
from .node_image import ImageSpec, build_environment, check_keyring, failure_reason, mmdebstrap_argv, remove_tree

PACKAGES = ("linux-image-cloud-amd64", "busybox-static")
#: In load order: each needs those before it. The cloud kernel contains all other drivers that the guest needs.
MODULES = ("failover", "net_failover", "virtio_net")
MANIFEST = "image.json"

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null
/bin/busybox --install -s /bin
export PATH=/bin
name=$(sed -n 's/.*socle\.name=\([^ ]*\).*/\1/p' /proc/cmdline)
hostname "${name:-guest}"
for module in failover net_failover; do insmod /modules/$module.ko; done
# The guest sums its packets itself: a userspace datapath forwards them as they come out of it.
insmod /modules/virtio_net.ko csum=0 gso=0
ip link set dev lo up
tries=0
while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
ip link set dev eth0 up
httpd -p '[::]:80' -h /www
udhcpc -i eth0 -s /etc/udhcpc -O mtu -O staticroutes -t 3 -T 2 -A 2 -b >/dev/null 2>&1 &
shown=
while :; do
    addresses=$(ip -o addr show dev eth0 scope global |
        awk '!/tentative|dadfailed/ { sub("/.*", "", $4); print $4 }' | sort | xargs)
    if [ -n "$addresses" ] && [ "$addresses" != "$shown" ]; then
        echo "SOCLE-GUEST-READY name=$(hostname) addresses=$addresses" > /dev/console
        shown=$addresses
    fi
    sleep 1
done
"""

UDHCPC = r"""#!/bin/busybox sh
# Called by udhcpc: $1 is the event, the lease is in the environment.
case $1 in
bound|renew)
    ip -4 addr flush dev "$interface"
    [ -n "$mtu" ] && ip link set dev "$interface" mtu "$mtu"
    ip addr add "$ip/$mask" dev "$interface"
    if [ -n "$staticroutes" ]; then
        # RFC 3442: with classless routes the router option does not count.
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            if [ "$2" = 0.0.0.0 ]; then ip route replace "$1" dev "$interface"
            else ip route replace "$1" via "$2" dev "$interface" onlink; fi
            shift 2
        done
    else
        for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; break; done
    fi
    ;;
deconfig)
    ip link set dev "$interface" up
    ;;
esac
"""

WHOAMI = r"""#!/bin/busybox sh
remote=${REMOTE_ADDR#[}
remote=${remote%]}
remote=${remote#::ffff:}
printf 'Content-Type: application/json\r\n\r\n'
printf '{"name": "%s", "remote_addr": "%s"}\n' "$(hostname)" "$remote"
"""

PROBE = r"""#!/bin/busybox sh
value() { echo "$QUERY_STRING" | tr '&' '\n' | sed -n "s/^$1=//p" | head -n 1; }
proto=$(value proto)
target=$(httpd -d "$(value target)" | tr -cd '0-9A-Fa-f:.')
reached=false
answer=null
case $target in *:*) family=-6 host="[$target]" ;; *) family=-4 host=$target ;; esac
case $proto in
icmp)
    ping $family -c 1 -W 2 "$target" >/dev/null 2>&1 && reached=true
    ;;
http)
    text=$(timeout 4 wget -q -T 3 -O - "http://$host/cgi-bin/whoami" 2>/dev/null)
    case $text in "{"*"}") reached=true answer=$text ;; esac
    ;;
esac
printf 'Content-Type: application/json\r\n\r\n'
printf '{"name": "%s", "proto": "%s", "target": "%s", "reached": %s, "answer": %s}\n' \
    "$(hostname)" "${proto%%[!a-z]*}" "$target" "$reached" "$answer"
"""

FILES = {"init": INIT, "etc/udhcpc": UDHCPC, "www/cgi-bin/whoami": WHOAMI, "www/cgi-bin/probe": PROBE}


@dataclass(frozen=True)
class Entry:
    """One file of an initramfs. ``mode`` is a full st_mode; ``device`` is (major, minor) of a device node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio_newc(entries: list[Entry]) -> bytes:
    """Return an initramfs in the kernel's "newc" format; the same entries always give the same bytes."""
    out = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4) + entry.data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initramfs_entries(busybox: bytes, modules: dict[str, bytes]) -> list[Entry]:
    """Return the guest's files: busybox, kernel modules (name to unpacked content) and the scripts of this file."""
    folders = {"bin", "dev", "etc", "modules", "www", "www/cgi-bin"}
    entries = [Entry(name, 0o040755) for name in sorted(folders)]
    entries.append(Entry("dev/console", 0o020600, device=(5, 1)))
    entries.append(Entry("bin/busybox", 0o100755, busybox))
    entries += [Entry(f"modules/{name}.ko", 0o100644, data) for name, data in sorted(modules.items())]
    entries += [Entry(name, 0o100755, text.encode()) for name, text in sorted(FILES.items())]
    return entries


def digest(spec: ImageSpec) -> str:
    """Return 16 hexadecimal digits over packages, suite, modules and scripts."""
    content = [spec.digest(), MODULES, FILES]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class GuestStore:
    """The guest images of the control node: ``DIGEST/{vmlinuz,initrd,image.json}`` and a link ``current``."""

    def __init__(self, images: Path, cache: Path) -> None:
        self.images = images
        self.cache = cache

    def current(self) -> str:
        """Return the digest in use, "" if there is none."""
        try:
            return os.readlink(self.images / "current")
        except OSError:
            return ""

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Return the manifest of a finished image."""
        try:
            return dict(json.loads((self.images / name / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def clear_unfinished(self) -> None:
        """Remove the remains of killed builds."""
        for left in self.images.glob(".build-*"):
            remove_tree(left)

    def build(self, spec: ImageSpec) -> None:
        """Fetch kernel and busybox with verified signatures, make the initramfs, install both with one rename.

        :raises LabHostError: fetching failed, or the packages lack a file that the guest needs.
        """
        check_keyring(spec.keyring)
        for folder in (self.images, self.cache):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        name = digest(spec)
        work = self.images / f".build-{name}"
        work.mkdir(mode=0o755)
        tree, result, sources = work / "tree", work / "result", spec.prepare(work)
        begin = time.monotonic()
        log_path = self.images / "build.log"
        with open(log_path, "wb") as log:
            argv = mmdebstrap_argv(spec, tree, sources, self.cache, variant="extract")
            environment = build_environment()
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False)
        if done.returncode != 0:
            reason = failure_reason(log_path.read_text(encoding="utf-8", errors="replace"))
            remove_tree(work)
            raise LabHostError(f"the guest image could not be built: {reason}\nThe whole log is {log_path}")
        result.mkdir()
        kernel = pick(tree, "boot/vmlinuz-*")
        modules = {module: read_module(pick(tree, f"usr/lib/modules/*/kernel/**/{module}.ko*")) for module in MODULES}
        busybox = pick(tree, "usr/bin/busybox")
        (result / "vmlinuz").write_bytes(kernel.read_bytes())
        (result / "initrd").write_bytes(cpio_newc(initramfs_entries(busybox.read_bytes(), modules)))
        manifest = {
            "digest": name,
            "kernel": kernel.name.removeprefix("vmlinuz-"),
            "suite": spec.suite,
            "seconds": round(time.monotonic() - begin, 1),
        }
        (result / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
        target = self.images / name
        if target.exists():
            target.rename(work / "replaced")
        result.rename(target)
        remove_tree(work)

    def point(self, name: str) -> list[str]:
        """Make ``name`` the image in use and remove the others; return those removed."""
        temporary = self.images / ".current.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(name)
        temporary.rename(self.images / "current")
        entries = (entry for entry in self.images.iterdir() if entry.name != name)
        old = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
        for entry in old:
            remove_tree(entry)
        return [entry.name for entry in old]


def pick(tree: Path, pattern: str) -> Path:
    """Return the file that matches; if several do, the newest by name."""
    found = sorted(tree.glob(pattern))
    if not found:
        raise LabHostError(f"the guest image could not be built: no {pattern} in the packages {', '.join(PACKAGES)}")
    return found[-1]


def read_module(path: Path) -> bytes:
    """Return a kernel module, unpacked, so that the guest's busybox can load it."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data
