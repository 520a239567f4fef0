# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on plain nodes: a connection as administrator, and playbook runs on single nodes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
ENDPOINTS = {
    "compute": (":8774/v2.1", "2"),
    "image": (":9292/v2", "2"),
    "network": (":9696/v2.0", "2"),
    "placement": (":8778", "1"),
}
"""Port and path of each service at the public VIP, and its version. A client cannot discover the versions there,
because the services link to their name, which is not in DNS here."""


@pytest.fixture(scope="session")
def cloud(hostvars: dict[str, Any], inventory: Path) -> Any:
    """A connection of openstacksdk through the public VIP, verified with the internal CA."""
    import openstack

    values = hostvars["ctl1"]
    address = f"https://{values['site_public_vip']}"
    return openstack.connection.Connection(
        auth={
            "auth_url": f"{address}:5000/v3",
            "username": "admin",
            "password": values["secrets"]["keystone_admin"],
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        cacert=str(inventory / "pki" / "ca.pem"),
        region_name=values["site_region"],
        identity_interface="public",
        identity_endpoint_override=f"{address}:5000/v3",
        **{f"{name}_endpoint_override": address + path for name, (path, _version) in ENDPOINTS.items()},
        **{f"{name}_api_version": version for name, (_path, version) in ENDPOINTS.items()},
    )


@pytest.fixture(scope="session")
def deploy(inventory: Path) -> Callable[..., tuple[int, str]]:
    """`deploy(*words)`: deploy with ansible-playbook and return exit code and output."""

    def run(*words: str) -> tuple[int, str]:
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            f"--inventory={inventory}",
            f"--vault-password-file={inventory / '.vault-password'}",
            f"--extra-vars=@{inventory.parent / 'vars.yml'}",
            str(ROOT / "playbooks" / "deploy.yml"),
            *words,
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        return done.returncode, done.stdout + done.stderr

    return run
