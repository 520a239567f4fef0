# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Which endpoints may reach each other: the matrix of probes and the verdict on their results. Pure, no I/O.

Shapes
------
guest:  ``{tenant, vrf, name, v4, v6}``, a smoke guest; addresses are plain strings, ``None``
        if it has none.
site:   ``{name, vrf, netns, v4, v6}``, a tenant's site behind the RIE; ``v4`` and ``v6`` as :func:`address`.
policy: ``{vrf: {"import": [rt, ...], "export": [rt, ...]}}``, the route target graph (RFC 4364, section 4.3).
probe:  ``{id, kind, from, to, from_vrf, to_vrf, proto, family, size, netns, source, target, via, expect,
        expect_name, expect_source}``. ``source`` and ``target`` are addresses, ``from`` and ``to`` are names;
        ``via`` is ``{name, address}`` of the guest that sends the probe on behalf of the site at ``source``.
result: ``{id, outcome, name, remote_addr, detail, rtt_ms, attempts}`` with one of the outcomes
        ``reach`` (the target answered), ``refused`` (a TCP reset came back), ``unreachable`` (silence
        or an ICMP error) and ``error`` (the probe could not be sent; this never counts as silence).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FAMILIES = ("v4", "v6")
PROTOCOLS = ("icmp", "http")
SITE_GUEST = "site-guest"
GUEST_GUEST = "guest-guest"
GUEST_SITE = "guest-site"
#: Bytes of IP and ICMP header in front of an echo payload.
ECHO_OVERHEAD = {"v4": 28, "v6": 48}


def complete_sites(sites: Iterable[Mapping[str, Any]], pattern: str = "ce-{name}") -> list[dict[str, Any]]:
    """Fill in the defaults of sites: ``netns`` by ``pattern``, plain addresses, the name ``site-NAME``."""
    return [
        {
            "name": f"site-{site['name']}",
            "vrf": site["vrf"],
            "netns": site.get("netns") or pattern.format(name=site["name"]),
            **{family: address(site.get(family)) for family in FAMILIES},
        }
        for site in sites
    ]


def policy_from_tenants(tenants: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return the route target policy of every VRF of the intent (``rie_tenants``).

    A VRF without explicit targets imports and exports only its own private target.
    """
    policy: dict[str, dict[str, list[str]]] = {}
    for tenant in tenants:
        for vrf in tenant.get("vrfs") or []:
            own = [f"own:{vrf['name']}"]
            policy[vrf["name"]] = {
                "import": [str(rt) for rt in vrf.get("import_targets") or own],
                "export": [str(rt) for rt in vrf.get("export_targets") or own],
            }
    return policy


def connected(policy: Mapping[str, Mapping[str, Sequence[str]]], one: str, other: str) -> bool:
    """Return True if packets can pass both ways: within one VRF, or if each VRF imports the routes of the other.

    A one-way import gives a route but no way back, so nothing is reachable over it.
    """
    if one == other:
        return True
    first, second = policy.get(one, {}), policy.get(other, {})
    return bool(set(first.get("export", ())) & set(second.get("import", ()))) and bool(
        set(second.get("export", ())) & set(first.get("import", ()))
    )


def address(value: str | None) -> str | None:
    """Return the address in ``value`` in canonical text; for a network prefix, the first address of the prefix.

    ``10.128.1.7`` and ``10.128.1.7/24`` are 10.128.1.7, ``10.128.1.0/24`` is 10.128.1.1.
    """
    if not value:
        return None
    interface = ipaddress.ip_interface(value)
    network = interface.network
    is_prefix = network.num_addresses > 2 and interface.ip == network.network_address
    return str(network[1] if is_prefix else interface.ip)


def matrix(
    guests: Sequence[Mapping[str, Any]],
    sites: Sequence[Mapping[str, Any]],
    policy: Mapping[str, Mapping[str, Sequence[str]]],
    mtu: int = 0,
) -> list[dict[str, Any]]:
    """Return every probe: site to guest, guest to guest and guest to site, for each family and protocol.

    The addresses of different tenants may overlap. A probe to the guest of another tenant therefore uses an
    address that nothing in the VRF of the source may have: it must stay unanswered there, too.

    The probes of a guest are relayed through its web server from a site of the same VRF; a guest in a
    VRF without a site can only be a target.

    :param mtu: if not 0, also check that an unfragmented packet of this many bytes passes from each
        site to the guests that it reaches ("too big" messages are unreliable in OVN: only a
        full packet shows a path that is too small).
    """
    probes: list[dict[str, Any]] = []
    homes: dict[str, Mapping[str, Any]] = {}
    for site in sites:
        homes.setdefault(site["vrf"], site)

    for site in sites:
        for guest in guests:
            allowed = connected(policy, site["vrf"], guest["vrf"])
            for family in FAMILIES:
                source, target = address(site.get(family)), address(guest.get(family))
                if not source or not target:
                    continue
                common = {
                    "from": site["name"],
                    "to": guest["name"],
                    "from_vrf": site["vrf"],
                    "to_vrf": guest["vrf"],
                    "netns": site.get("netns", ""),
                    "source": source,
                    "target": target,
                }
                for proto in PROTOCOLS:
                    probes.append(_probe(SITE_GUEST, family, proto, allowed, **common))
                if mtu and allowed:
                    probes.append(_probe(SITE_GUEST, family, "icmp", True, size=mtu - ECHO_OVERHEAD[family], **common))

    for guest in guests:
        home = homes.get(guest["vrf"])
        if home is None:
            continue
        targets: list[tuple[str, Mapping[str, Any], tuple[str, ...]]]
        targets = [(GUEST_GUEST, other, PROTOCOLS) for other in guests if other["name"] != guest["name"]]
        targets += [(GUEST_SITE, site, ("icmp",)) for site in sites]
        for kind, other, protocols in targets:
            allowed = connected(policy, guest["vrf"], other["vrf"])
            for family in FAMILIES:
                source, target = address(guest.get(family)), address(other.get(family))
                relay = _relay(home, guest)
                if not source or not target or relay is None:
                    continue
                for proto in protocols:
                    probes.append(
                        _probe(
                            kind,
                            family,
                            proto,
                            allowed,
                            **relay,
                            target=target,
                            **{
                                "from": guest["name"],
                                "to": other["name"],
                                "from_vrf": guest["vrf"],
                                "to_vrf": other["vrf"],
                            },
                            guest_source=source,
                        )
                    )
    return probes


def _relay(home: Mapping[str, Any], guest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how the site ``home`` contacts ``guest``: over the first family that both have."""
    for family in FAMILIES:
        here, there = address(home.get(family)), address(guest.get(family))
        if here and there:
            return {
                "netns": home.get("netns", ""),
                "source": here,
                "via": {"name": guest["name"], "address": there},
            }
    return None


def _probe(kind: str, family: str, proto: str, allowed: bool, **facts: Any) -> dict[str, Any]:
    """Return one probe; its id is unique within a matrix."""
    via = facts.get("via")
    size = facts.get("size", 0)
    named = proto == "http" and allowed
    return {
        "id": f"{facts['from']}>{facts['to']}:{family}:{proto}" + (f":{size}" if size else ""),
        "kind": kind,
        "from": facts["from"],
        "to": facts["to"],
        "from_vrf": facts["from_vrf"],
        "to_vrf": facts["to_vrf"],
        "proto": proto,
        "family": family,
        "size": size,
        "netns": facts["netns"],
        "source": facts["source"],
        "target": facts["target"],
        "via": via,
        "expect": "reach" if allowed else "unreachable",
        "expect_name": facts["to"] if named else None,
        "expect_source": (facts.get("guest_source") if via else facts["source"]) if named else None,
    }


def satisfied(probe: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Return True if ``result`` is all that ``probe`` expects."""
    return _complaint(probe, result) is None


def _complaint(probe: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    """Return the fault of ``result``, or None if there is none."""
    outcome, detail = result.get("outcome", "error"), result.get("detail") or ""
    expected = "reached" if probe["expect"] == "reach" else "unreachable"
    if outcome == "error":
        return f"expected {expected}, could not be measured" + (f" ({detail})" if detail else "")
    if probe["expect"] == "unreachable":
        if outcome == "unreachable":
            return None
        answer = "reached" if outcome == "reach" else "something answers (connection refused)"
        name = result.get("name")
        return f"expected unreachable, {answer}" + (f", by {name}" if name else "")
    if outcome != "reach":
        return (
            "expected reached, "
            + ("refused" if outcome == "refused" else "unreachable")
            + (f" ({detail})" if detail else "")
        )
    if probe.get("expect_name") and result.get("name") != probe["expect_name"]:
        return f"expected reached, the answer came from {result.get('name') or 'a host that gives no name'}"
    seen, wanted = _seen_source(result), address(probe.get("expect_source"))
    if wanted and seen != wanted:
        return f"expected reached from {wanted}, the guest saw {seen or 'no source address'}"
    return None


def _seen_source(result: Mapping[str, Any]) -> str | None:
    """The source address that the guest saw; a v4-mapped v6 address counts as the v4 one."""
    text = result.get("remote_addr")
    if not text:
        return None
    try:
        seen = ipaddress.ip_address(str(text).strip("[]").split("%")[0])
    except ValueError:
        return str(text)
    mapped = getattr(seen, "ipv4_mapped", None)
    return str(mapped or seen)


def label(probe: Mapping[str, Any]) -> str:
    """Return the display name of a probe: ``site-interieur -> guest-finances v6 http``."""
    size = f" {probe['size']} bytes, unfragmented" if probe.get("size") else ""
    return f"{probe['from']} -> {probe['to']} {probe['family']} {probe['proto']}{size}"


def judge(probes: Sequence[Mapping[str, Any]], results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Compare the results with what the probes expect.

    Silence proves isolation only between ends that are known to work: an unanswered probe counts as
    *proven* if, in the same family, its source reached some target and its target was reached from some source.
    An unproven probe is no violation (a missing positive answer is one), but it is listed
    and never shown as isolation.

    :return: ``{ok, counts: {total, as_expected, violations, unproven}, probes, violations, unproven}``:
        the probes with ``seen``, ``verdict`` (``ok``, ``violation`` or ``unproven``), ``detail``, ``seen_name``,
        ``seen_source``, ``rtt_ms`` and ``attempts``; violations ``{id, from, to, text}``; unproven as labels.
    """
    by_id = {result["id"]: result for result in results}
    missing = {"outcome": "error", "detail": "no result"}
    complaints = {probe["id"]: _complaint(probe, by_id.get(probe["id"], missing)) for probe in probes}
    speaks: set[tuple[str, str]] = set()
    answers: set[tuple[str, str]] = set()
    for probe in probes:
        if probe["expect"] == "reach" and not complaints[probe["id"]]:
            speaks.add((probe["from"], probe["family"]))
            answers.add((probe["to"], probe["family"]))

    judged, violations, unproven = [], [], []
    for probe in probes:
        result, complaint = by_id.get(probe["id"], missing), complaints[probe["id"]]
        verdict = "ok"
        if complaint:
            verdict = "violation"
            violations.append(
                {
                    "id": probe["id"],
                    "from": probe["from"],
                    "to": probe["to"],
                    "text": f"{label(probe)}: {complaint}",
                }
            )
        elif probe["expect"] == "unreachable" and not (
            (probe["from"], probe["family"]) in speaks and (probe["to"], probe["family"]) in answers
        ):
            verdict = "unproven"
            unproven.append(label(probe))
        judged.append(
            {
                **probe,
                "seen": result.get("outcome", "error"),
                "verdict": verdict,
                "detail": result.get("detail") or "",
                "seen_name": result.get("name"),
                "seen_source": _seen_source(result),
                "rtt_ms": result.get("rtt_ms"),
                "attempts": result.get("attempts", 0),
            }
        )
    counts = {
        "total": len(judged),
        "as_expected": sum(1 for probe in judged if probe["verdict"] == "ok"),
        "violations": len(violations),
        "unproven": len(unproven),
    }
    return {
        "ok": not violations,
        "counts": counts,
        "probes": judged,
        "violations": violations,
        "unproven": unproven,
    }
