# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The emulated guest of the hardening tests: its disk. A default run of pytest must not collect its tests."""

from __future__ import annotations

import importlib.util
import re
import struct
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import yaml


@pytest.fixture
def guest(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("emulated_machine", root / "tests" / "guest" / "emulated_machine.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_partitions_follow_each_other_and_are_what_gets_options(root: Path, guest: ModuleType) -> None:
    assert all(one.start + one.size == other.start for one, other in pairwise(guest.PARTITIONS))
    defaults = yaml.safe_load((root / "roles/hardening/defaults/main.yml").read_text())
    mounted = {partition.where for partition in guest.PARTITIONS}
    assert mounted == {"/", *(item["path"] for item in defaults["hardening_mounts"])}
    assert len({partition.uuid for partition in guest.PARTITIONS}) == len(mounted)
    # The configuration of GRUB names the place of the boot menu.
    assert guest.PARTITIONS[0].where == "/boot"
    assert "(hd0,gpt2)/grub" in guest.BUILD


def test_boot_sectors_say_where_the_next_is(guest: ModuleType) -> None:
    boot, core = b"\xaa" * 512, bytes(0x1FE) + b"\x20\x08" + bytes(1000)
    (first, mbr), (place, written) = guest.boot_sectors(boot, core)
    assert (first, place, len(mbr), len(written)) == (0, 2048 * 512, 440, 1536)
    assert struct.unpack_from("<Q", mbr, 0x5C) == (2048,)
    assert struct.unpack_from("<QHH", written, 0x1F4) == (2049, 2, 0x820)
    with pytest.raises(guest.GuestError, match="too large"):
        list(guest.boot_sectors(boot, bytes(2 << 20)))


def test_the_plain_node_has_nothing_of_the_hardening(root: Path, guest: ModuleType) -> None:
    role = yaml.safe_load((root / "roles/hardening/defaults/main.yml").read_text())
    brought = set(role["hardening_packages"]) & set(guest.PLAIN_PACKAGES)
    assert brought == {"openssh-server", "linux-base", "libpam-systemd"}


def test_the_guests_variables_are_its_own_network(root: Path, guest: ModuleType) -> None:
    given = yaml.safe_load((root / "tests/guest/vars.yml").read_text())
    assert given["site_not_live"] == []
    assert (given["site_management_cidr"], given["site_management_address"]) == (guest.NETWORK, guest.ADDRESS)
    form = r"grub\.pbkdf2\.sha512\.\d+\.[0-9A-F]+\.[0-9A-F]+"
    assert re.fullmatch(form, given["hardening_boot_password_hash"].strip())
