# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""SSH keys of a lab, those of its operator and of its machines, and the files that Ansible needs to use them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from . import host
from .plan import Lab
from .steps import Step


class SshKeys:
    """The keys of one lab.

    :param path: the folder of the keys.
    :param ssh_dir: the folder in which Ansible finds the operator's key and known_hosts; None to write neither.
    """

    def __init__(self, lab: Lab, path: Path, ssh_dir: Path | None) -> None:
        self.lab = lab
        self.path = path
        self.ssh_dir = ssh_dir

    def plan(self) -> list[Step]:
        """Return steps that create missing keys and write the files for Ansible."""
        wanted = [self.path / "id_ed25519", *(self.path / machine.name for machine in self.lab.machines)]
        missing = [path for path in wanted if not (path.exists() and path.with_name(path.name + ".pub").exists())]
        steps = []
        if missing:
            names = ", ".join(path.name for path in missing)
            steps.append(Step("make SSH keys for", names, lambda: self._make_keys(missing)))
        if self.ssh_dir and (missing or self._operator_files() != self._present_operator_files()):
            steps.append(Step("write", str(self.ssh_dir), self._write_operator_files))
        return steps

    def _make_keys(self, missing: list[Path]) -> None:
        for path in missing:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            comment = f"socle-{self.lab.name}" if path.name == "id_ed25519" else f"root@{path.name}"
            host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])

    def public(self) -> str:
        """Return the public key of the operator; "" before it is created."""
        path = self.path / "id_ed25519.pub"
        return path.read_text(encoding="ascii") if path.exists() else ""

    def _operator_files(self) -> dict[str, str]:
        files = {
            name: (self.path / name).read_text(encoding="ascii")
            for name in ("id_ed25519", "id_ed25519.pub")
            if (self.path / name).exists()
        }
        lines = []
        for machine in self.lab.machines:
            public = self.path / f"{machine.name}.pub"
            if public.exists():
                key = " ".join(public.read_text(encoding="ascii").split()[:2])
                # The form in which ssh looks up a host at another port.
                moved = f",[{machine.ip}]:{machine.ssh_port}" if machine.ssh_port != 22 else ""
                lines.append(f"{machine.ip},{machine.name}{moved} {key}\n")
        files["known_hosts"] = "".join(sorted(lines))
        return files

    def _present_operator_files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.ssh_dir is None:
            return found
        for name in ("id_ed25519", "id_ed25519.pub", "known_hosts"):
            with contextlib.suppress(OSError):
                found[name] = (self.ssh_dir / name).read_text(encoding="ascii")
        return found

    def _write_operator_files(self) -> None:
        if self.ssh_dir is None:
            return
        self.ssh_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in self._operator_files().items():
            path = self.ssh_dir / name
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as handle:
                handle.write(text)
