# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Checks of one VRF on one gateway: its routing and its filtering, against the plan. Pure.

See :mod:`isolation` for the shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import frr as isolation_frr
from . import nft as isolation_nft
from .graph import ROLES, TRANSITS, Fault, Node, Site, hop, link_addresses
from .prefixes import BITS, Prefix, Routes, Span, common, everything, merged, minus, outside, parse, prefixes

_NOWHERE = ("Null0", "blackhole", "reject")


class Routing:
    """Checks the FRR configuration of one VRF on one gateway."""

    def __init__(
        self, site: Site, gateway: str, vrf: Mapping[str, Any], place: Node, config: isolation_frr.Config
    ) -> None:
        self.site = site
        self.gateway, self.vrf, self.name, self.place, self.config = gateway, vrf, vrf["name"], place, config
        own = [(net, net.length, net.bits) for nets in site.own.get(self.name, {}).values() for net in nets]
        accept = [
            (prefix, prefix.length, entry.get("le") or prefix.length)
            for family in BITS
            for entry in (vrf.get("accept") or {}).get(family) or ()
            if (prefix := parse(entry["prefix"])).length
        ]
        self.own, self.accept, self.both = Routes(own), Routes(accept), Routes([*own, *accept])
        mine = list(link_addresses(vrf))
        self.addresses = {address for _key, address, _what in mine}
        self.speakers = {address: key for key, address, _what in mine if key in ("pe", "neighbor_")}

    def judge(self) -> None:
        config, facts = self.config, self.site.facts
        if not config.asn:
            self.site.miss(self._where("no `router bgp`"), "holds no BGP instance")
        for line in config.strange:
            self.site.miss(self._where(line), "is not understood")
        facts["instances"] += 1
        facts["prefix_list_entries"] += sum(
            len(held.rules(family, "")) for (family, _name), held in config.lists.items()
        )
        facts["route_map_entries"] += sum(map(len, config.maps.values()))
        facts["static_routes"] += len(config.statics)
        for static in config.statics:
            self._static(static)
        for origin in config.origins:
            self._origin(origin)
        for neighbour, family, line in config.sessions():
            facts["sessions"] += 1
            self._session(neighbour, family, line)
        for neighbour in config.neighbours.values():
            if not neighbour.is_group:
                self._neighbour(neighbour)
        for line in config.listening:
            self._outside("neighbour", line, "whoever connects becomes a neighbour")

    def _where(self, line: str) -> str:
        return f"{self.gateway} vrf {self.name} frr.conf: {line}"

    def _outside(self, kind: str, line: str, reason: str, prefix: Prefix | None = None) -> None:
        fault = Fault(kind, prefix, self.gateway, self._where(line), reason)
        self.site.graph.leak(None, "", self.place, fault)

    def _routes(
        self,
        kind: str,
        rule: isolation_frr.Rule,
        found: Prefix,
        allowed: Sequence[Routes],
        reason: str,
        into: Node | None = None,
        via: tuple[str, ...] = (),
    ) -> None:
        """Report leaks from all VRFs whose prefixes a rule matches beyond the allowed ones; if none, from outside."""
        graph, hit = self.site.graph, False
        for vrf, held in self.site.holdings.touched(rule.prefix).items():
            if vrf == self.name:
                continue
            for item in held:
                if item.site and item.prefix in self.accept:  # the same prefix is also a site of this VRF
                    continue
                route = _touching(item.prefix, rule, found, allowed)
                if route:
                    start, hit = f"{item.name} ({item.prefix})", True
                    fault = Fault(kind, route, self.gateway, self._where(rule.line), reason, via)
                    graph.leak(vrf, start, into or self.place, fault)
                    break
        if not hit:
            fault = Fault(kind, found, self.gateway, self._where(rule.line), reason, via)
            graph.leak(None, "", into or self.place, fault)

    def _static(self, static: isolation_frr.Static) -> None:
        prefix = static.prefix
        if prefix not in self.both:
            rule = isolation_frr.Rule(True, prefix, prefix.length, prefix.length, static.line)
            self._routes("static", rule, prefix, (self.both,), "a static route to a prefix that is not the VRF's")
        self._nexthop("static", static.address, static.line)
        if static.vrf:
            self._outside("static", static.line, f"the route leaves for the table of {static.vrf}", prefix)
        elif static.interface and static.interface not in (*ROLES.values(), *_NOWHERE):
            self._outside("static", static.line, f"the route leaves by {static.interface}", prefix)

    def _nexthop(self, kind: str, address: str, line: str) -> bool:
        """Return whether an address is known; an address of another VRF is a leak from that VRF."""
        owners = self.site.addresses.get(address, ())
        if address in self.addresses:
            return True
        for vrf, what in owners:
            if vrf != self.name:
                fault = Fault(kind, None, self.gateway, self._where(line), f"{address} is the {what}")
                self.site.graph.leak(vrf, f"{what} ({address})", self.place, fault)
        return bool(owners)

    def _neighbour(self, neighbour: isolation_frr.Neighbour) -> None:
        if neighbour.name not in self.speakers and (
            not self._nexthop("neighbour", neighbour.name, neighbour.line) or neighbour.name in self.addresses
        ):
            self._outside("neighbour", neighbour.line, "the plan has no such neighbour")

    def _origin(self, origin: isolation_frr.Origin) -> None:
        family, line = origin.family, origin.line
        if origin.word == "import":
            self._outside("originate", line, f"takes the routes of {origin.what}")
        elif origin.word in ("network", "aggregate-address"):
            prefix = parse(origin.what)
            if prefix not in self.own:
                rule = isolation_frr.Rule(True, prefix, prefix.length, prefix.length, line)
                self._routes("originate", rule, prefix, (self.own,), "BGP originates a prefix that is not the VRF's")
        elif origin.what == "static":
            for static in self.config.statics:
                prefix = static.prefix
                if prefix.family != family or prefix in self.own:
                    continue
                if not origin.route_map or self.config.permits(origin.route_map, prefix, static.tag):
                    rule = isolation_frr.Rule(True, prefix, prefix.length, prefix.length, f"{line} ({static.line})")
                    self._routes("originate", rule, prefix, (self.own,), "redistributes a route that is not the VRF's")
        elif not origin.route_map:
            self._outside("originate", line, "redistributes without a route-map")
        else:
            for rule, found, denied in self.config.excess(family, origin.route_map, self.own):
                self._routes("originate", rule, found, (self.own, *denied), f"redistributes {origin.what} too widely")

    def _session(self, neighbour: isolation_frr.Neighbour, family: str, line: str) -> None:
        inside = self.speakers.get(neighbour.name) == "neighbor_"
        other = self.vrf["peer"]["gateway"] if inside else ""
        edge: Node = ("vrf", other, self.name) if inside else ("edge", self.gateway, self.name)
        self.site.graph.own(edge, self.name)
        for way in ("in", "out"):
            allowed, kind = (self.both, "peer") if inside else (self.accept, "accept")
            if way == "out" and not inside:
                allowed, kind = self.own, "announce"
            into, via = (self.place, (hop(edge),)) if way == "in" else (edge, (hop(self.place),))
            name = self.config.route_map(neighbour, family, way)
            if not name:
                self._unfiltered(neighbour, family, line, way, allowed, into, via)
                continue
            if name not in self.config.maps:
                self._outside("no-route-map", line, f"the route-map {name} ({way}) is not defined")
            for rule, found, denied in self.config.excess(family, name, allowed):
                told = "announced" if way == "out" else "accepted"
                reason = f"route-map {name} ({way} {neighbour.name}): {found} would be {told}"
                self._routes(kind, rule, found, (allowed, *denied), reason, into, via)
        if family in neighbour.default:
            reason = "announces a default route past every route-map"
            self._outside("announce", neighbour.default[family], reason, everything(family))

    def _unfiltered(
        self,
        neighbour: isolation_frr.Neighbour,
        family: str,
        line: str,
        way: str,
        allowed: Routes,
        into: Node,
        via: tuple[str, ...],
    ) -> None:
        reason = f"the session has no route-map {way} for {family}"
        if self.config.policy_required and self.config.external(neighbour):
            self._outside("no-route-map", line, f"{reason}: only RFC 8212 keeps it shut")
            return
        rule = isolation_frr.anything(family, line)
        self._routes("no-route-map", rule, everything(family), (allowed,), reason, into, via)


def _touching(item: Prefix, rule: isolation_frr.Rule, found: Prefix, allowed: Sequence[Routes]) -> Prefix | None:
    """Return a route of a rule that is not allowed and overlaps ``item``; preferably inside ``item``, not around it."""
    if item.length < rule.prefix.length:
        return found
    if item.length <= rule.high and (route := outside(item, max(rule.low, item.length), rule.high, *allowed)):
        return route
    # A default route identifies no network.
    for length in range(min(rule.high, item.length - 1), max(rule.low, 1) - 1, -1):
        route = item.cut(length)
        if not any(route in union for union in allowed):
            return route
    return None


class Filtering:
    """Checks the nftables ruleset of one VRF on one gateway."""

    def __init__(self, site: Site, gateway: str, name: str, place: Node, ruleset: isolation_nft.Ruleset) -> None:
        self.site = site
        self.gateway, self.name, self.place, self.ruleset = gateway, name, place, ruleset
        self.own = {
            family: merged((net.first, net.last) for net in site.own.get(name, {}).get(family, ())) for family in BITS
        }
        self._good: dict[tuple[str, isolation_nft.Bound], bool] = {}

    def judge(self) -> None:
        ruleset, facts = self.ruleset, self.site.facts
        facts["rulesets"] += 1
        facts["set_elements"] += sum(map(len, ruleset.sets.values()))
        facts["forward_rules"] += sum(len(chain.rules) for chain in ruleset.hooking("forward"))
        for line in ruleset.strange:
            self.site.miss(self._where(line), "is not understood")
        for hook in ("input", "forward"):
            chains = ruleset.hooking(hook)
            if not chains:
                self._outside("policy", f"no chain hooks {hook}", "nothing is dropped")
            for chain in chains:
                if chain.policy != "drop":
                    self._outside("policy", f"chain {chain.name}: policy {chain.policy}", "not what was meant passes")
        if not ruleset.hooking("forward"):
            for family in BITS:
                self._addresses(family, "no chain hooks forward", [_all(family)], "every packet is forwarded")
            return
        told: set[tuple[str, ...]] = set()
        for family in BITS:
            for iif in (*ROLES.values(), "another"):
                for oif in (*ROLES.values(), "another"):
                    for accepted in ruleset.forwarded(family, iif, oif):
                        self._accepted(family, iif, oif, accepted, told)

    def _where(self, line: str) -> str:
        return f"{self.gateway} vrf {self.name} nftables: {line}"

    def _outside(self, kind: str, line: str, reason: str) -> None:
        fault = Fault(kind, None, self.gateway, self._where(line), reason)
        self.site.graph.leak(None, "", self.place, fault)

    def _accepted(
        self, family: str, iif: str, oif: str, accepted: isolation_nft.Accepted, told: set[tuple[str, ...]]
    ) -> None:
        source, destination = self._bound(family, accepted.src), self._bound(family, accepted.dst)
        asked = [(iif, "source", source, accepted.src, 0), (oif, "destination", destination, accepted.dst, 1)]
        if not {iif, oif} & set(TRANSITS):
            # Through the VRF and not into its cloud: one end belongs to the VRF.
            if source or destination:
                return
            asked = [(TRANSITS[0], "source or destination", False, accepted.src or accepted.dst, 0)]
        for link, what, good, bounds, side in asked:
            if link not in TRANSITS:
                continue
            if good and not accepted.guards[side]:
                key = family, what, "guard"
                if key not in told:
                    told.add(key)
                    reason = f"no rule drops a {family} {what} that is not the VRF's"
                    self._outside("spoofing", f"chain forward, before: {accepted.line}", reason)
            elif not good and (family, what, accepted.line) not in told:
                told.add((family, what, accepted.line))
                self._excess(family, what, bounds, accepted.line)

    def _bound(self, family: str, bounds: tuple[isolation_nft.Bound, ...]) -> bool:
        """Return whether addresses are limited to the VRF's own."""
        for bound in bounds:
            key = family, bound
            if key not in self._good:
                self._good[key] = not minus(list(bound.spans), self.own[family])
            if self._good[key]:
                return True
        return bool(bounds) and not minus(self._common(family, bounds), self.own[family])

    @staticmethod
    def _common(family: str, bounds: tuple[isolation_nft.Bound, ...]) -> list[Span]:
        left = [_all(family)]
        for bound in bounds:
            left = common(left, list(bound.spans))
        return left

    def _excess(self, family: str, what: str, bounds: tuple[isolation_nft.Bound, ...], line: str) -> None:
        spans = minus(self._common(family, bounds), self.own[family])
        for bound in bounds:
            for (first, last), text in self.ruleset.sets.get(bound.source, ()):
                if minus([(first, last)], self.own[family]):
                    line = f"set {bound.source}: {text}"
                    spans = minus(merged([(first, last)]), self.own[family])
                    self._addresses(family, line, spans, f"a {what} that is not the VRF's passes")
            if line.startswith("set "):
                return
        self._addresses(family, line, spans, f"a {what} that is not the VRF's passes")

    def _addresses(self, family: str, line: str, spans: Iterable[Span], reason: str) -> None:
        """Report a leak from every VRF that has addresses in the spans; from outside if there is none."""
        graph = self.site.graph
        leaks: dict[str, tuple[str, Prefix]] = {}
        first = None
        for span in spans:
            for prefix in [everything(family)] if span == _all(family) else prefixes(family, span):
                first = first or prefix
                for vrf, held in self.site.holdings.touched(prefix).items():
                    for item in held:
                        inside = item.prefix if item.prefix.length > prefix.length else prefix
                        if minus([(inside.first, inside.last)], self.own[family]):
                            leaks.setdefault(vrf, (f"{item.name} ({item.prefix})", inside))
                            break
        leaks.pop(self.name, None)
        for vrf, (start, prefix) in leaks.items():
            graph.leak(vrf, start, self.place, Fault("spoofing", prefix, self.gateway, self._where(line), reason))
        if not leaks:
            graph.leak(None, "", self.place, Fault("spoofing", first, self.gateway, self._where(line), reason))


def _all(family: str) -> Span:
    return 0, (1 << BITS[family]) - 1
