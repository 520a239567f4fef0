# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role audit: judges that are not ours say how a hardened node stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

testinfra_hosts = ["ansible://ctl1"]

ROOT = Path(__file__).resolve().parents[3]


def test_the_hardened_nodes_pass(inventory):
    """At the gate of the role: rate, evaluated count and Lynis' index; a regression would fail it as well."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "--vault-password-file",
         str(inventory / ".vault-password"), "--limit", "ctl1,gw1,localhost", "playbooks/audit.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
