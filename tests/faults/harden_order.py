#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Harden a site after its deployment, then, on new machines, before it; compare /etc and /usr/local.

It passes if every node has the same files in both orders (content, owner, group, mode), neither command changes
anything afterwards, and the reachability matrix is as expected. The machines are those of the given inventory
(inventories/lab) and are left running. Each difference is printed as a line: node, path, first and second state.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from socle.lab import Node, nodes
from socle.project import find_site

SOCLE = str(ROOT / ".venv" / "bin" / "socle")
OWN = (
    "machine-id",
    "socle/pki/node.*",
    "ssh/ssh_host_*",
    # Backups and caches that programs write: they contain earlier content, which depends on the order.
    "*-",
    "ld.so.cache",
)
"""Patterns of paths below /etc that differ on each machine."""

LOOK = r"""
import fnmatch, grp, hashlib, json, os, pwd, re, stat, sys
# libvirt draws these for each machine.
drawn = re.compile(rb"<uuid>[^<]*</uuid>|uuid='[^']*'|<mac address=[^>]*>")
found = {}
for folder, folders, files in [*os.walk("/etc"), *os.walk("/usr/local")]:
    for name in folders + files:
        path = os.path.join(folder, name)
        if any(fnmatch.fnmatch(path, "/etc/" + pattern) for pattern in sys.argv[1:]):
            continue
        info = os.lstat(path)
        try:
            owner = pwd.getpwuid(info.st_uid).pw_name + ":" + grp.getgrgid(info.st_gid).gr_name
        except KeyError:
            owner = f"{info.st_uid}:{info.st_gid}"
        if stat.S_ISLNK(info.st_mode):
            what = "-> " + os.readlink(path)
        elif stat.S_ISREG(info.st_mode):
            content = open(path, "rb").read()
            if path.startswith("/etc/libvirt/"):
                content = drawn.sub(b"", content)
            what = hashlib.sha256(content).hexdigest()[:16]
        else:
            what = ""
        found[path] = f"{stat.filemode(info.st_mode)} {owner} {what}".strip()
print(json.dumps(found))
"""


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("-i", "--inventory", default="lab", help="the site (default: lab)")
    inventory = options.parse_args().inventory
    states, well = [], True
    for order in (("deploy", "harden"), ("harden", "deploy")):
        for words in (("lab", "down"), ("lab", "up"), (order[0],), (order[1],)):
            if (code := run(*words, "-i", inventory)["exit_code"]) != 0:
                print(f"{' '.join(words)}: exit {code}")
                return 1
        hardened = [node for node in nodes(find_site(inventory)) if "backbone" not in node.groups]
        states.append({node.name: look(node) for node in hardened})
        for verb in order:
            outcome = run(verb, "-i", inventory)
            print(f"{' then '.join(order)}; {verb} again: exit {outcome['exit_code']}, "
                  f"changed={outcome['totals']['changed']}", flush=True)  # fmt: skip
            well = well and (outcome["exit_code"], outcome["totals"]["changed"]) == (0, 0)
    verified = run("verify", "-i", inventory)["exit_code"]
    lines = compare(*states)
    print("\n".join(lines))
    counts = ", ".join(f"{node} {len(state)}" for node, state in states[1].items())
    print(f"verify: exit {verified}; files compared: {counts}; {len(lines)} differ")
    return int(not well or bool(lines) or verified != 0)


def compare(former: dict[str, dict[str, str]], latter: dict[str, dict[str, str]]) -> list[str]:
    """Return one line per path that differs: node, path, state in either order ("none" if it does not exist)."""
    lines = []
    for node in former:
        for path in sorted({*former[node], *latter[node]}):
            states = [state[node].get(path, "none") for state in (former, latter)]
            if states[0] != states[1]:
                lines.append("\t".join([node, path, *states]))
    return lines


def look(node: Node) -> dict[str, str]:
    """Return the state of each path in /etc and /usr/local."""
    words = [*node.ssh, shlex.join(["python3", "-", *OWN])]
    return json.loads(subprocess.run(words, input=LOOK, text=True, stdout=subprocess.PIPE, check=True).stdout)


def run(*words: str) -> dict:
    """Return the JSON result of a command; its progress goes to standard error."""
    done = subprocess.run([SOCLE, *words, "--json"], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
