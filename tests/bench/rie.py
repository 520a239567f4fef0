#!/usr/bin/env python3
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Measure the creation of tenant networks by rie_neutron, by a loop of openstack.cloud modules, and by the bare API.

All use the Neutron of a deployed site in sequence, and create the same objects, each in its own project: a number of
networks, each with a subnet and a router port, in VRFs, each with an address scope, a subnet pool and a router. The
VRFs have one network, as those of a public body, or as many as an average VRF of the State: Neutron takes longer for a
port if its router has more of them. Modules run on the first controller, over the same type of connection. Then
rie_neutron alone creates many networks. Meanwhile, the guests of the site are paused: an idle guest on an emulated
processor takes a tenth of a core from the measurement.

Times of the modules are those of their tasks from start to end, as ansible reports them. The time of the bare API is
from its first to its last request, with a token already obtained, and is the best of several ways to distribute the
requests. All objects are always removed at the end, also those that a killed run left: they are in the projects
`bench-rie-*`. The guests that it paused are resumed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import ipaddress
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

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT)]

from socle.project import Site, find_site

PREFIX = "bench-rie-"
PROJECT = "Make the project"
POOL = ipaddress.IPv4Network("10.64.0.0/14")
STATE_VRF = 17  # mean number of networks per VRF: 5,000 in 300
BARE = ((2, 5), (4, 5))
"""Ways to distribute the bare requests: number of parallel requests, number of networks per request."""

TARGETS = {"first": (">=", 5.0), "no_change": (">=", 90.0), "floor": ("<=", 1.2), "many_no_change": ("<=", 5.0)}
"""First two: multiples of the loop's speed. Then: multiple of the bare API's time per network. Last: seconds."""


def main() -> int:
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    site = find_site(options.inventory)
    results: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "parts": []}
    try:
        sweep(site)
        try:
            say(f"{len(guests(site, pause=True))} guests are paused")
            for part in measure(site, options):
                results["parts"].append({**part, "verdicts": judge(part)})
        finally:
            say("remove what was made")
            sweep(site)
            guests(site, pause=False)
    except KeyboardInterrupt:
        return 130
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(results, indent=2) if options.json else table(results))
    met = all(verdict["met"] for part in results["parts"] for verdict in part["verdicts"].values())
    return int(options.gate and not met)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-i", "--inventory", default="lab")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON; progress is on stderr")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--networks", type=int, default=50, help="networks that each of them makes (default: 50)")
    parser.add_argument(
        "--in-a-vrf", type=int, nargs="+", default=[1, STATE_VRF], metavar="N",
        help=f"networks of a VRF, for a comparison each (default: 1 {STATE_VRF})",
    )  # fmt: skip
    parser.add_argument("--many", type=int, default=300, help="networks of the last run, 0 for none (default: 300)")
    parser.add_argument("--no-loop", action="store_true", help="leave out openstack.cloud, which takes longest")
    return parser.parse_args()


def measure(site: Site, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield seconds and API calls by step: a part for each size of a VRF, then one for many networks."""
    for in_a_vrf in options.in_a_vrf:
        yield compare(site, options.networks, in_a_vrf, loop=not options.no_loop)
    if options.many:
        yield {"networks": options.many, "in_a_vrf": STATE_VRF, **ours(Job(site, "many", options.many, STATE_VRF))}


def compare(site: Site, count: int, in_a_vrf: int, *, loop: bool) -> dict[str, Any]:
    """Create the same networks with each tool in sequence."""
    say(f"{count} networks, {in_a_vrf} in a VRF")
    bare = []
    for workers, batch in BARE:
        name = f"bare, {workers} side by side, {batch} in one"
        job = Job(site, f"bare-{workers}-{batch}", count, in_a_vrf)
        job.run("project")
        (answer,) = job.run("bare", bench_job=job.bare("make", workers=workers, batch=batch)).values()
        bare.append({"name": name, **json.loads(answer["result"]["stdout"])})
        say(f"{name}: {bare[-1]['seconds']} s")
        # rie_neutron must find no difference: the bare API must have created the same objects.
        (same,) = job.run("module", "--check").values()
        if same["result"]["operations"]:
            raise RuntimeError(f"the bare API's objects are not the same: {same['result']['operations']}")
        job.end()
    part = {"networks": count, "in_a_vrf": in_a_vrf, "bare": min(bare, key=lambda one: one["seconds"])}
    part |= ours(Job(site, "module", count, in_a_vrf))
    if loop:
        job = Job(site, "loop", count, in_a_vrf)
        job.run("project")
        part |= {"loop": job.timed("loop"), "loop_no_change": job.timed("loop", changes=False)}
        job.end()
    return part


def ours(job: Job) -> dict[str, Any]:
    """Run a job by rie_neutron twice."""
    job.run("project")
    part = {"module": job.timed("module"), "module_no_change": job.timed("module", changes=False)}
    job.end()
    return part


class Job:
    """A project, and the networks to create in it."""

    def __init__(self, site: Site, name: str, count: int, in_a_vrf: int) -> None:
        self.site = site
        self.name = name
        self.project = PREFIX + name
        self.count = count
        self.plan = plan(self.project, count, in_a_vrf)

    def bare(self, verb: str, **more: Any) -> dict[str, Any]:
        return {"verb": verb, "project": self.project, "plan": self.plan, **more}

    def run(self, tag: str, *arguments: str, **variables: Any) -> dict[str, dict[str, Any]]:
        return play(self.site, tag, *arguments, bench_project=self.project, bench_plan=self.plan, **variables)

    def timed(self, tag: str, changes: bool = True) -> dict[str, Any]:
        """Return the seconds of the tasks and of the whole process, and the number of API calls if known."""
        what = f"{self.name}, {self.count} networks{'' if changes else ', no change'}"
        say(f"measure {what}")
        begun = time.monotonic()
        tasks = self.run(tag)
        timed: dict[str, Any] = {"process": round(time.monotonic() - begun, 2)}
        timed["seconds"] = round(sum(task["seconds"] for task in tasks.values()), 2)
        changed = [name for name, task in tasks.items() if task["result"]["changed"]]
        if bool(changed) != changes:
            raise RuntimeError(f"{what}: changed {changed or 'nothing'}")
        calls = [task["result"]["api_calls"]["total"] for task in tasks.values() if "api_calls" in task["result"]]
        if calls:
            timed["api_calls"] = sum(calls)
        say(f"{what}: {timed['seconds']} s")
        return timed

    def end(self) -> None:
        """Remove the created objects, and check that their number is right."""
        found = sweep(self.site)
        for kind in ("networks", "subnets", "ports"):
            if found.get(kind) != self.count:
                raise RuntimeError(f"{self.name}: made {found.get(kind)} of {self.count} {kind}")


def plan(project: str, count: int, in_a_vrf: int) -> dict[str, Any]:
    """Return the plan of rie_plan for ``count`` networks in a project, without links to the gateways."""
    cidrs = list(POOL.subnets(new_prefix=24))[:count]
    parts = [cidrs[at : at + in_a_vrf] for at in range(0, count, in_a_vrf)]
    return {"projects": [], "quotas": {}, "vrfs": [_vrf(project, number, part) for number, part in enumerate(parts)]}


def _vrf(project: str, number: int, cidrs: list[ipaddress.IPv4Network]) -> dict[str, Any]:
    name = f"{project}-{number}"
    tag = f"rie:{name}"
    networks = []
    for index, cidr in enumerate(cidrs):
        own = f"{name}-{index:03}"
        v4 = {"cidr": str(cidr), "gateway_ip": str(cidr[1])}
        networks.append({"name": own, "tag": f"{tag}:{own}", "mtu": 1500, "v4": v4})
    return {
        "name": name,
        "tenant": project,
        "project": project,
        "address_scopes": [{"name": f"rie-{name}-v4", "ip_version": 4}],
        "subnet_pools": [{"name": f"rie-{name}-v4", "tag": f"{tag}:v4", "ip_version": 4, "prefixes": [str(POOL)]}],
        "networks": networks,
        "externals": [],
        "router": {"name": f"rie-{name}", "tag": f"{tag}:router"},
    }


def sweep(site: Site) -> dict[str, int]:
    """Remove all objects of all benchmarks; return their numbers by kind."""
    (answer,) = play(site, "bare", bench_project="", bench_job={"verb": "sweep", "prefix": PREFIX}).values()
    return json.loads(answer["result"]["stdout"])


def guests(site: Site, pause: bool) -> list[str]:
    """Pause the site's guests, or resume those that were paused here; return their names."""
    job = {"verb": "guests", "mark": PREFIX.strip("-"), "pause": pause}
    (answer,) = play(site, "bare", bench_project="", bench_job=job).values()
    return json.loads(answer["result"]["stdout"])


def play(site: Site, tag: str, *arguments: str, **variables: Any) -> dict[str, dict[str, Any]]:
    """Run the tasks of a tag; return, by name of the task, its result and its duration in seconds."""
    command: list[Any] = [ROOT / ".venv" / "bin" / "ansible-playbook", "-i", site.path, "--tags", tag, *arguments]
    if site.vault_password_file.exists():
        command += ["--vault-password-file", site.vault_password_file]
    with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".json") as given:
        json.dump(variables, given)
        given.flush()
        command += ["-e", f"@{given.name}", "tests/bench/rie.yml"]
        quiet = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_DEPRECATION_WARNINGS": "false"}
        process = subprocess.Popen(command, env={**os.environ, **quiet}, text=True, stdout=subprocess.PIPE)
        try:
            output, _nothing = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            raise
    try:
        tasks = json.loads(output[output.index("{") :])["plays"][0]["tasks"]
    except (ValueError, LookupError) as error:
        raise RuntimeError(f"{tag}: {output[-2000:]}") from error
    found = {}
    for task in tasks:
        for result in task["hosts"].values():
            if result.get("failed") or result.get("unreachable"):
                faults = [item for item in result.get("results", [result]) if item.get("msg")]
                words = [f"{item['msg']} {item.get('stderr', '')}".strip()[-800:] for item in faults[:3]]
                raise RuntimeError(f"{task['task']['name']}: {words}")
            found[task["task"]["name"]] = {"result": result, "seconds": _seconds(task["task"]["duration"])}
    return found


def _seconds(duration: dict[str, str]) -> float:
    start, end = (datetime.datetime.fromisoformat(duration[name]) for name in ("start", "end"))
    return (end - start).total_seconds()


def judge(part: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare the ratios of a part with the targets."""
    module, again = part["module"]["seconds"], part["module_no_change"]["seconds"]
    values = {"floor": module / part["bare"]["seconds"]} if "bare" in part else {"many_no_change": again}
    if "loop" in part:
        values |= {"first": part["loop"]["seconds"] / module, "no_change": part["loop_no_change"]["seconds"] / again}
    verdicts = {}
    for name, value in values.items():
        sense, target = TARGETS[name]
        met = value >= target if sense == ">=" else value <= target
        verdicts[name] = {"value": round(value, 2), "target": f"{sense} {target:g}", "met": met}
    return verdicts


def table(results: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{results['cores']} cores, load {results['load']} at the start"]
    for part in results["parts"]:
        lines += ["", f"{part['networks']} networks, {part['in_a_vrf']} in a VRF"]
        rows = (
            ("bare", part.get("bare", {}).get("name"), "", ""),
            ("module", "rie_neutron", "floor", " x the bare API"),
            ("loop", "loop of openstack.cloud", "first", " x slower than rie_neutron"),
            ("module_no_change", "rie_neutron, no change", "many_no_change", " s"),
            ("loop_no_change", "loop, no change", "no_change", " x slower than rie_neutron"),
        )
        for key, title, name, unit in (row for row in rows if row[0] in part):
            found = part[key]
            line = f"{title:38}{found['seconds']:9.2f} s"
            line += f" ({found['process']:.1f} s with ansible)" if "process" in found else ""
            line += f", {found['api_calls']} API calls" if "api_calls" in found else ""
            if verdict := part["verdicts"].get(name):
                met = "met" if verdict["met"] else "MISSED"
                line += f"   {verdict['value']}{unit}, target {verdict['target']}: {met}"
            lines.append(line)
    return "\n".join(lines)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
