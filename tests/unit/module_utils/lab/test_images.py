# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Images: their digests, the image store, and the initramfs of the smoke guest."""

from __future__ import annotations

import json
import lzma
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.lookup.role_packages import role_packages
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import guest_image, node_image
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab.node_image import ImageSpec, ImageStore


def spec(*packages: str, **changes: Any) -> ImageSpec:
    return ImageSpec(packages or ("frr", "bird2"), **{"suite": "trixie", "mirror": "http://a/debian"} | changes)


def test_the_digest_follows_content_and_not_the_mirror() -> None:
    digest = spec().digest()
    assert digest == spec("bird2", "frr", "frr").digest() == spec(mirror="http://b/debian").digest()
    others = {spec("frr").digest(), spec(suite="forky").digest(), spec(security_mirror="http://s").digest()}
    assert len({digest, *others}) == 4


def test_a_changed_recipe_makes_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = spec().digest()
    monkeypatch.setattr(node_image, "RECIPE", (*node_image.RECIPE, "more"))
    assert spec().digest() != before


def test_sources_are_signed() -> None:
    text = spec(security_mirror="http://s/debian-security").sources()
    assert text.count(f"Signed-By: {node_image.KEYRING}") == 2
    assert "Suites: trixie trixie-updates" in text and "Suites: trixie-security" in text


def test_the_build_dies_with_the_run_and_verifies_signatures(tmp_path: Path) -> None:
    argv = node_image.mmdebstrap_argv(spec(), tmp_path / "tree", tmp_path / "s", tmp_path / "cache")
    assert argv[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert f"--keyring={node_image.KEYRING}" in argv
    assert not any("allow-unauthenticated" in word.lower() or "trusted=yes" in word for word in argv)


def tree(images: Path, name: str, digest: str) -> Path:
    manifest = images / name / node_image.MANIFEST
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"digest": digest}), encoding="utf-8")
    return images / name


def test_the_store_finds_points_and_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_image, "lower_dirs_in_use", lambda: {str(tmp_path / "used")})
    store = ImageStore(tmp_path, tmp_path / "cache")
    assert store.find("aa", "node") is None
    old, new = tree(tmp_path, "aa", "aa"), tree(tmp_path, "aa-2", "aa")
    used, foreign = tree(tmp_path, "used", "bb"), tmp_path / "no-image"
    foreign.mkdir()
    assert store.find("aa", "node") == new
    store.point("node", old)
    assert store.current("node") == "aa"
    assert store.find("aa", "node") == old
    labs = tmp_path / "labs"
    assert store.prunable(labs) == [new]
    machine = labs / "lab" / "machines" / "ctl1" / "definition.json"
    machine.parent.mkdir(parents=True)
    machine.write_text(json.dumps({"image": str(new)}), encoding="utf-8")
    assert store.prunable(labs) == []
    assert used.exists() and foreign.exists()


def test_remains_of_a_killed_build_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".build-aa" / "tree" / "proc").mkdir(parents=True)
    assert ImageStore(tmp_path, tmp_path / "cache").clear_unfinished() == [str(tmp_path / ".build-aa")]
    assert list(tmp_path.iterdir()) == []


def test_the_reason_of_a_failure_is_picked_from_the_log() -> None:
    log = "I: running\nErr:1 http://a trixie\n  Could not connect\nE: apt-get update failed\nI: more\n"
    assert node_image.failure_reason(log) == "Err:1 http://a trixie\nE: apt-get update failed"
    later = "E: Can not write log (Is /dev/pts mounted?)\nSetting up grub\numount: /root: target is busy\n"
    assert node_image.failure_reason(later).splitlines()[-1] == "umount: /root: target is busy"
    assert node_image.failure_reason("one\ntwo\n") == "one\ntwo"


def write_defaults(roles: Path, role: str, text: str) -> None:
    folder = roles / role / "defaults"
    folder.mkdir(parents=True)
    (folder / "main.yml").write_text(text, encoding="utf-8")


def test_role_packages_are_a_sorted_union(tmp_path: Path) -> None:
    write_defaults(tmp_path, "one", "one_packages: [b, a]\nother: !vault |\n  x\n")
    write_defaults(tmp_path, "two", "two_packages: [b, c]\n")
    write_defaults(tmp_path, "sum", "sum_packages: \"{{ query('x') }}\"\n")
    (tmp_path / "bare").mkdir()
    assert role_packages([], tmp_path) == ["a", "b", "c"]
    assert role_packages(["two", "bare", "sum"], tmp_path) == ["b", "c"]


def test_role_packages_refuse_what_they_cannot_read(tmp_path: Path) -> None:
    write_defaults(tmp_path, "one", "one_packages: ['{{ x }}']\n")
    with pytest.raises(ValueError, match="one_packages must be a list of plain package names"):
        role_packages([], tmp_path)
    with pytest.raises(ValueError, match="there is no role nine"):
        role_packages(["nine"], tmp_path)


def test_the_packages_of_this_projects_roles_can_be_read() -> None:
    assert {"openssh-server", "python3-apt"} <= set(role_packages([]))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio")
def test_the_initramfs_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = guest_image.cpio_newc(guest_image.initramfs_entries(b"#!busybox", {"virtio_net": b"module"}))
    listed = subprocess.run(["cpio", "-itv", "--quiet"], input=archive, capture_output=True, check=True).stdout.decode()
    assert "www/cgi-bin/probe" in listed and "modules/virtio_net.ko" in listed
    assert any(line.startswith("crw") and line.endswith("dev/console") for line in listed.splitlines())


def test_the_initramfs_is_reproducible_and_aligned() -> None:
    entries = guest_image.initramfs_entries(b"x" * 5, {"a": b"yy"})
    archive = guest_image.cpio_newc(entries)
    assert archive == guest_image.cpio_newc(entries)
    assert len(archive) % 4 == 0 and archive.startswith(b"070701") and b"TRAILER!!!" in archive


def test_modules_are_unpacked(tmp_path: Path) -> None:
    packed, plain = tmp_path / "a.ko.xz", tmp_path / "b.ko"
    packed.write_bytes(lzma.compress(b"module"))
    plain.write_bytes(b"module")
    assert guest_image.read_module(packed) == guest_image.read_module(plain) == b"module"


@pytest.mark.parametrize("script", sorted(guest_image.FILES))
def test_the_guests_scripts_are_valid_shell(script: str, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(guest_image.FILES[script], encoding="utf-8")
    assert subprocess.run(["sh", "-n", str(path)], capture_output=True, check=False).returncode == 0
