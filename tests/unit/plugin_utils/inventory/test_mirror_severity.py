# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""If a package mirror does not answer, only playbooks that install packages fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from socle import vault
from socle.project import ROOT, Site

NOBODY_LISTENS = "http://127.0.0.1:9/debian"
INSTALL = {"deploy.yml"}
"""The playbooks with a task that calls apt on a node. Those of the image and the lab fail by themselves, and only if
they have an image to build."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "lab"
    ignore = shutil.ignore_patterns("secrets.yml", ".vault-password", "pki")
    shutil.copytree(ROOT / "inventories" / "lab", folder, ignore=ignore)
    vault.init(Site(folder))
    with (folder / "group_vars" / "all" / "site.yml").open("a") as file:
        file.write(f"base_mirror: {NOBODY_LISTENS}\n")
    return Site(folder)


@pytest.mark.parametrize(("installs", "severity"), [(True, "error"), (False, "warning")])
def test_it_is_an_error_only_where_packages_are_installed(site, installs, severity):
    found = site_validate.findings(site.path, site.vault_password_file, installs=installs)
    [about] = [one for one in found if one["path"] == "base_mirror"]
    assert about["severity"] == severity
    assert about["file"].endswith("site.yml")


def play(site, playbook):
    """Run only the validation of a playbook, with ansible-playbook and the tag `always`."""
    words = ["-i", str(site.path), "--vault-password-file", str(site.vault_password_file)]
    words += ["--check", "--connection", "local", "--tags", "always"]
    command = [str(Path(sys.executable).parent / "ansible-playbook"), *words, f"playbooks/{playbook}"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "COLUMNS": "500"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("playbook", ["rie_drain.yml", "wire.yml", "harden.yml", "validate.yml"])
def test_what_installs_nothing_goes_on_with_a_warning(site, playbook):
    code, said = play(site, playbook)
    assert code == 0, said
    assert "WARNING" in said
    assert f"base_mirror = {NOBODY_LISTENS}: does not answer" in " ".join(said.split())


@pytest.mark.parametrize("playbook", sorted(INSTALL))
def test_what_installs_is_refused_before_any_node(site, playbook):
    code, said = play(site, playbook)
    assert code == 2, said
    assert "1 violation(s)" in said


def roles(playbook: Path) -> set[str]:
    """Return every role that a playbook imports, also through another playbook."""
    found: set[str] = set()
    for one in yaml.safe_load(playbook.read_text()):
        if other := one.get("ansible.builtin.import_playbook"):
            found |= roles(playbook.with_name(other))
        for task in one.get("tasks") or []:
            if role := task.get("ansible.builtin.import_role"):
                found.add(role["name"])
    return found


def test_every_playbook_that_installs_says_so():
    tasks = ROOT.glob("roles/*/tasks/*.yml")
    installers = {file.parents[1].name for file in tasks if "builtin.apt:" in file.read_text()}
    assert installers == {"base"}
    every = sorted((ROOT / "playbooks").glob("*.yml"))
    assert {file.name for file in every if roles(file) & installers} == INSTALL
    assert {file.name for file in every if "socle_installs: true" in file.read_text()} == INSTALL
