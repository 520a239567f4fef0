# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role guest_image: the kernel and the initial ramdisk match their names."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("/var/lib/socle/images/guest/current")


def test_the_kernel_is_a_kernel():
    assert (FOLDER / "vmlinuz").read_bytes()[0x202:0x206] == b"HdrS"


def test_the_ramdisk_answers_and_is_small():
    archive = (FOLDER / "initrd").read_bytes()
    assert len(archive) < 16 << 20
    assert archive[:6] == b"070701"
    for name in (b"busybox", b"virtio_net", b"init"):
        assert name in archive
