# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""What an nftables ruleset forwards, read from its text (as rendered, or ``nft list table``). Pure.

Follows the rules of the chains that hook ``forward`` for each pair of links, and returns what is accepted with the
bounds its addresses have by then. A condition it does not know may hold or not: such a rule counts as accepting what
it may accept, and not as dropping what it may leave. Rules of other hooks are not judged here, their policies are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from .prefixes import Span, merged, parse

_WORD = re.compile(r'"[^"\n]*"|!=|==|[{}]|[^\s{},;]+')
_LINKS = {"iifname": "iif", "iif": "iif", "oifname": "oif", "oif": "oif"}
_FINAL = ("accept", "drop", "reject", "return", "continue", "queue")
_DEEP = 16


class Bound(NamedTuple):
    """Addresses that are left; ``source`` is the set or text they come from."""

    spans: tuple[Span, ...]
    source: str


class Accepted(NamedTuple):
    """A class of packets that is forwarded: what its source and destination are bound to.

    ``guards`` counts the bounds that a rule which drops has set, by ``src`` and ``dst``.
    """

    src: tuple[Bound, ...]
    dst: tuple[Bound, ...]
    guards: tuple[int, int]
    line: str


@dataclass
class Rule:
    """A rule: ``links`` and ``addresses`` are what it asks of a packet, ``partial`` that it asks for more."""

    line: str
    family: str = ""
    links: dict[str, tuple[bool, frozenset[str]]] = field(default_factory=dict)
    addresses: dict[str, tuple[bool, Bound]] = field(default_factory=dict)
    partial: bool = False
    verdict: str = ""
    target: str = ""


@dataclass
class Chain:
    """A chain; ``hook`` and ``policy`` are "" where it has none."""

    name: str
    kind: str = ""
    hook: str = ""
    policy: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass
class Ruleset:
    """A table: its chains, and of each set the elements as ``(span, text)``."""

    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, list[tuple[Span, str]]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def hooking(self, hook: str) -> list[Chain]:
        return [chain for chain in self.chains.values() if chain.hook == hook]

    def forwarded(self, family: str, iif: str, oif: str) -> Iterator[Accepted]:
        """What every chain that hooks ``forward`` accepts of packets from one link to another.

        With several such chains a packet must pass all; taking each alone asks too much, never too little.
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
        """What is left at the end of a chain (None: nothing), and what it accepted."""
        accepted: list[Accepted] = []
        returned: _Bounds | None = None  # the first to leave early, and so the least bound
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
                if negated:  # whoever did not match is within the set
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
    """The ruleset in a text: every table in it, as one. Nothing is raised; what cannot be read is ``strange``."""
    ruleset = Ruleset()
    chains: list[tuple[Chain, str]] = []
    plain = re.sub(r"(?m)^\s*#.*$", "", text)
    for header, table in _blocks(plain):
        if header[:1] != ["table"]:
            ruleset.strange.append(" ".join(header))
            continue
        for words, body in _blocks(table):
            if words[0] == "chain":
                chains.append((ruleset.chains.setdefault(words[1], Chain(words[1])), body))
            elif words[0] == "set":
                ruleset.sets[words[1]] = _elements(body, ruleset.strange)
            elif words[0] not in ("counter", "quota", "limit"):
                ruleset.strange.append(" ".join(words))
    sets = {name: Bound(tuple(merged(span for span, _text in rows)), name) for name, rows in ruleset.sets.items()}
    for chain, body in chains:
        _fill(chain, body, sets, ruleset.strange)
    return ruleset


def _blocks(text: str) -> Iterator[tuple[list[str], str]]:
    """``(words before it, what it holds)`` of each outermost pair of braces."""
    depth, start, header = 0, 0, ""
    for mark in re.finditer(r'"[^"\n]*"|[{}]', text):
        if mark.group() == "{":
            if not depth:
                lines = text[start : mark.start()].strip().splitlines()
                header, start = lines[-1] if lines else "", mark.end()
            depth += 1
        elif mark.group() == "}":
            depth -= 1
            if not depth:
                yield header.split() or ["?"], text[start : mark.start()]
                start = mark.end()


def _span(text: str) -> Span:
    first, dash, last = text.partition("-")
    if dash:
        return parse(first).first, parse(last).first
    prefix = parse(text)
    return prefix.first, prefix.last


def _elements(body: str, strange: list[str]) -> list[tuple[Span, str]]:
    found = []
    for _header, inner in _blocks(body):
        for item in filter(None, map(str.strip, inner.split(","))):
            word = item.split()[0]
            try:
                found.append((_span(word), word))
            except ValueError:
                strange.append(item)
    return found


def _fill(chain: Chain, body: str, sets: dict[str, Bound], strange: list[str]) -> None:
    for line in filter(None, map(str.strip, body.splitlines())):
        words = _WORD.findall(line)
        if words[0] == "type":
            found = dict(pairwise(words))
            chain.kind, chain.hook, chain.policy = words[1], found.get("hook", ""), found.get("policy", "accept")
            if chain.kind != "filter":
                strange.append(f"chain {chain.name}: {line}")
        elif words[0] not in ("comment", "policy"):
            chain.rules.append(_rule(line, words, sets))


def _value(words: list[str]) -> tuple[bool, list[str]]:
    """Take the right side of a comparison off the words: whether it is negated, and its values."""
    negated = False
    if words[0] in ("!=", "=="):
        negated = words.pop(0) == "!="
    if words[0] != "{":
        return negated, [words.pop(0)]
    end = words.index("}")
    values = words[1:end]
    del words[: end + 1]
    return negated, values


def _rule(line: str, words: list[str], sets: dict[str, Bound]) -> Rule:
    rule = Rule(line)
    words = list(words)
    try:
        while words:
            word = words.pop(0)
            if word in _LINKS:
                negated, values = _value(words)
                if any("*" in value for value in values):
                    rule.partial = True
                else:
                    rule.links[_LINKS[word]] = negated, frozenset(value.strip('"') for value in values)
            elif word in ("ip", "ip6"):
                _address(rule, word, words, sets)
            elif word == "meta" and words[0] == "nfproto":
                rule.family = {"ipv4": "v4", "ipv6": "v6"}[words[1]]
                del words[:2]
            elif word == "counter":
                if words and words[0] in ("packets", "name"):
                    del words[: 4 if words[0] == "packets" else 2]
            elif word == "log":
                while words and words[0] not in _FINAL and words[0] != "counter":
                    words.pop(0)
            elif word == "comment":
                words.pop(0)
            elif word in ("jump", "goto"):
                rule.verdict, rule.target = word, words.pop(0)
            elif word in _FINAL:
                rule.verdict = "" if word == "continue" else word
            elif word != "meta":
                rule.partial = True
    except (IndexError, KeyError, ValueError):
        rule.partial = True
    return rule


def _address(rule: Rule, word: str, words: list[str], sets: dict[str, Bound]) -> None:
    rule.family = "v4" if word == "ip" else "v6"
    way = {"saddr": "src", "daddr": "dst"}.get(words[0])
    if way is None or way in rule.addresses:
        rule.partial = True
        return
    del words[0]
    negated, values = _value(words)
    if values[0].startswith("@"):
        if values[0][1:] not in sets:
            rule.partial = True
            return
        rule.addresses[way] = negated, sets[values[0][1:]]
        return
    spans = tuple(merged(_span(value) for value in values))
    rule.addresses[way] = negated, Bound(spans, ", ".join(values))
