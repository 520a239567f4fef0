# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The package sources of a node: Debian's own are rewritten with their present components, all others are kept.

Reads both formats of sources.list(5), one line per source (``*.list``) and deb822 (``*.sources``), in all files. Pure
except for :func:`read`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MAIN = "/etc/apt/sources.list"
FOLDER = "/etc/apt/sources.list.d"
OURS = f"{FOLDER}/debian.sources"
HEADER = "# Written by Ansible (role base).\n"
COMPONENTS = frozenset({"main", "contrib", "non-free", "non-free-firmware"})
"""The components of Debian's archive. A repository with any other component is not Debian's."""
POCKETS = ("", "-updates", "-security")

_LINE = re.compile(r"^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+(?:\[[^\]]*\]\S*)?)\s+(\S+)((?:\s+\S+)*)\s*$")
_ARCHIVE = re.compile(r"/(debian|debian-security|mirrors/debian(-security)?\.list)/?$")


@dataclass(frozen=True)
class Source:
    """One source, or the content of one stanza."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    architectures: str = ""
    enabled: bool = True


def read() -> dict[str, str]:
    """Return the files that apt reads sources from, by path."""
    found = {}
    for path in [MAIN, *sorted(glob.glob(f"{FOLDER}/*.list")), *sorted(glob.glob(f"{FOLDER}/*.sources"))]:
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                found[path] = stream.read()
    return found


def plan(wanted: Mapping[str, Any], present: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the files with their new content, and those that become empty and are removed.

    ``wanted``: ``mirror``, ``security_mirror`` (may be empty), ``suite``, ``components``, ``keyring``. Sources in
    ``present`` from Debian's archive for this suite are replaced; their components and types are kept. Suites that the
    role does not write, such as backports, and other repositories are not changed.
    """
    replaced: list[Source] = []
    left = {path: _strip(path, text, wanted, replaced) for path, text in present.items()}
    files = {OURS: HEADER + "\n".join([*_stanzas(wanted, replaced), *_rest(left.pop(OURS, ""))])}
    absent = []
    for path, text in left.items():
        if text == present[path]:
            continue
        if any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
            files[path] = text
        else:
            absent.append(path)
    return files, absent


def _stanzas(wanted: Mapping[str, Any], replaced: Sequence[Source]) -> Iterable[str]:
    found = [name for source in replaced for name in source.components]
    types = ["deb", *(["deb-src"] if any("deb-src" in source.types for source in replaced) else [])]
    architectures = next((source.architectures for source in replaced if source.architectures), "")
    fields = {
        "Types": " ".join(types),
        "Components": " ".join(dict.fromkeys([*wanted["components"], *found])),
        **({"Architectures": architectures} if architectures else {}),
        "Signed-By": wanted["keyring"],
    }
    suite = wanted["suite"]
    places = [(wanted["mirror"], f"{suite} {suite}-updates"), (wanted["security_mirror"], f"{suite}-security")]
    for uri, suites in places:
        if uri:
            shown = {"Types": fields["Types"], "URIs": uri, "Suites": suites, **fields}
            yield "".join(f"{key}: {value}\n" for key, value in shown.items())


def _rest(text: str) -> list[str]:
    return [text.strip("\n") + "\n"] if text.strip() else []


def _strip(path: str, text: str, wanted: Mapping[str, Any], replaced: list[Source]) -> str:
    """Return the rest of a file without Debian's own sources of the suite, which are added to ``replaced``."""
    if path.endswith(".sources"):
        text = text.removeprefix(HEADER) if path == OURS else text
        blocks = [block.strip("\n") for block in re.split(r"\n[ \t]*\n", text)]
        left = [kept for block in blocks if block.strip() and (kept := _strip_stanza(block, wanted, replaced))]
        return "\n\n".join(left) + "\n" if left != blocks else text
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not _is_replaced(parse_line(line), wanted, replaced))


def _is_replaced(source: Source | None, wanted: Mapping[str, Any], replaced: list[Source]) -> bool:
    if source is None or not _of_debian(source, wanted) or not set(source.suites) <= own_suites(wanted["suite"]):
        return False
    replaced.append(source)
    return True


def _strip_stanza(block: str, wanted: Mapping[str, Any], replaced: list[Source]) -> str:
    source = parse_stanza(block)
    if source is None or not source.enabled or not _of_debian(source, wanted):
        return block
    own = own_suites(wanted["suite"])
    if not own & set(source.suites):
        return block
    replaced.append(source)
    others = [suite for suite in source.suites if suite not in own]
    return _field(block, "Suites", " ".join(others)) if others else ""


def own_suites(suite: str) -> set[str]:
    """Return the suites that the role writes, under all their names."""
    return {f"{name}{pocket}" for name in (suite, "stable") for pocket in POCKETS}


def _of_debian(source: Source, wanted: Mapping[str, Any]) -> bool:
    """Return whether the whole source is from Debian's archive: a mirror of it, or an installation CD."""
    mirrors = {str(wanted[key]).rstrip("/") for key in ("mirror", "security_mirror")}

    def of_debian(uri: str) -> bool:
        return uri.startswith("cdrom:") or uri.rstrip("/") in mirrors or bool(_ARCHIVE.search(urlsplit(uri).path))

    return bool(source.components) and set(source.components) <= COMPONENTS and all(map(of_debian, source.uris))


def parse_line(line: str) -> Source | None:
    """Return a source of the one-line format; None for a comment, or a line that is no source."""
    found = _LINE.match(line)
    if not found:
        return None
    kind, options, uri, suite, components = found.groups()
    given = dict(option.split("=", 1) for option in (options or "").split() if "=" in option)
    return Source((kind,), (uri,), (suite,), tuple(components.split()), given.get("arch", "").replace(",", " "))


def parse_stanza(block: str) -> Source | None:
    """Return a stanza of the deb822 format; None if it has only comments."""
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    if not fields:
        return None
    listed = {key: tuple(fields.get(key, "").split()) for key in ("types", "uris", "suites", "components")}
    enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off", "without", "disable")
    return Source(**listed, architectures=fields.get("architectures", ""), enabled=enabled)


def _field(block: str, name: str, value: str) -> str:
    """Return the block with another value of a field, continuation lines included."""
    lines: list[str] = []
    inside = False
    for line in block.splitlines():
        if inside and line[:1] in (" ", "\t"):
            continue
        inside = line.partition(":")[0].strip().lower() == name.lower()
        lines.append(f"{name}: {value}" if inside else line)
    return "\n".join(lines)
