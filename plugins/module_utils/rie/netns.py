# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Network namespaces as data: observe, compare, bring up. Used by the modules and at boot.

This file is both a library and a program. The modules import it and configure all namespaces of a node in one process.
They also install it unchanged on the node, where the template unit ``socle-netns@<name>`` runs ``netns.py up <name>``
at boot (see netns_units). Therefore it uses only the standard library and nothing else of the collection.

A *definition* is a dict (stored as ``/etc/socle/netns/<name>/netns.json``)::

    {"name": "vrf-finances",
     "owner": "rie_netns",                      # the module that may prune it
     "sysctls": {"net.ipv4.ip_forward": "1"},   # dotted keys, string values
     "links": [
        {"name": "cloud", "mtu": 1500, "addresses": ["100.64.0.2/29", "fd00::2/64"], "tx_offload": false,
         "host": "c-finances", "bridge": "br-rie", "tag": 101},          # veth whose host end is an OVS access port
        {"name": "ce", "mtu": 1500, "addresses": ["192.0.2.1/31"],
         "far": {"netns": "ce-finances", "name": "pe1"}},                # veth whose far end is in another namespace
        {"name": "lo", "addresses": ["10.128.1.1/32"]}]}

If ``nftables.nft`` is in the same folder, that ruleset is loaded before any link of a new namespace is up.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

DEFINITIONS = Path("/etc/socle/netns")
RUN_NETNS = Path("/run/netns")
OWNER_KEY = "socle-netns"
LOCK = Path("/run/lock/socle-netns.lock")


class CommandError(Exception):
    """A command on the node failed; the text has the command and its error output."""


class Step(NamedTuple):
    """One action. ``scope`` is a namespace, or "" for the node itself.

    ``verb``: ``ip`` (a line for ``ip -batch``), ``sysctl`` ("key=value"), ``offload`` (disable the transmit checksum
    offload of a link), ``nft`` (path of a ruleset to load).
    """

    scope: str
    verb: str
    text: str

    def __str__(self) -> str:
        where = f"[{self.scope}] " if self.scope else ""
        return f"{where}{self.verb} {self.text}"


# --- Pure: definitions against the observed state -------------------------------------------------------


def canonical(address: str) -> str:
    """Return an address with its prefix length, in canonical spelling."""
    return str(ipaddress.ip_interface(address))


def plan_namespace(
    definition: dict[str, Any],
    observed: dict[str, Any] | None,
    host_links: Iterable[str] = (),
    ruleset: str | None = None,
) -> list[Step]:
    """Return the steps that turn ``observed`` (see ``observe_namespace``; None: it does not exist) into ``definition``.

    ``host_links`` are the links of the node's own namespace; a host end that has lost its peer is replaced.
    ``ruleset`` is the path of nftables rules to load if the namespace is new.
    """
    name = definition["name"]
    host_names = set(host_links)
    steps: list[Step] = []
    live = observed or {"links": {}, "sysctls": {}}
    if observed is None:
        steps.append(Step("", "ip", f"netns add {name}"))
    for key, value in definition.get("sysctls", {}).items():
        if live["sysctls"].get(key) != value:
            steps.append(Step(name, "sysctl", f"{key}={value}"))
    if observed is None and ruleset:
        steps.append(Step(name, "nft", ruleset))
    wanted = {link["name"]: link for link in definition["links"]}
    for stale in sorted(set(live["links"]) - set(wanted) - {"lo"}):
        if live["links"][stale].get("kind") == "veth":
            steps.append(Step(name, "ip", f"link del {stale}"))
    if "lo" not in wanted:
        wanted["lo"] = {"name": "lo", "addresses": ["127.0.0.1/8", "::1/128"]}
    else:
        wanted["lo"] = {**wanted["lo"], "addresses": ["127.0.0.1/8", "::1/128", *wanted["lo"]["addresses"]]}
    for link in wanted.values():
        steps.extend(_plan_link(name, link, live["links"].get(link["name"]), host_names))
    return steps


def _plan_link(scope: str, link: dict[str, Any], live: dict[str, Any] | None, host_names: set[str]) -> list[Step]:
    name = link["name"]
    steps: list[Step] = []
    host = link.get("host")
    if live is not None and host and host not in host_names:
        # The peer is not in the right place, so the pair cannot be used.
        steps.append(Step(scope, "ip", f"link del {name}"))
        live = None
    created = live is None
    if live is None:
        if name == "lo":
            live = {"addresses": [], "mtu": 65536, "up": False, "tx_offload": None}
        else:
            mtu = link.get("mtu", 1500)
            if host:
                if host in host_names:
                    steps.append(Step("", "ip", f"link del {host}"))
                twin = f"{host} mtu {mtu} type veth peer name {name} mtu {mtu} netns {scope}"
                steps.append(Step("", "ip", f"link add {twin}"))
            else:
                far = link["far"]
                twin = f"{name} mtu {mtu} type veth peer name {far['name']} mtu {mtu} netns {far['netns']}"
                steps.append(Step(scope, "ip", f"link add {twin}"))
            live = {"addresses": [], "mtu": mtu, "up": False, "tx_offload": True}
    if link.get("tx_offload") is False and live.get("tx_offload"):
        steps.append(Step(scope, "offload", name))
    if host and link.get("tx_offload") is False and created:
        steps.append(Step("", "offload", host))
    if "mac" in link and live.get("mac") != link["mac"]:
        steps.append(Step(scope, "ip", f"link set {name} address {link['mac']}"))
    if "mtu" in link and live["mtu"] != link["mtu"]:
        steps.append(Step(scope, "ip", f"link set {name} mtu {link['mtu']}"))
        if host:
            steps.append(Step("", "ip", f"link set {host} mtu {link['mtu']}"))
    want = [canonical(address) for address in link["addresses"]]
    have = {canonical(address) for address in live["addresses"]}
    for address in sorted(have - set(want)):
        steps.append(Step(scope, "ip", f"addr del {address} dev {name}"))
    for address in want:
        if address not in have:
            nodad = " nodad" if ":" in address and name != "lo" else ""
            steps.append(Step(scope, "ip", f"addr add {address} dev {name}{nodad}"))
    if host and created:
        steps.append(Step("", "ip", f"link set {host} up"))
    if not live["up"]:
        steps.append(Step(scope, "ip", f"link set {name} up"))
        if name == "lo" and created:
            # The kernel adds these addresses itself when lo comes up.
            own = (f"addr add 127.0.0.1/8 dev {name}", f"addr add ::1/128 dev {name}")
            steps = [step for step in steps if step.text not in own]
    return steps


def access_ports(definitions: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return ``{port: {bridge, tag, owner}}`` for all links whose host end is an OVS access port."""
    return {
        link["host"]: {"bridge": link["bridge"], "tag": link["tag"], "owner": definition["name"]}
        for definition in definitions
        for link in definition["links"]
        if link.get("host")
    }


def release_ports(
    pending: dict[str, list[Step]], live: dict[str, dict[str, Any]]
) -> tuple[list[list[str]], dict[str, dict[str, Any]]]:
    """Return ovs-vsctl commands to run before ``pending``, and ``live`` as it is after them.

    A port whose link is about to be recreated is deleted first, in a separate transaction: the userspace datapath
    keeps a socket on the old link and does not notice when a new one with the same name replaces it.
    """
    made = {
        step.text.split()[2]
        for steps in pending.values()
        for step in steps
        if not step.scope and step.text.startswith("link add ")
    }
    commands = [["--if-exists", "del-port", live[port]["bridge"], port] for port in sorted(made & set(live))]
    return commands, {port: found for port, found in live.items() if port not in made}


def plan_ports(
    wanted: dict[str, dict[str, Any]],
    live: dict[str, dict[str, Any]],
    gone_owners: Iterable[str] = (),
) -> list[list[str]]:
    """Return ovs-vsctl commands (for one transaction) that create the access ports; [] if there is nothing to change.

    ``live``: ``{port: {bridge, tag, trunks, vlan_mode, owner}}`` (see ``observe_ports``). Ports of ``gone_owners``
    are deleted, and ports that an owner of ``wanted`` no longer has.
    """
    commands: list[list[str]] = []
    owners = {port["owner"] for port in wanted.values()} | set(gone_owners)
    for port in sorted(live):
        if live[port].get("owner") in owners and port not in wanted:
            commands.append(["--if-exists", "del-port", live[port]["bridge"], port])
    for port, want in wanted.items():
        have = live.get(port)
        if have and have["bridge"] != want["bridge"]:
            commands.append(["--if-exists", "del-port", have["bridge"], port])
            have = None
        if have is None:
            commands.append(["--may-exist", "add-port", want["bridge"], port])
        settings = (want["tag"], "access", want["owner"])
        if have is None or (have["tag"], have["vlan_mode"], have["owner"]) != settings:
            owner = f"external_ids:{OWNER_KEY}={want['owner']}"
            commands.append(["set", "port", port, f"tag={want['tag']}", "vlan_mode=access", owner])
    return commands


# --- On the node ----------------------------------------------------------------------------------------


def run(argv: list[str], stdin: str | None = None, check: bool = True) -> str:
    """Return the standard output of a command. Raises CommandError with its error output if ``check`` is true."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    except OSError as error:
        if check:
            raise CommandError(f"{argv[0]}: {error.strerror}") from error
        return ""
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip()
        raise CommandError(f"{' '.join(argv)[:200]}: exit {done.returncode}: {words}")
    return done.stdout


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Run the block (and the commands that it starts) in a namespace; "" is the node's own."""
    if not name:
        yield
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(RUN_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.setns(target, os.CLONE_NEWNET)  # type: ignore[attr-defined]
        finally:
            os.close(target)
        try:
            yield
        finally:
            os.setns(own, os.CLONE_NEWNET)  # type: ignore[attr-defined]
    finally:
        os.close(own)


SIOCETHTOOL, ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM = 0x8946, 0x16, 0x17


def tx_offload(link: str, value: bool | None = None) -> bool | None:
    """Read (``value`` None) or set the transmit checksum offload of a link; None if it has none."""
    command = ETHTOOL_GTXCSUM if value is None else ETHTOOL_STXCSUM
    word = bytearray(struct.pack("II", command, int(bool(value))))
    import array
    import ctypes

    data = (ctypes.c_char * len(word)).from_buffer(word)
    request = array.array("B", struct.pack("16sP", link.encode(), ctypes.addressof(data)) + bytes(16))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, SIOCETHTOOL, request)
        except OSError:
            return None
    return bool(struct.unpack("II", bytes(data))[1])


def _links(text: str) -> dict[str, dict[str, Any]]:
    """Parse ``ip -json -details address show``."""
    links: dict[str, dict[str, Any]] = {}
    for item in json.loads(text or "[]"):
        if not item.get("ifname"):
            continue
        links[item["ifname"]] = {
            "kind": item.get("linkinfo", {}).get("info_kind", ""),
            "mtu": item["mtu"],
            "mac": item.get("address"),
            "up": "UP" in item["flags"],
            "addresses": [
                f"{address['local']}/{address['prefixlen']}"
                for address in item.get("addr_info", [])
                if "local" in address and not (address["family"] == "inet6" and address["scope"] == "link")
            ],
        }
    return links


def observe_namespace(definition: dict[str, Any]) -> dict[str, Any] | None:
    """``{"links": {name: {kind, mtu, mac, up, addresses, tx_offload}}, "sysctls": {key: value}}``; None if missing."""
    name = definition["name"]
    if not (RUN_NETNS / name).exists():
        return None
    try:
        with inside(name):
            links = _links(run(["ip", "-json", "-details", "address", "show"]))
            for link in definition["links"]:
                if link.get("tx_offload") is False and link["name"] in links:
                    links[link["name"]]["tx_offload"] = tx_offload(link["name"])
            sysctls = {}
            for key in definition.get("sysctls", {}):
                try:
                    sysctls[key] = " ".join(Path("/proc/sys", *key.split(".")).read_text().split())
                except OSError:
                    sysctls[key] = ""
    except OSError:
        # A file under /run/netns that is no namespace: a killed run left it.
        run(["ip", "netns", "del", name], check=False)
        return None
    return {"links": links, "sysctls": sysctls}


def observe_host_links() -> set[str]:
    """Names of the links in the node's own namespace."""
    return {name for _index, name in socket.if_nameindex()}


def observe_ports() -> dict[str, dict[str, Any]]:
    """All ports of Open vSwitch: ``{port: {bridge, tag, trunks, vlan_mode, owner}}``."""
    base = ["ovs-vsctl", "--timeout=20", "--format=json"]
    columns = "--columns=_uuid,name,tag,trunks,vlan_mode,external_ids"
    text = run([*base, "--columns=name,ports", "list", "Bridge", "--", columns, "list", "Port"])
    decoder = json.JSONDecoder()
    bridges, end = decoder.raw_decode(text)
    ports, _end = decoder.raw_decode(text[end:].lstrip())

    def values(cell: Any) -> list[Any]:
        return cell[1] if isinstance(cell, list) and cell and cell[0] == "set" else [cell]

    where = {uuid[1]: name for name, members in bridges["data"] for uuid in values(members)}
    found: dict[str, dict[str, Any]] = {}
    for uuid, name, tag, trunks, mode, ids in ports["data"]:
        found[name] = {
            "bridge": where.get(uuid[1], ""),
            "tag": tag if isinstance(tag, int) else None,
            "trunks": sorted(values(trunks)),
            "vlan_mode": mode if isinstance(mode, str) else "",
            "owner": dict(ids[1]).get(OWNER_KEY, ""),
        }
    return found


def apply_ports(commands: list[list[str]]) -> None:
    """Run ovs-vsctl commands in one transaction; return once the switch has applied it."""
    if commands:
        argv = ["ovs-vsctl", "--timeout=30"]
        for command in commands:
            argv += ["--", *command]
        run(argv)


def apply_steps(steps: list[Step]) -> None:
    """Do the steps in order; consecutive ``ip`` lines of one scope go through one ``ip -batch``."""
    index = 0
    while index < len(steps):
        step = steps[index]
        batch = [step]
        while step.verb == "ip" and index + 1 < len(steps) and steps[index + 1][:2] == step[:2]:
            index += 1
            batch.append(steps[index])
        index += 1
        _do(step, batch)


def _do(step: Step, batch: list[Step]) -> None:
    if step.verb == "ip":
        with inside(step.scope):
            run(["ip", "-batch", "-"], stdin="".join(f"{item.text}\n" for item in batch))
    elif step.verb == "sysctl":
        key, _, value = step.text.partition("=")
        with inside(step.scope):
            Path("/proc/sys", *key.split(".")).write_text(value)
    elif step.verb == "offload":
        with inside(step.scope):
            tx_offload(step.text, False)
    elif step.verb == "nft":
        with inside(step.scope):
            run(["nft", "-f", step.text])
    else:
        raise CommandError(f"unknown step {step}")


@contextmanager
def lock() -> Iterator[None]:
    """Hold a lock of this node, so that two runs cannot create the same pair between two namespaces."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCK, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ruleset_path(name: str) -> str | None:
    """Return the path of the ruleset in the folder of a definition, or None."""
    path = DEFINITIONS / name / "nftables.nft"
    return str(path) if path.exists() else None


def plan_all(definitions: list[dict[str, Any]], each: Callable[..., Iterable[Any]] = map) -> dict[str, list[Step]]:
    """Observe all namespaces and plan each; return ``{name: steps}`` for those that need any.

    ``each`` applies a function to many items; running them in parallel saves seconds if there are many.
    """
    host_links = observe_host_links()
    pending = {}
    for definition, observed in zip(definitions, each(observe_namespace, definitions), strict=True):
        name = definition["name"]
        steps = plan_namespace(definition, observed, host_links, ruleset_path(name))
        if steps:
            pending[name] = steps
    return pending


def bring_up(definitions: list[dict[str, Any]]) -> dict[str, list[Step]]:
    """Create namespaces, links and addresses as defined; return the steps that were done.

    A link between two namespaces needs both to exist. Therefore all namespaces are created first. Then each is observed
    again, because creating a pair for one namespace also creates the link of the other.
    """
    done: dict[str, list[Step]] = {}
    with lock():
        for definition in definitions:
            for link in definition["links"]:
                far = link.get("far")
                if far and not (RUN_NETNS / far["netns"]).exists():
                    run(["ip", "netns", "add", far["netns"]])
        for definition in definitions:
            name = definition["name"]
            steps = plan_namespace(definition, observe_namespace(definition), observe_host_links(), ruleset_path(name))
            for link in definition["links"]:
                far = link.get("far")
                if far and any(step.text.startswith(f"link add {link['name']} ") for step in steps):
                    with inside(far["netns"]):
                        run(["ip", "link", "del", far["name"]], check=False)
            apply_steps(steps)
            if steps:
                done[name] = steps
    return done


def take_down(name: str, definition: dict[str, Any] | None) -> None:
    """Remove a namespace. Host ends go first: a process left inside would keep the namespace and its links alive."""
    present = observe_host_links()
    for link in (definition or {"links": []})["links"]:
        if link.get("host") in present:
            run(["ip", "link", "del", link["host"]], check=False)
    if (RUN_NETNS / name).exists():
        run(["ip", "netns", "del", name])


def stored(owner: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the definitions on this node (of one owner): ``{name: definition}``. An unreadable one counts as empty."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(DEFINITIONS.glob("*/netns.json")):
        try:
            definition = json.loads(path.read_text())
        except ValueError:
            definition = {"name": path.parent.name, "owner": owner, "links": []}
        if owner is None or definition.get("owner") == owner:
            found[path.parent.name] = definition
    return found


def main(argv: list[str], say: Callable[[str], Any] = print) -> int:
    """Run ``up NAME`` or ``down NAME``; return 0, or 1 with the reason on standard error."""
    if len(argv) != 2 or argv[0] not in ("up", "down"):
        say("usage: netns.py up|down NAME")
        return 2
    verb, name = argv
    definition = stored().get(name)
    try:
        if verb == "down":
            take_down(name, definition)
            return 0
        if definition is None:
            raise CommandError(f"{name}: no definition in {DEFINITIONS}")
        wanted = access_ports([definition])
        released, live = release_ports(plan_all([definition]), observe_ports() if wanted else {})
        apply_ports(released)
        for steps in bring_up([definition]).values():
            for step in steps:
                say(str(step))
        commands = plan_ports(wanted, live)
        apply_ports(commands)
        for command in released + commands:
            say("ovs-vsctl " + " ".join(command))
    except (CommandError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
