# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The pinned package of a mirror, or the newest of a signed suite, with apt, local mirrors and test keys."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import lzma
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import audit, debian_archive
from ansible_collections.cloudwatt.socle.plugins.modules import scap_content

TOOLS = ("gpg", "gpgconf", "apt-get", "apt-cache", debian_archive.HELPER, "dpkg", "dpkg-deb")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")

POOL = "pool/main/s/scap-security-guide"
MEMBER = "./usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml"


class Keys:
    """A signing key in a home directory with a path that is short enough for the agent's socket."""

    def __init__(self, home: Path) -> None:
        self.home, self.ring = home, home / "ring.gpg"
        self.gpg("--passphrase", "", "--quick-gen-key", f"{home.name}@example.org", "ed25519", "sign")
        self.ring.write_bytes(self.gpg("--export").stdout)

    def gpg(self, *argv, **options):
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *argv]
        return subprocess.run(command, check=True, capture_output=True, **options)

    def sign(self, text: str) -> bytes:
        return self.gpg("--clearsign", input=text.encode()).stdout


def make_keys():
    home = Path(tempfile.mkdtemp(prefix="keys-", dir="/tmp"))
    try:
        yield Keys(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def keys():
    yield from make_keys()


@pytest.fixture(scope="module")
def stranger():
    yield from make_keys()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Mirror:
    """A mirror with versions of ssg-debian, and the suite testing."""

    def __init__(self, root: Path, keys: Keys) -> None:
        self.root, self.keys = root, keys
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        (root / POOL).mkdir(parents=True)

    def add(self, version: str, content: bytes | None = None) -> debian_archive.Pin:
        """Add a package of this version. Without ``content`` it is no valid package, for tests that do not read it."""
        path = self.root / POOL / f"ssg-debian_{version}_all.deb"
        path.write_bytes(content or f"ssg-debian {version}".encode())
        return debian_archive.Pin(f"{POOL}/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest())

    def publish(
        self,
        *versions: str,
        keys: Keys | None = None,
        suite: str = "testing",
        by_hash: bool = True,
        until: str = "Tue, 01 Jan 2999 00:00:00 UTC",
    ) -> None:
        stanzas = [f"Package: other\nVersion: 9\nFilename: pool/other_9_all.deb\nSHA256: {'0' * 64}\n"]
        for version in versions:
            pin = self.add(version)
            stanzas.append(
                f"Package: ssg-debian\nArchitecture: all\nVersion: {version}\nFilename: {pin.filename}\n"
                f"Size: {(self.root / pin.filename).stat().st_size}\nSHA256: {pin.sha256}\n"
            )
        plain = "\n".join(stanzas).encode()
        index = lzma.compress(plain)
        folder = self.root / "dists/testing/main/binary-amd64"
        digest = hashlib.sha256(index).hexdigest()
        name = f"by-hash/SHA256/{digest}" if by_hash else "Packages.xz"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(index)
        self.release = (
            f"Origin: Debian\nSuite: {suite}\nDate: Sat, 01 Aug 2026 08:00:00 UTC\nValid-Until: {until}\n"
            f"Acquire-By-Hash: {'yes' if by_hash else 'no'}\nArchitectures: all amd64\nComponents: main\n"
            f"No-Support-for-Architecture-all: Packages\nSHA256:\n"
            f" {hashlib.sha256(plain).hexdigest()} {len(plain)} main/binary-amd64/Packages\n"
            f" {digest} {len(index)} main/binary-amd64/Packages.xz\n"
        )
        self.inrelease = self.root / "dists/testing/InRelease"
        self.inrelease.write_bytes((keys or self.keys).sign(self.release))


@pytest.fixture
def mirror(tmp_path, keys):
    mirror = Mirror(tmp_path / "mirror", keys)
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()


@pytest.fixture(params=["http", "file"])
def obtain(request, mirror, keys, tmp_path):
    """Download from the mirror with both kinds of URL."""
    cache = tmp_path / "cache"
    cache.mkdir()
    url = mirror.url if request.param == "http" else f"file:{mirror.root}"

    def call(pin, minimum="0.1.82", suite="testing"):
        return debian_archive.obtain(url, pin, suite, minimum, str(keys.ring), cache)

    return call


GONE = debian_archive.Pin(f"{POOL}/ssg-debian_0.1.82-1_all.deb", "0" * 64)


def test_the_pinned_package_is_fetched_once_and_needs_no_index(mirror, obtain):
    pin = mirror.add("0.1.82-1")
    got = obtain(pin)
    assert (got.version, got.fetched, got.note) == ("0.1.82-1", True, "")
    assert got.path.read_bytes() == b"ssg-debian 0.1.82-1"
    assert not got.path.is_symlink()
    (mirror.root / pin.filename).unlink()
    assert not obtain(pin).fetched


def test_a_damaged_copy_in_the_cache_is_fetched_again(mirror, obtain):
    pin = mirror.add("0.1.82-1")
    obtain(pin).path.write_bytes(b"half")
    assert obtain(pin).fetched


def test_another_content_of_the_pinned_package_is_refused_though_there_are_newer(mirror, obtain):
    mirror.publish("0.1.82-1", "0.1.83-1")
    with pytest.raises(debian_archive.ArchiveError, match="Hash Sum mismatch"):
        obtain(GONE)


@pytest.mark.parametrize("by_hash", [True, False])
def test_the_newest_of_the_signed_index_takes_the_place_of_one_that_is_gone(mirror, obtain, by_hash):
    mirror.publish("0.1.90-1", "0.1.100-1", "0.1.83-1", by_hash=by_hash)
    got = obtain(GONE)
    assert (got.version, got.fetched, got.path.name) == ("0.1.100-1", True, "ssg-debian_0.1.100-1_all.deb")
    assert got.path.read_bytes() == b"ssg-debian 0.1.100-1"
    assert "ssg-debian_0.1.82-1_all.deb" in got.note and "ot found" in got.note
    assert got.note.endswith("; took ssg-debian 0.1.100-1 of testing, whose index is signed")
    assert not obtain(GONE).fetched


@pytest.mark.parametrize("versions", [["0.1.76-1"], []])
def test_without_a_version_from_the_minimum_on_nothing_is_taken(mirror, obtain, versions):
    mirror.publish(*versions)
    with pytest.raises(debian_archive.ArchiveError, match=r"ot found.*testing has no ssg-debian from 0\.1\.82 on"):
        obtain(GONE)


def test_an_index_that_a_stranger_signed_is_refused(mirror, obtain, stranger):
    mirror.publish("0.1.83-1", keys=stranger)
    with pytest.raises(debian_archive.ArchiveError, match="is not signed"):
        obtain(GONE)


@pytest.mark.parametrize("change", [
    lambda text, release, other: text.replace(b"Debian", b"Debiam"),
    lambda text, release, other: release,
    lambda text, release, other: b"",
    lambda text, release, other: release + text,
    lambda text, release, other: other + text,
], ids=["changed", "unsigned", "empty", "text before the message", "another's message before it"])  # fmt: skip
def test_only_a_message_that_is_signed_as_a_whole_is_believed(mirror, obtain, stranger, change):
    mirror.publish("0.1.83-1")
    forged = mirror.release.replace("0.1.83", "0.1.99")
    mirror.inrelease.write_bytes(change(mirror.inrelease.read_bytes(), forged.encode(), stranger.sign(forged)))
    with pytest.raises(debian_archive.ArchiveError):
        obtain(GONE)


def test_without_a_release_nothing_is_believed(mirror, obtain):
    mirror.publish("0.1.83-1")
    mirror.inrelease.unlink()
    with pytest.raises(debian_archive.ArchiveError, match="does not have a Release file"):
        obtain(GONE)


def test_a_release_without_the_index_is_refused(mirror, obtain):
    mirror.publish("0.1.83-1")
    mirror.inrelease.write_bytes(mirror.keys.sign(mirror.release.replace("binary-amd64", "binary-arm64")))
    with pytest.raises(debian_archive.ArchiveError, match=r"has no index of main for amd64|binary-amd64/Packages"):
        obtain(GONE)


def test_a_signature_that_this_keyring_has_no_key_for_does_no_harm(mirror, obtain, keys, stranger):
    """Debian signs with the keys of two releases, and an older keyring has only one of them."""
    mirror.publish("0.1.83-1")
    keys.gpg("--import", input=stranger.gpg("--export-secret-keys").stdout)
    both = keys.gpg("--local-user", keys.home.name, "--local-user", stranger.home.name, "--clearsign",
                    input=mirror.release.encode()).stdout  # fmt: skip
    mirror.inrelease.write_bytes(both)
    assert obtain(GONE).version == "0.1.83-1"


def test_a_mirror_may_be_older_than_its_release_is_valid(mirror, obtain):
    mirror.publish("0.1.83-1", until="Sat, 08 Aug 2026 08:00:00 UTC")
    assert obtain(GONE).version == "0.1.83-1"


@pytest.mark.parametrize("where", ["dists/testing/main/binary-amd64/by-hash/SHA256/*", f"{POOL}/*.deb"])
def test_what_has_not_the_hash_that_was_signed_is_refused(mirror, obtain, where):
    mirror.publish("0.1.83-1")
    (file,) = mirror.root.glob(where)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(debian_archive.ArchiveError, match="Hash Sum mismatch"):
        obtain(GONE)


def test_another_suite_under_the_name_is_refused(mirror, obtain):
    mirror.publish("0.1.83-1", suite="oldstable")
    with pytest.raises(debian_archive.ArchiveError, match="is of the suite oldstable"):
        obtain(GONE)


def test_without_the_keyring_nothing_is_believed(mirror, tmp_path):
    mirror.publish("0.1.83-1")
    with pytest.raises(debian_archive.ArchiveError, match="apt-get install debian-archive-keyring"):
        debian_archive.obtain(mirror.url, GONE, "testing", "0.1.82", str(tmp_path / "none.gpg"), tmp_path)


def test_without_apt_the_error_has_a_remedy(monkeypatch, tmp_path, keys):
    monkeypatch.setattr(debian_archive, "HELPER", "/nowhere/apt-helper")
    with pytest.raises(
        debian_archive.ArchiveError, match=r"apt-helper is missing\. Remedy: use a control node with Debian"
    ):
        debian_archive.obtain("http://127.0.0.1:9/", GONE, "testing", "0.1.82", str(keys.ring), tmp_path)


def test_a_mirror_that_does_not_answer_is_no_reason_for_another_package(tmp_path, keys):
    with pytest.raises(debian_archive.ArchiveError, match="refused") as told:
        debian_archive.obtain("http://127.0.0.1:9/", GONE, "testing", "0.1.82", str(keys.ring), tmp_path)
    assert not isinstance(told.value, debian_archive.Gone)


def deb(tmp_path: Path, text: str) -> bytes:
    """Return a package with SCAP content for Debian 13."""
    tree = tmp_path / "deb"
    shutil.rmtree(tree, ignore_errors=True)
    file = tree / MEMBER
    file.parent.mkdir(parents=True)
    file.write_text(text)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: ssg-debian\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    os.chmod(tree / "DEBIAN", 0o755)
    target = tmp_path / "made.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, target], check=True, capture_output=True)
    return target.read_bytes()


CONTENT = '<d><Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2">{}</Benchmark></d>'.format(
    "".join(f'<Profile id="{audit.PROFILE}{level}"/>' for level in ("minimal", "intermediary", "enhanced", "high"))
)


def run_module(monkeypatch, capsys, **options):
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text: warned.append(text))
    warned: list[str] = []
    with pytest.raises(SystemExit), patch_module_args(options):
        scap_content.main()
    return json.loads(capsys.readouterr().out), warned


def test_the_module_says_which_content_it_took(mirror, keys, tmp_path, monkeypatch, capsys):
    waiver = {"check": "Check-Identity-05", "groups": ["all"], "reason": "Bodies are larger here than elsewhere.",
              "control": "HAProxy limits them."}  # fmt: skip
    pin = mirror.add("0.1.82-1", deb(tmp_path, CONTENT))
    options = {
        "mirror": mirror.url, "package": pin.filename, "sha256": pin.sha256, "minimum": "0.1.82", "member": MEMBER,
        "keyring": str(keys.ring), "directory": str(tmp_path / "cache"), "tailorings": str(tmp_path / "site"),
        "nodes": {"ctl1": ["control"]},
        "waivers": [waiver],
    }  # fmt: skip
    said, warned = run_module(monkeypatch, capsys, **options)
    assert (said["changed"], said["version"], said["note"], warned) == (True, "0.1.82-1", "", [])
    assert Path(said["content"]).read_text() == CONTENT
    said, _ = run_module(monkeypatch, capsys, **options)
    assert not said["changed"]
    said, _ = run_module(monkeypatch, capsys, **options, _ansible_check_mode=True)
    assert not said["changed"]
    # The mirror has a newer version, and the cache of another machine is empty.
    shutil.rmtree(tmp_path / "cache")
    (mirror.root / pin.filename).unlink()
    with monkeypatch.context() as patch:
        newer = CONTENT.replace("<d>", "<d><new/>")
        content = deb(tmp_path, newer)
        patch.setattr(mirror, "add", functools.partial(mirror.add, content=content))
        mirror.publish("0.1.83-1")
    said, warned = run_module(monkeypatch, capsys, **options)
    assert (said["changed"], said["version"], warned) == (True, "0.1.83-1", [said["note"]])
    assert Path(said["content"]).read_text() == newer
    said, _ = run_module(monkeypatch, capsys, **options | {"waivers": [{**waiver, "check": "Check-Identity-99"}]})
    assert said["failed"]
    assert "no check of any judge: Check-Identity-99" in said["msg"]
