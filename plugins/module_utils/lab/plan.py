# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The definition of a lab: its types, its validation, and everything derived from it without I/O.

A lab is a set of systemd-nspawn machines on bridges of the control node. This file computes names,
addresses, command lines and file contents; :mod:`lab_host` and :mod:`lab_machine` apply them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from ..common.node_names import NODE_NAME_MAX, node_names

#: Longest name that the kernel accepts for a network interface.
IFNAME_MAX = 15
#: Marks every interface of a lab, so that the lab can find its own.
ALIAS_PREFIX = "socle"
MACHINE_NAMESPACE = uuid.UUID("6b1c2b1e-8a5b-4b0c-9a0e-0f5e6f0d7a11")

#: Runs systemd-nspawn (the arguments) again each time its machine asks for a reboot (status 133), after it has
#: removed the machine's settings in its network namespace, as any reboot does. The private tmpfs is needed because
#: systemd-nspawn cannot clear its run directory, and so cannot end cleanly, if the host's /run is no tmpfs.
SUPERVISE = """\
mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn || exit 96
while :; do
    "$@"
    status=$?
    [ $status -eq 133 ] || exit $status
    nft flush ruleset
    for link in $(ip -o link show | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'); do
        ip addr flush dev "$link"
        ip link set dev "$link" down
    done
    ip link set dev lo up
done
"""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"^(?=.{{1,{NODE_NAME_MAX}}}$){_LABEL}(\.{_LABEL})*$")
_LAB_NAME = re.compile(r"^[a-z][a-z0-9]{0,14}$")
_IFNAME = re.compile(r"^[a-z][a-z0-9_.-]{0,14}$")


class LabDefinitionError(ValueError):
    """The definition breaks rules; ``problems`` has one sentence for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Bridge:
    """A bridge of the control node. With ``address`` (CIDR), the host has an address on it."""

    name: str
    address: str | None = None
    mtu: int = 1500

    def mac(self) -> str:
        """Fixed MAC address: without one, a bridge changes its address with its ports, and neighbours lose it."""
        return mac_address("bridge", self.name)


@dataclass(frozen=True)
class Link:
    """A veth between a machine and a bridge. If ``offload`` is false, transmit checksum offload is disabled."""

    name: str
    bridge: str
    mtu: int = 1500
    offload: bool = False


@dataclass(frozen=True)
class Machine:
    """One machine. ``address`` is its CIDR on the management bridge, on interface ``interface``.

    A new disk has its SSH server on ``ssh_port``.
    """

    name: str
    address: str
    bridge: str
    image: str
    gateway: str | None = None
    interface: str = "host0"
    mtu: int = 1500
    domain: str = ""
    links: tuple[Link, ...] = ()
    masked_units: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    ssh_port: int = 22

    @property
    def ip(self) -> str:
        """Return the management address without its prefix length."""
        return str(ipaddress.ip_interface(self.address).ip)

    def all_links(self) -> tuple[Link, ...]:
        """Return all links, the management link first."""
        return (Link(self.interface, self.bridge, self.mtu, offload=True), *self.links)


@dataclass(frozen=True)
class Nat:
    """Masquerade ``prefix`` (CIDR) if it leaves through any interface except ``bridge``."""

    prefix: str
    bridge: str


@dataclass(frozen=True)
class Lab:
    """A whole lab. ``sysctls`` are settings of the control node, which ``absent`` restores."""

    name: str
    bridges: tuple[Bridge, ...] = ()
    machines: tuple[Machine, ...] = ()
    nat: Nat | None = None
    sysctls: dict[str, str] = field(default_factory=dict)

    def machine(self, name: str) -> Machine:
        """Return the machine called ``name``; KeyError if the lab has none."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise KeyError(name)


def parse_lab(params: dict[str, Any]) -> Lab:
    """Build a Lab from module parameters.

    :raises LabDefinitionError: with every problem found.
    """
    problems: list[str] = []
    name = str(params.get("name") or "")
    if not _LAB_NAME.match(name):
        problems.append(f"name: {name!r} is not a lab name (a letter, then up to 14 letters or digits, lower case)")
    bridges = tuple(_bridge(item, problems) for item in params.get("bridges") or [])
    _unique("bridges", [bridge.name for bridge in bridges], problems)
    known = {bridge.name for bridge in bridges}
    machines = tuple(_machine(item, params, known, problems) for item in params.get("machines") or [])
    _unique("machines", [machine.name for machine in machines], problems)
    _unique("machine addresses", [machine.address.split("/")[0] for machine in machines], problems)
    nat = None
    if params.get("nat"):
        nat = Nat(str(params["nat"].get("prefix")), str(params["nat"].get("bridge")))
        _check(lambda: ipaddress.ip_network(nat.prefix), f"nat.prefix: {nat.prefix!r} is not a network", problems)
        if nat.bridge not in known:
            problems.append(f"nat.bridge: {nat.bridge!r} is not one of the bridges {sorted(known)}")
    lab = Lab(name, bridges, machines, nat, {k: str(v) for k, v in (params.get("sysctls") or {}).items()})
    names = [host_ifname(name, machine.name, link.name) for machine in machines for link in machine.all_links()]
    _unique("host interface names", names, problems)
    if problems:
        raise LabDefinitionError(problems)
    return lab


def _bridge(item: dict[str, Any], problems: list[str]) -> Bridge:
    bridge = Bridge(str(item.get("name")), item.get("address") or None, int(item.get("mtu") or 1500))
    if not _IFNAME.match(bridge.name):
        problems.append(f"bridges: {bridge.name!r} is not an interface name of at most {IFNAME_MAX} characters")
    if bridge.address:
        _check(
            lambda: ipaddress.ip_interface(str(bridge.address)),
            f"bridges.{bridge.name}.address: {bridge.address!r} is not address/length",
            problems,
        )
    return bridge


def _machine(item: dict[str, Any], params: dict[str, Any], bridges: set[str], problems: list[str]) -> Machine:
    name = str(item.get("name"))
    where = f"machines.{name}"
    if not _NAME.match(name):
        problems.append(f"machines: {name!r} is not a host name")
    address = str(item.get("address") or "")
    _check(lambda: ipaddress.ip_interface(address), f"{where}.address: {address!r} is not address/length", problems)
    if "/" not in address:
        problems.append(f"{where}.address: {address!r} lacks its prefix length")
    image = str(item.get("image") or params.get("image") or "")
    if not image:
        problems.append(f"{where}.image: no image given, neither here nor for the whole lab")
    links = tuple(
        Link(str(link.get("name")), str(link.get("bridge")), int(link.get("mtu") or 1500), bool(link.get("offload")))
        for link in item.get("links") or []
    )
    bridge = str(item.get("bridge") or "")
    for link in (Link("host0", bridge), *links):
        if link.bridge not in bridges:
            problems.append(f"{where}.links.{link.name}: {link.bridge!r} is not one of the bridges {sorted(bridges)}")
        if not _IFNAME.match(link.name):
            problems.append(f"{where}.links: {link.name!r} is not an interface name")
    _unique(f"{where}.links", ["host0", *(link.name for link in links)], problems)
    return Machine(
        name=name,
        address=address,
        bridge=bridge,
        image=image,
        gateway=item.get("gateway") or None,
        mtu=int(item.get("mtu") or 1500),
        domain=str(params.get("domain") or ""),
        links=links,
        masked_units=tuple(params.get("masked_units") or ()),
        devices=tuple(params.get("devices") or ()),
        binds=tuple(item.get("binds") or ()),
        ssh_port=int(item.get("ssh_port") or 22),
    )


def _check(call: Any, message: str, problems: list[str]) -> None:
    try:
        call()
    except ValueError:
        problems.append(message)


def _unique(what: str, values: list[str], problems: list[str]) -> None:
    for value in sorted({value for value in values if values.count(value) > 1}):
        problems.append(f"{what}: {value!r} appears more than once")


def mac_address(*parts: str) -> str:
    """Return a stable, locally administered unicast MAC address for ``parts``."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))


def host_ifname(lab: str, machine: str, link: str) -> str:
    """Return the name of the host's end of a machine's link, e.g.

    ``lab-gw1-rie0``; a long name is shortened by a hash.
    """
    name = f"{lab}-{machine}-{link}"
    if len(name) <= IFNAME_MAX:
        return name
    return f"{machine[:8]}{hashlib.sha256(name.encode()).hexdigest()[:7]}"


def peer_ifname(lab: str, machine: str, link: str) -> str:
    """Return the temporary name of a machine's end while it is still in the host's namespace."""
    return "sp" + hashlib.sha256(f"{lab}/{machine}/{link}".encode()).hexdigest()[:11]


def alias(lab: str, *parts: str) -> str:
    """Return the alias that marks an interface of ``lab``."""
    return ":".join((ALIAS_PREFIX, lab, *parts))


def netns_name(lab: str, machine: str) -> str:
    """Return the namespace in which a machine's links are prepared; its name is removed once the machine runs in it."""
    return f"socle-{lab}-{machine}"


def unit_name(lab: str, machine: str) -> str:
    """Return the transient unit of a machine if systemd is the host's PID 1."""
    return f"socle-{lab}-{machine}.service"


def machine_uuid(lab: str, machine: str) -> str:
    """Return the machine id, the same at each boot; it also marks the machine's PID 1 (``container_uuid``)."""
    return str(uuid.uuid5(MACHINE_NAMESPACE, f"{lab}/{machine}"))


def nft_table(lab: str) -> str:
    """Return the nftables table of a lab (family ip)."""
    return f"socle_{lab}"


def nft_ruleset(lab: str, nat: Nat) -> str:
    """Return the whole ruleset, to be loaded as one transaction; it replaces the previous one.

    New connections are accepted only from the machines, not towards them.
    """
    table = nft_table(lab)
    bridge = nat.bridge
    return (
        f"table ip {table}\n"
        f"delete table ip {table}\n"
        f"table ip {table} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f'    ip saddr {nat.prefix} oifname != "{bridge}" masquerade\n'
        "  }\n"
        "  chain forward {\n"
        "    type filter hook forward priority filter; policy accept;\n"
        f'    iifname "{bridge}" accept\n'
        f'    oifname "{bridge}" ct state established,related accept\n'
        f'    oifname "{bridge}" drop\n'
        "  }\n"
        "}\n"
    )


def links_batch(lab: str, machine: Machine, links: tuple[Link, ...]) -> str:
    """Return input of ``ip -batch`` that creates ``links`` and attaches their near ends to their bridges."""
    lines: list[str] = []
    for link in links:
        near, far = host_ifname(lab, machine.name, link.name), peer_ifname(lab, machine.name, link.name)
        lines += [
            f"link add name {near} mtu {link.mtu} type veth peer name {far} mtu {link.mtu} "
            f"address {mac_address(lab, machine.name, link.name)}",
            f'link set dev {near} alias "{alias(lab, machine.name, link.name)}" addrgenmode none '
            f"master {link.bridge} up",
        ]
    return "\n".join(lines) + "\n"


def adopt_batch(lab: str, machine: Machine, links: tuple[Link, ...], netns: str) -> str:
    """Return input of ``ip -batch`` that moves the far ends of ``links`` into ``netns`` (a name or a PID)."""
    return "".join(
        f"link set dev {peer_ifname(lab, machine.name, link.name)} netns {netns} name {link.name}\n" for link in links
    )


def nspawn_argv(lab: str, machine: Machine, root: str) -> list[str]:
    """Return the systemd-nspawn command of a machine; it runs inside the machine's own network namespace.

    The namespace is named through ``/proc/self``, so it survives a reboot of the machine and is deleted with it.
    """
    argv = [
        "unshare",
        "--mount",
        "--propagation",
        "slave",
        "sh",
        "-c",
        SUPERVISE,
        "socle-machine",
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        f"--directory={root}",
        f"--machine={machine.name}",
        f"--uuid={machine_uuid(lab, machine.name)}",
        "--network-namespace-path=/proc/self/ns/net",
        "--capability=all",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
    ]
    argv += [f"--bind={device}" for device in machine.devices]
    argv += [f"--bind={bind}" for bind in machine.binds]
    return argv


#: Environment of systemd-nspawn. A unified hierarchy, whatever the host has; no seccomp filter, because it would
#: block system calls of libvirt and Open vSwitch; /proc/sys/net writable, because a router sets its own forwarding.
NSPAWN_ENVIRONMENT = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_SECCOMP": "0",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}


def network_file(machine: Machine) -> str:
    """Return the systemd-networkd file of the management interface."""
    lines = ["[Match]", f"Name={machine.interface}", "", "[Network]", f"Address={machine.address}"]
    if machine.gateway:
        lines.append(f"Gateway={machine.gateway}")
    lines += ["LinkLocalAddressing=no", "IPv6AcceptRA=no", "LLDP=no", "EmitLLDP=no"]
    # Addresses that other programs add to the interface (keepalived's VIPs) survive a restart of systemd-networkd.
    lines += ["KeepConfiguration=yes", "", "[Link]", "RequiredForOnline=yes"]
    return "\n".join(lines) + "\n"


def hosts_file(machine: Machine) -> str:
    """Return /etc/hosts of a new machine: itself and localhost, as an installer would write it."""
    names = " ".join(node_names(machine.name, machine.domain)) if machine.domain else machine.name
    return (
        "127.0.0.1 localhost\n"
        f"{machine.ip} {names}\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        "ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
    )


def resolv_conf(nameservers: list[str]) -> str:
    """Return /etc/resolv.conf of a machine."""
    return "".join(f"nameserver {server}\n" for server in nameservers)


def usable_nameservers(text: str) -> list[str]:
    """Return the nameservers of a resolv.conf that a machine can also reach, so not those on loopback."""
    found = re.findall(r"^nameserver\s+(\S+)", text, re.MULTILINE)
    return [server for server in found if not server.startswith("127.") and server != "::1"]


def definition(machine: Machine, public_key: str) -> dict[str, Any]:
    """Return the definition of a machine as flat text values, so that two of them compare key by key."""
    flat: dict[str, Any] = {
        "image": machine.image,
        "address": machine.address,
        "gateway": machine.gateway or "",
        "bridge": machine.bridge,
        "mtu": machine.mtu,
        "domain": machine.domain,
        "masked_units": " ".join(machine.masked_units),
        "devices": " ".join(machine.devices),
        "binds": " ".join(machine.binds),
        "public_key": hashlib.sha256(public_key.encode()).hexdigest()[:16],
    }
    for link in machine.links:
        flat[f"link {link.name}"] = f"{link.bridge} mtu {link.mtu} offload {str(link.offload).lower()}"
    return flat


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return a sentence for every key that differs: ``image: a -> b``."""
    return [
        f"{key}: {before.get(key, 'none')} -> {after.get(key, 'none')}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
