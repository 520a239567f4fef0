# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The options of ansible-playbook that the commands accept and pass on with the same meaning."""

from __future__ import annotations

import argparse
import getpass
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import inventory
from .project import Site


@dataclass(frozen=True)
class Option:
    names: tuple[str, ...]
    """The last name is the one that is passed on."""
    metavar: str = ""
    """Empty for an option without a value."""
    help: str = "as for ansible-playbook"


CONNECTING = (
    Option(("-e", "--extra-vars"), "VARS"),
    Option(("-v", "--verbose"), help="show what Ansible prints; more with -vvv"),
    Option(("-f", "--forks"), "N"),
    Option(("-u", "--user"), "USER"),
    Option(("--key-file", "--private-key"), "FILE"),
    Option(("-c", "--connection"), "NAME"),
    Option(("-T", "--timeout"), "SECONDS"),
    Option(("--ssh-common-args",), "ARGUMENTS"),
    Option(("--ssh-extra-args",), "ARGUMENTS"),
    Option(("--sftp-extra-args",), "ARGUMENTS"),
    Option(("--scp-extra-args",), "ARGUMENTS"),
    Option(("-k", "--ask-pass")),
    Option(("--conn-pass-file", "--connection-password-file"), "FILE"),
    Option(("-b", "--become")),
    Option(("--become-method",), "NAME"),
    Option(("--become-user",), "USER"),
    Option(("-K", "--ask-become-pass")),
    Option(("--become-pass-file", "--become-password-file"), "FILE"),
    Option(("-M", "--module-path"), "PATH"),
    Option(("--flush-cache",)),
)
VAULT = (
    Option(("--vault-id",), "[ID@]FILE"),
    Option(("--vault-pass-file", "--vault-password-file"), "FILE"),
    Option(("-J", "--ask-vault-pass", "--ask-vault-password")),
)
PREVIEW = (
    Option(("-C", "--check"), help="change nothing: show diffs and restarts"),
    Option(("-D", "--diff"), help="show what changes in files"),
)
CHOOSING = (
    Option(("-l", "--limit"), "HOSTS", "only these hosts or groups"),
    Option(("-t", "--tags"), "TAGS", "only these phases (configure, bootstrap, run...)"),
    Option(("--skip-tags",), "TAGS"),
    Option(("--start-at-task",), "NAME"),
    Option(("--force-handlers",)),
    Option(("--list-hosts",)),
    Option(("--list-tags",)),
    Option(("--list-tasks",)),
    Option(("--syntax-check",)),
)
NOT_PASSED = {"--help", "--version", "--inventory-file", "--step"}
"""Options of socle itself, and options that need answers, such as --step."""
PROMPTS = {
    "--ask-pass": ("SSH password: ", "--connection-password-file"),
    "--ask-become-pass": ("BECOME password: ", "--become-password-file"),
    "--ask-vault-password": ("Vault password: ", "--vault-password-file"),
}
FILES = {"--connection-password-file", "--become-password-file", "--vault-password-file"}


def add(parser: argparse.ArgumentParser, *tables: Sequence[Option]) -> None:
    """Add the options of `tables` to `parser`, which collects them, in their order, in `passed`."""
    parser.set_defaults(passed=[])
    shown = parser.add_argument_group("options of ansible-playbook")
    for option in (option for table in tables for option in table):
        settings: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"nargs": 0}
        text = option.help if option.help != Option.help else argparse.SUPPRESS
        shown.add_argument(*option.names, action=_Pass, dest=f"passed {option.names[-1]}", help=text, **settings)


class _Pass(argparse.Action):
    """Collect the option and its value. A flag's value is empty."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name = self.option_strings[-1]
        namespace.passed = [*namespace.passed, *([name] if self.nargs == 0 else [name, values])]


@contextmanager
def settled(arguments: Sequence[str], site: Site, ask: Callable[[str], str] = getpass.getpass) -> Iterator[list[str]]:
    """Return `arguments` in a form that a process without a terminal can use.

    Passwords are asked here. Pipes are read here, as they are not inherited. Both are passed on in files that only this
    account can read and that are removed at the end of the run. The limit is replaced by the names of hosts.
    """
    with tempfile.TemporaryDirectory(prefix="socle-", dir=_memory()) as name:
        folder = Path(name)
        settled = list(_settled(list(arguments), folder, ask))
        if own := inventory.own_password(site):
            settled.append(("--vault-password-file", own))
        slugs = [value for option, value in settled if option in ("--vault-id", "--vault-password-file") and value]
        limits = [value for option, value in settled if option == "--limit"]
        if limits:  # the last counts, as for ansible-playbook
            hosts = inventory.limited(site, str(limits[-1]), inventory.vault_secrets(site, slugs))
            settled = [pair for pair in settled if pair[0] != "--limit"] + [("--limit", ",".join(hosts))]
        yield [word for option, value in settled for word in ([option] if value is None else [option, value])]


def _settled(arguments: list[str], folder: Path, ask: Callable[[str], str]) -> Iterator[tuple[str, str | None]]:
    """(option, value), None for an option without one; words that are not options of the tables are kept."""
    ssh = ""
    while arguments:
        option = arguments.pop(0)
        if option in PROMPTS:
            prompt, named = PROMPTS[option]
            word = ask(prompt)
            if option == "--ask-pass":
                ssh = word
            # As in Ansible: without its own password, sudo gets that of SSH.
            yield named, _private(folder, (word or ssh) if option == "--ask-become-pass" else word)
        elif option not in VALUED or not arguments:
            yield option, None
        else:
            yield option, _at_hand(option, arguments.pop(0), folder, ask)


def _at_hand(option: str, value: str, folder: Path, ask: Callable[[str], str]) -> str:
    """The value of an option. A pipe or a prompt that it names is replaced by a file."""
    if option == "--extra-vars" and value.startswith("@"):
        return f"@{_regular(value[1:], folder)}"
    if option in FILES:
        return _regular(value, folder)
    if option == "--vault-id":
        name, at, file = value.partition("@") if "@" in value else ("", "", value)
        if file in ("prompt", "prompt_ask_vault_pass"):
            word = ask(f"Vault password ({name or 'default'}): ")
            return f"{name}{at}{_private(folder, word)}"
        return f"{name}{at}{_regular(file, folder)}"
    return value


def _regular(name: str, folder: Path) -> str:
    """The name of a file with the content of `name` if that is a pipe or standard input, else `name` itself."""
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return name  # Ansible says what is wrong with it
    inherited = name.startswith(("/dev/", "/proc/"))
    if stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not inherited):
        return name
    return _private(folder, Path(name).read_bytes())


def _private(folder: Path, content: str | bytes) -> str:
    file = folder / str(len(list(folder.iterdir())))
    file.touch(mode=0o600)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def _memory() -> str | None:
    """A folder in memory, if this account has one."""
    for folder in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):
        if folder and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None


VALUED = {option.names[-1] for table in (CONNECTING, VAULT, PREVIEW, CHOOSING) for option in table if option.metavar}
