# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""One package of a Debian mirror: the pinned one, believed by its hash, or the newest of a suite, by its signature.

A mirror drops a version soon after the next one; what is pinned is then gone, and the chain of the archive is followed:
InRelease, signed by a key of the keyring, has the hash of the index of packages, which has that of the package.
"""

from __future__ import annotations

import hashlib
import http.client
import lzma
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.process import run
from ..common.url_logins import request, shown

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CLEARSIGNED = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\n.*"
    rb"\n-----BEGIN PGP SIGNATURE-----\n.*\n-----END PGP SIGNATURE-----\n*",
    re.DOTALL,
)
TIMEOUT = 60
"""Seconds without a byte."""
INDEXES = ("main/binary-all/Packages.xz", "main/binary-amd64/Packages.xz")
"""Either has the packages of all architectures; the first is half as long, and not of every mirror."""


class ArchiveError(Exception):
    """A mirror that does not answer, or a file that is not what it should be; the message says which."""


class Gone(ArchiveError):
    """A file that the mirror has not (any more)."""


@dataclass(frozen=True)
class Package:
    """A package in the local cache. ``note``: why it is not the pinned one, and what vouches for it; "" when it is."""

    path: Path
    version: str
    fetched: bool
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """A package in an index."""

    version: str
    filename: str
    sha256: str


@dataclass(frozen=True)
class Pin:
    """The package wanted: its path below the mirror, and its SHA-256."""

    filename: str
    sha256: str

    @property
    def name(self) -> str:
        return os.path.basename(self.filename).partition("_")[0]

    @property
    def version(self) -> str:
        return os.path.basename(self.filename).partition("_")[2].partition("_")[0]


def obtain(mirror: str, pin: Pin, suite: str, minimum: str, keyring: str, directory: Path) -> Package:
    """The pinned package, or where the mirror has dropped it the newest of ``suite`` from version ``minimum`` on.

    :raises ArchiveError: nothing that can be believed was found.
    """
    try:
        path, fetched = cached(mirror, pin, directory)
        return Package(path, pin.version, fetched)
    except Gone as gone:
        lost = str(gone)
    release = signed(fetch(mirror, f"dists/{suite}/InRelease"), keyring)
    fields = dict(re.findall(r"^([A-Z][\w-]*): (.+)$", release, re.MULTILINE))
    if suite not in (fields.get("Suite"), fields.get("Codename")):
        raise ArchiveError(f"{shown(mirror)}: dists/{suite}/InRelease is of the suite {fields.get('Suite')}")
    found = newest(packages(mirror, suite, release), pin.name, minimum)
    if not found:
        raise ArchiveError(f"{lost}; and {suite} has no {pin.name} from {minimum} on")
    path, fetched = cached(mirror, Pin(found.filename, found.sha256), directory)
    note = f"{lost}; took {pin.name} {found.version} of {suite}, whose index of {fields.get('Date')} is signed"
    return Package(path, found.version, fetched, note)


def cached(mirror: str, pin: Pin, directory: Path) -> tuple[Path, bool]:
    """A file of the mirror in ``directory``, and whether it had to be fetched. It never is there with another hash."""
    target = directory / os.path.basename(pin.filename)
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == pin.sha256:
        return target, False
    content = fetch(mirror, pin.filename, pin.sha256)
    temporary = target.with_name(f".{target.name}.new")
    temporary.write_bytes(content)
    temporary.chmod(0o644)
    temporary.rename(target)
    return target, True


def fetch(mirror: str, path: str, sha256: str = "") -> bytes:
    """A file of the mirror, which must have the hash.

    :raises Gone: there is none. :raises ArchiveError: it cannot be had, or has another hash.
    """
    whole = f"{mirror.rstrip('/')}/{path}"
    url = shown(whole)
    try:
        with urllib.request.urlopen(request(whole), timeout=TIMEOUT) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as fault:
        kind = Gone if fault.code in (404, 410) else ArchiveError
        raise kind(f"{url}: {fault.code} {fault.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as fault:
        raise ArchiveError(f"{url}: {getattr(fault, 'reason', fault)}") from None
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ArchiveError(f"{url}: has not the SHA-256 {sha256}")
    return content


def signed(inrelease: bytes, keyring: str) -> str:
    """The text that a key of ``keyring`` signed.

    It must be the only message of the file, lest the signature of one vouch for the text of another. An archive signs
    with the keys of several releases, of which an older keyring has not all: one good signature is enough, as it is
    for apt, and none may be bad.

    :raises ArchiveError: no good signature.
    """
    if not os.path.exists(keyring):
        raise ArchiveError(f"{keyring} is missing. Remedy: apt-get install debian-archive-keyring")
    if not CLEARSIGNED.fullmatch(inrelease) or inrelease.count(b"-----BEGIN") != 2:
        raise ArchiveError("InRelease is not one signed message")
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "InRelease"), Path(folder, "Release")
        given.write_bytes(inrelease)
        done = run(["gpgv", "--status-fd", "1", "--weak-digest", "SHA1", "--keyring", os.path.abspath(keyring),
                    "--output", str(taken), str(given)])  # fmt: skip
        if done.rc == 127:
            raise ArchiveError("gpgv is missing. Remedy: apt-get install gpgv")
        words = re.findall(r"^\[GNUPG:\] (\w+)", done.stdout, re.MULTILINE)
        if "GOODSIG" not in words or "BADSIG" in words or words.count("PLAINTEXT") != 1 or not taken.exists():
            raise ArchiveError(f"InRelease is not signed by a key of {keyring}: {done.stderr.strip()}")
        return taken.read_text(encoding="utf-8", errors="replace")


def packages(mirror: str, suite: str, release: str) -> str:
    """The index of packages that ``release`` has the hash of."""
    hashes = release.partition("\nSHA256:\n")[2]
    for name in INDEXES:
        if found := re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(name)}$", hashes, re.MULTILINE):
            folder = os.path.dirname(name)
            try:
                # By its hash it is there though the mirror is being updated.
                content = fetch(mirror, f"dists/{suite}/{folder}/by-hash/SHA256/{found[1]}", found[1])
            except Gone:
                content = fetch(mirror, f"dists/{suite}/{name}", found[1])
            try:
                return lzma.decompress(content).decode(errors="replace")
            except lzma.LZMAError as fault:
                raise ArchiveError(f"dists/{suite}/{name}: {fault}") from None
    raise ArchiveError(f"dists/{suite}/InRelease has no {' or '.join(INDEXES)}")


def newest(index: str, name: str, minimum: str) -> Entry | None:
    """The highest version of a package, from ``minimum`` on; None when there is none."""
    best = None
    for entry in entries(index, name):
        if at_least(entry.version, best.version if best else minimum):
            best = entry
    return best


def entries(index: str, name: str) -> Iterator[Entry]:
    """Versions of a package in an index."""
    for stanza in re.split(r"\n\n+", index):
        if stanza.startswith(f"Package: {name}\n"):
            fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
            if {"Version", "Filename", "SHA256"} <= fields.keys():
                yield Entry(fields["Version"], fields["Filename"], fields["SHA256"])


def at_least(version: str, least: str) -> bool:
    """Whether ``version`` is as high as ``least``, by the rules of dpkg."""
    return run(["dpkg", "--compare-versions", version, "ge", least]).ok
