# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The rulesets of a node's namespaces: compare them, check all, load the changed ones, each in one transaction.

Drift is detected without parsing. After a load, the hash of the rules that the kernel lists (without counters) is
stored under ``/run``. A ruleset that somebody changed by hand gives another listing and is loaded again. A boot loads
the file on disk and leaves no hash; then the file is loaded in a temporary namespace to get the listing to expect.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.files import read, write
from ..common.parallel import in_parallel
from ..common.results import diff_entry
from . import firewall, netns
from .plan_types import GatewayVrf

STAMPS = Path("/run/socle/nftables")

try:
    from nftables import Nftables
except ImportError:  # a preview of a node on which the packages are not installed
    Nftables = None


@dataclass
class Outcome:
    """Result of a run, or its forecast in check mode: ``actions`` is ``{vrf: loaded}``."""

    actions: dict[str, str] = field(default_factory=dict)
    diff: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def _live(namespace: str) -> str | None:
    """Hash of the rules in force, or None if the namespace or the table does not exist."""
    if not (netns.RUN_NETNS / namespace).exists():
        return None
    with netns.inside(namespace):
        text = _listed()
    return _hash(text) if text else None


def _listed() -> str:
    """List the rules in force in this thread's namespace.

    Uses nft's library: a process per ruleset takes six times as long.
    """
    if Nftables is None:
        return ""
    nft = Nftables()
    nft.set_stateless_output(True)
    text: str
    _code, text, _error = nft.cmd("list ruleset")
    return text


def _would_be(path: Path) -> str:
    """Return the hash of the rules that a file puts in force; the file is loaded in a namespace that nothing uses."""
    listed = 'nft --file "$1" && nft --stateless list ruleset'
    loaded = ["unshare", "--net", "sh", "-c", listed, "sh", str(path)]
    return _hash(netns.run(loaded, check=False))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp_text(text: str, live: str | None) -> str:
    return f"{_hash(text)} {live}\n"


def _ruleset(vrf: GatewayVrf) -> tuple[str, Path, str, str | None, bool]:
    """Return namespace, path, text, content of the file, and whether the text is on disk and in force."""
    namespace = vrf["netns"]
    text = firewall.render_ruleset(vrf)
    path = netns.DEFINITIONS / namespace / "nftables.nft"
    before = read(path)
    fine = False
    if before == text and (live := _live(namespace)):
        stamp = read(STAMPS / namespace) or _stamp_text(text, _would_be(path))
        fine = stamp == _stamp_text(text, live)
    return namespace, path, text, before, fine


def _load(ruleset: tuple[str, Path, str]) -> None:
    namespace, path, text = ruleset
    write(path, text)
    with netns.inside(namespace):
        netns.run(["nft", "--file", str(path)])
    write(STAMPS / namespace, _stamp_text(text, _live(namespace)))


def converge(vrfs: list[GatewayVrf], check_mode: bool = False) -> Outcome:
    """Load the ruleset of every VRF that differs on disk or in the kernel. If one is refused, none is loaded."""
    if Nftables is None and not check_mode:
        raise netns.CommandError("python3-nftables is not installed: `socle deploy` brings the packages of a gateway")
    outcome = Outcome()
    todo: list[tuple[str, Path, str]] = []
    with tempfile.TemporaryDirectory(prefix="socle-nft-") as directory:
        for vrf, (namespace, path, text, before, fine) in zip(vrfs, in_parallel(_ruleset, vrfs), strict=True):
            if fine:
                if not check_mode and not (STAMPS / namespace).exists():
                    write(STAMPS / namespace, _stamp_text(text, _live(namespace)))
                continue
            candidate = Path(directory, f"{namespace}.nft")
            candidate.write_text(text)
            try:
                netns.run(["nft", "--check", "--file", str(candidate)])
            except netns.CommandError as error:
                outcome.failed[vrf["name"]] = str(error)
                continue
            outcome.actions[vrf["name"]] = "loaded"
            if before != text:
                outcome.diff.append(diff_entry(str(path), before, text))
            todo.append((namespace, path, text))
    if outcome.failed or check_mode:
        return outcome
    in_parallel(_load, todo)
    return outcome
