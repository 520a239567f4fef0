# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Simulate the RIE in a lab: provider edges and sites are namespaces, each with its own BIRD. Pure.

All configuration mirrors the intent of the inventory: ``rie_tenants[].vrfs[].links.<gateway>`` describes a link of a
VRF, and the provider edge has the other end of it. A VRF of a provider edge is a namespace ``<pe>-<vrf>``, because some
kernels have no VRF devices. A site is a namespace ``ce-<site>``. It has the first address of each of its prefixes on
``lo`` and speaks eBGP with every provider edge of its VRF, so that it stays reachable if one fails. Provider edges
accept all routes that a gateway announces: tests detect leaks there, independently of the gateways' own filters.

Routes pass between the VRFs of a provider edge as in RFC 4364. The provider edge attaches the export targets of the VRF
as extended communities. Another VRF imports a route if one of its import targets is among them, and does not pass it on
to a third VRF. Two namespaces have a link between them only if one imports a target of the other.

Inputs besides the intent::

    uplinks: {gw1: {pe: pe1, bridge: br-pe1, port: pe1}, gw2: {...}}
    sites:   [{name, vrf, v4: cidr, v6: cidr, asn}]
    access:  {v4: cidr, v6: cidr}      # pools of the links between provider edges and sites: /31 and /127
    core:    cidr                      # pool of the links between VRFs of a provider edge: IPv6, a /64 per VLAN pair
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from .intent import profile

FAMILIES = ("v4", "v6")

_SYSCTLS = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.all.keep_addr_on_down": "1",
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
}
_ROUTER = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
}


class _Edge:
    """One VRF on one provider edge."""

    def __init__(self, pe: str, uplink: dict[str, Any], vrf: dict[str, Any], link: dict[str, Any]) -> None:
        self.pe, self.uplink, self.vrf, self.link = pe, uplink, vrf, link
        self.netns = f"{pe}-{vrf['name']}"
        # (site, own addresses on its link) for each site
        self.sites: list[tuple[dict[str, Any], dict[str, str]]] = []
        # (the other VRF on this provider edge, own address on the link between them, the other address)
        self.neighbours: list[tuple[_Edge, str, str]] = []

    def wants(self, other: _Edge) -> bool:
        """Tell whether this VRF imports a route target of another."""
        return not set(self.vrf.get("import_targets", ())).isdisjoint(other.vrf.get("export_targets", ()))


def _vrfs(tenants: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for tenant in tenants:
        yield from tenant["vrfs"]


def _with_length(address: str, cidr: str) -> str:
    return f"{address}/{ipaddress.ip_interface(cidr).network.prefixlen}"


def _plain(address: str) -> str:
    return str(ipaddress.ip_interface(address).ip)


def first_address(cidr: str) -> str:
    """Return the first usable address of a site's prefix."""
    return str(ipaddress.ip_network(cidr)[1])


def _pairs(access: dict[str, str], number: int) -> dict[str, tuple[str, str]]:
    """Return both ends of access link ``number`` by family. Raises ValueError if a pool has no room."""
    pairs = {}
    for family, length in (("v4", 31), ("v6", 127)):
        pool = ipaddress.ip_network(access[family])
        base = pool.network_address + 2 * number
        if base + 1 not in pool:
            raise ValueError(f"access.{family}: {access[family]} has no room for link {number}")
        pairs[family] = (f"{base}/{length}", f"{base + 1}/{length}")
    return pairs


def _join(edges: list[_Edge], core: str) -> None:
    """Link the VRFs of each provider edge that exchange routes.

    The addresses of a link depend only on the VLANs of its two VRFs. They do not change when other tenants are added
    or removed.
    """
    pool = ipaddress.ip_network(core)
    for one, other in combinations(edges, 2):
        if one.pe != other.pe or not (one.wants(other) or other.wants(one)):
            continue
        low, high = sorted((one, other), key=lambda edge: edge.link["vlan"])
        number = (low.link["vlan"] << 16) + high.link["vlan"]
        if number << 64 >= pool.num_addresses:
            raise ValueError(f"core: {core} has no room for a link between VLANs, give a /32")
        base = pool.network_address + (number << 64)
        low.neighbours.append((high, str(base + 1), str(base + 2)))
        high.neighbours.append((low, str(base + 2), str(base + 1)))


def build(
    tenants: list[dict[str, Any]],
    uplinks: dict[str, dict[str, Any]],
    sites: list[dict[str, Any]],
    access: dict[str, str],
    core: str,
    bgp: dict[str, Any],
    asn: int,
    secrets: dict[str, str],
    mtu: int = 1500,
    tx_offload: bool = True,
) -> dict[str, Any]:
    """Return ``{definitions, trunks, files: {netns: bird.conf}}`` of the whole backbone.

    ``bgp`` is ``rie_bgp``; ``asn`` is the AS number of the cloud. Raises ValueError if a site names a VRF that does not
    exist, or if a pool is exhausted; KeyError if a password secret is missing.
    """
    edges: dict[str, list[_Edge]] = {}
    trunks: dict[str, list[int]] = {uplink["port"]: [] for uplink in uplinks.values()}
    for vrf in _vrfs(tenants):
        for gateway, link in sorted(vrf["links"].items()):
            if gateway not in uplinks:
                continue
            uplink = uplinks[gateway]
            edges.setdefault(vrf["name"], []).append(_Edge(uplink["pe"], uplink, vrf, link))
            trunks[uplink["port"]].append(link["vlan"])
    definitions: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    number = 0
    for index, site in enumerate(sites):
        if site["vrf"] not in edges:
            raise ValueError(f"backbone site {site['name']}: no VRF {site['vrf']} with a link to this backbone")
        own_asn = site.get("asn", 65100 + index)
        sessions = []
        links = []
        for edge in edges[site["vrf"]]:
            pairs = _pairs(access, number)
            number += 1
            edge.sites.append((dict(site, asn=own_asn), {family: pairs[family][0] for family in FAMILIES}))
            far = {"netns": edge.netns, "name": f"s-{site['name']}"}
            addresses = [pairs[family][1] for family in FAMILIES]
            links.append({"name": edge.pe, "mtu": mtu, "addresses": addresses, "far": far})
            for family in FAMILIES:
                near, remote = pairs[family][1], pairs[family][0]
                sessions.append(_session(edge.pe, family, near, own_asn, remote, edge.link["asn"], bgp, None, "site"))
        loopback = [
            f"{first_address(site[family])}/{32 if family == 'v4' else 128}" for family in FAMILIES if site.get(family)
        ]
        netns = f"ce-{site['name']}"
        definitions.append(_definition(netns, [*links, {"name": "lo", "addresses": loopback}], router=False))
        files[netns] = _site_config(site, _router_id(links), bgp, sessions)
    _join([edge for vrf_edges in edges.values() for edge in vrf_edges], core)
    for vrf_edges in edges.values():
        for edge in vrf_edges:
            definitions.append(_edge_definition(edge, mtu, tx_offload))
            files[edge.netns] = _edge_config(edge, asn, bgp, secrets)
    return {"definitions": definitions, "trunks": trunks, "files": files}


def _definition(name: str, links: list[dict[str, Any]], router: bool) -> dict[str, Any]:
    sysctls = {**_SYSCTLS, **(_ROUTER if router else {})}
    return {"name": name, "owner": "netns", "sysctls": sysctls, "links": links}


def _edge_definition(edge: _Edge, mtu: int, tx_offload: bool) -> dict[str, Any]:
    link = edge.link
    gateway = {
        "name": "gw",
        "host": edge.netns,
        "bridge": edge.uplink["bridge"],
        "tag": link["vlan"],
        "mtu": link.get("mtu", mtu),
        "addresses": [_with_length(link[f"peer_{family}"], link[f"local_{family}"]) for family in FAMILIES],
        "tx_offload": tx_offload,
    }
    access = [
        {
            "name": f"s-{site['name']}",
            "mtu": mtu,
            "addresses": [near[family] for family in FAMILIES],
            "far": {"netns": f"ce-{site['name']}", "name": edge.pe},
        }
        for site, near in edge.sites
    ]
    between = [
        {
            "name": f"i-{other.vrf['name']}",
            "mtu": mtu,
            "addresses": [f"{near}/64"],
            "far": {"netns": other.netns, "name": f"i-{edge.vrf['name']}"},
        }
        for other, near, _far in edge.neighbours
    ]
    return _definition(edge.netns, [gateway, *access, *between], router=True)


def _router_id(links: list[dict[str, Any]]) -> str:
    return _plain(next(address for address in links[0]["addresses"] if ":" not in address))


def _session(
    name: str, family: str, near: str, near_asn: int, far: str, far_asn: int,
    bgp: dict[str, Any], password: str | None, kind: str, role: str = "",
) -> list[str]:  # fmt: skip
    """Return a session of BIRD. ``kind``: gateway (GTSM, accepts everything), access (PE to site), site (site to PE).

    ``role``: the local role towards the neighbor (RFC 9234), or an empty string.
    """
    channel = {"v4": "ipv4", "v6": "ipv6"}[family]
    protocol = f"{name}_{family}".replace("-", "_")
    # A site announces only its own prefixes and is no transit; a provider edge announces the routes that it learned.
    export = "where source = RTS_STATIC" if kind == "site" else "where source = RTS_BGP"
    password_lines = [f'\tpassword "{password}";'] if password else []
    return [
        f"protocol bgp {protocol} {{",
        f"\tlocal {_plain(near)} as {near_asn};",
        f"\tneighbor {_plain(far)} as {far_asn};",
        *password_lines,
        "\tbfd yes;",
        *(["\tttl security yes;"] if kind == "gateway" else []),
        *([f"\tlocal role {role};"] if role else []),
        f"\tkeepalive time {bgp['keepalive']};",
        f"\thold time {bgp['hold']};",
        f"\tconnect retry time {bgp['connect']};",
        "\tconnect delay time 1;",
        "\terror wait time 1, 5;",
        f"\t{channel} {{",
        # RFC 8326: a route with GRACEFUL_SHUTDOWN is used only if there is no other.
        "\t\timport filter { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; };",
        "\t\timport limit 1000 action block;",
        f"\t\texport {export};",
        "\t\tnext hop self;",
        "\t};",
        "}",
        "",
    ]


def _target(target: str) -> str:
    administrator, number = target.split(":")
    return f"(rt, {administrator}, {number})"


def _between(edge: _Edge, bgp: dict[str, Any]) -> list[str]:
    """Return the sessions with the other VRFs of the provider edge, and the filters by route target."""
    if not edge.neighbours:
        return []
    exported = [_target(target) for target in sorted(edge.vrf.get("export_targets", ()))]
    imported = [_target(target) for target in sorted(edge.vrf.get("import_targets", ()))]
    lines = [
        "filter to_others {",
        '\tif source != RTS_BGP || proto ~ "vrf_*" then reject;',
        "\tbgp_ext_community.empty;",  # remove route targets that a gateway may have set
        *[f"\tbgp_ext_community.add({target});" for target in exported],
        "\taccept;",
        "}",
        "",
        "filter from_others {",
        *([f"\tif !(bgp_ext_community ~ [{', '.join(imported)}]) then reject;"] if imported else ["\treject;"]),
        "\tbgp_ext_community.empty;",
        "\taccept;",
        "}",
        "",
    ]
    for other, near, far in edge.neighbours:
        lines += [
            f"protocol bgp vrf_{other.vrf['name']} {{".replace("-", "_"),
            f"\tlocal {near} as {edge.link['asn']};",
            f"\tneighbor {far} as {other.link['asn']};",
            "\tdirect;",
            f"\tkeepalive time {bgp['keepalive']};",
            f"\thold time {bgp['hold']};",
            f"\tconnect retry time {bgp['connect']};",
            "\tconnect delay time 1;",
            "\terror wait time 1, 5;",
            *[
                line
                for channel, own in (("ipv4", ["\t\textended next hop on;"]), ("ipv6", []))
                for line in (
                    f"\t{channel} {{",
                    "\t\timport filter from_others;",
                    "\t\texport filter to_others;",
                    "\t\tnext hop self;",
                    *own,
                    "\t};",
                )
            ],
            "}",
            "",
        ]
    return lines


def _bfd(interface: str, bfd: dict[str, int]) -> list[str]:
    return [
        f'\tinterface "{interface}" {{',
        f"\t\tmin rx interval {bfd['receive_ms']} ms;",
        f"\t\tmin tx interval {bfd['transmit_ms']} ms;",
        f"\t\tmultiplier {bfd['multiplier']};",
        "\t};",
    ]


def _common(
    router_id: str, bgp: dict[str, Any], export: dict[str, str], towards_gateway: dict[str, Any] | None = None
) -> list[str]:
    """Return the BIRD configuration that all namespaces share.

    ``towards_gateway``: the profile of the link ``gw``, or None if the namespace has no such link.
    """
    own = _bfd("gw", towards_gateway["bfd"]) if towards_gateway and towards_gateway["bfd"] != bgp["bfd"] else []
    kernel = []
    for family in FAMILIES:
        channel = {"v4": "ipv4", "v6": "ipv6"}[family]
        kernel += [
            f"protocol kernel kernel_{family} {{",
            "\tmerge paths yes;",
            f"\t{channel} {{",
            "\t\timport none;",
            f"\t\texport {export[family]};",
            "\t};",
            "}",
            "",
        ]
    return [
        "# Written by cloudwatt.socle: changes made here are lost.",
        "log stderr all;",
        f"router id {router_id};",
        "",
        "protocol device {",
        "\tscan time 2;",
        "}",
        "",
        "protocol bfd {",
        *own,  # BIRD uses the first entry that matches
        *_bfd("*", bgp["bfd"]),
        "}",
        "",
        *kernel,
    ]


def _edge_config(edge: _Edge, asn: int, bgp: dict[str, Any], secrets: dict[str, str]) -> str:
    link = edge.link
    password = secrets[link["password_secret"]] if link.get("password_secret") else None
    towards_gateway = profile(bgp, link)
    role = "provider" if link.get("local_role") else ""
    lines = _common(_plain(link["peer_v4"]), bgp, dict.fromkeys(FAMILIES, "all"), towards_gateway)
    for family in FAMILIES:
        near, far = link[f"peer_{family}"], link[f"local_{family}"]
        lines += _session("gateway", family, near, link["asn"], far, asn, towards_gateway, password, "gateway", role)
    for site, near in edge.sites:
        for family in FAMILIES:
            other = str(ipaddress.ip_interface(near[family]).ip + 1)
            lines += _session(
                f"site_{site['name']}",
                family,
                near[family],
                link["asn"],
                other,
                site["asn"],
                bgp,
                None,
                "access",
            )
    lines += _between(edge, bgp)
    return "\n".join(lines)


def _site_config(site: dict[str, Any], router_id: str, bgp: dict[str, Any], sessions: list[list[str]]) -> str:
    export = {}
    home: list[str] = []
    for family in FAMILIES:
        if not site.get(family):
            export[family] = "none"
            continue
        channel = {"v4": "ipv4", "v6": "ipv6"}[family]
        # Packets that the site sends itself use an address of the site as source, not one of the access link.
        export[family] = f"filter {{ if source = RTS_BGP then krt_prefsrc = {first_address(site[family])}; accept; }}"
        home += [
            f"protocol static home_{family} {{",
            f"\t{channel};",
            f"\troute {ipaddress.ip_network(site[family])} unreachable;",
            "}",
            "",
        ]
    lines = [*_common(router_id, bgp, export), *home]
    for session in sessions:
        lines += session
    return "\n".join(lines)


# In the same folder as the definition of the namespace, so that the passwords are removed with the VRF.
CONFIG_PATH = "/etc/socle/netns/{name}/bird.conf"
UNIT_PATH = "/etc/systemd/system/bird@.service"
UNIT_TEXT = """\
# Written by cloudwatt.socle.
[Unit]
Description=BIRD in the network namespace %i
Requires=socle-netns@%i.service
After=socle-netns@%i.service

[Service]
NetworkNamespacePath=/run/netns/%i
RuntimeDirectory=bird
RuntimeDirectoryPreserve=yes
ExecStartPre=/usr/sbin/bird -p -c /etc/socle/netns/%i/bird.conf
ExecStart=/usr/sbin/bird -f -u bird -g bird -c /etc/socle/netns/%i/bird.conf -s /run/bird/%i.ctl
ExecReload=/usr/sbin/birdc -s /run/bird/%i.ctl configure
Restart=on-failure
RestartSec=1

[Install]
WantedBy=socle-netns@%i.service
"""


def bird_files(configs: dict[str, str]) -> list[dict[str, Any]]:
    """Return the ``files`` of module node_service: a BIRD configuration per namespace, and the unit that they share."""
    files: list[dict[str, Any]] = [{"path": UNIT_PATH, "content": UNIT_TEXT}]
    for name, text in sorted(configs.items()):
        path = CONFIG_PATH.format(name=name)
        files.append(
            {
                "path": path,
                "content": text,
                "owner": "root",
                "group": "bird",
                "mode": "0640",
                "validate": "/usr/sbin/bird -p -c %s",
            }
        )
    return files


def bird_units(configs: dict[str, str]) -> list[dict[str, Any]]:
    """Return the ``units`` of module node_service for BIRD configurations by namespace."""
    return [
        {"name": f"bird@{name}.service", "reads": [CONFIG_PATH.format(name=name)], "on_change": "reload"}
        for name in sorted(configs)
    ]


def bridges(uplinks: list[dict[str, Any]], datapath_type: str) -> list[dict[str, Any]]:
    """Return the ``bridges`` of module ovs_switch."""
    ports: dict[str, list[dict[str, Any]]] = {}
    for uplink in uplinks:
        ports.setdefault(uplink["bridge"], []).append({"name": uplink["port"]})
    return [{"name": name, "datapath_type": datapath_type, "ports": ports[name]} for name in sorted(ports)]
