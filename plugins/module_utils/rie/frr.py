# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Configuration of one FRR instance per VRF, rendered from the gateway plan. Pure. Written for FRR 10.3.

Lines are spelt exactly as FRR prints them (``show running-config``), without defaults: ``frr-reload.py`` compares
text, so a line that FRR spells differently would count as changed in every run. See ``gateway.py`` for the shape of a
VRF.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from .gateway import FAMILIES, NEIGHBOR, ROUTER, TRANSITS, Vrf
from .plan_types import Bfd, Family

HEADER = "! Written by cloudwatt.socle for VRF {name}: changes made here are lost."

# Tags of static routes: only the first kind is redistributed into BGP.
TAG_EXPORT = 100
TAG_FLOATING = 250
FLOATING_DISTANCE = 250
# The sides that shall send no traffic to a gateway: the RIE and the cloud, the RIE alone, or none.
#
# Draining does both at once. It removes no route, so its order cannot lose packets: FRR keeps a static route if FRR
# itself shut down the BFD session, and routes under graceful shutdown stay as the last choice.
#   RIE -> cloud  packets that still arrive from the PE use the static route, until the PE and the sites prefer the
#                 other gateway;
#   cloud -> RIE  packets that OVN still sends go to the other gateway over `peer`, until OVN knows that its session is
#                 down. The iBGP route of `peer` is preferred now: the PE's own routes have local preference 0, and the
#                 floating static route is used only if both are missing.
#
# Undraining has two steps, because it does remove routes. A BFD session that is no longer shut down starts in the state
# down, and staticd withdraws its route for about a second until the session is up. During this time the path into the
# cloud is over the other gateway, and packets that arrive before bgpd and zebra agree on it are lost. Therefore BFD
# comes first ("rie"):
#   RIE -> cloud  graceful shutdown keeps the PE and the sites on the other gateway, so that no packets arrive;
#   cloud -> RIE  OVN uses this gateway again as soon as its session is up; its packets continue over `peer`.
# Once the sessions are up, the static routes are back and graceful shutdown can end ("none"): this gateway can deliver
# the PE's packets, and packets from the cloud move from `peer` to the PE by the replacement of one route. In the
# opposite order, traffic from the PE would arrive while the static routes are withdrawn; both steps at once would race.
DRAINS = ("all", "rie", "none")
# Minutes until a session that exceeded maximum-prefix is started again.
PREFIX_LIMIT_RESTART = 5
# Margin in maximum-prefix-out, for a change that adds prefixes before it deletes others.
PREFIX_LIMIT_OUT_SLACK = 10

_WORD = {"v4": "ip", "v6": "ipv6"}
_FAMILY = {"v4": "ipv4", "v6": "ipv6"}
_BFD_DEFAULTS = {"transmit": 300, "receive": 300, "multiplier": 3}
# FRR prints these communities (65535:number, RFC 1997 and later RFCs) by name.
_WELL_KNOWN = {
    0: "graceful-shutdown",
    1: "accept-own",
    2: "route-filter-translated-v4",
    3: "route-filter-v4",
    4: "route-filter-translated-v6",
    5: "route-filter-v6",
    6: "llgr-stale",
    7: "no-llgr",
    8: "accept-own-nexthop",
    666: "blackhole",
    65281: "no-export",
    65282: "no-advertise",
    65283: "local-AS",
    65284: "no-peer",
}


def _address(cidr: str) -> str:
    return str(ipaddress.ip_interface(cidr).ip)


def _network(cidr: str) -> str:
    return str(ipaddress.ip_network(cidr))


def _sorted(prefixes: list[str]) -> list[str]:
    return [
        str(net)
        for net in sorted(map(ipaddress.ip_network, prefixes), key=lambda n: (int(n.network_address), n.prefixlen))
    ]


def accept_list(vrf: Vrf, family: Family) -> list[tuple[str, int | None]]:
    """The prefixes that the PE may announce: ``(prefix, le)``, sorted; ``le`` is None for an exact match only."""
    items = []
    for item in (vrf.get("accept") or {}).get(family) or []:
        net = ipaddress.ip_network(item["prefix"])
        le = item.get("le")
        items.append((net, le if le and le > net.prefixlen else None))
    items.sort(key=lambda pair: (int(pair[0].network_address), pair[0].prefixlen))
    return [(str(net), le) for net, le in items]


def export_list(vrf: Vrf, family: Family) -> list[str]:
    """Return the prefixes that the tenant announces, sorted."""
    return _sorted((vrf.get("export") or {}).get(family) or [])


def render_frr(vrf: Vrf, password: str | None = None, hostname: str = "", drain: str = "none") -> str:
    """Return the ``frr.conf`` of a VRF.

    password: TCP MD5 key of the sessions to the PE, or None. drain: the sides that shall send no traffic, one of
    DRAINS; packets in transit are still delivered. BGP asks the RIE to use other paths (RFC 8326), and BFD makes
    OpenStack's routers use the other gateway.
    """
    lines = [
        HEADER.format(name=vrf["name"]),
        "frr version 10.3",
        "frr defaults traditional",
        f"hostname {hostname}" if hostname else "!",
        # All levels: the only debug messages are those that _refusals enables.
        "log syslog",
        "!",
        *_refusals(vrf),
        *_prefix_lists(vrf),
        *_route_maps(vrf),
        *_statics(vrf),
        *_bgp(vrf, password, drain != "none"),
        *_bfd(vrf, drain == "all"),
        "end",
    ]
    return "\n".join(lines) + "\n"


def _statics(vrf: Vrf) -> list[str]:
    lines: list[str] = []
    peer = vrf.get("peer") or {}
    for family in FAMILIES:
        word = _WORD[family]
        for link in TRANSITS:
            if router := (vrf.get(link) or {}).get(ROUTER[family]):
                for prefix in export_list(vrf, family):
                    tail = f"{link} tag {TAG_EXPORT} bfd profile cloud"
                    lines.append(f"{word} route {prefix} {_address(router)} {tail}")
        if peer.get(NEIGHBOR[family]):
            for prefix, _le in accept_list(vrf, family):
                neighbor = _address(peer[NEIGHBOR[family]])
                lines.append(f"{word} route {prefix} {neighbor} peer tag {TAG_FLOATING} {FLOATING_DISTANCE}")
    return [*lines, "!"]


def _prefix_lists(vrf: Vrf) -> list[str]:
    lines: list[str] = []
    for family in FAMILIES:
        word = _WORD[family]
        export = export_list(vrf, family)
        for index, prefix in enumerate(export):
            lines.append(f"{word} prefix-list export-{family} seq {5 * (index + 1)} permit {prefix}")
        if not export:
            lines.append(f"{word} prefix-list export-{family} seq 5 deny any")
        accept = accept_list(vrf, family)
        for index, (prefix, le) in enumerate(accept):
            bound = f" le {le}" if le else ""
            lines.append(f"{word} prefix-list accept-{family} seq {5 * (index + 1)} permit {prefix}{bound}")
        if not accept:
            lines.append(f"{word} prefix-list accept-{family} seq 5 deny any")
    return [*lines, "!"]


def _refusals(vrf: Vrf) -> list[str]:
    """Log every route of the PE, with the reason if the allow-list refuses it.

    FRR 10.3 also accepts a prefix-list here, to log less, but then logs nothing at all.
    """
    peers = [item["address"] for item in _neighbors(vrf) if item["kind"] == "pe"]
    return [*(f"debug bgp updates in {address}" for address in peers), "!"]


def _route_maps(vrf: Vrf) -> list[str]:
    lines: list[str] = []
    settings = [
        f" set {kind} {' '.join(values)}"
        for kind, values in (
            ("community", [_community(*item) for item in _numbers(vrf.get("communities"))]),
            ("large-community", [":".join(map(str, item)) for item in _numbers(vrf.get("large_communities"))]),
        )
        if values
    ]
    for family in FAMILIES:
        match = _WORD[family]
        lines += [
            f"route-map static-{family} permit 10",
            f" match {match} address prefix-list export-{family}",
            f" match tag {TAG_EXPORT}",
            "exit",
            "!",
            f"route-map pe-in-{family} permit 10",
            f" match {match} address prefix-list accept-{family}",
            "exit",
            "!",
            f"route-map pe-out-{family} permit 10",
            f" match {match} address prefix-list export-{family}",
            *settings,
            "exit",
            "!",
        ]
        for number, name in ((10, "export"), (20, "accept")):
            lines += [
                f"route-map peer-{family} permit {number}",
                f" match {match} address prefix-list {name}-{family}",
                "exit",
                "!",
            ]
    return lines


def _numbers(communities: list[str] | None) -> list[tuple[int, ...]]:
    """Return communities as FRR stores them: sorted by value, without duplicates."""
    return sorted({tuple(map(int, item.split(":"))) for item in communities or []})


def _community(administrator: int, number: int) -> str:
    name = _WELL_KNOWN.get(number) if administrator == 65535 else None
    return name or f"{administrator}:{number}"


def _neighbors(vrf: Vrf) -> list[dict[str, Any]]:
    """``{kind, family, address, asn}`` of all BGP neighbors of the VRF."""
    found = []
    pe, peer = vrf.get("pe") or {}, vrf.get("peer") or {}
    for family in FAMILIES:
        if pe.get(family):
            found.append({"kind": "pe", "family": family, "address": _address(pe[family]), "asn": pe["asn"]})
    for family in FAMILIES:
        if peer.get(NEIGHBOR[family]):
            address = _address(peer[NEIGHBOR[family]])
            found.append({"kind": "peer", "family": family, "address": address, "asn": vrf["asn"]})
    return found


def _bgp(vrf: Vrf, password: str | None, shut: bool) -> list[str]:
    neighbors = _neighbors(vrf)
    pe = vrf.get("pe") or {}
    profiles = _bfd_profiles(vrf)
    lines = [
        f"router bgp {vrf['asn']}",
        f" bgp router-id {vrf['router_id']}",
        " no bgp default ipv4-unicast",
        *([" bgp graceful-shutdown"] if shut else []),
        " bgp reject-as-sets",
    ]
    for item in neighbors:
        name = f" neighbor {item['address']}"
        lines.append(f"{name} remote-as {item['asn']}")
        lines.append(f"{name} description {item['kind']}")
        # Two lines, as FRR prints them.
        lines += [f"{name} bfd", f"{name} bfd profile {item['kind'] if item['kind'] in profiles else 'rie'}"]
        timers = vrf.get("timers") or {}
        if item["kind"] == "pe":
            timers = pe.get("timers") or timers
            if password:
                lines.append(f"{name} password {password}")
            if pe.get("local_role"):
                # Never strict-mode: a PE without support for roles must still get its session (RFC 9234, 4.2).
                lines.append(f"{name} local-role customer")
        if timers.get("keepalive") and timers.get("hold"):
            lines.append(f"{name} timers {timers['keepalive']} {timers['hold']}")
        if timers.get("connect"):
            lines.append(f"{name} timers connect {timers['connect']}")
    lines.append(" !")
    limits, limits_out = pe.get("max_prefixes") or {}, pe.get("max_prefixes_out") or {}
    for family in FAMILIES:
        members = [item for item in neighbors if item["family"] == family]
        if not members:
            continue
        lines.append(f" address-family {_FAMILY[family]} unicast")
        lines.append(f"  redistribute static route-map static-{family}")
        for item in members:
            name = f"  neighbor {item['address']}"
            lines.append(f"{name} activate")
            if item["kind"] == "peer":
                lines.append(f"{name} next-hop-self")
            lines.append(f"{name} soft-reconfiguration inbound")
            if vrf.get("allow_own_as"):
                lines.append(f"{name} allowas-in 1")
            incoming, outgoing = ("pe-in", "pe-out") if item["kind"] == "pe" else ("peer", "peer")
            if item["kind"] == "pe":
                # Repeats the route-map: maximum-prefix counts refused routes only if a prefix-list refuses them.
                lines.append(f"{name} prefix-list accept-{family} in")
                if limits.get(family):
                    # force: count the received routes, not only those that pass the allow-list. FRR checks
                    # the count when it accepts a route.
                    lines.append(f"{name} maximum-prefix {limits[family]} restart {PREFIX_LIMIT_RESTART} force")
                limit_out = limits_out.get(family) or len(export_list(vrf, family)) + PREFIX_LIMIT_OUT_SLACK
                lines.append(f"{name} maximum-prefix-out {limit_out}")
            lines.append(f"{name} route-map {incoming}-{family} in")
            lines.append(f"{name} route-map {outgoing}-{family} out")
        lines.append(" exit-address-family")
        if family == "v4":
            lines.append(" !")
    return [*lines, "exit", "!"]


def _bfd_profiles(vrf: Vrf) -> dict[str, list[str]]:
    """The settings of each BFD profile: ``cloud`` for static routes, ``rie`` for BGP, ``pe`` if the PE's differ."""
    found = {"cloud": _bfd_settings(vrf.get("bfd")), "rie": _bfd_settings(vrf.get("bfd"))}
    towards_pe = _bfd_settings((vrf.get("pe") or {}).get("bfd") or vrf.get("bfd"))
    return found if towards_pe == found["rie"] else {"pe": towards_pe, **found}


def _bfd_settings(bfd: Bfd | None) -> list[str]:
    given: Mapping[str, Any] = bfd or {}
    values = {
        "transmit": given.get("transmit_ms") or _BFD_DEFAULTS["transmit"],
        "receive": given.get("receive_ms") or _BFD_DEFAULTS["receive"],
        "multiplier": given.get("multiplier") or _BFD_DEFAULTS["multiplier"],
    }
    spelt = {
        "multiplier": "detect-multiplier",
        "transmit": "transmit-interval",
        "receive": "receive-interval",
    }
    return [f"  {spelt[key]} {values[key]}" for key in spelt if values[key] != _BFD_DEFAULTS[key]]


def _bfd(vrf: Vrf, shut: bool) -> list[str]:
    lines = ["bfd"]
    for name, settings in _bfd_profiles(vrf).items():
        closed = ["  shutdown"] if shut and name == "cloud" else []
        lines += [f" profile {name}", *settings, *closed, " exit", " !"]
    return [*lines, "exit", "!"]


ZEBRA = "/usr/local/lib/socle/start-zebra"
"""Starts zebra after it has removed the files of a crashed predecessor; installed by the role."""
MGMTD = "/usr/local/lib/socle/start-mgmtd"
"""Starts mgmtd after it has read its part of frr.conf; installed by the role."""


def render_daemons(vrf: Vrf) -> str:
    """Return the ``daemons`` file: the daemons to run, and their namespace. No daemon listens on a TCP vty.

    A daemon that fails repeatedly is restarted after 5 s, then after longer and longer times, up to 120 s. FRR's own 60
    s to 600 s count from the start of the instance, so a daemon that fails in its first minute would be down for that
    long.
    """
    return "\n".join(
        [
            f"# Written by cloudwatt.socle for VRF {vrf['name']}.",
            "bgpd=yes",
            "bfdd=yes",
            "vtysh_enable=yes",
            'zebra_options="-P 0 -s 90000000"',
            f'zebra_wrap="{ZEBRA}"',
            'mgmtd_options="-P 0"',
            f'mgmtd_wrap="{MGMTD}"',
            'staticd_options="-P 0"',
            'bgpd_options="-P 0"',
            'bfdd_options="-P 0"',
            f'watchfrr_options="--netns={vrf["netns"]} --min-restart-interval 5 --max-restart-interval 120"',
            "",
        ]
    )


VTYSH = "service integrated-vtysh-config\n"


def render_drop_in(vrf: Vrf) -> str:
    """Return the drop-in that binds an instance's unit to its namespace.

    Each instance has its own drop-in, not one for the template: systemd does not expand ``%I`` in the name of a unit,
    and ``%i`` is escaped if the VRF's name has a dash.
    """
    return f"""\
# Written by cloudwatt.socle.
[Unit]
Requires=socle-netns@{vrf["netns"]}.service
After=socle-netns@{vrf["netns"]}.service
# At boot, ovn-controller claims the routers' ports as soon as it runs: by then their next hop has to answer.
Before=ovn-controller.service
OnFailure=

[Service]
RestartSec=1
"""


MANAGED = "# Written by cloudwatt.socle"

_PASSWORD = re.compile(r"(neighbor \S+ password) [^\n]*")


def masked(text: str) -> str:
    """The text with every password replaced, for diffs and messages."""
    return _PASSWORD.sub(r"\1 ********", text)


_EXPORTED = re.compile(r"^ip(?:v6)? prefix-list export-v[46] seq \d+ permit (\S+)$", re.M)


def exported(text: str | None) -> set[str]:
    """Return the prefixes that a configuration lets a VRF announce; empty if there is no configuration."""
    return set(_EXPORTED.findall(text or ""))


def _router(text: str) -> tuple[str | None, dict[str, str | None]]:
    """Return the ``router bgp`` line and ``{neighbor: password or None}`` of a configuration."""
    router = re.search(r"^router bgp \d+", text, re.M)
    found: dict[str, str | None] = {}
    for name in re.findall(r"^ neighbor (\S+) remote-as ", text, re.M):
        found.setdefault(name, None)
    for name, value in re.findall(r"^ neighbor (\S+) password (.*)$", text, re.M):
        found[name] = value
    return (router.group(0) if router else None), found


def password_prelude(running: str, wanted: str) -> str:
    """Return the lines to load from a file before ``frr-reload.py`` runs, "" if there are none.

    ``frr-reload.py`` deletes lines through ``vtysh -c "no neighbor ... password SECRET"``, and every user of the
    node can read that in the process list. Therefore changed passwords, and removals of neighbors that have one, are
    loaded first from a file that only root can read; ``frr-reload.py`` then has no password left to delete.
    """
    old_router, old = _router(running)
    new_router, new = _router(wanted)
    if old_router is None:
        return ""
    if old_router != new_router:
        return f"no {old_router}\n" if any(old.values()) else ""
    lines = []
    for name, value in old.items():
        if value is None:
            continue
        if name not in new:
            lines.append(f" no neighbor {name}")
        elif new[name] is None:
            lines.append(f" no neighbor {name} password")
        elif new[name] != value:
            lines.append(f" neighbor {name} password {new[name]}")
    return "\n".join([old_router, *lines, "exit", ""]) if lines else ""
