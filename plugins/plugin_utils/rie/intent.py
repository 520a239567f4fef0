# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Structure of the intent: the ``rie_*`` variables of an inventory, key by key.

The meaning of each key is documented for operators in ``inventories/lab/group_vars/all/rie.yml`` and ``docs/rie.md``.
Rules that compare several keys are in :mod:`rules`. Sources: RFC 4364 (route targets), 1997 and 8092 (communities),
9234 (roles), 5880 (BFD).
"""

from __future__ import annotations

from typing import Any

from ...module_utils.rie.plan_types import Family
from ..common.shapes import (
    ADDRESS,
    BAD,
    BOOLEAN,
    INTERFACE,
    PREFIX,
    Faults,
    Node,
    Shape,
    array,
    integer,
    mapping,
    numbers,
    record,
    span,
    text,
)

FAMILIES: dict[Family, int] = {"v4": 4, "v6": 6}

_name = text(r"[a-z][a-z0-9-]{0,30}", "a name in lower case, 31 characters at most")
_vrf_name = text(r"[a-z][a-z0-9-]{0,10}", "a VRF name in lower case, 11 characters at most")
_words = text(r"[^\n]{1,200}", "one line of text")
_vlan = integer(2, 4094)
_asn = integer(1, 4294967295)
_count = integer(1, 1000000)
_mtu = integer(1280, 9216)


_pair = numbers(2, 4294967295, "a route target or distinguisher, ASN:number")


def _check_route_target(value: Any, path: str, faults: Faults) -> Any:
    """Check a route target (RFC 4364, 4.2): a 2-byte AS with 32 bits (type 0), or a 4-byte AS with 16 bits (type 2)."""
    parsed = _pair(value, path, faults)
    if parsed is BAD:
        return BAD
    administrator, number = map(int, parsed.split(":"))
    widest = 4294967295 if administrator <= 65535 else 65535
    checked = [integer(1, 4294967295)(administrator, path, faults), integer(0, widest)(number, path, faults)]
    return BAD if BAD in checked else parsed


route_target = Shape(_check_route_target, _pair.schema)


def _accept(family: int) -> Shape:
    return array(record({"prefix": PREFIX[family]}, {"le": (integer(0, 32 if family == 4 else 128), None)}))


_timers = {
    "keepalive": (integer(1, 65535), 3),
    "hold": (integer(3, 65535), 9),
    "connect": (integer(1, 65535), 3),
}
_bfd = {
    "transmit_ms": (integer(10, 60000), 300),
    "receive_ms": (integer(10, 60000), 300),
    "multiplier": (integer(2, 255), 3),
}


def _unset(optional: dict[str, tuple[Shape, Any]]) -> dict[str, tuple[Shape, Any]]:
    """Return the same keys without their defaults, for a mapping that overrides only the keys it contains."""
    return {key: (shape, None) for key, (shape, _default) in optional.items()}


_link = record(
    {
        "vlan": _vlan,
        "asn": _asn,
        "local_v4": INTERFACE[4],
        "peer_v4": ADDRESS[4],
        "local_v6": INTERFACE[6],
        "peer_v6": ADDRESS[6],
        "password_secret": text(r"[a-z][a-z0-9_-]{0,60}", "the name of a secret"),
    },
    {
        "mtu": (_mtu, None),
        "rd": (route_target, None),
        "local_role": (BOOLEAN, False),
        "bgp": (record({}, _unset(_timers) | {"bfd": (record({}, _unset(_bfd)), None)}), None),
    },
)

_vrf = record(
    {
        "name": _vrf_name,
        "import_targets": array(route_target),
        "export_targets": array(route_target),
        "delegated": record({}, {"v4": (array(PREFIX[4]), []), "v6": (array(PREFIX[6]), [])}),
        "networks": array(record({"name": _name}, {"v4": (PREFIX[4], None), "v6": (PREFIX[6], None)})),
        "accept": record({}, {"v4": (_accept(4), []), "v6": (_accept(6), [])}),
        "links": mapping(_link),
    },
    {
        "description": (_words, None),
        "max_prefixes": (record({}, {"v4": (_count, 1000), "v6": (_count, 1000)}), {}),
        "max_prefixes_out": (record({}, {"v4": (_count, None), "v6": (_count, None)}), {}),
        "communities": (array(numbers(2, 65535, "a community")), []),
        "large_communities": (array(numbers(3, 4294967295, "a large community")), []),
        "shared": (BOOLEAN, False),
        "exchange": (array(_vrf_name), []),
        "mtu": (_mtu, None),
    },
)

_tenant = record(
    {"name": _name, "project": _name, "vrfs": array(_vrf)},
    {"description": (_words, None), "quotas": (mapping(integer(-1, 1000000)), {})},
)

_pools = record(
    {
        "vlan": span(2, 4094),
        "transit_v4": PREFIX[4],
        "transit_v6": PREFIX[6],
        "peer_v4": PREFIX[4],
        "peer_v6": PREFIX[6],
        "router_id": PREFIX[4],
    }
)

_intent = record(
    {"rie_asn": _asn, "rie_pools": _pools, "rie_tenants": array(_tenant)},
    {
        "rie_physical_network": (text(r"[a-z][a-z0-9-]{0,20}", "a physical network's name"), "rie"),
        "rie_allocations_file": (text(r"[^\n]+", "a path"), None),
        "rie_bgp": (record({}, _timers | {"bfd": (record({}, _bfd), {})}), {}),
        "rie_mtu": (_mtu, 1500),
        "rie_quarantine_days": (integer(0, 3650), 30),
    },
)


def parse(intent: Any, faults: Faults) -> Node:
    """Return the parsed intent, with addresses and prefixes as objects of netaddr; add errors to ``faults``."""
    parsed = _intent(intent, "", faults)
    return Node() if parsed is BAD else parsed


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (draft 7) of the intent's file, for editors: keys, types, ranges and defaults.

    It describes each key alone. Errors that involve several keys are found only by the planner.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Wiring of tenants into the RIE",
        **_intent.schema,
        # Variables of the roles are allowed, too: a site may keep them in the same file.
        "patternProperties": {"^rie_(plan|cloud|gateway)_": True},
    }


def profile(bgp: dict[str, Any], link: dict[str, Any]) -> dict[str, Any]:
    """Return the BGP and BFD timers of a link: those of the site (``rie_bgp``), overridden key by key by the link's."""
    own = link.get("bgp", {})
    return {**bgp, **own, "bfd": {**bgp.get("bfd", {}), **own.get("bfd", {})}}


def vrfs(parsed: Node) -> list[tuple[Node, Node]]:
    """Return every ``(tenant, vrf)`` of a parsed intent that has a name, in the order of the inventory."""
    return [
        (tenant, vrf)
        for tenant in parsed.get("rie_tenants", [])
        for vrf in tenant.get("vrfs", [])
        if "name" in tenant and "name" in vrf
    ]
