# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The rulesets of a node's namespaces: compare, check all, load the changed ones, each in one transaction.

Drift is told without parsing: after a load, the hash of what the kernel then lists (without counters) is kept under
``/run``. A ruleset someone changed by hand lists differently, and is loaded again.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import netns, vrf_firewall
from .node_files import diff_entry, in_parallel, read, write

STAMPS = Path("/run/socle/nftables")


@dataclass
class Outcome:
    """What a run did, or would do: ``actions`` is ``{vrf: loaded}``."""

    actions: dict[str, str] = field(default_factory=dict)
    diff: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def _live(namespace: str) -> str | None:
    """Hash of the rules in force, or None if the namespace or the table does not exist."""
    if not (netns.RUN_NETNS / namespace).exists():
        return None
    with netns.inside(namespace):
        text = netns.run(["nft", "--stateless", "list", "ruleset"], check=False)
    return hashlib.sha256(text.encode()).hexdigest() if text else None


def _stamp_text(text: str, live: str | None) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()} {live}\n"


def _ruleset(vrf: dict[str, Any]) -> tuple[str, Path, str, str | None, bool]:
    """Namespace, path, text, what the file holds, and whether the text is on disk and in force."""
    namespace = vrf["netns"]
    text = vrf_firewall.render_ruleset(vrf)
    path = netns.DEFINITIONS / namespace / "nftables.nft"
    before = read(path)
    fine = before == text and read(STAMPS / namespace) == _stamp_text(text, _live(namespace))
    return namespace, path, text, before, fine


def _load(ruleset: tuple[str, Path, str]) -> None:
    namespace, path, text = ruleset
    write(path, text)
    with netns.inside(namespace):
        netns.run(["nft", "--file", str(path)])
    write(STAMPS / namespace, _stamp_text(text, _live(namespace)))


def converge(vrfs: list[dict[str, Any]], check_mode: bool = False) -> Outcome:
    """Load the ruleset of every VRF that differs on disk or in the kernel. Nothing is loaded if one is refused."""
    outcome = Outcome()
    todo: list[tuple[str, Path, str]] = []
    with tempfile.TemporaryDirectory(prefix="socle-nft-") as directory:
        for vrf, (namespace, path, text, before, fine) in zip(vrfs, in_parallel(_ruleset, vrfs), strict=True):
            if fine:
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
