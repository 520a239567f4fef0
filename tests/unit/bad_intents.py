# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Invalid intents, each with the path and the reason of its violation.

``STRUCTURAL`` is generated from the schema of the intent: every key once of a wrong type, out of range, misspelt,
missing or unknown, so that a new key has bad intents at once. ``LOCAL`` breaks the rules about one VRF, for any
VRF. ``GLOBAL`` breaks the rules between VRFs, and those about the site and the ledger.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rie_intents import SITE, full

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.site_model import dotted
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import intent as intent_model
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.rie import planner

Spoil = Callable[[Any], Any]
Where = tuple[Any, ...]


class Bad(NamedTuple):
    """A change of ``full()`` (and of the ledger and the facts about the site), and the violation that it must cause."""

    name: str
    path: str
    reason: str
    spoil: Spoil
    site: dict[str, Any] = {}
    ledger: Spoil | None = None

    def arguments(self) -> tuple[dict[str, Any], Any, dict[str, Any]]:
        """Return intent, ledger and site for ``planner.plan``."""
        source = full()
        ledger: Any = {}
        if self.ledger:
            ledger = planner.plan(source, {}, site=SITE).ledger
            self.ledger(ledger)
        self.spoil(source)
        return source, ledger, SITE | self.site


def at(source: Any, where: Where) -> Any:
    """Return the node of ``source`` at a path."""
    for key in where:
        source = source[key]
    return source


def put(*where_and_value: Any) -> Spoil:
    """Set the value at a path: ``put(key, ..., value)``."""
    *where, last, value = where_and_value

    def spoil(source: Any) -> None:
        at(source, tuple(where))[last] = copy.deepcopy(value)

    return spoil


def leave_out(*where: Any) -> Spoil:
    return lambda source: at(source, where[:-1]).pop(where[-1])


def nothing(_source: Any) -> None:
    """Do not change the intent, because the fault is elsewhere."""


def nodes(schema: dict[str, Any], value: Any, where: Where = ()) -> Iterator[tuple[Where, dict[str, Any]]]:
    """Yield each node of a value with its schema. Of lists and free mappings, only the first item."""
    yield where, schema
    if schema["type"] == "array":
        yield from nodes(schema["items"], value[0], (*where, 0))
    elif schema["type"] == "object" and "properties" in schema:
        for key, inner in schema["properties"].items():
            yield from nodes(inner, value[key], (*where, key))
    elif schema["type"] == "object":
        key = next(iter(value))
        yield from nodes(schema["additionalProperties"], value[key], (*where, key))


def _reasons(schema: dict[str, Any]) -> tuple[str, str]:
    """Return the reasons for a value that is not a text, and for a misspelt text."""
    about = schema["description"]
    if about.startswith("like "):
        return "is not text", "in '!'"
    said = "is not a range" if about.startswith("first-last") else f"is not {about}"
    return said, said


def _broken(where: Where, schema: dict[str, Any]) -> Iterator[tuple[str, Where, str, Spoil]]:
    """Yield (name, path, reason, spoil) of every possible fault of a single node."""
    kind = schema["type"]
    if kind == "object":
        if where:
            yield "no mapping", where, "is not a mapping", put(*where, "nonsense")
        if "properties" in schema:
            yield "unknown key", (*where, "oddity"), "unknown key", put(*where, "oddity", 1)
        for key in schema.get("required", ()):
            yield f"without {key}", (*where, key), "is missing", leave_out(*where, key)
    elif kind == "array":
        yield "no list", where, "is not a list", put(*where, {"a": 1})
    elif kind == "integer":
        for name, value in (
            ("no number", "many"),
            ("truth for a number", True),
            ("fraction", 7.5),
            ("too low", schema["minimum"] - 1),
            ("too high", schema["maximum"] + 1),
        ):
            yield name, where, "is out of range", put(*where, value)
        # The text that `-e name=value` passes.
        yield "number as text", where, "is a text, not a number", put(*where, str(schema["minimum"]))
    elif kind == "boolean":
        yield "no truth value", where, "is neither true nor false", put(*where, "yes")
    else:
        no_text, misspelt = _reasons(schema)
        yield "number for text", where, no_text, put(*where, 7)
        yield "null", where, no_text, put(*where, None)
        yield "misspelt", where, misspelt, put(*where, "!" if "\\n" not in schema["pattern"] else "a\nb")


def _structural() -> Iterator[tuple[Where, Bad]]:
    for where, schema in nodes(intent_model.json_schema(), full()):
        for name, place, reason, spoil in _broken(where, schema):
            yield place, Bad(f"{dotted(where) or 'intent'}: {name}", dotted(place), reason, spoil)


STRUCTURAL: list[tuple[Where, Bad]] = list(_structural())
"""Each with the path of its violation as a tuple of keys."""


def own_network_accepted(vrf: dict[str, Any]) -> None:
    vrf["accept"]["v4"][0] = {"prefix": vrf["networks"][0]["v4"]}


def addresses(gateway: str, family: str, local: str, peer: str) -> Spoil:
    """Give a link other addresses."""

    def spoil(vrf: dict[str, Any]) -> None:
        vrf["links"][gateway] |= {f"local_{family}": local, f"peer_{family}": peer}

    return spoil


def twice(key: str) -> Spoil:
    """Give the second network the prefix of the first."""
    return lambda vrf: put("networks", 1, key, vrf["networks"][0][key])(vrf)


def supernet_as_network(vrf: dict[str, Any]) -> None:
    vrf["networks"][0]["v4"] = vrf["delegated"]["v4"][0]


def links_overlap(vrf: dict[str, Any]) -> None:
    vrf["links"]["gw2"] |= {key: vrf["links"]["gw1"][key] for key in ("local_v6", "peer_v6")}


def one_distinguisher(vrf: dict[str, Any]) -> None:
    vrf["links"]["gw2"]["rd"] = vrf["links"]["gw1"]["rd"]


def third_link(vrf: dict[str, Any]) -> None:
    vrf["links"]["gw3"] = vrf["links"]["gw2"] | {"vlan": 4000}


def network_called_like_another(vrf: dict[str, Any]) -> None:
    vrf["networks"][1]["name"] = vrf["networks"][0]["name"]


def exchange_with_itself(vrf: dict[str, Any]) -> None:
    vrf["exchange"][0] = vrf["name"]


def delegated(family: str, prefix: str) -> Spoil:
    return lambda vrf: vrf["delegated"][family].append(prefix)


GW1 = ("links", "gw1")
LOCAL: dict[str, tuple[str, str, Spoil]] = {
    "AS 0": ("links.gw1.asn", "is out of range", put(*GW1, "asn", 0)),
    "AS for documentation": ("links.gw1.asn", "is not a private AS number", put(*GW1, "asn", 64496)),
    "AS_TRANS": ("links.gw1.asn", "is not a private AS number", put(*GW1, "asn", 23456)),
    "last 16-bit AS": ("links.gw1.asn", "is not a private AS number", put(*GW1, "asn", 65535)),
    "last 32-bit AS": ("links.gw1.asn", "is not a private AS number", put(*GW1, "asn", 4294967295)),
    "PE in our AS": ("links.gw2.asn", "is our own AS number", put("links", "gw2", "asn", 65010)),
    "hold of a link": ("links.gw1.bgp.hold", "less than three keepalives", put(*GW1, "bgp", {"hold": 8})),
    "keepalive of a link": ("links.gw1.bgp.keepalive", "three keepalives", put(*GW1, "bgp", {"keepalive": 4})),
    "one gateway": ("links", "is wired on exactly two gateways", leave_out("links", "gw2")),
    "three gateways": ("links", "is wired on exactly two gateways", third_link),
    "no gateway": ("links", "is wired on exactly two gateways", put("links", {})),
    "gateway of another site": ("links.gw3", "is not a gateway of the site", third_link),
    "provider's VLAN in our pool": ("links.gw1.vlan", "is inside rie_pools.vlan", put(*GW1, "vlan", 200)),
    "unknown secret": ("links.gw1.password_secret", "is not a known secret", put(*GW1, "password_secret", "lost")),
    "link in loopback": (
        "links.gw1.local_v4", "touches loopback", addresses("gw1", "v4", "127.0.0.2/30", "127.0.0.1"),
    ),
    "link-local link": (
        "links.gw2.local_v6", "touches link local", addresses("gw2", "v6", "fe80::2/64", "fe80::1"),
    ),
    "link in a pool": (
        "links.gw1.local_v4", "touches rie_pools.transit_v4", addresses("gw1", "v4", "100.64.9.2/30", "100.64.9.1"),
    ),
    "network address": (
        "links.gw1.local_v4", "is no host of", addresses("gw1", "v4", "100.90.0.0/30", "100.90.0.1"),
    ),
    "broadcast address": (
        "links.gw1.peer_v4", "is no host of", addresses("gw1", "v4", "100.90.0.1/30", "100.90.0.3"),
    ),
    "anycast address": (
        "links.gw1.peer_v6", "is no host of", addresses("gw1", "v6", "fd90::1/64", "fd90::"),
    ),
    "PE elsewhere": ("links.gw1.peer_v4", "is not a neighbour of", put(*GW1, "peer_v4", "100.90.9.9")),
    "PE with our address": (
        "links.gw1.peer_v6", "is not a neighbour of", addresses("gw1", "v6", "fd90::1/64", "fd90::1"),
    ),
    "links overlap": ("links.gw2.local_v6", "overlaps rie_tenants", links_overlap),
    "address with a scope": (
        "links.gw1.peer_v6", "more than an address", put(*GW1, "peer_v6", "fe80::1%eth0"),
    ),
    "two octets": ("networks[0].v4", "in '10.20'", put("networks", 0, "v4", "10.20/24")),
    "octal octets": ("networks[0].v4", "Leading zeros", put("networks", 0, "v4", "012.024.0.0/24")),
    "hexadecimal octets": ("networks[0].v4", "in '0xa.20.0.0'", put("networks", 0, "v4", "0xa.20.0.0/24")),
    "peer of three octets": ("links.gw1.peer_v4", "in '100.71.1'", put(*GW1, "peer_v4", "100.71.1")),
    "host bits": ("networks[0].v4", "has host bits set", put("networks", 0, "v4", "10.20.0.1/24")),
    "v4 for v6": ("networks[0].v6", "in '10.20.0.0'", put("networks", 0, "v6", "10.20.0.0/24")),
    "v4 too long": ("networks[0].v4", "has a length", put("networks", 0, "v4", "10.20.0.0/29")),
    "v4 too short": ("networks[0].v4", "has a length", put("networks", 0, "v4", "10.16.0.0/12")),
    "v6 not /64": ("networks[0].v6", "has a length", put("networks", 0, "v6", "fd20:0:1::/63")),
    "supernet": ("networks[0].v4", "is the delegated supernet itself", supernet_as_network),
    "outside": ("networks[0].v4", "is outside the tenant's", put("networks", 0, "v4", "10.250.0.0/24")),
    "nothing delegated": ("networks[0].v6", "is outside the tenant's", put("delegated", "v6", [])),
    "network in a pool": ("networks[0].v6", "touches rie_pools.peer_v6", put("networks", 0, "v6", "fd64:0:2:1::/64")),
    "network in shared space": ("networks[0].v4", "touches shared", put("networks", 0, "v4", "100.65.0.0/24")),
    "network in management": ("networks[0].v4", "the site's management", put("networks", 0, "v4", "10.99.0.0/26")),
    "delegated multicast": ("delegated.v4[1]", "touches multicast", delegated("v4", "224.0.0.0/8")),
    "delegated shared space": ("delegated.v4[1]", "touches shared", delegated("v4", "100.127.0.0/16")),
    "delegated documentation": ("delegated.v6[1]", "touches documentation", delegated("v6", "2001:db8:1::/48")),
    "delegated management": ("delegated.v4[1]", "the site's management", delegated("v4", "10.96.0.0/14")),
    "delegated transit": ("delegated.v6[1]", "touches rie_pools.transit_v6", delegated("v6", "fd64:0:1:8::/61")),
    "delegated PE link": ("delegated.v6[1]", "touches the PE link of", delegated("v6", "fd66:1:1::/48")),
    "delegated unallocated": ("delegated.v6[1]", "touches not allocated", delegated("v6", "4000::/20")),
    "no prefix": ("networks[0]", "has no prefix", put("networks", 0, {"name": "bare"})),
    "overlap in a VRF, v4": ("networks[1].v4", "in the same VRF", twice("v4")),
    "overlap in a VRF, v6": ("networks[1].v6", "in the same VRF", twice("v6")),
    "network name twice": ("networks[1].name", "a network of that name", network_called_like_another),
    "v4 default": ("accept.v4[0].prefix", "is the default route", put("accept", "v4", 0, {"prefix": "0.0.0.0/0"})),
    "v6 default": ("accept.v6[0].prefix", "is the default route", put("accept", "v6", 0, {"prefix": "::/0"})),
    "le too short": ("accept.v4[0].le", "is shorter than", put("accept", "v4", 0, "le", 15)),
    "own network accepted": ("accept.v4[0].prefix", "is inside our own", own_network_accepted),
    "few announcements": ("max_prefixes_out.v4", "is less than the 2 networks", put("max_prefixes_out", "v4", 1)),
    "community with a large half": ("communities[0]", "has a part that is out", put("communities", 0, "65010:65536")),
    "community with a zero": ("communities[0]", "is not a community", put("communities", 0, "065010:1")),
    "large community in halves": ("large_communities[0]", "is not a large", put("large_communities", 0, "65010:1")),
    "large community too large": (
        "large_communities[0]", "has a part that is out", put("large_communities", 0, "1:2:4294967296"),
    ),
    "target of AS 0": ("import_targets[0]", "is out of range", put("import_targets", 0, "0:1")),
    "target too wide": ("export_targets[0]", "is out of range", put("export_targets", 0, "65536:65536")),
    "target wider than any": ("import_targets[0]", "has a part that is out", put("import_targets", 0, "1:4294967296")),
    "target read as a number": ("import_targets[0]", "is not a route target", put("import_targets", 0, 3894010)),
    "distinguisher in letters": ("links.gw1.rd", "is not a route target", put(*GW1, "rd", "fr:1")),
    "one RD for both": ("links.gw2.rd", "is also used by", one_distinguisher),
    "exchange with itself": ("exchange[0]", "is this VRF itself", exchange_with_itself),
    "exchange with nobody": ("exchange[0]", "is no VRF of this intent", put("exchange", 0, "nowhere")),
}  # fmt: skip
"""By name: path below the VRF, reason, and the change of the VRF."""


def vrf_path(number: int) -> str:
    return f"rie_tenants[{number}].vrfs[0]"


def in_vrf(number: int, spoil: Spoil) -> Spoil:
    return lambda source: spoil(source["rie_tenants"][number]["vrfs"][0])


def same_networks(source: dict[str, Any]) -> None:
    """Give two VRFs the same networks, which is allowed unless another VRF imports both."""
    one, two = (tenant["vrfs"][0] for tenant in source["rie_tenants"][:2])
    two |= {key: copy.deepcopy(one[key]) for key in ("delegated", "networks")}


def service_sees_twins(source: dict[str, Any]) -> None:
    same_networks(source)
    one, two, hub = (tenant["vrfs"][0] for tenant in source["rie_tenants"])
    one |= {"import_targets": ["64900:0"], "exchange": []}
    two |= {"import_targets": ["64900:1"], "exchange": []}
    hub |= {"import_targets": ["64900:0", "64900:1"], "exchange": ["v0", "v1"]}


def stop_import(source: dict[str, Any]) -> None:
    source["rie_tenants"][0]["vrfs"][0]["import_targets"].remove("64900:1")


def stop_sharing(source: dict[str, Any]) -> None:
    source["rie_tenants"][0]["vrfs"][0]["exchange"] = ["v1"]
    source["rie_tenants"][2]["vrfs"][0]["shared"] = False


def hold_twice(ledger: dict[str, Any]) -> None:
    vlans = ledger["allocations"]["vlan"]
    vlans["v0/gw2"] = vlans["v0/gw1"]


def behind_a_bad_target(source: dict[str, Any]) -> None:
    """The first target is invalid. The violation of the third names its own index."""
    source["rie_tenants"][0]["vrfs"][0] |= {"import_targets": ["x", "64900:0", "64900:1"], "exchange": []}


def same_name(*where: Any) -> Spoil:
    """Give the second the name of the first."""
    return lambda source: put("rie_tenants", 1, *where, at(source, ("rie_tenants", 0, *where)))(source)


V0 = ("rie_tenants", 0, "vrfs", 0)


def damaged(name: str, spoil: Spoil) -> Bad:
    """Return the case of a ledger that cannot be read."""
    return Bad(f"ledger, {name}", "ledger", "is not an allocation ledger", nothing, ledger=spoil)


def misspelt(kind: str, value: Any, reason: str) -> Bad:
    """Return the case of a ledger with one invalid value."""
    owner = "v0" if kind.startswith("peer") else "v0/gw1"
    path = f"ledger.allocations.{kind}.{owner}"
    return Bad(f"{path} = {value}", path, reason, nothing, ledger=put("allocations", kind, owner, value))


def exhausted(pool: str, value: str) -> Bad:
    return Bad(f"{pool} exhausted", f"rie_pools.{pool}", "has no value left", put("rie_pools", pool, value))


GLOBAL: list[Bad] = [
    Bad("tenants of one name", "rie_tenants[1].name", "a tenant of that name is also", same_name("name")),
    Bad("VRFs of one name", f"{vrf_path(1)}.name", "a VRF of that name is also", same_name("vrfs", 0, "name")),
    Bad("our AS is public", "rie_asn", "is not a private AS number", put("rie_asn", 3215)),
    Bad("hold time", "rie_bgp.hold", "less than three keepalives", put("rie_bgp", {"keepalive": 5})),
    Bad("VLAN twice", f"{vrf_path(1)}.links.gw1.vlan", "is also used by", same_name("vrfs", 0, *GW1, "vlan")),
    Bad("RD twice", f"{vrf_path(1)}.links.gw1.rd", "is also used by", same_name("vrfs", 0, *GW1, "rd")),
    Bad("pools overlap", "rie_pools.peer_v4", "overlaps rie_pools", put("rie_pools", "peer_v4", "100.64.128.0/17")),
    Bad("pool in management", "rie_pools.peer_v4", "the site's", put("rie_pools", "peer_v4", "10.99.0.0/26")),
    Bad("multicast pool", "rie_pools.peer_v4", "touches multicast", put("rie_pools", "peer_v4", "230.0.0.0/16")),
    Bad("VLANs in the wrong order", "rie_pools.vlan", "is not a range", put("rie_pools", "vlan", "200-101")),
    Bad("VLANs beyond the last", "rie_pools.vlan", "is not a range", put("rie_pools", "vlan", "101-4095")),
    Bad("VLAN 1", "rie_pools.vlan", "is not a range", put("rie_pools", "vlan", "1-1999")),
    exhausted("vlan", "101-102"),
    exhausted("transit_v4", "100.64.0.0/30"),
    exhausted("transit_v6", "fd64:0:1::/65"),
    exhausted("peer_v4", "100.65.0.0/30"),
    exhausted("peer_v6", "fd64:0:2::/126"),
    exhausted("router_id", "100.67.0.0/30"),
    Bad("overlap through import", f"{vrf_path(1)}.networks[0].v4", "VRF v0 sees both", same_networks),
    Bad("overlap in a service", f"{vrf_path(1)}.networks[0].v6", "VRF v2 sees both", service_sees_twins),
    Bad(
        "import without exchange", f"{vrf_path(0)}.import_targets[1]", "is exported by VRF v1 of another tenant, t1",
        put(*V0, "exchange", []),
    ),
    Bad(
        "import of what is shared no more", f"{vrf_path(0)}.import_targets[2]", "is exported by VRF v2",
        stop_sharing,
    ),
    Bad("import behind a bad one", f"{vrf_path(0)}.import_targets[2]", "is exported by VRF v1", behind_a_bad_target),
    Bad("exchange without import", f"{vrf_path(0)}.exchange[0]", "exports no target that is imported", stop_import),
    Bad("reserved nonsense", "reserved.spine[0]", "is not a prefix", nothing, site={"reserved": {"spine": ["x"]}}),
    Bad(
        "RD of another", f"{vrf_path(0)}.links.gw1.rd", "is already held by ledger.allocations.rd.v1/gw2",
        put(*V0, *GW1, "rd", "65010:2"), ledger=nothing,
    ),
    damaged("version", put("version", 2)),
    damaged("no letters", leave_out("gateways")),
    damaged("unknown kind", put("allocations", "vni", {})),
    damaged("a list", put("allocations", [])),
    damaged("an owner without a name", put("allocations", "vlan", 3, 101)),
    damaged("rest without end", put("quarantine", "vlan", {9: {"owner": "v9/gw1"}})),
    Bad(
        "a letter twice", "ledger.gateways", "has a letter twice",
        nothing, ledger=put("gateways", {"gw1": "a", "gw2": "a"}),
    ),
    Bad(
        "held twice", "ledger.allocations.vlan.v0/gw2", "is already held by ledger.allocations.vlan.v0/gw1",
        nothing, ledger=hold_twice,
    ),
    Bad(
        "held and at rest", "ledger.quarantine.rd.65010:1", "is already held by",
        nothing, ledger=put("quarantine", "rd", {"65010:1": {"owner": "v9/gw1", "until": "2026-12-01"}}),
    ),
    misspelt("vlan", "101", "is not a VLAN"),
    misspelt("rd", 3, "is not a route distinguisher"),
    misspelt("transit_v4", "100.64.0.0/32", "is not a /30"),
    misspelt("transit_v6", "10.0.0.0/30", "is not a /64"),
    misspelt("peer_v6", "fd64:0:2:0::/126", "is not a /126"),
    misspelt("router_id", "one", "is not a router id"),
]  # fmt: skip

BAD: list[Bad] = [
    *(bad for _where, bad in STRUCTURAL),
    *(Bad(name, f"{vrf_path(1)}.{path}", reason, in_vrf(1, spoil)) for name, (path, reason, spoil) in LOCAL.items()),
    *GLOBAL,
]
