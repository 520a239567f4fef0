# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The sessions that a gateway's VRFs should have, compared with their state in FRR. Pure, no I/O.

An entry is ``{gateway, vrf, what, neighbor, state, ok, detail, seconds, accepted, announced}``: ``what`` is
``BGP PE v4``, ``BGP peer v6``, ``BFD router v4`` and so on, ``state`` is FRR's word for the state, or ``absent``.
``seconds`` is the duration of this state, ``accepted`` and ``announced`` are numbers of prefixes; None if FRR does not
report them. A BGP session with a provider edge must also announce every exported prefix and accept at least one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

FAMILIES = ("v4", "v6")
_UNTOLD: dict[str, int | None] = {"seconds": None, "accepted": None, "announced": None}
_BGP_FAMILY = {"v4": "ipv4Unicast", "v6": "ipv6Unicast"}


def expected(vrf: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the BGP and BFD neighbours of one VRF of ``plan.gateways[HOST].vrfs``: ``{kind, family, neighbor}``.

    Kinds ``PE`` and ``peer`` have both protocols, ``router`` (the static routes towards OVN) has only BFD.
    """
    found = []
    for kind, part, key in (("PE", "pe", ""), ("peer", "peer", "neighbor_"), ("router", "cloud", "router_")):
        for family in FAMILIES:
            neighbor = (vrf.get(part) or {}).get(key + family)
            if neighbor:
                found.append({"kind": kind, "family": family, "neighbor": neighbor.partition("/")[0]})
    return found


def judge(
    gateway: str,
    vrf: Mapping[str, Any],
    bgp: Mapping[str, Any] | None,
    bfd: Sequence[Mapping[str, Any]] | None,
    unsigned: str = "",
) -> list[dict[str, Any]]:
    """Return every expected session of a VRF with its state.

    :param bgp: ``show bgp summary json`` of the instance, None if it does not answer.
    :param bfd: ``show bfd peers json`` of the instance, None if it does not answer.
    :param unsigned: text about segments with a wrong key, added to sessions with a provider edge that are down.
    """
    if bgp is None and bfd is None:
        silent = {"what": "FRR instance", "neighbor": vrf["name"], "state": "not answering"}
        return [{"gateway": gateway, "vrf": vrf["name"], **silent, **_UNTOLD, "ok": False, "detail": ""}]
    entries = []
    watched = {peer["peer"]: peer for peer in bfd or []}
    for session in expected(vrf):
        neighbor, family = session["neighbor"], session["family"]
        common = {"gateway": gateway, "vrf": vrf["name"], "neighbor": neighbor}
        name = f"{session['kind']} {family}"
        if session["kind"] != "router":
            peers = ((bgp or {}).get(_BGP_FAMILY[family]) or {}).get("peers") or {}
            entry = {**common, "what": f"BGP {name}", **_bgp(peers.get(neighbor))}
            if session["kind"] == "PE" and entry["ok"]:
                entry |= _routes(vrf, family, peers[neighbor])
            elif session["kind"] == "PE" and unsigned:
                entry["detail"] = "; ".join(filter(None, [entry["detail"], unsigned]))
            entries.append(entry)
        entries.append({**common, "what": f"BFD {name}", **_bfd(watched.get(neighbor))})
    return entries


def text(entry: Mapping[str, Any]) -> str:
    """Return an entry as one line: ``gw1 interieur: BFD router v4 100.64.0.2 is down (why)``."""
    detail = f" ({entry['detail']})" if entry.get("detail") else ""
    where = f"{entry['gateway']} {entry['vrf']}: {entry['what']} {entry['neighbor']}"
    return f"{where} is {entry['state']}{detail}"


def prefixes(answer: Mapping[str, Any] | None) -> list[str]:
    """Return the prefixes in FRR's answer about a neighbour's routes; the name of its table varies between answers."""
    tables = ("receivedRoutes", "routes", "advertisedRoutes")
    table: Mapping[str, Any] = next((answer[name] for name in tables if answer.get(name)), {}) if answer else {}
    return sorted(table, key=lambda prefix: (ipaddress.ip_network(prefix).version, ipaddress.ip_network(prefix)))


def _bgp(peer: Mapping[str, Any] | None) -> dict[str, Any]:
    if peer is None:
        return {**_UNTOLD, "state": "absent", "ok": False, "detail": "FRR knows no such neighbour"}
    state, ok = peer.get("state", "unknown"), peer.get("state") == "Established"
    told = {**_UNTOLD, "seconds": peer.get("peerUptimeMsec", 0) // 1000 or None}
    if not ok:
        return {**told, "state": state, "ok": ok, "detail": ""}
    told |= {"accepted": peer.get("pfxRcd", 0), "announced": peer.get("pfxSnt", 0)}
    detail = f"{told['accepted']} prefixes in, {told['announced']} out, up {peer.get('peerUptime', '?')}"
    return {**told, "state": state, "ok": ok, "detail": detail}


def _routes(vrf: Mapping[str, Any], family: str, peer: Mapping[str, Any]) -> dict[str, Any]:
    """Check that a session that is up carries its routes: the other gateway would hide a fault from every packet."""
    exported = len((vrf.get("export") or {}).get(family) or [])
    if (sent := peer.get("pfxSnt", 0)) < exported:
        return {"ok": False, "detail": f"announces {sent} of {exported} prefixes"}
    if (vrf.get("accept") or {}).get(family) and not peer.get("pfxRcd", 0):
        return {"ok": False, "detail": "accepts no prefix of the provider edge"}
    return {}


def _bfd(peer: Mapping[str, Any] | None) -> dict[str, Any]:
    if peer is None:
        return {**_UNTOLD, "state": "absent", "ok": False, "detail": "FRR knows no such peer"}
    state = peer.get("status", "unknown")
    told = {**_UNTOLD, "seconds": peer.get("uptime", peer.get("downtime")), "state": state}
    if state == "shutdown":  # set by FRR itself, which only a drained gateway's configuration asks for
        return {**told, "ok": True, "detail": "the gateway is drained"}
    why = peer.get("diagnostic") or ""
    return {**told, "ok": state == "up", "detail": "" if state == "up" or why == "ok" else why}
