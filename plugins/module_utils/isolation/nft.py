# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The packets that an nftables ruleset forwards, from ``nft --json list table`` (libnftables-json(5)). Pure.

Evaluates the chains that hook ``forward`` for each pair of links, and returns the accepted packets with the
limits of their addresses. An unknown condition may hold or not: a rule with one counts as accepting
everything that it might accept, and as dropping nothing. An unknown statement or object is reported as
``strange``. Rules of other hooks are not checked, but their policies are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .prefixes import Span, merged, parse

_LINKS = {"iifname": "iif", "iif": "iif", "oifname": "oif", "oif": "oif"}
_WAYS = {"saddr": "src", "daddr": "dst"}
_FAMILIES = {"ip": "v4", "ip6": "v6", "ipv4": "v4", "ipv6": "v6"}
_VERDICTS = ("accept", "drop", "reject", "return", "continue", "queue")
_WITHOUT_EFFECT = ("counter", "log", "continue")
_CONDITIONS = ("limit", "quota", "ct count")
_OBJECTS = ("counter", "quota", "limit")
_SCHEMA = 1
_DEEP = 16


class Bound(NamedTuple):
    """The remaining addresses; ``source`` is the set or text that they come from."""

    spans: tuple[Span, ...]
    source: str


class Accepted(NamedTuple):
    """A class of packets that is forwarded, with the limits of their source and destination.

    ``guards`` counts the limits that a dropping rule has set, by ``src`` and ``dst``.
    """

    src: tuple[Bound, ...]
    dst: tuple[Bound, ...]
    guards: tuple[int, int]
    line: str


@dataclass
class Rule:
    """A rule: ``links`` and ``addresses`` are its conditions, ``partial`` is true if it has others as well."""

    line: str
    family: str = ""
    links: dict[str, tuple[bool, frozenset[str]]] = field(default_factory=dict)
    addresses: dict[str, tuple[bool, Bound]] = field(default_factory=dict)
    partial: bool = False
    verdict: str = ""
    target: str = ""


@dataclass
class Chain:
    """A chain; ``hook`` and ``policy`` are "" if it has none."""

    name: str
    kind: str = ""
    hook: str = ""
    policy: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass
class Ruleset:
    """A table: its chains, the elements of each set as ``(span, text)``, and in ``strange`` everything unknown."""

    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, list[tuple[Span, str]]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def hooking(self, hook: str) -> list[Chain]:
        return [chain for chain in self.chains.values() if chain.hook == hook]

    def forwarded(self, family: str, iif: str, oif: str) -> Iterator[Accepted]:
        """Return the packets from one link to another that each chain with hook ``forward`` accepts.

        A packet must pass all such chains. To evaluate each chain alone reports too much, never too little.
        """
        for chain in self.hooking("forward"):
            start = _Bounds((), (), (0, 0))
            left, accepted = self._walk(chain, family, {"iif": iif, "oif": oif}, start, 0)
            yield from accepted
            if left and chain.policy != "drop":
                yield Accepted(left.src, left.dst, left.guards, f"chain {chain.name}: policy accept")

    def _walk(
        self, chain: Chain, family: str, links: dict[str, str], bounds: _Bounds, depth: int
    ) -> tuple[_Bounds | None, list[Accepted]]:
        """Return the packets left at the end of a chain (None: none), and those that it accepted."""
        accepted: list[Accepted] = []
        returned: _Bounds | None = None  # the first packets to leave early have the weakest limits
        for rule in chain.rules:
            if rule.family not in ("", family) or not all(
                (links[way] in names) != negated for way, (negated, names) in rule.links.items()
            ):
                continue
            inside = bounds
            for way, (negated, bound) in rule.addresses.items():
                if not negated:
                    inside = inside.bound(way, bound)
            left: _Bounds | None = inside
            if rule.verdict in ("accept", "queue"):
                accepted.append(Accepted(inside.src, inside.dst, inside.guards, rule.line))
                left = None
            elif rule.verdict in ("drop", "reject"):
                left = None
            elif rule.verdict in ("jump", "goto"):
                if rule.target in self.chains and depth < _DEEP:
                    left, more = self._walk(self.chains[rule.target], family, links, inside, depth + 1)
                    accepted += more
                if rule.verdict == "goto" and left:
                    accepted.append(Accepted(left.src, left.dst, left.guards, rule.line))
                    left = None
            elif rule.verdict == "return":
                returned = returned or bounds
                if not rule.partial and not rule.addresses:
                    return returned, accepted
                continue
            if left is not None or rule.partial:
                continue
            if not rule.addresses:
                return returned, accepted
            if len(rule.addresses) == 1:
                ((way, (negated, bound)),) = rule.addresses.items()
                if negated:  # packets that did not match are within the set
                    drops = not any(item.line == rule.line for item in accepted)
                    bounds = bounds.bound(way, bound, guard=drops)
        return returned or bounds, accepted


@dataclass(frozen=True)
class _Bounds:
    src: tuple[Bound, ...]
    dst: tuple[Bound, ...]
    guards: tuple[int, int]

    def bound(self, way: str, bound: Bound, guard: bool = False) -> _Bounds:
        source, destination = self.guards
        if way == "src":
            return _Bounds((*self.src, bound), self.dst, (source + guard, destination))
        return _Bounds(self.src, (*self.dst, bound), (source, destination + guard))


def read(text: str) -> Ruleset:
    """Return the ruleset in nft's JSON of one table. Nothing is raised; unknown parts are ``strange``."""
    ruleset = Ruleset()
    try:
        items = [next(iter(item.items())) for item in json.loads(text)["nftables"]]
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        ruleset.strange.append("not the JSON of nft")
        return ruleset
    if sum(kind == "table" for kind, _value in items) > 1:
        ruleset.strange.append("more than one table")
    rules: list[Any] = []
    for kind, value in items:
        try:
            if kind == "rule":
                rules.append(value)
            else:
                _object(ruleset, kind, value)
        except (AttributeError, KeyError, TypeError, ValueError):
            ruleset.strange.append(_words({kind: value}))
    sets = {name: Bound(tuple(merged(span for span, _text in rows)), name) for name, rows in ruleset.sets.items()}
    for value in rules:
        try:
            ruleset.chains[value["chain"]].rules.append(_rule(value["expr"], sets, ruleset.strange))
        except (AttributeError, KeyError, TypeError, ValueError):
            ruleset.strange.append(_words({"rule": value}))
    return ruleset


def _object(ruleset: Ruleset, kind: str, value: Any) -> None:
    """Add an object that is not a rule."""
    if kind == "chain":
        chain = Chain(value["name"], value.get("type", ""), value.get("hook", ""), value.get("policy", ""))
        if chain.hook:
            chain.policy = chain.policy or "accept"
            if chain.kind != "filter":
                ruleset.strange.append(f"chain {chain.name}: type {chain.kind} hook {chain.hook}")
        ruleset.chains[chain.name] = chain
    elif kind == "set":
        rows = ruleset.sets.setdefault(value["name"], [])
        for element in value.get("elem", ()):
            try:
                rows.append((_span(element), _words(element)))
            except (KeyError, TypeError, ValueError):
                ruleset.strange.append(f"set {value['name']}: {_words(element)}")
    elif kind == "table":
        if "flags" in value:  # a dormant table drops nothing
            ruleset.strange.append(f"table {value['name']}: flags {_words(value['flags'])}")
    elif kind == "metainfo":
        if value["json_schema_version"] != _SCHEMA:
            ruleset.strange.append(f"version {value['json_schema_version']} of nft's JSON")
    elif kind not in _OBJECTS:
        ruleset.strange.append(f"{kind} {value['name']}")


def _rule(statements: list[dict[str, Any]], sets: dict[str, Bound], strange: list[str]) -> Rule:
    rule = Rule(" ".join(filter(None, map(_words, statements))))
    for statement in statements:
        ((kind, value),) = statement.items()
        if rule.verdict:
            strange.append(rule.line)
        elif kind == "match":
            if not _match(rule, value, sets):
                rule.partial = True
        elif kind in ("jump", "goto"):
            rule.verdict, rule.target = kind, value["target"]
        elif kind in _WITHOUT_EFFECT:
            continue
        elif kind in _VERDICTS:
            rule.verdict = kind
        else:
            rule.partial = True
            if kind not in _CONDITIONS and not (kind == "mangle" and _harmless(value["key"])):
                strange.append(rule.line)
    return rule


def _harmless(changed: dict[str, Any]) -> bool:
    """Return whether a statement changes neither an address nor the mark, which may select the route."""
    return changed.get("payload", {}).get("field") in ("ttl", "hoplimit")


def _match(rule: Rule, match: dict[str, Any], sets: dict[str, Bound]) -> bool:
    """Add a condition to a rule; return False if the rule has a condition that is not understood."""
    ((kind, asked),) = match["left"].items()
    right = match["right"]
    if match["op"] not in ("==", "!=") or kind not in ("meta", "payload"):
        return False
    negated = match["op"] == "!="
    values = right["set"] if isinstance(right, dict) and "set" in right else [right]
    if kind == "meta" and asked["key"] == "nfproto":
        return not negated and isinstance(right, str) and _family(rule, right)
    if kind == "meta":
        way = _LINKS.get(asked["key"])
        if (
            way is None
            or way in rule.links
            or not all(isinstance(value, str) and value[:1] != "@" and "*" not in value for value in values)
        ):
            return False
        rule.links[way] = negated, frozenset(values)
        return True
    if asked.get("protocol") not in ("ip", "ip6") or not _family(rule, asked["protocol"]):
        return False
    way = _WAYS.get(asked["field"])
    if way is None or way in rule.addresses:
        return False
    if isinstance(right, str) and right.startswith("@"):
        bound = sets.get(right[1:])
        if bound is None:
            return False
    else:
        try:
            bound = Bound(tuple(merged(map(_span, values))), ", ".join(map(_words, values)))
        except (KeyError, TypeError, ValueError):
            return False
    rule.addresses[way] = negated, bound
    return True


def _family(rule: Rule, word: str) -> bool:
    """Set the family of a rule; return False if the word is unknown, or if the rule requires both families."""
    family = _FAMILIES.get(word)
    if family is None or rule.family not in ("", family):
        return False
    rule.family = family
    return True


def _span(element: Any) -> Span:
    """Return the addresses of an element of a set. Raises KeyError, TypeError or ValueError."""
    if isinstance(element, str):
        prefix = parse(element)
        return prefix.first, prefix.last
    if "elem" in element:
        return _span(element["elem"]["val"])
    if "range" in element:
        first, last = element["range"]
        return parse(first).first, parse(last).first
    prefix = parse(f"{element['prefix']['addr']}/{element['prefix']['len']}")
    return prefix.first, prefix.last


def _words(value: Any) -> str:
    """Format a statement, an expression or an element in nft's syntax; unknown ones as JSON."""
    if not isinstance(value, dict) or len(value) != 1:
        return value if isinstance(value, str) else json.dumps(value)
    ((kind, inner),) = value.items()
    try:
        if kind == "match":
            compared = "" if inner["op"] == "==" else f"{inner['op']} "
            return f"{_words(inner['left'])} {compared}{_words(inner['right'])}"
        if kind == "meta":
            return str(inner["key"])
        if kind == "payload":
            return f"{inner['protocol']} {inner['field']}"
        if kind == "prefix":
            return f"{_words(inner['addr'])}/{inner['len']}"
        if kind == "range":
            return "-".join(map(_words, inner))
        if kind == "set":
            return f"{{ {', '.join(map(_words, inner))} }}"
        if kind == "elem":
            return _words(inner["val"])
        if kind in ("jump", "goto"):
            return f"{kind} {inner['target']}"
    except (KeyError, TypeError):
        return json.dumps(value)
    if kind in ("counter", "log"):
        return ""
    return kind if kind in _VERDICTS else json.dumps(value)
