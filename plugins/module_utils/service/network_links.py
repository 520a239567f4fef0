# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Check that links are configured by the files written for them, and by nothing else. Pure except :func:`look`.

For each link, systemd-networkd uses the first matching file in the order of the file names, in whatever folder the file
is. Therefore a file such as ``10-netplan-all-en.network`` silently overrides one with a later name.
"""

from __future__ import annotations

import contextlib
import glob
import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..common.process import run

FOLDER = "/etc/systemd/network"
IFUPDOWN = "/etc/network/interfaces"
NETWORK_MANAGER = "/run/NetworkManager/devices"
_PATTERN = re.compile(r"[*?\[\]!]")


def expected(networks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return ``links`` of a unit's ``ready`` for links ``{name, sections}``: name, file and static addresses of each.

    A file that matches by anything other than plain names (a pattern, a MAC address) is left out.
    """
    found = []
    for network in networks:
        sections = network["sections"]
        match = {"Name": network["name"], **(sections.get("Match") or {})}
        names = str(match["Name"]).split()
        if match.keys() != {"Name"} or any(_PATTERN.search(name) for name in names):
            continue
        addresses = [item for body in _bodies(sections.get("Network")) for item in _list(body.get("Address"))]
        addresses += [item for body in _bodies(sections.get("Address")) for item in _list(body.get("Address"))]
        path = f"{FOLDER}/20-{network['name']}.network"
        found += [{"name": name, "file": path, "addresses": [str(item) for item in addresses]} for name in names]
    return found


def _bodies(section: Any) -> list[Mapping[str, Any]]:
    return [body for body in _list(section) if body]


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def look() -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Return the links by name as ``networkctl --json`` lists them, and the other programs that configure a link.

    Raises OSError if systemd-networkd does not answer.
    """
    listed = run(["networkctl", "--json=short", "list"], timeout=30)
    if not listed.ok:
        raise OSError(f"networkctl: {listed.output[-300:]}")
    interfaces = json.loads(listed.stdout)["Interfaces"]
    links = {item["Name"]: item for item in interfaces}
    others = {name: f"{path} configures it too (ifupdown)" for name, path in ifupdown(IFUPDOWN).items()}
    for item in interfaces:
        with contextlib.suppress(OSError), open(f"{NETWORK_MANAGER}/{item['Index']}", encoding="utf-8") as stream:
            if "managed-type=full" in stream.read():
                others[item["Name"]] = "NetworkManager configures it too"
    return links, others


def ifupdown(path: str) -> dict[str, str]:
    """Return links to which ifupdown gives an address: name to the file that says so. ``source`` is followed."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as stream:
        for line in stream:
            words = line.split()
            if words[:1] == ["iface"] and len(words) > 3 and words[3] not in ("manual", "loopback"):
                found[words[1]] = path
            elif words[:1] in (["source"], ["source-directory"]):
                for pattern in words[1:]:
                    pattern = os.path.join(os.path.dirname(path), pattern)
                    for place in sorted(glob.glob(pattern + "/*" if words[0] != "source" else pattern)):
                        found |= ifupdown(place) if place != path else {}
    return found


def faults(
    wanted: Sequence[Mapping[str, Any]],
    links: Mapping[str, Mapping[str, Any]],
    others: Mapping[str, str],
    missing_ok: bool = False,
) -> list[str]:
    """Return the fault of each link of ``wanted``, and the remedy. ``missing_ok``: a missing link may still appear."""
    found = []
    for item in wanted:
        name, file = item["name"], item["file"]
        link = links.get(name)
        if link is None:
            if not missing_ok:
                found.append(f"{name}: there is no such link. Remedy: correct its name in base_networks")
            continue
        used = link.get("NetworkFile")
        if used and used != file:
            found.append(
                f"{name}: systemd-networkd configures it by {used}, which takes precedence over {file}. Remedy: "
                f"remove {used} or what writes it (netplan, cloud-init), or have its [Match] leave {name} out"
            )
        elif not used:
            state = link.get("AdministrativeState")
            found.append(f"{name}: systemd-networkd does not configure it by {file} ({state})")
        if name in others:
            found.append(f"{name}: {others[name]}. Remedy: take it out there, as {file} is to configure it")
        lacking = sorted(set(map(_address, item.get("addresses") or [])) - _addresses(link))
        if used == file and lacking:
            found.append(f"{name}: it lacks {', '.join(lacking)} (carrier: {link.get('CarrierState')})")
    return found


def _address(text: str) -> str:
    """Return an address with its length, in the spelling of :mod:`ipaddress`; the default length is that of a host."""
    return str(ipaddress.ip_interface(text))


def _addresses(link: Mapping[str, Any]) -> set[str]:
    return {
        f"{ipaddress.ip_address(bytes(item['Address']))}/{item['PrefixLength']}"
        for item in link.get("Addresses") or []
        if item.get("ConfigState", "configured") == "configured"
    }
