# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The isolation proof: no route, packet or frame passes between VRFs except by the route targets. Pure, no I/O.

The proof is independent of the renderers. From the plan it takes only the intent (who owns which prefix, who imports
whom, what each accepts); the actual state it reads from the gateways' configuration texts and the cloud's lists.

The state becomes a directed graph. Its nodes belong to a VRF (a network, a router, a namespace, a session with a
provider edge), to nobody (a VLAN, a router without our key), or to the *outside*, which is all that the plan does not
know. An edge means that something may pass: two ends of one VLAN, a network attached to a router, or an entry of a
prefix-list, a static route, an element of an nftables set that permits more than it should. The proof assumes that
provider edges and guests can send anything, so a filter is checked for everything that it may permit. A breadth-first
search from all nodes of a VRF then finds the shortest paths into another; it ends at the first foreign node, because
the nodes behind that one are checked by their own filters. Route target imports are no edges, because they are allowed.

Shapes
------
plan: of ``planner.plan(...)``: ``neutron.vrfs``, ``gateways[GW].vrfs``, ``imports`` are read.

evidence: ``{gateways: {GW: {vrfs: {NAME: {frr: text, nft: text}}, ports: {PORT: [VLAN]}}}, cloud: {routers: [...]}}``.
    ``frr`` is ``frr.conf`` or ``show running-config``, ``nft`` is the JSON of ``nft --json list table inet rie``.
    ``ports`` are those of the bridge: ``c-``, ``r-``, ``p-`` and the VRF's name; an empty list means all VLANs.
    A router is ``{name, vrf, networks: [{name, vrf}], externals: [{name, physical_network, vlan}]}``, ``vrf`` None
    without our key, and with an ``id`` if names may not be unique; :func:`cloud_of_plan` and
    :func:`cloud_of_neutron` make them. Any part may be missing or None.

violation: ``{kind, from_vrf, to_vrf, family, prefix, gateway, path, where, reason, remedy, more}``. A route, an
    address or a frame of ``from_vrf`` gets into ``to_vrf``. ``from_vrf`` is None for the outside; ``family`` and
    ``prefix`` are None for layer 2 faults, which affect every packet; ``gateway`` is None in the cloud.
    ``path`` is readable hops, ``where`` the line or port to look at, ``more`` the number of other places for that pair.

not examined: ``{where, why}``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import frr as isolation_frr
from . import nft as isolation_nft
from .gateway import Filtering, Routing
from .graph import ROLES, Fault, Node, Site, hop

VERSION = 1

REMEDIES = {
    "accept": "let pe-in accept only what the plan's `accept` of this VRF says",
    "announce": "announce only the VRF's own networks",
    "peer": "exchange with the other gateway only the VRF's own networks and what it accepts",
    "no-route-map": "give every active session a route-map in and out",
    "originate": "bring into BGP only static routes to the VRF's own networks, by a route-map",
    "static": "remove the route: a VRF has static routes to its own networks and to what it accepts",
    "neighbour": "remove it: a VRF speaks only with its provider edge, its other gateway and its router",
    "spoofing": "bind what leaves and enters `cloud` to the VRF's own networks",
    "policy": "let the chains that hook input and forward drop what no rule accepts",
    "vlan": "give each port the VLAN of the plan, one VRF a VLAN",
    "router": "detach the network: a router joins networks of one VRF",
}


class _Proof:
    """Reads the evidence once, then queries the graph."""

    def __init__(self, plan: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> None:
        self.site = Site(plan)
        self.evidence = evidence or {}

    def run(self) -> None:
        gateways = self.evidence.get("gateways") or {}
        for name, part in sorted(self.site.plan["gateways"].items()):
            seen = gateways.get(name)
            if not seen:
                self.site.miss(name, "no evidence of this gateway")
                continue
            self.site.facts["gateways"] += 1
            instances = seen.get("vrfs") or {}
            for vrf in part["vrfs"]:
                self._vrf(name, vrf, instances.get(vrf["name"]) or {})
            for stray in sorted(instances.keys() - {vrf["name"] for vrf in part["vrfs"]}):
                self.site.miss(f"{name} vrf {stray}", "is not in the plan")
        for stray in sorted(gateways.keys() - self.site.plan["gateways"].keys()):
            self.site.miss(stray, "is not in the plan")
        self._wires(gateways)

    # The gateways

    def _vrf(self, gateway: str, vrf: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        name = vrf["name"]
        place = self.site.graph.own(("vrf", gateway, name), name)
        self.site.graph.own(("edge", gateway, name), name)
        if not (seen.get("frr") or "").strip():
            self.site.miss(f"{gateway} vrf {name} frr.conf", "no text")
        else:
            Routing(self.site, gateway, vrf, place, isolation_frr.read(seen["frr"])).judge()
        if not (seen.get("nft") or "").strip():
            self.site.miss(f"{gateway} vrf {name} nftables", "no text")
        else:
            Filtering(self.site, gateway, name, place, isolation_nft.read(seen["nft"])).judge()

    # VLANs and routers

    def _wires(self, gateways: Mapping[str, Any]) -> None:
        """Add VLANs, the ports and networks attached to them, and the routers of the cloud."""
        plugged: list[tuple[Node, str, list[int], str]] = []
        for gateway, part in sorted(self.site.plan["gateways"].items()):
            for vrf in part["vrfs"]:
                if vrf.get("rie"):
                    edge = self.site.graph.own(("edge", gateway, vrf["name"]), vrf["name"])
                    plugged.append((edge, gateway, [vrf["rie"]["vlan"]], f"{gateway} provider edge of {vrf['name']}"))
            if gateways.get(gateway):
                plugged += self._ports(gateway, part["vrfs"], gateways[gateway].get("ports"))
        plugged += self._routers()
        known: dict[str, set[int]] = defaultdict(set)
        for _node, gateway, vlans, _where in plugged:
            known[gateway].update(vlans)
        spanning: set[tuple[str, int]] = set()
        for node, gateway, vlans, where in plugged:
            for vlan in sorted(vlans or known[gateway]):
                self.site.graph.join(node, ("vlan", gateway, str(vlan)), f"{where} in VLAN {vlan}")
                if where.partition(" port ")[2].startswith("p-"):
                    spanning.add((gateway, vlan))
        for gateway, vlan in sorted(spanning):
            for other in sorted(self.site.plan["gateways"].keys() - {gateway}):
                if (other, vlan) not in spanning or gateway < other:
                    self.site.graph.join(("vlan", gateway, str(vlan)), ("vlan", other, str(vlan)), "the wire between")

    def _ports(
        self, gateway: str, vrfs: Sequence[Mapping[str, Any]], ports: Mapping[str, Sequence[int]] | None
    ) -> Iterator[tuple[Node, str, list[int], str]]:
        if not ports:
            self.site.miss(f"{gateway} ports", "no list")
            return
        wanted = {
            f"{letter}-{vrf['name']}": vrf[role]["vlan"]
            for vrf in vrfs
            for letter, role in ROLES.items()
            if vrf.get(role)
        }
        for port in sorted(wanted.keys() - ports.keys()):
            self.site.miss(f"{gateway} port {port}", "is not there")
        for port, vlans in sorted(ports.items()):
            letter, _dash, name = port.partition("-")
            if letter not in ROLES or not name:
                continue
            self.site.facts["ports"] += 1
            node = self.site.graph.own(("vrf", gateway, name), name)
            yield node, gateway, list(vlans), f"{gateway} port {port}"
            if port not in wanted:
                self.site.miss(f"{gateway} port {port}", "belongs to no VRF of the plan")
            elif list(vlans) != [wanted[port]]:
                carried = ", ".join(map(str, vlans)) or "every VLAN"
                where = f"{gateway} port {port}: {carried}"
                reason = f"the port carries {carried}, the plan says {wanted[port]}"
                self.site.graph.leak(None, "", node, Fault("vlan", None, gateway, where, reason))

    def _routers(self) -> Iterator[tuple[Node, str, list[int], str]]:
        cloud = self.evidence.get("cloud")
        if not cloud or not cloud.get("routers"):
            self.site.miss("cloud", "no routers listed")
            return
        # A router's port is on its own gateway, or on the other one if that fails: packets may pass on both.
        vrfs = self.site.plan["neutron"]["vrfs"]
        known = {external["physical_network"] for vrf in vrfs for external in vrf["externals"]}
        gateways = sorted(self.site.plan["gateways"])
        listed: Counter[tuple[str, str]] = Counter()
        for router in sorted(cloud["routers"], key=lambda item: (item["name"], item.get("id") or "")):
            self.site.facts["routers"] += 1
            # Routers of different tenants may have the same name.
            node: Node = ("router", router.get("vrf") or "", router.get("id") or "", router["name"])
            if router.get("vrf"):
                self.site.graph.own(node, router["vrf"])
                for key in ("networks", "externals"):
                    listed[router["vrf"], key] += len(router.get(key) or ())
            for net in router.get("networks") or ():
                self.site.facts["networks"] += 1
                there = self.site.graph.own(("network", net.get("vrf") or "", net["name"]), net.get("vrf"))
                self.site.graph.join(node, there, f"router {router['name']}: network {net['name']}")
            for external in router.get("externals") or ():
                where = f"router {router['name']}: network {external['name']}"
                if external["physical_network"] not in known:
                    there = self.site.graph.own(("network", "", external["name"]), None)
                    self.site.graph.join(node, there, where)
                else:
                    for gateway in gateways:
                        yield node, gateway, [external["vlan"]], where
        for vrf in self.site.plan["neutron"]["vrfs"]:
            for key in ("networks", "externals"):
                if (count := listed[vrf["name"], key]) < len(vrf[key]):
                    self.site.miss(f"cloud router of {vrf['name']}", f"has {count} of {len(vrf[key])} {key}")

    # The verdict

    def violations(self) -> list[dict[str, Any]]:
        """Return the smallest counter-example of each pair, in a fixed order."""
        found: dict[tuple[str | None, str], dict[tuple[Any, ...], dict[str, Any]]] = defaultdict(dict)
        for nodes, labels in self.site.graph.crossings():
            into = self.site.graph.owner[nodes[-1]]
            if into is None:  # already reported in the other direction
                continue
            rank, entry = self._violation(nodes, labels, into)
            found[entry["from_vrf"], into].setdefault(rank, entry)
        result = []
        for _pair, entries in sorted(found.items(), key=lambda item: (item[0][0] or "", item[0][1])):
            smallest = entries[min(entries)]
            result.append(smallest | {"more": len({entry["where"] for entry in entries.values()}) - 1})
        return result

    def _violation(
        self, nodes: list[Node], labels: list[Fault | str], into: str
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        label = labels[-1]
        start = [nodes[0][-1]] if nodes[0][0] == "thing" else [hop(nodes[0])]
        path = [*start, *map(hop, nodes[1:])]
        source = self.site.graph.owner[nodes[0]]
        fault = label if isinstance(label, Fault) else self._joined(nodes, [str(item) for item in labels])
        path[-1:-1] = fault.via
        entry = {
            "kind": fault.kind,
            "from_vrf": source,
            "to_vrf": into,
            "family": fault.prefix.family if fault.prefix else None,
            "prefix": str(fault.prefix) if fault.prefix else None,
            "gateway": fault.gateway,
            "path": path,
            "where": fault.where,
            "reason": fault.reason,
            "remedy": REMEDIES[fault.kind],
        }
        prefix = fault.prefix
        size = (-prefix.length, prefix.family, prefix.first) if prefix else (1, "", 0)
        return (len(path), *size, fault.kind, fault.gateway or "", fault.where, tuple(path)), entry

    @staticmethod
    def _joined(nodes: list[Node], labels: list[str]) -> Fault:
        """Return the fault of a path that consists only of layer 2 links."""
        where = "; ".join(dict.fromkeys(label for label in labels if label != "the wire between"))
        for node in nodes:
            if node[0] == "vlan":
                return Fault("vlan", None, node[1], where, f"both are in VLAN {node[2]}")
        return Fault("router", None, None, where, "one router joins networks of both")


# The cloud


def cloud_of_plan(neutron: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cloud's part of the evidence as ``plan["neutron"]`` specifies it."""
    return {
        "routers": [
            {
                "name": vrf["router"]["name"],
                "vrf": vrf["name"],
                "networks": [{"name": net["name"], "vrf": vrf["name"]} for net in vrf["networks"]],
                "externals": [
                    {key: external[key] for key in ("name", "physical_network", "vlan")}
                    for external in vrf["externals"]
                ],
            }
            for vrf in neutron["vrfs"]
        ]
    }


def cloud_of_neutron(
    routers: Iterable[Mapping[str, Any]], networks: Iterable[Mapping[str, Any]], ports: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the cloud's part of the evidence from live lists of Neutron, objects as its API returns them.

    Includes every router with our key, and every other router attached to a network with our key, because tenants may
    create routers. Ports need ``device_id``, ``device_owner`` and ``network_id``; the lists must cover all projects.
    """
    nets = {net["id"]: net for net in networks}
    plugged: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for port in ports:
        if str(port.get("device_owner", "")).startswith("network:") and port["network_id"] in nets:
            plugged[port["device_id"]][port["network_id"]] = nets[port["network_id"]]
    found = []
    for router in routers:
        members = sorted(plugged[router["id"]].values(), key=lambda net: (net["name"], net["id"]))
        if not vrf_of(router) and not any(vrf_of(net) for net in members):
            continue
        inner = [net for net in members if not net.get("router:external")]
        outer = [net for net in members if net.get("router:external")]
        found.append(
            {
                "id": router["id"],
                "name": router["name"],
                "vrf": vrf_of(router),
                "networks": [{"name": net["name"], "vrf": vrf_of(net)} for net in inner],
                "externals": [
                    {
                        "name": net["name"],
                        "physical_network": net.get("provider:physical_network"),
                        "vlan": net.get("provider:segmentation_id"),
                    }
                    for net in outer
                ],
            }
        )
    return {"routers": found}


def vrf_of(item: Mapping[str, Any]) -> str | None:
    """Return the VRF in the key of an object, ``rie:VRF:...``, or None."""
    words = str(item.get("description") or "").split(":")
    return words[1] if words[0] == "rie" and len(words) > 2 else None


# The report


def allowed(imports: Mapping[str, Sequence[str]], one: str, other: str) -> bool:
    """Return whether packets may pass both ways: within one VRF, or between two that import each other."""
    return one == other or (other in imports.get(one, ()) and one in imports.get(other, ()))


def compare_probes(imports: Mapping[str, Sequence[str]], probes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Compare the packets that were sent with the graph.

    probes: those of ``verify.json``; ``id``, ``from_vrf``, ``to_vrf``, ``seen`` (``reach``, ``refused``,
    ``unreachable``, ``error``), ``verdict``, ``expect_name`` and ``seen_name`` are read.

    :return: ``{ok, agree, unproven, unmeasured, pairs, disagreements}``: numbers of probes; ``pairs`` is the number of
        pairs of VRFs with at least one conclusive probe; disagreements are ``{id, from_vrf, to_vrf, text}``: an answer
        between VRFs that may not communicate, or, between those that may, silence or an answer from another guest.
    """
    counts: Counter[str] = Counter()
    pairs, disagreements = set(), []
    for probe in probes:
        one, other, seen = probe["from_vrf"], probe["to_vrf"], probe["seen"]
        text = ""
        if seen == "error":
            counts["unmeasured"] += 1
            continue
        if allowed(imports, one, other):
            if seen != "reach":
                text = f"{one} and {other} may talk, but the probe was not answered"
            elif probe.get("expect_name") and probe.get("seen_name") != probe["expect_name"]:
                text = f"answered by {probe.get('seen_name') or 'a host without name'}, not by {probe['expect_name']}"
        elif seen != "unreachable":
            text = f"{one} may not talk to {other}, but the probe was answered"
        elif probe.get("verdict") == "unproven":
            counts["unproven"] += 1
            continue
        pairs.add((one, other))
        if text:
            disagreements.append({"id": probe["id"], "from_vrf": one, "to_vrf": other, "text": text})
        else:
            counts["agree"] += 1
    return {
        "ok": not disagreements and counts["agree"] > 0,
        **{key: counts[key] for key in ("agree", "unproven", "unmeasured")},
        "pairs": len(pairs),
        "disagreements": sorted(disagreements, key=lambda item: item["id"]),
    }


def canonical(value: Any) -> bytes:
    """Serialise equal values to equal bytes: JSON in UTF-8 with sorted keys and no spaces, ended by a newline."""
    return (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def report(
    plan: Mapping[str, Any],
    evidence: Mapping[str, Any] | None,
    *,
    site: str,
    made: str,
    probes: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the proof, ready for JSON.

    :param made: UTC time, ``YYYY-MM-DDTHH:MM:SSZ``.
    :param probes: see :func:`compare_probes`; None if no packet was sent.
    :return: ``{version, site, made, digest, ok, complete, graph, matrix, facts, not_examined, violations, probes}``.
        ``digest`` is the SHA-256 of the plan (:func:`canonical`). ``graph`` is ``{VRF: {imports, talks_to}}``,
        ``matrix`` counts ordered pairs of VRFs: ``pairs``, ``talk`` (both ways), ``one_way`` (a route and no way back),
        ``isolated``, ``violated``. ``facts`` are counts of the input. ``complete`` is false if any part was not
        examined; ``ok`` requires ``complete``, no violation, and that the probes, if any, agree.
    """
    proof = _Proof(plan, evidence)
    proof.run()
    violations = proof.violations()
    imports = plan["imports"]
    names = sorted(vrf["name"] for vrf in plan["neutron"]["vrfs"])
    talks = {name: [other for other in imports.get(name, ()) if allowed(imports, name, other)] for name in names}
    pairs = len(names) * (len(names) - 1)
    talk = sum(map(len, talks.values()))
    one_way = sum(len(imports.get(name, ())) for name in names) - talk
    compared = None if probes is None else compare_probes(imports, probes)
    complete = not proof.site.unseen
    return {
        "version": VERSION,
        "site": site,
        "made": made,
        "digest": hashlib.sha256(canonical(plan)).hexdigest(),
        "ok": complete and not violations and (compared is None or compared["ok"]),
        "complete": complete,
        "graph": {name: {"imports": sorted(imports.get(name, ())), "talks_to": sorted(talks[name])} for name in names},
        "matrix": {
            "pairs": pairs,
            "talk": talk,
            "one_way": one_way,
            "isolated": pairs - talk - one_way,
            "violated": sum(1 for item in violations if item["from_vrf"] is not None),
        },
        "facts": dict(proof.site.facts),
        "not_examined": sorted(proof.site.unseen, key=lambda item: (item["where"], item["why"])),
        "violations": violations,
        "probes": compared,
    }
