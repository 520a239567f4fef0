# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""One package of a Debian mirror, fetched by apt: the pinned one, verified by its hash, or the newest of a suite.

A mirror removes a version soon after the next one appears. Then the newest version of a suite replaces the pinned one:
apt verifies the signature of InRelease with the keyring, and the package index and the package by their hashes. The
mirror of a closed network may be older than the validity of a release; the minimum version excludes outdated packages.
apt has a root of its own in a temporary folder; it neither reads nor changes the host's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..common.process import Completed, run
from ..common.url_logins import apt_auth, bare

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
HELPER = "/usr/lib/apt/apt-helper"

_CONFIGURATION = """\
Dir "{root}";
Dir::State::status "{root}/status";
Acquire::AllowInsecureRepositories "false";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "60";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
"""
_SOURCES = "Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nSigned-By: {keyring}\n"
_GONE = re.compile(r"^E: Failed to fetch \S+  (404 |410 |File not found)", re.MULTILINE)


class ArchiveError(Exception):
    """A mirror does not answer, or a file is not the expected one; the message names it."""


class Gone(ArchiveError):
    """The mirror does not have the file, or no longer."""


@dataclass(frozen=True)
class Package:
    """A package in the local cache. ``note``: why it is not the pinned one, and how it was verified; else ""."""

    path: Path
    version: str
    fetched: bool
    note: str = ""


@dataclass(frozen=True)
class Pin:
    """The wanted package: its path below the mirror, and its SHA-256."""

    filename: str
    sha256: str

    @property
    def name(self) -> str:
        return os.path.basename(self.filename).partition("_")[0]

    @property
    def version(self) -> str:
        return os.path.basename(self.filename).partition("_")[2].partition("_")[0]


def obtain(mirror: str, pin: Pin, suite: str, minimum: str, keyring: str, directory: Path) -> Package:
    """Fetch the pinned package or, if the mirror no longer has it, the newest of ``suite`` from version ``minimum`` on.

    :raises ArchiveError: no package could be fetched and verified.
    :raises LoginError: the login in the mirror's URL cannot be passed to apt.
    """
    with tempfile.TemporaryDirectory(prefix="socle-apt-") as root:
        apt = _Apt(Path(root), mirror)
        try:
            path, fetched = apt.cached(pin, directory)
            return Package(path, pin.version, fetched)
        except Gone as gone:
            lost = str(gone)
        version, newest = apt.newest(pin.name, suite, keyring)
        if not newest or not run(["dpkg", "--compare-versions", version, "ge", minimum]).ok:
            raise ArchiveError(f"{lost}; and {suite} has no {pin.name} from {minimum} on")
        path, fetched = apt.cached(newest, directory)
    return Package(path, version, fetched, f"{lost}; took {pin.name} {version} of {suite}, whose index is signed")


class _Apt:
    """apt with a root of its own, configured for one mirror."""

    def __init__(self, root: Path, mirror: str) -> None:
        self._root, self._mirror = root, bare(mirror).rstrip("/")
        for folder in (
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
        ):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        (root / "apt.conf").write_text(_CONFIGURATION.format(root=root), encoding="utf-8")
        # Only the caller can enter the temporary folder.
        (root / "etc/apt/auth.conf").write_text(apt_auth([mirror]), encoding="utf-8")

    def _run(self, *argv: str) -> Completed:
        done = run(argv, environment={"APT_CONFIG": str(self._root / "apt.conf")})
        if done.rc == 127:
            raise ArchiveError(
                f"{argv[0]} is missing. Remedy: use a control node with Debian or one of its derivatives"
            )
        return done

    def cached(self, pin: Pin, directory: Path) -> tuple[Path, bool]:
        """Return a file of the mirror in ``directory``, and whether it was fetched. Its hash is always that of the pin.

        :raises Gone: the mirror does not have it.
        :raises ArchiveError: it cannot be fetched, or has another hash.
        """
        target = directory / os.path.basename(pin.filename)
        if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == pin.sha256:
            return target, False
        download, temporary = self._root / "download", target.with_name(f".{target.name}.new")
        url = f"{self._mirror}/{pin.filename}"
        done = self._run(HELPER, "download-file", url, str(download), f"SHA256:{pin.sha256}")
        if not done.ok:
            raise (Gone if _GONE.search(done.stderr) else ArchiveError)(_errors(done))
        shutil.copyfile(download, temporary)  # if the mirror is a folder, apt makes a link
        temporary.chmod(0o644)
        temporary.rename(target)
        return target, True

    def newest(self, name: str, suite: str, keyring: str) -> tuple[str, Pin | None]:
        """Return version, path and hash of a package in the signed index of a suite; no version if it is not there.

        :raises ArchiveError: the suite cannot be fetched, or is not signed by a key of ``keyring``.
        """
        if not os.path.exists(keyring):
            raise ArchiveError(f"{keyring} is missing. Remedy: apt-get install debian-archive-keyring")
        source = _SOURCES.format(mirror=self._mirror, suite=suite, keyring=os.path.abspath(keyring))
        (self._root / "etc/apt/sources.list.d/mirror.sources").write_text(source, encoding="utf-8")
        done = self._run("apt-get", "update")
        if not done.ok:
            raise ArchiveError(_errors(done))
        names = self._run("apt-get", "indextargets", "--format", "$(SUITE) $(CODENAME)").stdout.split()
        if not names:
            raise ArchiveError(f"{self._mirror}: {suite} has no index of main for amd64")
        if suite not in names:  # apt only warns if it is missing
            raise ArchiveError(f"{self._mirror}: dists/{suite}/InRelease is of the suite {' '.join(names[:2])}")
        record = self._run("apt-cache", "show", "--no-all-versions", name).stdout
        fields = dict(re.findall(r"^([\w-]+): (.*)$", record, re.MULTILINE))
        if not {"Version", "Filename", "SHA256"} <= fields.keys():
            return "", None
        return fields["Version"], Pin(fields["Filename"], fields["SHA256"])


def _errors(done: Completed) -> str:
    """Return apt's error messages, without its progress."""
    found = re.findall(r"^E: (?!Download Failed)(.*(?:\n .*)*)", done.stderr, re.MULTILINE)
    return "; ".join(" ".join(text.split()) for text in found) or done.output
