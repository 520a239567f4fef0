# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The command line: the commands of `socle`, and the playbook that each of them runs."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import display, passing, project, report, rie, runs
from .project import Site, UsageError, find_site

EPILOG = """exit codes:
  0    success
  1    a task failed on a host
  2    wrong usage, or input that validation refuses
  3    socle verify, audit, rie drift or show: the site is not in the expected state
  4    a node cannot be reached
  130  interrupted

Each command that changes or checks a site runs a playbook of playbooks/. The options of ansible-playbook, except
--step, and the arguments after -- are passed on. The results of the last 20 runs of each site are kept in
.socle/runs/, or in $SOCLE_STATE. INVENTORY is a folder, or the name of one in inventories/."""


# Commands that write a report COMMAND.json and COMMAND.html, and the variable that holds the folder of the report.
REPORTS = {"verify": "verify_report_directory", "audit": "audit_report_directory"}


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no character of a name or message is worth a crash
            stream.reconfigure(errors="replace")
    words, further = _divided(list(sys.argv[1:] if argv is None else argv))
    options = _parser().parse_args(words)
    try:
        if further:
            _take(options, further)
        code: int = options.act(options)
        return code
    except UsageError as error:
        print(f"socle: {error}", file=sys.stderr)
        usage: int = options.usage
        return usage
    except KeyboardInterrupt:
        return runs.INTERRUPTED
    except BrokenPipeError:  # who read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return runs.FAILED
    except OSError as error:
        where = error.filename or (project.STATE if error.errno in (errno.ENOSPC, errno.EDQUOT) else "")
        print(f"socle: {f'{where}: ' if where else ''}{error.strerror or error}", file=sys.stderr)
        return runs.FAILED


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before the first `--`, and those after it; `socle lab ssh` passes all of them to its command."""
    if "--" not in words or words[:2] == ["lab", "ssh"]:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def _take(options: argparse.Namespace, further: list[str]) -> None:
    """Add the words after `--` to the arguments that are passed on."""
    if not hasattr(options, "passed") or options.act in (_secrets_init, _secrets_rotate):
        raise UsageError(f"this command runs no playbook, so nothing is passed on: {' '.join(further)}")
    parser = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    passing.add(parser, passing.CONNECTING, passing.VAULT, passing.PREVIEW, passing.CHOOSING)
    known, unknown = parser.parse_known_args(further)
    options.passed = [*options.passed, *known.passed, *unknown]


def _parser() -> argparse.ArgumentParser:
    parser = _subparser(
        argparse.ArgumentParser,
        prog="socle",
        description="Deploy and harden OpenStack, and wire its tenants into the RIE.",
    )
    parser.set_defaults(usage=runs.USAGE)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    lab = _subparser(verbs.add_parser, "lab", help="the cloud on this machine, with systemd-nspawn nodes")
    lab_verbs = lab.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, playbook, text in (
        ("up", "lab.yml", "build the node image if needed, boot the machines and link them"),
        ("down", "lab_down.yml", "remove every machine, link, rule and sysctl that the lab created"),
    ):
        _run_verb(lab_verbs, name, playbook, text, verb=f"lab-{name}", default="lab")
    status = _subparser(lab_verbs.add_parser, "status", help="show the nodes and whether they answer")
    status.set_defaults(act=_lab_status)
    ssh = _subparser(lab_verbs.add_parser, "ssh", help="open a shell on a node, or run a command there")
    ssh.add_argument("node")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    ssh.set_defaults(act=_lab_ssh)
    for command in (status, ssh):
        _inventory(command)

    image = _subparser(verbs.add_parser, "image", help="the node image")
    build = _run_verb(
        image.add_subparsers(title="commands", metavar="COMMAND", required=True),
        "build",
        "image.yml",
        "build the node image from the roles' install phase (kept until its sources change)",
        verb="image",
        default="lab",
    )
    build.add_argument("--force", action="store_true", help="build it even if its sources have not changed")

    _run_verb(verbs, "deploy", "deploy.yml", "bring the nodes to the state that the inventory describes")
    _run_verb(verbs, "wire", "wire.yml", "wire the tenant networks into the RIE")
    _run_verb(verbs, "harden", "harden.yml", "harden the nodes to the State's rules (ANSSI-BP-028)")
    _run_verb(verbs, "verify", "verify.yml", "send real packets for every pair of the reachability matrix")
    _run_verb(verbs, "audit", "audit.yml", "check the nodes with OpenSCAP, Lynis and the OpenStack Security Guide")
    _run_verb(verbs, "validate", "validate.yml", "check the inventory, without a connection to a node")

    backbone = _subparser(verbs.add_parser, "rie", help="the tenants' wiring into the RIE: plan, apply, drift")
    rie_verbs = backbone.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, act, text in (
        ("plan", rie.plan, "show what wiring would change; exit code 0: nothing, 2: changes, 1: failure"),
        ("apply", rie.apply, "make the changes that the last plan showed; refused if the site has changed since"),
        ("drift", rie.drift, "print the differences between site and intent as JSON; exit code 0: none, 3: some"),
    ):
        command = _subparser(rie_verbs.add_parser, name, help=text)
        _inventory(command)
        if act is not rie.drift:
            command.add_argument("--json", action="store_true", help="print JSON, progress on stderr")
        passing.add(command, passing.CONNECTING, passing.VAULT, *([passing.PREVIEW] if act is rie.apply else []))
        # For `plan`, 2 means that there are changes.
        command.set_defaults(act=act, usage=rie.WRONG if act is rie.plan else runs.USAGE)

    command = _subparser(
        rie_verbs.add_parser, "show", help="show a tenant's networks, attachment circuits, sessions and routes"
    )
    command.add_argument("tenant", metavar="TENANT", help="its name in rie_tenants")
    _inventory(command)
    command.add_argument("--json", action="store_true", help="print JSON, progress on stderr")
    passing.add(command, passing.CONNECTING, passing.VAULT)
    command.set_defaults(act=rie.show)
    command = _subparser(rie_verbs.add_parser, "report", help="write a page about the current wiring")
    _inventory(command)
    command.add_argument("-o", "--output", metavar="FILE", help="the page (default: among the site's reports)")
    command.add_argument("--json", action="store_true", help="print JSON as well, progress on stderr")
    passing.add(command, passing.CONNECTING, passing.VAULT)
    command.set_defaults(act=rie.describe, usage=rie.WRONG)
    for name, state, text in (
        ("drain", True, "move the traffic off a gateway before work on it, until undrain"),
        ("undrain", False, "move the traffic back to a drained gateway"),
    ):
        command = _subparser(rie_verbs.add_parser, name, help=text)
        command.add_argument("gateway", metavar="GATEWAY", help="a host of the inventory's group gateway")
        _inventory(command)
        command.add_argument("--json", action="store_true", help="print the outcome as JSON, progress on stderr")
        passing.add(command, passing.CONNECTING, passing.VAULT, passing.PREVIEW)
        command.set_defaults(act=rie.drain, verb=f"rie-{name}", drain=state)

    secrets = _subparser(verbs.add_parser, "secrets", help="the secrets of a site")
    secrets_verbs = secrets.add_subparsers(title="commands", metavar="COMMAND", required=True)
    init = _subparser(
        secrets_verbs.add_parser,
        "init",
        help="create the vault password and the secrets in secrets.yml (encrypted), where they are missing",
    )
    _inventory(init)
    passing.add(init, passing.VAULT)
    init.set_defaults(act=_secrets_init)
    rotate = _subparser(secrets_verbs.add_parser, "rotate", help="replace secrets; the next deployment applies them")
    rotate.add_argument("names", nargs="*", metavar="NAME", help="as in secrets.yml; BGP keys only if named")
    rotate.add_argument("--all", action="store_true", help="every secret that is the site's own: no BGP keys")
    rotate.add_argument(
        "--now", action="store_true", help="after the theft of keystone_fernet_seed: invalidate every existing token"
    )
    rotate.add_argument("--check", action="store_true", help="change nothing; name the secrets that would be rotated")
    rotate.add_argument("--json", action="store_true", help="print the outcome as JSON")
    _inventory(rotate)
    passing.add(rotate, passing.VAULT)
    rotate.set_defaults(act=_secrets_rotate)
    return parser


def _subparser(make: Callable[..., argparse.ArgumentParser], *names: str, **options: str) -> argparse.ArgumentParser:
    about = options.get("help", "")
    text = {"description": about[:1].upper() + about[1:] or None, **options}
    return make(*names, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **text)


def _inventory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i",
        "--inventory",
        "--inventory-file",
        action=_Once,
        help="the site (default: $SOCLE_INVENTORY, then lab for lab and image)",
    )


class _Once(argparse.Action):
    """An option that must not be repeated: argparse would silently take the last one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"one {option_string} only: a site is a folder, to which further files of hosts belong")
        setattr(namespace, self.dest, values)


def _run_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    playbook: str,
    text: str,
    verb: str = "",
    default: str | None = None,
) -> argparse.ArgumentParser:
    parser = _subparser(verbs.add_parser, name, help=text)
    _inventory(parser)
    passing.add(parser, passing.CHOOSING, passing.PREVIEW, passing.CONNECTING, passing.VAULT)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, progress on stderr")
    parser.set_defaults(act=_run, verb=verb or name, playbook=playbook, default=default, force=False)
    return parser


def _run(options: argparse.Namespace) -> int:
    site = find_site(options.inventory, options.default)
    console = display.console(stderr=options.json)
    outcome = runs.run(options.verb, options.playbook, site, _playbook_arguments(options, site), console)
    if options.verb in REPORTS:
        _judge(outcome, site, options.verb)
    if options.json:
        print(json.dumps(asdict(outcome), indent=2))
    report.show(outcome, console)
    return outcome.exit_code


def _playbook_arguments(options: argparse.Namespace, site: Site) -> list[str]:
    arguments = []
    if options.verb in REPORTS:
        arguments += ["--extra-vars", json.dumps({REPORTS[options.verb]: str(site.reports)})]
    if options.force:
        arguments += ["--extra-vars", "image_rebuild=true"]
    diff = ["--diff"] if "--check" in options.passed and "--diff" not in options.passed else []
    return [*arguments, *options.passed, *diff]


def _judge(outcome: runs.Outcome, site: Site, verb: str) -> None:
    """Name the reports that this run wrote, and distinguish a site that is not as expected from a run that failed."""
    begun = Path(outcome.artifacts).stat().st_ctime - outcome.seconds - 1
    fresh = [
        path
        for path in (site.reports / f"{verb}.json", site.reports / f"{verb}.html")
        if path.is_file() and path.stat().st_mtime >= begun
    ]
    outcome.reports = [str(path) for path in fresh]
    for path in fresh:
        if path.suffix == ".json" and not json.loads(path.read_text())["ok"] and outcome.exit_code == runs.FAILED:
            outcome.exit_code = runs.MISMATCH


def _lab_status(options: argparse.Namespace) -> int:
    from . import lab

    every = lab.status(find_site(options.inventory, "lab"))
    rows = [[node.name, ",".join(node.groups), node.address, "up" if answers else "down"] for node, answers in every]
    display.table("", ("node", "groups", "address", "SSH"), rows)
    return runs.OK if all(answers for _, answers in every) else runs.UNREACHABLE


def _lab_ssh(options: argparse.Namespace) -> int:
    from . import lab

    lab.ssh(find_site(options.inventory, "lab"), options.node, options.command)
    return runs.FAILED


def _secrets_init(options: argparse.Namespace) -> int:
    from . import vault

    site = find_site(options.inventory)
    with passing.settled(options.passed, site) as settled:
        added = vault.init(site, _passwords(settled))
    print(f"{site.secrets_file}: {f'added {len(added)}: ' + ', '.join(added) if added else 'nothing to add'}")
    return runs.OK


def _passwords(settled: list[str]) -> list[str]:
    """The files that the options --vault-id and --vault-password-file name."""
    return settled[1::2]


def _secrets_rotate(options: argparse.Namespace) -> int:
    from . import vault

    site = find_site(options.inventory)
    # A run in progress has already read some of the old values.
    with runs.only_one(site, "secrets-rotate"), passing.settled(options.passed, site) as settled:
        rotated = vault.rotate(site, options.names, options.all, options.now, options.check, _passwords(settled))
    following = vault.what_next(site, rotated, options.now)
    if options.json:
        print(json.dumps({"site": site.name, "check": options.check, "rotated": rotated, "next": following}, indent=2))
    else:
        done = "would rotate" if options.check else "rotated"
        print(f"{site.secrets_file}: {done} {len(rotated)}: {', '.join(rotated)}")
        print(*(f"next: {line}" for line in following), sep="\n")
    return runs.OK


if __name__ == "__main__":
    sys.exit(main())
