# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The commands `socle rie`: preview changes of the wiring, apply them, inspect the wiring, drain a gateway."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from . import display, report, runs
from .project import Site, UsageError, find_site

NOTHING, WRONG, CHANGES = 0, 1, 2
STYLES = {"+": "green", "-": "red", "~": "yellow"}


def preview_file(site: Site) -> Path:
    """The file in which `socle rie plan` stores its preview for `socle rie apply`."""
    return site.reports / "rie-plan.json"


def plan(options: argparse.Namespace) -> int:
    """Show what wiring would change. 0: nothing; 2: changes; 1: failure."""
    site = find_site(options.inventory)
    _code, found = _look(site, "rie-plan", preview_file(site), options.passed)
    if found is None:
        return WRONG
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        console = display.console()
        for line in found["lines"]:
            console.print(Text(line, style=_style(line)))
        if found["changes"]:
            print(f"{found['changes']} changes; `socle rie apply -i {site.name}` does these and no other")
    return CHANGES if found["changes"] else NOTHING


def _style(line: str) -> str:
    sign = line.removeprefix("  cloud").lstrip()[:1]
    return STYLES.get(sign, "" if line.startswith(" ") else "bold")


def drift(options: argparse.Namespace) -> int:
    """Print the differences between site and intent as JSON. 0: none; 3: some."""
    site = find_site(options.inventory)
    code, found = _look(site, "rie-drift", site.reports / "rie-drift.json", options.passed)
    if found is None:
        return code
    down = [row for row in found["states"] if not row["ok"]]
    keys = ("site", "made", "changes", "ledger", "site_wide", "tenants", "nodes", "orphans")
    print(json.dumps({key: found[key] for key in keys} | {"sessions": down}, indent=1, ensure_ascii=False))
    return runs.MISMATCH if found["changes"] or down else runs.OK


def apply(options: argparse.Namespace) -> int:
    """Make the changes that the last `socle rie plan` showed, unless the site has changed since."""
    site = find_site(options.inventory)
    shown = preview_file(site)
    if not shown.is_file():
        raise UsageError(f"no plan of {site.name} was shown yet: see one first, by `socle rie plan -i {site.name}`")
    console = display.console(stderr=options.json)
    outcome = runs.run("rie-apply", "rie_apply.yml", site, [*_to(shown), *options.passed], console)
    if outcome.exit_code == runs.OK:
        shown.unlink()  # it is done: another run needs another look
    if options.json:
        print(json.dumps(asdict(outcome), indent=2))
    report.show(outcome, console)
    return outcome.exit_code


def drain(options: argparse.Namespace) -> int:
    """Move the traffic off a gateway, or back to it."""
    console = display.console(stderr=options.json)
    variables = {"rie_gateway_name": options.gateway, "rie_gateway_drain": options.drain}
    arguments = ["--extra-vars", json.dumps(variables), *options.passed]
    outcome = runs.run(options.verb, "rie_drain.yml", find_site(options.inventory), arguments, console)
    if options.json:
        print(json.dumps(asdict(outcome), indent=2))
    report.show(outcome, console)
    return outcome.exit_code


def show(options: argparse.Namespace) -> int:
    """Show the networks, attachment circuits, sessions and routes of a tenant."""
    site = find_site(options.inventory)
    file = site.reports / "rie-show.json"
    variables = {"rie_gateway_tenant": options.tenant, "rie_gateway_show_file": str(file)}
    console = display.console(stderr=True)
    arguments = ["--extra-vars", json.dumps(variables), *options.passed]
    outcome = runs.run("rie-show", "rie_show.yml", site, arguments, console)
    if outcome.exit_code != runs.OK:
        report.show(outcome, console)
        return outcome.exit_code
    found = json.loads(file.read_text(encoding="utf-8"))
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for table in tables(found):
            display.table(*table)
    return runs.OK if all(row["ok"] for row in found["sessions"]) else runs.MISMATCH


def describe(options: argparse.Namespace) -> int:
    """Write the page about the wiring. 0: it is written, whatever it shows; 1: it is not."""
    site = find_site(options.inventory)
    page = Path(options.output).absolute() if options.output else site.reports / "rie-report.html"
    data = site.reports / "rie-report.json"
    variables = {"rie_report_file": str(page), "rie_report_data_file": str(data)}
    variables["rie_report_verified"] = str(site.reports)
    console = display.console(stderr=True)
    before = _age(page)
    arguments = ["--extra-vars", json.dumps(variables), *options.passed]
    outcome = runs.run("rie-report", "rie_report.yml", site, arguments, console)
    if _age(page) == before:
        report.show(outcome, console)
        return outcome.exit_code if outcome.exit_code == runs.INTERRUPTED else WRONG
    found = json.loads(data.read_text(encoding="utf-8"))
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print("\n".join([found["summary"], *found["notes"], f"report: {page}"]))
    return runs.OK


def _age(file: Path) -> int:
    """The time at which a file was last written, 0 if it does not exist."""
    return file.stat().st_mtime_ns if file.is_file() else 0


def tables(found: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[list[Any]], list[str]]]:
    """The tables of `socle rie show`, from its JSON: title, head, rows, and styles of the first columns."""
    rows: dict[str, list[list[Any]]] = {"Networks": [], "Wires": [], "Sessions": [], "Routes": []}
    heads = {
        "Networks": ("VRF", "network", "IPv4", "IPv6"),
        "Wires": ("gateway", "VRF", "RD", "VLAN of the PE", "of the cloud", "of the other gateway", "PE"),
        "Sessions": ("up", "gateway", "VRF", "session", "neighbour", "state", "detail"),
        "Routes": ("gateway", "VRF", "PE", "accepted", "refused", "announced"),
    }
    for vrf in found["cloud"]:
        for net in vrf["networks"]:
            cidrs = [net.get(family, {}).get("cidr", "") for family in ("v4", "v6")]
            rows["Networks"].append([vrf["name"], net["name"], *cidrs])
    for gateway, vrfs in found["gateways"].items():
        for vrf in vrfs:
            vlans = [vrf[link]["vlan"] for link in ("rie", "cloud", "peer")]
            rows["Wires"].append([gateway, vrf["name"], vrf["rd"], *vlans, f"AS {vrf['pe']['asn']} {vrf['pe']['v4']}"])
    for row in found["sessions"]:
        facts = [row[key] for key in ("gateway", "vrf", "what", "neighbor", "state", "detail")]
        rows["Sessions"].append(["up" if row["ok"] else "DOWN", *facts])
    for row in found["routes"]:
        lists = [" ".join(row[key]) for key in ("accepted", "refused", "announced")]
        rows["Routes"].append([row["gateway"], row["vrf"], row["neighbor"], *lists])
    styles = {"Sessions": ["green" if row["ok"] else "red" for row in found["sessions"]]}
    return [(title, head, rows[title], styles.get(title, [])) for title, head in heads.items()]


def _look(site: Site, verb: str, file: Path, passed: list[str]) -> tuple[int, dict[str, Any] | None]:
    """Run the preview. Returns the exit code and the document, which is None if the run failed and reported why."""
    console = display.console(stderr=True)
    outcome = runs.run(verb, "rie_plan.yml", site, [*_to(file), *passed], console)
    if outcome.exit_code != runs.OK:
        report.show(outcome, console)
        return outcome.exit_code, None
    return runs.OK, json.loads(file.read_text(encoding="utf-8"))


def _to(file: Path) -> list[str]:
    return ["--extra-vars", json.dumps({"rie_preview_file": str(file)})]
