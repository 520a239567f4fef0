# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Configuration of one FRR instance per VRF, rendered from the gateway plan. Pure. Written for FRR 10.3.

Lines are spelt exactly as FRR prints them (``show running-config``), defaults left out: ``frr-reload.py`` compares
text, and a line FRR spells differently would be "changed" at every run. For the shape of a VRF see ``gateway.py``.
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
# From where a gateway shall get no traffic: the RIE and the cloud, the RIE alone, or neither.
#
# Draining does both at once. Nothing is taken away by it, so its order cannot lose anything: FRR keeps a static route
# whose BFD session it shut down itself, and routes under graceful shutdown stay, as the last choice. RIE -> cloud: what
# still comes from the PE has the static route, until the PE and the sites prefer the other gateway. Cloud -> RIE: what
# OVN still sends has a route by the other gateway over `peer` (its iBGP route is preferred now; the PE's own has local
# preference 0, and the floating static is for neither being there) until OVN knows that its session is down.
#
# Undraining has two steps, for the way back does take something away. A BFD session that is no longer shut down is
# down at first, and staticd withdraws its route for the second or so until it is up. Meanwhile the way into the cloud
# is by the other gateway, and what came in before bgpd and zebra agreed on that is lost. So BFD is first ("rie"):
#   RIE -> cloud  graceful shutdown keeps the PE and the sites on the other gateway, so that nothing comes in;
#   cloud -> RIE  OVN takes us back as soon as its session is up; what it sends goes on over `peer`.
# Once the sessions are up the static routes are back, and graceful shutdown may go ("none"): the PE finds a gateway
# that delivers, and what comes from the cloud moves from `peer` to the PE by one replaced route. The other order
# would bring the PE's traffic just when the static routes go; both at once is a race between the two.
DRAINS = ("all", "rie", "none")
# Minutes before a session that exceeded maximum-prefix is tried again.
PREFIX_LIMIT_RESTART = 5
# Room in maximum-prefix-out for a change that adds before it deletes.
PREFIX_LIMIT_OUT_SLACK = 10

_WORD = {"v4": "ip", "v6": "ipv6"}
_FAMILY = {"v4": "ipv4", "v6": "ipv6"}
_BFD_DEFAULTS = {"transmit": 300, "receive": 300, "multiplier": 3}
# FRR prints these communities (65535:number, RFC 1997 and later ones) by name.
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
    """What the PE may announce: ``(prefix, le)`` sorted; ``le`` None when only the prefix itself is allowed."""
    items = []
    for item in (vrf.get("accept") or {}).get(family) or []:
        net = ipaddress.ip_network(item["prefix"])
        le = item.get("le")
        items.append((net, le if le and le > net.prefixlen else None))
    items.sort(key=lambda pair: (int(pair[0].network_address), pair[0].prefixlen))
    return [(str(net), le) for net, le in items]


def export_list(vrf: Vrf, family: Family) -> list[str]:
    """What the tenant announces, sorted."""
    return _sorted((vrf.get("export") or {}).get(family) or [])


def render_frr(vrf: Vrf, password: str | None = None, hostname: str = "", drain: str = "none") -> str:
    """The ``frr.conf`` of a VRF.

    password: TCP MD5 key of the sessions to the PE, or None. drain: from where no traffic shall come here, one of
    DRAINS, while what is still under way is delivered. The RIE is asked by BGP to take other paths (RFC 8326),
    OpenStack's routers are told by BFD to use the other gateway.
    """
    lines = [
        HEADER.format(name=vrf["name"]),
        "frr version 10.3",
        "frr defaults traditional",
        f"hostname {hostname}" if hostname else "!",
        # Of every level: nothing is debugged but what _refusals asks for.
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
    """A line in the log for every route of the PE, and why, if the allow-list refuses it.

    FRR 10.3 takes a prefix-list here as well, to log less, and then logs nothing at all.
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
    """Communities as FRR keeps them: sorted by value, each once."""
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
                # Never strict-mode: a PE that does not know of roles must still get its session (RFC 9234, 4.2).
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
                # Besides the route-map, which says the same: of what is refused, maximum-prefix counts only this.
                lines.append(f"{name} prefix-list accept-{family} in")
                if limits.get(family):
                    # force: count what is received, not what the allow-list leaves of it. FRR looks at the count
                    # when it accepts a route.
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
    """The settings of each BFD profile: ``cloud`` of static routes, ``rie`` of BGP, ``pe`` where the PE's differ."""
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
"""What starts zebra, once the remains of one that died are gone; the role installs it."""
MGMTD = "/usr/local/lib/socle/start-mgmtd"
"""What starts mgmtd with its part of frr.conf already read; the role installs it."""


def render_daemons(vrf: Vrf) -> str:
    """The ``daemons`` file: which daemons run, and in which namespace. No daemon listens on a TCP vty.

    A daemon that dies again soon is started after 5 s, then ever later, up to 120 s; FRR's own 60 s to 600 s count
    from the start of the instance, so that one which dies in its first minute would be missed for as long.
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
    """What ties an instance's unit to its namespace.

    One for each instance and not one for the template: systemd expands ``%I`` nowhere in the name of a unit, and ``%i``
    is escaped where the VRF's name has a dash.
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
    """What a configuration lets a VRF announce; nothing when there is none."""
    return set(_EXPORTED.findall(text or ""))


def _router(text: str) -> tuple[str | None, dict[str, str | None]]:
    """The ``router bgp`` line and ``{neighbor: password or None}`` of a configuration."""
    router = re.search(r"^router bgp \d+", text, re.M)
    found: dict[str, str | None] = {}
    for name in re.findall(r"^ neighbor (\S+) remote-as ", text, re.M):
        found.setdefault(name, None)
    for name, value in re.findall(r"^ neighbor (\S+) password (.*)$", text, re.M):
        found[name] = value
    return (router.group(0) if router else None), found


def password_prelude(running: str, wanted: str) -> str:
    """What has to be loaded from a file before ``frr-reload.py`` may work on a change.

    ``frr-reload.py`` deletes lines through ``vtysh -c "no neighbor ... password SECRET"``, which every user of the
    node can read in the process list. So changes of passwords, and removals of neighbors that have one, go ahead
    from a file that only root reads; afterwards there is no password left to delete. "" if nothing is to be done.
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
