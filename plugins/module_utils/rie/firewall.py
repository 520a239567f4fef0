# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The nftables ruleset of a VRF's namespace, rendered from the gateway plan. Pure.

The ruleset has these rules and drops all other packets:

- *anti-spoofing*: packets that leave the cloud have their source, packets that enter it their destination, in the
  exported prefixes;
- *loose uRPF* on the RIE side: a packet is dropped if there is no route to its source. ICMP errors from routers of the
  backbone pass, although nobody announces the addresses of these routers: path MTU discovery needs them;
- *GTSM* (RFC 5082) for BGP with the PE: BGP packets are sent with TTL 255, so a packet that arrives with a lower TTL
  has crossed a router. This is done here and not by FRR's ``ttl-security``, which would turn single-hop BFD into
  multihop BFD;
- *input*: BGP and BFD of the known neighbours, neighbour discovery, a limited rate of echo requests.

Every drop has a named counter; ``rie_info`` reads them. Drops are logged at a limited rate. The kernel logs from a
namespace other than the first only with ``net.netfilter.nf_log_all_netns=1``, a sysctl of the *host*; if it
cannot be set, the counters remain. Links are matched by name, so that the ruleset can be loaded before they exist.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from .frr import export_list
from .gateway import FAMILIES, NEIGHBOR, ROUTER, TRANSITS, Vrf
from .plan_types import Family, Role

TABLE = "rie"
DROPS = ("spoofed", "urpf", "gtsm", "stray", "unexpected")

_PROTOCOL = {"v4": "ip", "v6": "ip6"}
_TTL = {"v4": "ip ttl", "v6": "ip6 hoplimit"}


def _address(cidr: str) -> str:
    return str(ipaddress.ip_interface(cidr).ip)


def render_ruleset(vrf: Vrf) -> str:
    """Return the whole ruleset of a VRF; loading it replaces the previous one in one transaction."""
    name = vrf["name"]
    body = [
        *[line for drop in DROPS for line in (f"counter {drop} {{", "}")],
        *[line for family in FAMILIES for line in _set(vrf, family)],
        *_chain("raw", "type filter hook prerouting priority raw; policy accept;", _prerouting(vrf)),
        *_chain("input", "type filter hook input priority filter; policy drop;", _input(vrf)),
        *_chain("forward", "type filter hook forward priority filter; policy drop;", _forward(vrf)),
        *_chain("output", "type filter hook output priority mangle; policy accept;", _output(vrf)),
        *[line for drop in DROPS for line in _chain(f"drop_{drop}", "", _drop(name, drop))],
    ]
    lines = [
        f"# Written by cloudwatt.socle for VRF {name}: changes made here are lost.",
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        *[f"\t{line}" for line in body],
        "}",
    ]
    return "\n".join(lines) + "\n"


def _chain(name: str, hook: str, rules: list[str]) -> list[str]:
    return [f"chain {name} {{", *([f"\t{hook}"] if hook else []), *[f"\t{rule}" for rule in rules], "}"]


def _set(vrf: Vrf, family: Family) -> list[str]:
    kind = {"v4": "ipv4_addr", "v6": "ipv6_addr"}[family]
    elements = export_list(vrf, family)
    return [
        f"set export_{family} {{",
        f"\ttype {kind}",
        "\tflags interval",
        "\tauto-merge",
        *([f"\telements = {{ {', '.join(elements)} }}"] if elements else []),
        "}",
    ]


def _prerouting(vrf: Vrf) -> list[str]:
    return [
        'iifname "rie" ip6 saddr fe80::/10 accept',
        'iifname "rie" icmp type { destination-unreachable, time-exceeded, parameter-problem } '
        "limit rate 100/second accept",
        'iifname "rie" icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } '
        "limit rate 100/second accept",
        'iifname "rie" fib saddr oif missing jump drop_urpf',
    ]


def _neighbors(vrf: Vrf, family: Family) -> list[tuple[Role, str, bool, str]]:
    """Return ``(link, address, speaks BGP, BFD ports)``; iBGP counts as multihop for BFD (RFC 5883)."""
    found: list[tuple[Role, str, bool, str]] = []
    pe, peer = vrf.get("pe") or {}, vrf.get("peer") or {}
    for link in TRANSITS:
        if router := (vrf.get(link) or {}).get(ROUTER[family]):
            found.append((link, _address(router), False, "3784"))
    if pe.get(family):
        found.append(("rie", _address(pe[family]), True, "3784"))
    if peer.get(NEIGHBOR[family]):
        found.append(("peer", _address(peer[NEIGHBOR[family]]), True, "{ 3784, 4784 }"))
    return found


def _input(vrf: Vrf) -> list[str]:
    rules = [
        'iifname "lo" accept',
        *[
            f'iifname "rie" tcp {port} 179 {_TTL[family]} != 255 jump drop_gtsm'
            for family in FAMILIES
            for port in ("sport", "dport")
            if (vrf.get("pe") or {}).get(family)
        ],
    ]
    for family in FAMILIES:
        protocol = _PROTOCOL[family]
        for link, address, bgp, bfd in _neighbors(vrf, family):
            source = f'iifname "{link}" {protocol} saddr {address}'
            if bgp:
                rules += [f"{source} tcp dport 179 accept", f"{source} tcp sport 179 accept"]
            rules.append(f"{source} udp dport {bfd} {_TTL[family]} 255 accept")
    return [
        *rules,
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
        "icmp type { echo-request, echo-reply } limit rate 100/second accept",
        "icmpv6 type { echo-request, echo-reply } limit rate 100/second accept",
        "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
        "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
        # Messages of every link: router solicitations and advertisements, multicast listener reports.
        "icmpv6 type { nd-router-solicit, nd-router-advert, mld-listener-query, mld-listener-report, "
        "mld-listener-done, mld2-listener-report } drop",
        "jump drop_unexpected",
    ]


def _any(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{{ {', '.join(quoted)} }}"


def _forward(vrf: Vrf) -> list[str]:
    rules = []
    transits = [link for link in TRANSITS if vrf.get(link)]
    cloud, into_rie = _any(transits), _any([*transits, "peer"])
    for family in FAMILIES:
        protocol = _PROTOCOL[family]
        rules += [
            f"iifname {cloud} {protocol} saddr != @export_{family} jump drop_spoofed",
            f"oifname {cloud} {protocol} daddr != @export_{family} jump drop_stray",
        ]
    for family in FAMILIES:
        protocol = _PROTOCOL[family]
        rules += [
            f'iifname {into_rie} oifname "rie" {protocol} saddr @export_{family} accept',
            f'iifname {cloud} oifname "peer" {protocol} saddr @export_{family} accept',
            f'iifname {{ "rie", "peer" }} oifname {cloud} {protocol} daddr @export_{family} accept',
            f'iifname "rie" oifname "peer" {protocol} daddr @export_{family} accept',
        ]
    return [*rules, "jump drop_stray"]


def _output(vrf: Vrf) -> list[str]:
    return [
        f'oifname "rie" meta nfproto {"ipv4" if family == "v4" else "ipv6"} tcp {port} 179 {_TTL[family]} set 255'
        for family in FAMILIES
        for port in ("sport", "dport")
        if (vrf.get("pe") or {}).get(family)
    ]


def _drop(name: str, drop: str) -> list[str]:
    return [
        f'limit rate 5/second burst 10 packets log prefix "rie {name} {drop}: "',
        f'counter name "{drop}" drop',
    ]
