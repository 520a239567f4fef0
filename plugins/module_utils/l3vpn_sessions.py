# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Sessions that a gateway's VRFs should have, compared with what FRR says of them. Pure, no I/O.

An entry is ``{gateway, vrf, what, neighbor, state, ok, detail}``: ``what`` is ``BGP PE v4``, ``BGP peer v6``,
``BFD router v4`` and so on, ``state`` FRR's word for it or ``absent``. A BGP session with a provider edge
must also announce every exported prefix and accept some.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

FAMILIES = ("v4", "v6")
_BGP_FAMILY = {"v4": "ipv4Unicast", "v6": "ipv6Unicast"}


def expected(vrf: Mapping[str, Any]) -> list[dict[str, str]]:
    """BGP and BFD neighbours of one VRF of ``plan.gateways[HOST].vrfs``: ``{kind, family, neighbor}``.

    Kinds ``PE`` and ``peer`` have both protocols, ``router`` (the static routes towards OVN) has BFD alone.
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
    bfd: list[Mapping[str, Any]] | None,
    unsigned: str = "",
) -> list[dict[str, Any]]:
    """Every expected session of a VRF with its state.

    :param bgp: ``show bgp summary json`` of the instance, None when it does not answer.
    :param bfd: ``show bfd peers json``, likewise.
    :param unsigned: what is known of segments with a wrong key, said of sessions with a provider edge that are down.
    """
    if bgp is None and bfd is None:
        silent = {"what": "FRR instance", "neighbor": vrf["name"], "state": "not answering"}
        return [{"gateway": gateway, "vrf": vrf["name"], **silent, "ok": False, "detail": ""}]
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


def prefixes(answer: Mapping[str, Any] | None) -> list[str]:
    """The prefixes in FRR's answer about a neighbour's routes: it calls the table differently from one to the next."""
    tables = ("receivedRoutes", "routes", "advertisedRoutes")
    table = next((answer[name] for name in tables if answer.get(name)), {}) if answer else {}
    return sorted(table, key=lambda prefix: (ipaddress.ip_network(prefix).version, ipaddress.ip_network(prefix)))


def _bgp(peer: Mapping[str, Any] | None) -> dict[str, Any]:
    if peer is None:
        return {"state": "absent", "ok": False, "detail": "FRR knows no such neighbour"}
    state, ok = peer.get("state", "unknown"), peer.get("state") == "Established"
    if ok:
        detail = f"{peer.get('pfxRcd', 0)} prefixes in, {peer.get('pfxSnt', 0)} out"
        return {"state": state, "ok": ok, "detail": f"{detail}, up {peer.get('peerUptime', '?')}"}
    return {"state": state, "ok": ok, "detail": ""}


def _routes(vrf: Mapping[str, Any], family: str, peer: Mapping[str, Any]) -> dict[str, Any]:
    """A session that is up but carries too little: the other gateway would hide it from every packet."""
    exported = len((vrf.get("export") or {}).get(family) or [])
    if (sent := peer.get("pfxSnt", 0)) < exported:
        return {"ok": False, "detail": f"announces {sent} of {exported} prefixes"}
    if (vrf.get("accept") or {}).get(family) and not peer.get("pfxRcd", 0):
        return {"ok": False, "detail": "accepts no prefix of the provider edge"}
    return {}


def _bfd(peer: Mapping[str, Any] | None) -> dict[str, Any]:
    if peer is None:
        return {"state": "absent", "ok": False, "detail": "FRR knows no such peer"}
    state = peer.get("status", "unknown")
    if state == "shutdown":  # FRR's own doing, which only a drained gateway's configuration asks for
        return {"state": state, "ok": True, "detail": "the gateway is drained"}
    why = peer.get("diagnostic") or ""
    return {"state": state, "ok": state == "up", "detail": "" if state == "up" or why == "ok" else why}
