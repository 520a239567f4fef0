# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The arguments of ansible-playbook besides the inventory: extra variables, tags, and the limit.

Ansible takes all of them without a word when nothing goes by that name. Extra variables become a source of the
inventory model, above all others, so that every rule sees them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..common.yaml_lines import Document, parse
from .shape_kinds import near
from .site_model import VAULT_HEADER, Decrypt, Source, Violation

PLACE = "command line"
SPECIAL_TAGS = {
    "all",
    "always",
    "never",
    "tagged",
    "untagged",
    "notest",
    "molecule-notest",
    "molecule-idempotence-notest",
}
"""Of Ansible, and those that Molecule leaves out of every run."""
SPECIAL_HOSTS = {"all", "ungrouped", "localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class CommandLine:
    """``variables`` as given by ``-e``, ``tags`` by ``--tags`` and ``--skip-tags``, ``limit`` in single patterns."""

    variables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()
    playbooks: tuple[Path, ...] = ()
    words: Callable[[str], dict[str, Any]] = field(default=lambda text: {})
    """Parses ``name=value name=value`` as Ansible does."""


def sources(given: CommandLine, decrypt: Decrypt, relative_to: Path) -> tuple[list[Source], list[Violation]]:
    """Sources of the extra variables, in Ansible's order, and what is wrong with their files."""
    found: list[Source] = []
    faults: list[Violation] = []
    for text in given.variables:
        if text.startswith("@"):
            source, wrong = _file(Path(text[1:]).expanduser(), decrypt, relative_to)
            faults += wrong
        elif text.startswith(("{", "[")):
            source = Source(PLACE, parse(text))
        else:
            source = Source(PLACE, Document(given.words(text)))
        source.scope, source.extra = "all", True
        found.append(source)
    return found, faults


def _file(path: Path, decrypt: Decrypt, relative_to: Path) -> tuple[Source, list[Violation]]:
    whole = path.absolute()
    name = str(whole.relative_to(relative_to)) if whole.is_relative_to(relative_to) else str(path)
    source = Source(name, Document())
    try:
        content = whole.read_bytes()
        if content.startswith(VAULT_HEADER.encode()):
            source.secret = True
            content = decrypt(content, name)
        source.document = parse(content.decode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return source, [Violation(name, 1, "", "", reason, "correct the file, or the name after -e @")]
    return source, [Violation(name, fault.line, "", "", fault.reason, fault.remedy) for fault in source.document.faults]


def check_tags(given: CommandLine, project: Path) -> Iterator[Violation]:
    """Tags exist in the playbook that runs: if no task has one of them, Ansible runs nothing and reports nothing."""
    chosen = [tag for tag in dict.fromkeys(given.tags) if tag not in SPECIAL_TAGS]
    if not chosen or not given.playbooks:
        return
    reader = _Tags(project)
    for playbook in given.playbooks:
        reader.playbook(playbook)
    for tag in chosen:
        if tag in reader.found:
            continue
        known = f"its tags: {', '.join(sorted(reader.found))}" if reader.found else "this playbook has no tags"
        remedy = near(tag, reader.found, known)
        if reader.complete or remedy != known:
            yield Violation(PLACE, 1, "--tags", tag, "no task of the playbook has this tag", remedy)


def check_limit(given: CommandLine, hosts: Iterable[str], groups: Iterable[str]) -> Iterator[Violation]:
    """Every part of the limit names a host or a group: Ansible ignores parts that do not."""
    hosts = set(hosts)
    names = hosts | {*groups} | SPECIAL_HOSTS
    for pattern in dict.fromkeys(given.limit):
        plain = re.sub(r"\[-?[0-9]*(:-?[0-9]*)?\]$", "", pattern.lstrip("!&"))
        if plain and plain not in names and not _matches(pattern.lstrip("!&"), names):
            remedy = near(plain, names - {"127.0.0.1", "::1"}, "name a host or a group of the inventory")
            yield Violation(PLACE, 1, "--limit", pattern, "the inventory has no such host or group", remedy)


def _matches(pattern: str, names: set[str]) -> bool:
    if pattern.startswith("~"):
        try:
            return any(re.match(pattern[1:], name) for name in names)
        except re.error:
            return False
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


class _Tags:
    """Walks a playbook, its plays, roles and files of tasks, and collects the tags."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.found: set[str] = set()
        self.complete = True
        """Whether everything that the playbook names could be read."""
        self._seen: set[Path] = set()

    def playbook(self, path: Path) -> None:
        for play in self._read(path) or []:
            if not isinstance(play, dict):
                continue
            self._take(play)
            if imported := play.get("import_playbook") or play.get("ansible.builtin.import_playbook"):
                self.playbook(path.parent / str(imported))
            for role in play.get("roles") or []:
                name = role.get("role") or role.get("name") if isinstance(role, dict) else role
                self._take(role)
                self._role(str(name), {})
            for key in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                self._tasks(play.get(key), path.parent)

    def _tasks(self, tasks: Any, folder: Path) -> None:
        for task in tasks if isinstance(tasks, list) else []:
            if not isinstance(task, dict):
                continue
            self._take(task)
            for key in ("block", "rescue", "always"):
                self._tasks(task.get(key), folder)
            for key, value in task.items():
                verb = str(key).rpartition(".")[2]
                if verb in ("import_role", "include_role") and isinstance(value, dict):
                    self._role(str(value.get("name")), value)
                elif verb in ("import_tasks", "include_tasks"):
                    file = value.get("file") if isinstance(value, dict) else value
                    self._tasks(self._read(folder / str(file)), folder)

    def _role(self, name: str, options: dict[str, Any]) -> None:
        folder = self.project / "roles" / name.rpartition(".")[2]
        self.complete = self.complete and folder.is_dir()
        for kind in ("tasks", "handlers"):
            main = str(options.get(f"{kind}_from") or "main").removesuffix(".yml")
            path = folder / kind / f"{main}.yml"
            # A role such as `site` has only defaults.
            if path.is_file():
                self._tasks(self._read(path), path.parent)

    def _read(self, path: Path) -> Any:
        path = path.resolve()
        if path in self._seen:
            return None
        self._seen.add(path)
        try:
            return yaml.load(path.read_text(), Loader=_Loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            self.complete = False
            return None

    def _take(self, node: Any) -> None:
        tags = node.get("tags") if isinstance(node, dict) else None
        for tag in tags if isinstance(tags, list) else [tags] if tags else []:
            self.found |= {part.strip() for part in str(tag).split(",")}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Ansible's own tags (!vault, !unsafe) are read as the scalar they carry."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))
