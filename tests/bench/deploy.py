#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Compare a deployment with its floor: the work that no tool can avoid, run bare on the same machines in the same run.

The floor is (a) the installation of each node's packages with apt on empty nodes, in parallel; (b) the schema commands
in sequence on empty databases; (c) the start of all services on all nodes in the order of their dependencies, until
each answers. In (a) packages are downloaded from the mirror, as in the deployment: at first, no node has any.

The machines are those of molecule/shared/inventory, so no molecule run may be in progress. They are always removed at
the end. Only ratios from one run are meaningful, and only on an idle machine, so the load is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT)]
os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")  # floor imports Ansible, and must come before socle

import floor

from socle.lab import nodes
from socle.project import Site

BIN = ROOT / ".venv" / "bin"
SITE = Site(ROOT / "molecule" / "shared" / "inventory")
VIP: str = yaml.safe_load((SITE.path / "group_vars" / "all" / "site.yml").read_text())["site_internal_vip"]

TARGETS = {"plain": 1.5, "image": 3.0, "no_change": 30.0}
"""The first two are multiples of the floor, the last is in seconds."""


def main() -> int:
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    results: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    try:
        measure(results, plain=not options.image_only)
    except KeyboardInterrupt:
        return 130
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        say("remove the machines")
        playbook("molecule/shared/destroy.yml")
    verdicts = judge(results)
    print(json.dumps({**results, "verdicts": verdicts}, indent=2) if options.json else table(results, verdicts))
    if results["no_change_changed"]:
        print(f"bench: the second run changed {results['no_change_changed']} tasks", file=sys.stderr)
        return 1
    return int(options.gate and not all(verdict["met"] for verdict in verdicts.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; progress is on stderr")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--image-only", action="store_true", help="leave out the plain nodes, and (a) with them")
    return parser.parse_args()


def measure(results: dict[str, Any], plain: bool) -> None:
    """Fill ``results`` with seconds by step."""
    subprocess.run([BIN / "socle", "secrets", "init", "-i", SITE.path], stdout=sys.stderr, check=True)
    if plain:
        machines("plain")
        with timed(results, "a"):
            floor.install(SITE)
        machines("plain")
        deploy(results, "plain")
    machines("node")
    deploy(results, "image")
    deploy(results, "no_change")
    results["no_change_changed"] = results["runs"]["no_change"]["changed"]
    every = nodes(SITE)
    say("stop the services of all nodes")
    units = floor.stop(every)
    with timed(results, "c"):
        floor.start(every, units, VIP)
    floor.empty(every, units)
    with timed(results, "b"):
        floor.schemas(every)


def machines(image: str) -> None:
    """Make new machines from an image; existing ones are removed."""
    say(f"make machines of the image {image}")
    playbook("molecule/shared/destroy.yml")
    playbook("tests/bench/machines.yml", "-e", f"bench_image={image}")


def playbook(path: str, *arguments: str) -> None:
    command: list[str | Path] = [BIN / "ansible-playbook", "-i", SITE.path, path, *arguments]
    if SITE.vault_password_file.exists():
        command += ["--vault-password-file", SITE.vault_password_file]
    subprocess.run(command, stdout=sys.stderr, check=True)


def deploy(results: dict[str, Any], name: str) -> None:
    """Time ``socle deploy`` with new SSH connections, because the previous machines had the same addresses."""
    with tempfile.TemporaryDirectory(prefix="bench-") as control, timed(results, name):
        process = subprocess.Popen(
            [BIN / "socle", "deploy", "-i", SITE.path, "--json"],
            env={**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": control},
            stdout=subprocess.PIPE,
        )
        try:
            outcome = json.loads(process.communicate()[0] or "{}")
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            raise
    if process.returncode:
        raise RuntimeError(f"the deployment ({name}) failed with {process.returncode}: {outcome.get('failures')}")
    results.setdefault("runs", {})[name] = outcome["totals"]


def judge(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ratios to the floor (seconds for the run without changes), with their targets."""
    floors = {"plain": ("a", "b", "c"), "image": ("b", "c")}
    values = {
        name: round(results[name] / sum(results[part] for part in parts), 2)
        for name, parts in floors.items()
        if name in results
    } | {"no_change": results["no_change"]}
    return {
        name: {"value": value, "target": TARGETS[name], "met": value <= TARGETS[name]} for name, value in values.items()
    }


def table(results: dict[str, Any], verdicts: dict[str, dict[str, Any]]) -> str:
    """Return the figures as text."""
    lines = [f"{results['cores']} cores, load {results['load']} at the start"]
    rows = (
        ("a", "floor: install packages"),
        ("b", "floor: create schemas"),
        ("c", "floor: start services"),
        ("plain", "deploy plain nodes"),
        ("image", "deploy nodes of the image"),
        ("no_change", "deploy again"),
    )
    ratios = {"plain": " x (a+b+c)", "image": " x (b+c)", "no_change": " s"}
    for key, title in (row for row in rows if row[0] in results):
        label = f"({key}) {title}" if len(key) == 1 else title
        line = f"{label:32}{results[key]:8.1f} s"
        if verdict := verdicts.get(key):
            met = "met" if verdict["met"] else "MISSED"
            line += f"   {verdict['value']}{ratios[key]}, target {verdict['target']:g}: {met}"
        lines.append(line)
    return "\n".join(lines)


@contextlib.contextmanager
def timed(results: dict[str, Any], name: str) -> Iterator[None]:
    """Add the seconds of a block to ``results``, unless it fails."""
    say(f"measure {name}")
    begun = time.monotonic()
    yield
    results[name] = round(time.monotonic() - begun, 1)
    say(f"{name}: {results[name]} s")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
