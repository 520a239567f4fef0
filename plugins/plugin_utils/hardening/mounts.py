# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Mount options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.hardening.rules import Policy
from .entries import Entry, Settings, text_file


def unit_of(path: str) -> str:
    """Return the name of a path's mount unit, as systemd-escape(1) does."""
    return path.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"


def mount_units(mounts: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Return units that apply ``mounts`` ({path, options}) to folders which are not file systems of their own."""
    return [
        {
            "path": f"/etc/systemd/system/{unit_of(mount['path'])}",
            "format": "ini",
            "content": {
                "Unit": {"Description": f"Options of {mount['path']}", "DefaultDependencies": False,
                         "Before": "local-fs.target umount.target", "Conflicts": "umount.target"},
                "Mount": {"What": mount["path"], "Where": mount["path"], "Type": "none",
                          "Options": ",".join(["bind", *mount["options"]])},
                "Install": {"WantedBy": "local-fs.target"},
            },
        }
        for mount in mounts
    ]  # fmt: skip


def mounts(policy: Policy, settings: Settings) -> list[Entry]:
    found: list[Entry] = []
    # A separate unit changes only the options, so that existing mounts keep their content, whatever mounted them.
    script = " ".join(
        f"if mountpoint -q {item['path']}; then mount -o remount,{','.join(item['options'])} {item['path']}; fi;"
        for item in settings["mounts"]
    )
    found.append(
        {
            "path": "/etc/systemd/system/mount-options.service",
            "format": "ini",
            "content": {
                "Unit": {"Description": "Options of mounts", "After": "local-fs.target"},
                "Service": {"Type": "oneshot", "RemainAfterExit": True, "ExecStart": f"/bin/sh -c '{script}'"},
                "Install": {"WantedBy": "multi-user.target"},
            },
        }
    )
    # debconf runs scripts of packages from this folder, because /tmp is mounted noexec.
    found.append(
        text_file(
            "/etc/apt/apt.conf.d/81hardening", 'APT::ExtractTemplates::TempDir "/var/cache/debconf";\n', comment="//"
        )
    )
    return found + mount_units(settings["bind_mounts"])
