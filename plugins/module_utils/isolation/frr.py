# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The routes that an FRR configuration permits, read from its text (``frr.conf`` or ``show running-config``). Pure.

This parser shares no code with the renderer on purpose: it checks the renderer's output and manual changes. It
follows FRR 10.3 (``lib/plist.c``, ``lib/routemap.c``, ``bgpd``):

- a prefix-list applies the first entry by ``seq`` that matches; without ``ge`` and ``le`` the length must be equal; no
  match denies. A list that is used but not defined matches nothing; one without entries matches everything;
- a route-map applies entries by number; one without ``match`` matches everything; no match denies. A map that is
  used but not defined denies everything;
- a prefix-list of the other family does not match;
- without ``no bgp default ipv4-unicast`` every neighbour is active in IPv4;
- with ``frr defaults traditional`` an eBGP session without a route-map carries no routes (RFC 8212).

If the result is uncertain (a match on communities, ``call``, ``on-match``), a permit counts as permitting and a denial
as not denying: the proof may report too much, never too little. An unknown line is returned, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .prefixes import BITS, Prefix, Routes, Table, everything, outside, parse

_FAMILY = {"ip": "v4", "ipv6": "v6", "ipv4": "v4"}
_SECRET = re.compile(r"(?im)\b(password|key-string|secret|authentication-key|message-digest-key)\b[^\n]*")
_HARMLESS = (
    *("agentx", "banner", "bfd", "building", "current", "debug", "domainname", "enable", "end", "exit", "fpm", "frr"),
    *("hostname", "line", "log", "no", "password", "service", "username", "zebra"),
)
_HARMLESS_BGP = ("bgp", "distance", "exit", "maximum-paths", "no", "timers", "update-delay")


def without_secrets(text: str) -> str:
    """Return the text with the rest of a line after a word like ``password`` replaced; the line stays recognisable."""
    return _SECRET.sub(r"\1 ********", text)


class Rule(NamedTuple):
    """An entry of a prefix-list, or its equivalent; ``line`` is its line in the configuration."""

    permit: bool
    prefix: Prefix
    low: int
    high: int
    line: str


class PrefixList:
    """Entries by ``seq``; the time of a query does not grow with their number."""

    def __init__(self) -> None:
        self._numbered: list[tuple[int, Rule]] = []
        self._table: Table | None = None

    def add(self, seq: int | None, rule: Rule) -> None:
        if seq is None:  # FRR's own numbering: the next multiple of five
            seq = max((number for number, _rule in self._numbered), default=0) // 5 * 5 + 5
        self._numbered.append((seq, rule))
        self._table = None

    def rules(self, family: str, line: str) -> list[Rule]:
        """Return the entries in order; for an empty list, the equivalent single entry, with ``line`` as its source."""
        if not self._numbered:
            return [anything(family, line)]
        return [rule for _seq, rule in sorted(self._numbered, key=lambda item: item[0])]

    def permits(self, prefix: Prefix) -> bool:
        if self._table is None:
            self._table = Table()
            for place, rule in enumerate(self.rules(prefix.family, "")):
                self._table.add(rule.prefix, (place, rule))
        hits = [item for item in self._table.covering(prefix) if item[1].low <= prefix.length <= item[1].high]
        return min(hits, key=lambda item: item[0])[1].permit if hits else False


def anything(family: str, line: str) -> Rule:
    return Rule(True, everything(family), 0, BITS[family], line)


@dataclass
class MapEntry:
    """An entry of a route-map: ``lists`` by family, ``tag``, and whether it has other conditions as well."""

    seq: int
    permit: bool
    line: str
    lists: dict[str, str] = field(default_factory=dict)
    tag: int | None = None
    uncertain: bool = False


@dataclass
class Static:
    """A static route. ``address`` and ``interface`` are "" if the line has none."""

    prefix: Prefix
    address: str
    interface: str
    tag: int
    vrf: str
    line: str


@dataclass
class Neighbour:
    """A BGP neighbour or peer group; dictionaries are by family."""

    name: str
    line: str
    remote_as: str = ""
    group: str = ""
    is_group: bool = False
    active: dict[str, str] = field(default_factory=dict)
    inactive: set[str] = field(default_factory=set)
    maps: dict[tuple[str, str], str] = field(default_factory=dict)
    default: dict[str, str] = field(default_factory=dict)


class Origin(NamedTuple):
    """A source of routes in BGP itself: ``network``, ``aggregate-address``, ``redistribute``, ``import``."""

    family: str
    word: str
    what: str
    route_map: str
    line: str


@dataclass
class Config:
    """A configuration; ``strange`` lists the lines that this parser does not know."""

    asn: str = ""
    lists: dict[tuple[str, str], PrefixList] = field(default_factory=dict)
    maps: dict[str, list[MapEntry]] = field(default_factory=dict)
    statics: list[Static] = field(default_factory=list)
    neighbours: dict[str, Neighbour] = field(default_factory=dict)
    origins: list[Origin] = field(default_factory=list)
    listening: list[str] = field(default_factory=list)
    ipv4_by_default: bool = True
    policy_required: bool = True
    strange: list[str] = field(default_factory=list)

    def sessions(self) -> Iterator[tuple[Neighbour, str, str]]:
        """Return ``(neighbour, family, line that activates it)`` of every active session."""
        for neighbour in self.neighbours.values():
            if neighbour.is_group:
                continue
            group = self.neighbours.get(neighbour.group)
            for family in BITS:
                line = neighbour.active.get(family) or (group.active.get(family) if group else None)
                if not line and family == "v4" and self.ipv4_by_default and "v4" not in neighbour.inactive:
                    line = neighbour.line
                if line:
                    yield neighbour, family, line

    def route_map(self, neighbour: Neighbour, family: str, way: str) -> str:
        """Return the name of a session's route-map, its own or its group's, or ""."""
        group = self.neighbours.get(neighbour.group)
        return neighbour.maps.get((family, way)) or (group.maps.get((family, way), "") if group else "")

    def external(self, neighbour: Neighbour) -> bool:
        group = self.neighbours.get(neighbour.group)
        remote = neighbour.remote_as or (group.remote_as if group else "")
        return remote not in (self.asn, "internal")

    def _rules(self, family: str, entry: MapEntry) -> list[Rule]:
        if not entry.lists:
            return [anything(family, entry.line)]
        held = self.lists.get((family, entry.lists.get(family, "")))
        return held.rules(family, entry.line) if held else []

    def excess(self, family: str, name: str, allowed: Routes) -> Iterator[tuple[Rule, Prefix, tuple[Routes, ...]]]:
        """Return the entries by which a route-map permits more than ``allowed``.

        Each is ``(rule, a route beyond allowed, prefixes that earlier entries deny)``; the last is valid until the
        next.
        """
        denied = Routes()
        for entry in self.maps.get(name, ()):
            rules = self._rules(family, entry)
            if not entry.permit:
                for rule in [] if entry.uncertain or entry.tag is not None else rules:
                    if not rule.permit:
                        break
                    denied.add(rule.prefix, rule.low, rule.high)
                continue
            hidden = Routes()
            for rule in rules:
                if not rule.permit:
                    hidden.add(rule.prefix, rule.low, rule.high)
                elif found := outside(rule.prefix, rule.low, rule.high, allowed, denied, hidden):
                    yield rule, found, (denied, hidden)

    def permits(self, name: str, prefix: Prefix, tag: int) -> bool:
        """Return whether a route-map may permit one route."""
        for entry in self.maps.get(name, ()):
            if entry.tag is not None and entry.tag != tag:
                continue
            if entry.lists:
                held = self.lists.get((prefix.family, entry.lists.get(prefix.family, "")))
                if not held or not held.permits(prefix):
                    continue
            if entry.permit or not entry.uncertain:
                return entry.permit
        return False


def read(text: str) -> Config:
    """Return the configuration in a text. Lines that cannot be read are ``strange``; nothing is raised."""
    config = Config()
    place: object = None  # the object that the following indented lines belong to
    family = "v4"
    for raw in without_secrets(text).splitlines():
        line = " ".join(raw.split())
        words = line.split(" ")
        if not line or line.startswith(("!", "#")):
            continue
        try:
            if not raw[0].isspace():
                place, family = _top(config, words, line), "v4"
            elif isinstance(place, MapEntry):
                _match(place, words)
            elif place == "bgp":
                if words[0] == "address-family":
                    family = _FAMILY.get(words[1], "") if words[2:] == ["unicast"] else ""
                    if not family:
                        config.strange.append(line)
                elif words[0] == "exit-address-family":
                    family = "v4"
                else:
                    _bgp(config, family, words, line)
        except (ValueError, IndexError, KeyError):
            config.strange.append(line)
    for entries in config.maps.values():
        entries.sort(key=lambda entry: entry.seq)
    return config


def _top(config: Config, words: list[str], line: str) -> object:
    head = words[0].lower()
    if head in ("ip", "ipv6") and words[1] == "prefix-list":
        _prefix_list(config, _FAMILY[head], words[2:], line)
    elif head in ("ip", "ipv6") and words[1] == "route":
        config.statics.append(_static(words, line))
    elif head in ("ip", "ipv6") and words[1] == "forwarding":
        pass
    elif head == "route-map":
        entry = MapEntry(int(words[3]), {"permit": True, "deny": False}[words[2]], line)
        config.maps.setdefault(words[1], []).append(entry)
        return entry
    elif head == "router" and words[1] == "bgp" and len(words) == 3 and config.asn in ("", words[2]):
        config.asn = words[2]
        return "bgp"
    elif words[:2] == ["frr", "defaults"]:
        config.policy_required = words[2] == "traditional"
    elif head not in _HARMLESS:
        config.strange.append(line)
    return None


def _prefix_list(config: Config, family: str, words: list[str], line: str) -> None:
    held = config.lists.setdefault((family, words.pop(0)), PrefixList())
    if words[0] == "description":
        return
    seq = int(words[1]) if words[0] == "seq" else None
    action, what, *bounds = words[2:] if words[0] == "seq" else words
    prefix = everything(family) if what == "any" else parse(what)
    given = {key: int(value) for key, value in zip(bounds[::2], bounds[1::2], strict=True)}
    if what == "any":
        given = {"le": BITS[family]}
    low = given.get("ge", prefix.length)
    high = given.get("le", BITS[family] if "ge" in given else prefix.length)
    if not prefix.length <= low <= high <= BITS[family]:
        raise ValueError(line)
    held.add(seq, Rule({"permit": True, "deny": False}[action], prefix, low, high, line))


def _static(words: list[str], line: str) -> Static:
    prefix, rest = parse(words[2]), words[3:]
    address = interface = vrf = ""
    tag = 0
    while rest:
        word = rest.pop(0)
        if word == "tag":
            tag = int(rest.pop(0))
        elif word in ("vrf", "nexthop-vrf", "table"):
            vrf = rest.pop(0)
        elif word in ("color", "label", "profile", "source", "segments", "from"):
            del rest[0]
        elif word in ("bfd", "multi-hop", "onlink") or word.isdigit():
            continue
        elif re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*", word):
            address = str(parse(word)).partition("/")[0]
        else:
            interface = word
    return Static(prefix, address, interface, tag, vrf, line)


def _match(entry: MapEntry, words: list[str]) -> None:
    if words[0] == "match" and words[1] in ("ip", "ipv6") and words[2:4] == ["address", "prefix-list"]:
        entry.lists[_FAMILY[words[1]]] = words[4]
    elif words[:2] == ["match", "tag"]:
        entry.tag = int(words[2])
    elif words[0] == "match":
        entry.uncertain = True


def _bgp(config: Config, family: str, words: list[str], line: str) -> None:
    head = words[0]
    if head == "neighbor" or words[:2] == ["no", "neighbor"]:
        _neighbour(config, family, words, line)
    elif words == ["no", "bgp", "default", "ipv4-unicast"]:
        config.ipv4_by_default = False
    elif words[-2:] == ["bgp", "ebgp-requires-policy"]:
        config.policy_required = head != "no"
    elif words[:3] == ["bgp", "listen", "range"]:
        config.listening.append(line)
    elif head in ("network", "aggregate-address", "redistribute", "import"):
        named = words[words.index("route-map") + 1] if "route-map" in words else ""
        config.origins.append(Origin(family, head, words[-1] if head == "import" else words[1], named, line))
    elif head not in _HARMLESS_BGP:
        config.strange.append(line)


def _neighbour(config: Config, family: str, words: list[str], line: str) -> None:
    positive = words[0] != "no"
    name, what, *rest = words[1:] if positive else words[2:]
    found = config.neighbours.setdefault(name, Neighbour(name, line))
    if not positive:
        if what == "activate":
            found.inactive.add(family)
    elif what == "remote-as":
        found.remote_as, found.line = rest[0], line
    elif what == "interface" and "remote-as" in rest:
        found.remote_as, found.line = rest[-1], line
    elif what == "peer-group":
        found.is_group = not rest
        found.group = rest[0] if rest else ""
    elif what == "activate":
        found.active[family] = line
    elif what == "route-map":
        found.maps[family, rest[1]] = rest[0]
    elif what == "default-originate":
        found.default[family] = line
