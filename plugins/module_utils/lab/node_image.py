# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Node images: Debian trees made by mmdebstrap, named by a digest of their inputs.

Layout of the images directory::

    0123456789abcdef/        a finished tree, written once (overlays use it), named by its digest
    node -> 0123456789abcdef the tree that a name refers to now
    node.log                 output of the last build under that name
    .build-...               a tree under construction; a killed build leaves it, the next build removes it

A tree becomes visible by one rename, after all its content is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.url_logins import apt_auth, bare
from .host import LabHostError, lower_dirs_in_use, mounts_under, run, unmount

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MANIFEST = "usr/share/socle/image.json"
AUTH = "auth.conf"
TOOLS = {"mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "unshare": "util-linux", "apt-get": "apt"}

#: Days for which a downloaded package is kept after its last use.
CACHE_DAYS = 30

#: Units that start in every image; all other units wait for the role that configures them.
PRESET = """\
# An image starts nothing that is not configured yet: the roles enable what a node runs.
enable systemd-networkd.service
enable ssh.service
enable sshd-keygen.service
enable logrotate.timer
enable remote-fs.target
enable getty@.service
disable *
"""

#: During a build, dpkg need not wait for the disk: a failed build's tree is deleted anyway.
DPKG_WHILE_BUILDING = ("force-unsafe-io",)

#: Files that a node does not need. Also applies to packages installed later.
DPKG_EXCLUDES = """\
path-exclude=/usr/share/man/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
"""

APT_WHILE_BUILDING = ('Acquire::Retries "3"', 'Acquire::http::Timeout "30"', 'Acquire::Languages "none"')

APT_CONFIG = """\
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
"""

#: Python packages compile their modules one by one, each with a new interpreter, on one core. This disables that
#: during the build; FINISH compiles all modules at once, on every core.
HOLD_COMPILATION = """\
chroot "$1" dpkg-divert --local --quiet --rename --add /usr/bin/py3compile && ln -s /bin/true "$1"/usr/bin/py3compile"""

#: Finishes a tree; run with the tree as $1. Many machines start from one image, so it must not contain
#: any data that names or authenticates one machine.
FINISH = """\
set -eu
tree=$1
rm -f "$tree"/usr/bin/py3compile
chroot "$tree" dpkg-divert --local --quiet --rename --remove /usr/bin/py3compile
(cd "$tree" && find usr/lib/python3/dist-packages -mindepth 1 -maxdepth 1 ! -name '*-info' -print0) |
    xargs -0 -r -n 25 -P "$(nproc)" chroot "$tree" python3 -m compileall -q || :  # some ship files of other Pythons
chroot "$tree" systemctl preset-all >/dev/null
# Some packages' units want the servers they might talk to, which on this image are installed on every node.
sed -n 's/^Wants=//p' "$tree"/usr/lib/systemd/system/*.service | tr -s ' ' '\\n' | sort -u > "$tree"/run/wanted
chroot "$tree" systemctl list-unit-files --type=service --state=disabled,alias --plain --no-legend | cut -d' ' -f1 |
    sort | comm -12 - "$tree"/run/wanted | xargs -r chroot "$tree" systemctl --quiet mask
rm "$tree"/run/wanted
find "$tree"/etc/rc?.d -type l -delete
rm -f "$tree"/etc/ssh/ssh_host_*_key "$tree"/etc/ssh/ssh_host_*_key.pub
rm -f "$tree"/etc/ssl/private/ssl-cert-snakeoil.key "$tree"/etc/ssl/certs/ssl-cert-snakeoil.pem
rm -f "$tree"/var/lib/rabbitmq/.erlang.cookie "$tree"/var/lib/dbus/machine-id
rm -f "$tree"/var/lib/systemd/random-seed "$tree"/var/lib/systemd/credential.secret
if [ -e "$tree"/etc/iscsi/initiatorname.iscsi ]; then echo GenerateName=yes > "$tree"/etc/iscsi/initiatorname.iscsi; fi
rm -f "$tree"/etc/hostname "$tree"/etc/resolv.conf
find "$tree"/var/log -type f -delete
"""

#: Finishes a plain tree: enables the network, as an installer would, and removes the data of a single machine.
PLAIN_FINISH = """\
set -eu
tree=$1
rm -f "$tree"/usr/bin/py3compile
chroot "$tree" dpkg-divert --local --quiet --rename --remove /usr/bin/py3compile
chroot "$tree" systemctl --quiet enable systemd-networkd.service
rm -f "$tree"/etc/ssh/ssh_host_*_key "$tree"/etc/ssh/ssh_host_*_key.pub "$tree"/var/lib/dbus/machine-id
rm -f "$tree"/etc/hostname "$tree"/etc/resolv.conf
"""

#: Everything in this file that affects a tree. It is part of the digest, so a change of it makes new images.
RECIPE = (4, HOLD_COMPILATION, PRESET, DPKG_WHILE_BUILDING, DPKG_EXCLUDES, APT_CONFIG, FINISH)


@dataclass(frozen=True)
class ImageSpec:
    """The inputs of an image. ``mirror`` and ``security_mirror`` (may be "") only say where to fetch it."""

    packages: tuple[str, ...]
    suite: str
    mirror: str
    security_mirror: str = ""
    components: tuple[str, ...] = ("main",)
    architecture: str = "amd64"
    keyring: str = KEYRING
    plain: bool = False
    """Whether the tree is left as Debian's packages make it, as on a machine that somebody else installed."""

    def digest(self) -> str:
        """Return 16 hexadecimal digits over package list, suite and recipe, without the mirror."""
        content = [
            sorted(set(self.packages)),
            self.suite,
            list(self.components),
            self.architecture,
            bool(self.security_mirror),
            *([PLAIN_FINISH] if self.plain else [RECIPE]),
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def sources(self) -> str:
        """Return apt sources (deb822), the same for the build and for the node."""
        stanza = "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {components}\nSigned-By: {keyring}\n"
        components = " ".join(self.components)
        texts = [
            stanza.format(
                uri=bare(self.mirror),
                suites=f"{self.suite} {self.suite}-updates",
                components=components,
                keyring=self.keyring,
            )
        ]
        if self.security_mirror:
            texts.append(
                stanza.format(
                    uri=bare(self.security_mirror),
                    suites=f"{self.suite}-security",
                    components=components,
                    keyring=self.keyring,
                )
            )
        return "\n".join(texts)

    def prepare(self, work: Path) -> Path:
        """Write mmdebstrap's input files into the folder of a build; return the sources.

        Logins are in the same folder.
        """
        sources = work / "build.sources"
        sources.write_text(self.sources(), encoding="utf-8")
        logins = work / AUTH
        logins.touch(mode=0o600)
        logins.write_text(apt_auth([self.mirror, self.security_mirror]), encoding="utf-8")
        return sources


def mmdebstrap_argv(spec: ImageSpec, tree: Path, sources: Path, cache: Path, variant: str = "minbase") -> list[str]:
    """Return the build command. It and all its children end with the process that runs it, mounts included."""
    archives = 'mkdir -p "$1/var/cache/apt/archives"'
    fill = f'{archives}; cp -alt "$1/var/cache/apt/archives" {cache}/*.deb 2>/dev/null || true'
    dpkg_options = (*DPKG_WHILE_BUILDING, *(() if spec.plain else DPKG_EXCLUDES.splitlines()))
    keep = f'cp -alnt {cache} "$1"/var/cache/apt/archives/*.deb 2>/dev/null || true'
    return [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount",
        "--mount-proc",
        "--propagation",
        "private",
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        f"--variant={variant}",
        f"--architectures={spec.architecture}",
        f"--include={','.join(sorted(set(spec.packages)))}",
        f"--keyring={spec.keyring}",
        f'--aptopt=Dir::Etc::netrc "{sources.with_name(AUTH)}"',
        # Hard links bring the shared package cache in, and new downloads out into the cache.
        "--skip=download/empty",
        "--skip=essential/unlink",
        f"--setup-hook={fill}",
        f"--essential-hook={keep}",
        f"--essential-hook={HOLD_COMPILATION}",
        f"--customize-hook={keep}",
        *(f"--dpkgopt={option}" for option in dpkg_options),
        *(f"--aptopt={option}" for option in APT_WHILE_BUILDING),
        spec.suite,
        str(tree),
        str(sources),
    ]


class ImageStore:
    """The images directory of the control node."""

    def __init__(self, images: Path, cache: Path) -> None:
        self.images = images
        self.cache = cache

    def find(self, digest: str, name: str) -> Path | None:
        """Return the finished tree of a digest: the one that ``name`` refers to, else the newest; None without one."""
        trees = [self.images / self.current(name)] if self.current(name) else []
        trees += sorted(self.images.glob(f"{digest}*"), reverse=True)
        for tree in trees:
            if (self.manifest(tree) or {}).get("digest") == digest:
                return tree
        return None

    def manifest(self, tree: Path) -> dict[str, Any] | None:
        """Return the manifest of a finished tree."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((tree / MANIFEST).read_text(encoding="utf-8")))
        return None

    def current(self, name: str) -> str:
        """Return the directory that a name refers to, "" if there is none."""
        with contextlib.suppress(OSError):
            return os.readlink(self.images / name)
        return ""

    def clear_unfinished(self) -> list[str]:
        """Remove the remains of killed builds."""
        cleared = []
        for left in sorted(self.images.glob(".build-*")):
            remove_tree(left)
            cleared.append(str(left))
        return cleared

    def build(self, spec: ImageSpec, name: str) -> Path:
        """Build the tree of ``spec``; return its path.

        :raises LabHostError: the build failed; the message has the reason and the log's path.
        """
        check_keyring(spec.keyring)
        for folder in (self.images, self.cache):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        log_path = self.images / f"{name}.log"
        work = self.images / f".build-{spec.digest()}"
        work.mkdir(mode=0o755)
        tree = work / "tree"
        sources = spec.prepare(work)
        begin = time.monotonic()
        with open(log_path, "wb") as log:
            argv = mmdebstrap_argv(spec, tree, sources, self.cache)
            environment = build_environment()
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False)
            if done.returncode == 0:
                write_settings(spec, tree)
                finish = PLAIN_FINISH if spec.plain else FINISH
                done = subprocess.run(
                    ["sh", "-c", finish, "finish", str(tree)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=build_environment(),
                    check=False,
                )
        if done.returncode != 0:
            reason = failure_reason(log_path.read_text(encoding="utf-8", errors="replace"))
            remove_tree(work)
            raise LabHostError(f"the image could not be built: {reason}\nThe whole log is {log_path}")
        write_manifest(spec, tree, time.monotonic() - begin)
        target = self.images / spec.digest()
        if target.exists():  # machines may use it: the new tree gets a separate path, and prune removes the old one
            target = self.images / f"{spec.digest()}-{int(time.time())}"
        tree.rename(target)
        remove_tree(work)
        self._clear_cache()
        return target

    def _clear_cache(self) -> None:
        """Remove cached packages not used by a build for long (each use makes a link, which sets the change time)."""
        oldest = time.time() - CACHE_DAYS * 86400
        for package in self.cache.glob("*.deb"):
            if package.stat().st_ctime < oldest:
                package.unlink()

    def point(self, name: str, tree: Path) -> None:
        """Make ``name`` refer to ``tree``."""
        temporary = self.images / f".{name}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(tree.name)
        temporary.rename(self.images / name)

    def prunable(self, labs: Path) -> list[Path]:
        """Return trees that no name refers to, no overlay uses and no machine of a lab under ``labs`` was made from."""
        if not self.images.is_dir():
            return []
        used = {os.path.realpath(path) for path in lower_dirs_in_use() | images_of_machines(labs)}
        used |= {os.path.realpath(entry) for entry in self.images.iterdir() if entry.is_symlink()}
        return sorted(
            entry
            for entry in self.images.iterdir()
            if entry.is_dir()
            and not entry.is_symlink()
            and not entry.name.startswith(".")
            and (entry / MANIFEST).exists()
            and os.path.realpath(entry) not in used
        )


def write_settings(spec: ImageSpec, tree: Path) -> None:
    """Replace the settings of the build by those that a node keeps."""
    for folder in ("etc/apt/apt.conf.d", "etc/dpkg/dpkg.cfg.d"):
        (tree / folder / "99mmdebstrap").unlink(missing_ok=True)
    for path in (tree / "etc/apt/sources.list", *(tree / "etc/apt/sources.list.d").iterdir()):
        path.unlink(missing_ok=True)
    settings = {"etc/apt/sources.list.d/debian.sources": spec.sources(), "etc/machine-id": ""}
    if not spec.plain:
        settings |= {
            "etc/systemd/system-preset/00-socle-image.preset": PRESET,
            "etc/dpkg/dpkg.cfg.d/socle-image": DPKG_EXCLUDES,
            "etc/apt/apt.conf.d/90socle-image": APT_CONFIG,
        }
    for where, text in settings.items():
        path = tree / where
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_manifest(spec: ImageSpec, tree: Path, seconds: float) -> None:
    """Write the manifest into the tree: digest, requested packages, installed versions, seconds of the build."""
    manifest = {
        "digest": spec.digest(),
        "suite": spec.suite,
        "requested": sorted(set(spec.packages)),
        "installed": installed_packages(tree),
        "seconds": round(seconds, 1),
    }
    path = tree / MANIFEST
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")


def check_keyring(keyring: str) -> None:
    """Check that the archive's keyring exists: without it no signature can be verified."""
    if not os.path.exists(keyring):
        raise LabHostError(
            f"{keyring} is missing, so signatures cannot be verified. Remedy: apt-get install debian-archive-keyring"
        )


def installed_packages(tree: Path) -> dict[str, str]:
    """Return versions by package name."""
    listed = run(["dpkg-query", f"--admindir={tree}/var/lib/dpkg", "--show", "--showformat=${Package} ${Version}\\n"])
    return dict(line.split(" ", 1) for line in listed.stdout.splitlines() if " " in line)


def failure_reason(log: str) -> str:
    """Return the lines of a build log with the reason of the failure, else its end."""
    lines = log.replace("\r", "\n").splitlines()
    wanted = [line.strip() for line in lines if line.startswith(("E:", "Err:", "W: GPG", "dpkg: error"))][:12]
    if wanted and not lines[-1].startswith("I:"):
        wanted.append(lines[-1].strip())  # the final error need not be apt's
    reason = "\n".join(dict.fromkeys(wanted)) or "\n".join(lines[-12:])
    if "Failed to fetch" in reason:
        reason += "\nRemedy: let image_mirror and image_security_mirror name Debian mirrors this machine reaches"
    elif "Unable to locate package" in reason:
        reason += "\nRemedy: correct the <role>_packages of the role that asks for it"
    return reason


def images_of_machines(labs: Path) -> set[str]:
    """Return trees that lab machines, running or not, were made from: without its tree, a machine's disk is useless."""
    found = set()
    for definition in labs.glob("*/machines/*/definition.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found.add(str(json.loads(definition.read_text(encoding="utf-8"))["image"]))
    return found


def remove_tree(path: Path) -> None:
    """Delete a tree, after unmounting everything that a killed build left mounted in it."""
    for where in mounts_under(path):
        unmount(where)
    if path.exists():
        shutil.rmtree(path)


def build_environment() -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("http_proxy", "https_proxy", "no_proxy", "TMPDIR") if key in os.environ}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "HOME": "/root",
        **kept,
    }
