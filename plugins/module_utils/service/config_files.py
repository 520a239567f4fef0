# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The files of module ``node_service``: rendering, redaction, and the comparison of wanted and present entries.

Everything here is pure except :func:`look` (one ``lstat`` and a read) and the writers at the end (:func:`apply`). They
replace a path with one ``rename(2)``, so that a reader sees the old file or the new one and never a partial one.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from ..common import files as common_files
from ..common import quoting
from ..common.process import run
from ..common.results import diff_entry
from . import hosts_file

HEADER = "# Managed by Socle: local changes are overwritten.\n"
FORMATS = ("text", "ini", "yaml", "json", "env", "hosts")
MASK = "********"
SHORTEST_SECRET = 6
"""Shorter values are not masked: to mask every ``1`` or ``on`` would make the diff useless."""

_MODE = re.compile(r"0[0-7]{3,4}")
_SECTION = re.compile(r"[^\]\n]*")
_KEY = re.compile(r"[^\s=:#;\[]([^\n=:]*[^\s=:])?")
"""The keys that all readers of INI accept: no comment, no section, and no character that would end the key."""
_TOKEN = re.compile(r"(\s*[^\s=:]+)[\s=:]")
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")
_TELLING = re.compile(r"(pass(word|phrase)?|secret)$", re.IGNORECASE)


class ConfigError(ValueError):
    """An entry that cannot be rendered or applied; the message names the path and the remedy."""


# --- rendering ------------------------------------------------------------------------------------------


def render(content: Any, form: str) -> str:
    """Return the text of a file; a string is used unchanged, whatever the format."""
    if isinstance(content, str):
        return content
    if form == "text":
        raise ConfigError(f"format text takes a string, not a {type(content).__name__}: name the format")
    return _RENDERERS[form](content)


def _ini(sections: Any) -> str:
    """Render sections in the given order; one given as a list of mappings is repeated; ``""`` has no header.

    A null value is left out; an empty mapping is a key without a value.
    """
    if not isinstance(sections, Mapping):
        raise ConfigError("format ini takes a mapping of sections")
    blocks = []
    for name, bodies in sections.items():
        if not _SECTION.fullmatch(str(name)):
            raise ConfigError(f"{str(name)!r} cannot be the name of a section")
        for body in bodies if isinstance(bodies, list) else [bodies]:
            if body is None:
                continue
            if not isinstance(body, Mapping):
                raise ConfigError(f"section {name!r} is a {type(body).__name__}, not a mapping of keys")
            head = [f"[{name}]"] if name else []
            blocks.append("".join(f"{line}\n" for line in [*head, *_ini_lines(str(name), body)]))
    return HEADER + "\n" + "\n".join(blocks)


def _ini_lines(section: str, keys: Mapping[str, Any]) -> Iterable[str]:
    for key, value in keys.items():
        if not _KEY.fullmatch(str(key)):
            raise ConfigError(f"{section}/{key}: cannot be the name of an option")
        if value == {}:
            yield str(key)
            continue
        for item in value if isinstance(value, list) else [] if value is None else [value]:
            text = scalar(item, f"{section}/{key}")
            yield f"{key} = {text}".rstrip()


def scalar(value: Any, where: str) -> str:
    """Return one value on one line: booleans as ``true``/``false``, numbers and strings unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)) and "\n" not in str(value).rstrip("\n"):
        return str(value).rstrip("\n")
    raise ConfigError(f"{where}: a {type(value).__name__} is not a one-line value")


def _env(variables: Any) -> str:
    if not isinstance(variables, Mapping):
        raise ConfigError("format env takes a mapping of variables")
    given = {key: value for key, value in variables.items() if value is not None}
    return HEADER + "".join(f"{key}={shlex.quote(scalar(value, key))}\n" for key, value in given.items())


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _yaml(content: Any) -> str:
    import yaml  # only nodes that write a YAML file need python3-yaml

    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


_RENDERERS = {"ini": _ini, "env": _env, "json": _json, "yaml": _yaml}


# --- secrets --------------------------------------------------------------------------------------------


def spellings(secrets: Iterable[str]) -> set[str]:
    """Return all forms in which a secret may be in a file: unchanged, and as in URLs, JSON, shells and oslo.config."""
    return {
        form
        for secret in secrets
        if len(secret) >= SHORTEST_SECRET
        for form in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            shlex.quote(secret),
            quoting.oslo_literal(secret),
        )
    }


def redact(before: str, after: str, secrets: Iterable[str]) -> tuple[str, str]:
    """Return both sides of a diff without secrets, including the *former* value of a rotated secret.

    A line is masked after its key if that key carries a secret on either side, or if its name indicates a secret.
    If a line changed only in its masked part, the diff would not show it; a note on the new side does.
    """
    forms = spellings(secrets)
    every = [*before.splitlines(), *after.splitlines()]
    keys = {_key(line) for line in every if any(form in line for form in forms)}

    def hidden(line: str) -> bool:
        key = _key(line)
        return bool(key) and (key in keys or bool(_TELLING.search(key.strip("\"'"))))

    old = {line for line in before.splitlines() if hidden(line)}

    def masked(text: str, note: str) -> str:
        return "".join(
            f"{_key(line)} = {MASK}{note if line not in old else ''}\n" if hidden(line) else f"{line}\n"
            for line in text.splitlines()
        )

    left, right = masked(before, ""), masked(after, " (changed)" if before else "")
    for form in sorted(forms, key=len, reverse=True):
        left, right = left.replace(form, MASK), right.replace(form, MASK)
    # Former passwords of the node, for instance in the URL of a package mirror, must not be shown either.
    return _URL_PASSWORD.sub(rf"\1{MASK}@", left), _URL_PASSWORD.sub(rf"\1{MASK}@", right)


def _key(line: str) -> str:
    found = _TOKEN.match(line)
    return found.group(1).rstrip() if found else ""


# --- wanted and present ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A wanted or present path: a file (``text``: content), directory, link (target) or absent."""

    path: str
    kind: str
    text: str = ""
    owner: str = ""
    group: str = ""
    mode: int = 0
    validate: str = ""

    def differs(self, other: Entry) -> bool:
        if self.kind != other.kind or self.text != other.text:
            return True
        return self.kind in ("file", "directory") and self.attributes != other.attributes

    @property
    def attributes(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


def parse_mode(mode: str, path: str) -> int:
    """Return ``'0640'`` as a number. A bare number is refused, because YAML parsers read it as decimal or octal."""
    if not _MODE.fullmatch(mode):
        raise ConfigError(f"{path}: mode {mode!r} is not a quoted octal string such as '0640'")
    return int(mode, 8)


def wanted(
    files: Sequence[Mapping[str, Any]],
    directories: Sequence[Mapping[str, Any]] = (),
    links: Sequence[Mapping[str, Any]] = (),
    absent: Sequence[str] = (),
) -> list[Entry]:
    """Return the module's options as entries in the order of application; all faults are reported at once."""
    entries: list[Entry] = []
    faults: list[str] = []

    def add(kind: str, item: Mapping[str, Any]) -> None:
        path = item["path"]
        try:
            if not os.path.isabs(path) or os.path.normpath(path) != path.rstrip("/"):
                raise ConfigError(f"{path}: give an absolute path without '..' or doubled slashes")
            text = render(item["content"], item.get("format") or "text") if kind == "file" else item.get("target", "")
            owned = kind in ("file", "directory")
            entries.append(
                Entry(
                    path=path.rstrip("/"),
                    kind=kind,
                    text=text,
                    owner=(item.get("owner") or "root") if owned else "",
                    group=(item.get("group") or "root") if owned else "",
                    mode=parse_mode(item["mode"], path) if owned else 0,
                    validate=item.get("validate") or "",
                )
            )
            if entries[-1].validate and "%s" not in entries[-1].validate:
                raise ConfigError(f"{path}: validate {entries[-1].validate!r} has no %s for the file to test")
        except (ConfigError, ImportError) as fault:
            faults.append(str(fault) if path in str(fault) else f"{path}: {fault}")

    for kind, items in (
        ("directory", directories),
        ("absent", [{"path": path} for path in absent]),
        ("file", files),
        ("link", links),
    ):
        for item in items:
            add(kind, item)
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            faults.append(f"{entry.path}: given twice")
        seen.add(entry.path)
    if faults:
        raise ConfigError("; ".join(faults))
    return entries


def look(path: str) -> Entry:
    """Return the present entry at a path. A device, socket or fifo has the kind ``special``."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Entry(path, "absent")
    if stat.S_ISLNK(info.st_mode):
        return Entry(path, "link", os.readlink(path))
    kind = "file" if stat.S_ISREG(info.st_mode) else "directory" if stat.S_ISDIR(info.st_mode) else "special"
    text = ""
    if kind == "file":
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            text = stream.read()
    return Entry(
        path,
        kind,
        text,
        _name(pwd.getpwuid, info.st_uid),
        _name(grp.getgrgid, info.st_gid),
        stat.S_IMODE(info.st_mode),
    )


def kept(files: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give files without a content the content that they have; leave out such a file if it does not exist.

    A file whose ``requires`` does not exist is left out, too. Format hosts keeps a part of the present content.
    """
    found = []
    for item in files:
        if item.get("requires") and not os.path.exists(item["requires"]):
            continue
        if item.get("format") == "hosts" and isinstance(item["content"], Mapping):
            present = look(item.get("keeps") or item["path"])
            item = {**item, "content": hosts_file.merge(item["content"], present.text), "format": "text"}
        if item.get("content") is None:
            present = look(item["path"])
            if present.kind != "file":
                continue
            item = {**item, "content": present.text, "format": "text"}
        found.append(item)
    return found


def rewritten(files: Mapping[str, str], absent: Sequence[str]) -> tuple[list[dict[str, str]], Sequence[str]]:
    """Return files by their content, as :func:`wanted` takes them; an existing one keeps its owner, group and mode."""
    items = []
    for path, content in files.items():
        present = look(path)
        item = {"path": path, "content": content, "mode": "0644"}
        if present.kind == "file":
            item |= {"owner": present.owner, "group": present.group, "mode": f"{present.mode:04o}"}
        items.append(item)
    return items, absent


def _name(lookup: Callable[[int], tuple[Any, ...]], number: int) -> str:
    try:
        name: str = lookup(number)[0]
        return name
    except KeyError:
        return str(number)


def diff(before: Entry, after: Entry, secrets: Iterable[str]) -> list[dict[str, str]]:
    """Return the module's ``diff``: one part for the content, one for owner, group and mode, if they differ."""
    found = []
    if (before.kind, before.text) != (after.kind, after.text):
        old, new = redact(_shown(before), _shown(after), secrets)
        found.append(diff_entry(after.path, old, new))
    if after.kind in ("file", "directory") and before.kind != "absent" and before.attributes != after.attributes:
        head = f"{after.path} (owner:group mode)"
        found.append(diff_entry(head, f"{before.attributes}\n", f"{after.attributes}\n"))
    return found


def _shown(entry: Entry) -> str:
    text = entry.text.encode("utf-8", "backslashreplace").decode()
    return {"file": text, "link": f"link to {text}\n", "absent": ""}.get(entry.kind, f"{entry.kind}\n")


# --- writing --------------------------------------------------------------------------------------------


def identity(entry: Entry) -> tuple[int, int]:
    """Return the numeric owner and group; unknown names are an error only when they are written."""
    try:
        owner = int(entry.owner) if entry.owner.isdigit() else pwd.getpwnam(entry.owner).pw_uid
        group = int(entry.group) if entry.group.isdigit() else grp.getgrnam(entry.group).gr_gid
    except KeyError as unknown:
        raise ConfigError(f"{entry.path}: {unknown.args[0]}: is its package installed?") from None
    return owner, group


def stage(entry: Entry) -> str:
    """Write the file to a temporary path in its folder and flush it to disk; return the temporary path."""
    folder, name = os.path.split(entry.path)
    common_files.make_directory(folder)  # modes other than 0755 are set under `directories`
    owner, group = identity(entry)
    temporary = os.path.join(folder, f".{name}.socle-new")  # fixed name: a killed run leaves no extra files
    if os.path.lexists(temporary):
        os.unlink(temporary)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        stream.write(entry.text)
        stream.flush()
        os.fchown(handle, owner, group)
        os.fchmod(handle, entry.mode)
        os.fsync(handle)
    return temporary


def make_directory(entry: Entry, before: Entry) -> None:
    """Create the directory (and its parents, owner root, mode 0755) or correct its owner and mode."""
    owner, group = identity(entry)
    if before.kind not in ("directory", "absent"):
        raise ConfigError(f"{entry.path}: a {before.kind} is in the way of the directory")
    common_files.make_directory(entry.path)
    os.chown(entry.path, owner, group)
    os.chmod(entry.path, entry.mode)


def make_link(entry: Entry) -> None:
    temporary = os.path.join(os.path.dirname(entry.path), f".{os.path.basename(entry.path)}.socle-new")
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(entry.text, temporary)
    os.replace(temporary, entry.path)


def remove(before: Entry) -> None:
    """Remove a file, a link or an empty directory; a directory that has files is never removed."""
    try:
        (os.rmdir if before.kind == "directory" else os.unlink)(before.path)
    except OSError as error:
        raise ConfigError(f"{before.path}: cannot be removed: {error.strerror}") from None


def differing(entries: Iterable[Entry]) -> list[tuple[Entry, Entry]]:
    """Return pairs of present and wanted entry for all entries that differ."""
    return [(before, after) for after in entries if after.differs(before := look(after.path))]


def apply(changes: Sequence[tuple[Entry, Entry]]) -> None:
    """Make directories, then stage and validate all files, then replace them; temporary files are removed.

    Raises :class:`ConfigError` or OSError. If it fails before the replacements, only directories have changed.
    """
    for before, after in changes:
        if after.kind == "directory":
            make_directory(after, before)
    staged: dict[str, str] = {}
    try:
        for before, after in changes:
            if after.kind not in ("directory", "absent") and before.kind in ("directory", "special"):
                raise ConfigError(f"{after.path}: a {before.kind} is in the way of the {after.kind}")
            if after.kind == "file":
                staged[after.path] = stage(after)
        for _before, after in changes:
            if after.validate and after.path in staged:
                argv = [word.replace("%s", staged[after.path]) for word in shlex.split(after.validate)]
                test = run(argv)
                if not test.ok:
                    said = test.output.replace(staged[after.path], after.path) or f"it ended with {test.rc}"
                    raise ConfigError(f"{after.path}: {os.path.basename(argv[0])} refuses the new content:\n{said}")
        for before, after in changes:
            if after.kind == "file":
                os.replace(staged.pop(after.path), after.path)
            elif after.kind == "link":
                make_link(after)
            elif after.kind == "absent":
                remove(before)
    finally:
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                os.unlink(temporary)
