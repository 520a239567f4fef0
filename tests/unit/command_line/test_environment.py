# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Runs work in any environment of an operator: any locale, any account, any configuration of Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from socle import cli, inventory, project, runs, vault
from socle.project import Site, UsageError

RUN = """
import sys
from pathlib import Path
from socle import display, environment, inventory, project, runs
folder = Path(sys.argv[1])
outcome = runs.run("try", str(folder / "try.yml"), project.Site(folder / "paris"), sys.argv[2:], display.console())
print(*(failure["message"] for failure in outcome.failures))
sys.exit(outcome.exit_code)
"""
PLAYBOOK = """
- name: Try
  hosts: all
  gather_facts: false
  tasks:
    - name: Write
      ansible.builtin.copy:
        content: "{{ {'forks': ansible_forks, 'file': ansible_config_file} | to_json }}"
        dest: DEST
        mode: "0644"
      diff: false
"""
NOBODY = 65534


@pytest.fixture
def site(tmp_path):
    (tmp_path / "paris").mkdir()
    (tmp_path / "paris" / "hosts.yml").write_text("all: {hosts: {a: {ansible_connection: local}}}\n")
    (tmp_path / "try.yml").write_text(PLAYBOOK.replace("DEST", str(tmp_path / "written")))
    return Site(tmp_path / "paris")


def run(site, *words, **variables):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "ANSIBLE_"))}
    environment |= {"PYTHONPATH": str(project.ROOT), "SOCLE_STATE": str(site.path.parent / "state")} | variables
    command = [sys.executable, "-c", RUN, str(site.path.parent), *words]
    return subprocess.run(command, env=environment, cwd=site.path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "variables",
    [{"LC_ALL": "C"}, {"LC_ALL": "xx_YY.UTF-8"}, {"LANG": "POSIX"}, {"LANG": "de_DE"}, {"LC_TIME": "xx"}, {}],
)
def test_any_locale_will_do(site, variables):
    done = run(site, **variables)
    assert done.returncode == runs.OK, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_does_not_exist_will_do(site):
    done = run(site, HOME="/nonexistent/home")
    assert done.returncode == runs.OK, done.stdout + done.stderr


def test_search_paths_of_the_operator_come_after_those_of_the_project(site, tmp_path):
    done = run(site, ANSIBLE_COLLECTIONS_PATH="/nowhere", ANSIBLE_ROLES_PATH="/nowhere")
    assert done.returncode == runs.OK, done.stdout + done.stderr


def test_a_configuration_of_the_operator_counts_besides_that_of_the_project(site, tmp_path):
    (tmp_path / "mine.cfg").write_text("[defaults]\nforks = 3\nlog_path = said.log\n[ssh_connection]\nssh_args = -C\n")
    done = run(site, ANSIBLE_CONFIG=str(tmp_path / "mine.cfg"))
    assert done.returncode == runs.OK, done.stdout + done.stderr
    found = json.loads((tmp_path / "written").read_text())
    assert found == {"forks": 3, "file": str(project.ROOT / "ansible.cfg")}
    assert "PLAY [Try]" in (tmp_path / "said.log").read_text()  # relative to the configuration file
    [kept] = (tmp_path / "state" / "runs").glob("*/*/artifacts/ansible/command")
    assert json.loads(kept.read_text())["env"]["ANSIBLE_SSH_ARGS"] == "-C"


def test_a_variable_of_the_operator_goes_before_files(site, tmp_path):
    (tmp_path / "mine.cfg").write_text("[defaults]\nforks = 3\n")
    done = run(site, ANSIBLE_CONFIG=str(tmp_path / "mine.cfg"), ANSIBLE_FORKS="4")
    assert done.returncode == runs.OK, done.stdout + done.stderr
    assert json.loads((tmp_path / "written").read_text())["forks"] == 4


def test_a_full_disk_is_told_without_a_trace(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "STATE", tmp_path / "state")
    monkeypatch.setattr(tempfile, "TemporaryFile", no_space)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert cli.main(["validate", "-i", str(site.path)]) == runs.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"socle: a run cannot be kept in {tmp_path / 'state'}: No space left on device; free space")


def no_space(**_options):
    raise OSError(28, os.strerror(28))


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys):
    def refuse(*_words):
        raise PermissionError(13, "Permission denied", "/x/secrets.yml.new")

    monkeypatch.setattr(vault, "init", refuse)
    assert cli.main(["secrets", "init", "-i", "lab"]) == runs.FAILED
    assert capsys.readouterr().err == "socle: /x/secrets.yml.new: Permission denied\n"


# --- accounts ----------------------------------------------------------------------------------------------


@pytest.fixture
def as_nobody():
    """Run a function in a process of another account. Return its exception as text."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another account")

    def other(function):
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                said = str(function())
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            said = stream.read()
        os.waitpid(child, 0)
        return said

    return other


@pytest.fixture
def checkout(tmp_path_factory):
    """A folder that all accounts may enter."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.geteuid() and part != Path("/"):
            part.chmod(part.stat().st_mode | 0o055)
    return folder


def test_state_of_another_account_is_left_alone(checkout, as_nobody, monkeypatch):
    monkeypatch.delenv("SOCLE_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ops/state")
    (checkout / ".socle").mkdir(mode=0o755)
    assert project.state_folder(checkout) == checkout / ".socle"
    assert as_nobody(lambda: project.state_folder(checkout)).startswith(f"/home/ops/state/socle/{checkout.name}-")
    (checkout / ".socle").chmod(0o777)
    assert as_nobody(lambda: project.state_folder(checkout)).startswith("/home/ops/state/socle/")
    (checkout / ".socle").chmod(0o700)
    assert as_nobody(lambda: project.state_folder(checkout)).startswith("/home/ops/state/socle/")


def test_a_checkout_that_cannot_be_written_keeps_no_state(checkout, as_nobody, monkeypatch):
    monkeypatch.delenv("SOCLE_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ops/state")
    assert project.state_folder(checkout) == checkout / ".socle"
    assert as_nobody(lambda: project.state_folder(checkout)).startswith("/home/ops/state/socle/")


def test_two_accounts_have_one_lock(checkout, as_nobody):
    site = Site(checkout)

    def take():
        with runs.only_one(site, "wire"):
            return "held"

    with runs.only_one(site, "deploy"):
        said = as_nobody(take)
        assert said.startswith(f"UsageError: wire was not begun: another run on {site.name} is under way"), said
        assert f"process {os.getpid()} of root" in said
    assert as_nobody(take) == "held"


def test_a_vault_password_of_another_account_is_named(checkout, as_nobody):
    site = Site(checkout)
    site.vault_password_file.write_text("x")
    site.vault_password_file.chmod(0o600)
    said = as_nobody(lambda: inventory.own_password(site))
    assert said.startswith(f"UsageError: {site.vault_password_file} cannot be read by this account, nobody")


# --- the password of the vault -----------------------------------------------------------------------------


@pytest.fixture
def script(site, monkeypatch):
    """A program that prints the password of the site."""
    for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST"):
        monkeypatch.delenv(name, raising=False)
    site.vault_password_file.write_text("#!/bin/sh\necho from-a-program\n")
    site.vault_password_file.chmod(0o700)
    return site


def opened(site, password):
    return yaml.safe_load(VaultLib([("x", VaultSecret(password))]).decrypt(site.secrets_file.read_bytes()))


def test_secrets_are_closed_with_what_a_program_prints(script):
    added = vault.init(script)
    assert set(opened(script, b"from-a-program")["secrets"]) == set(added)
    assert vault.init(script) == []
    assert vault.rotate(script, ["nova_database"]) == ["nova_database"]


def test_validation_opens_them_with_the_same(script):
    vault.init(script)
    found = site_validate.findings(script.path, script.vault_password_file)
    assert not any("secrets.yml" in violation["file"] for violation in found)
    script.vault_password_file.write_text("#!/bin/sh\necho no >&2; exit 3\n")
    said = str(site_validate.findings(script.path, script.vault_password_file))
    assert "no vault password from" in said
    assert "returned non-zero (3)" in said


def test_a_program_that_fails_is_told(script):
    script.vault_password_file.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UsageError, match=r"no vault password from .*\.vault-password"):
        vault.init(script)


def test_a_run_takes_the_program_as_well(script):
    vault.init(script)
    done = run(script)
    assert done.returncode == runs.OK, done.stdout + done.stderr


def test_a_password_that_is_named_serves_a_site_without_one(site, tmp_path):
    word = tmp_path / "elsewhere"
    word.write_text("named\n")
    vault.init(site, [f"prod@{word}"])
    assert not site.vault_password_file.exists()
    assert site.secrets_file.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert opened(site, b"named")["secrets"]
    with pytest.raises(UsageError, match="restore its password"):
        vault.init(site)


def test_what_opened_the_secrets_closes_them_again(site, tmp_path):
    """The same password is used even with several passwords and a vault id in the file."""
    word = tmp_path / "elsewhere"
    word.write_text("named\n")
    vault.init(site, [f"prod@{word}"])
    site.vault_password_file.write_text("another\n")
    vault.rotate(site, ["nova_database"], passwords=[f"prod@{word}"])
    assert site.secrets_file.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert opened(site, b"named")["secrets"]


def test_other_variables_in_the_file_of_secrets_stay(site, script):
    content = {"ansible_become_password": "kept", "secrets": {"nova_database": "old"}}
    site.secrets_file.parent.mkdir(parents=True)
    closed = VaultLib([("x", VaultSecret(b"from-a-program"))]).encrypt(yaml.safe_dump(content))
    site.secrets_file.write_bytes(closed)
    vault.init(site)
    found = opened(site, b"from-a-program")
    assert (found["ansible_become_password"], found["secrets"]["nova_database"]) == ("kept", "old")


def test_a_file_of_secrets_that_is_not_encrypted_is_told(script):
    script.secrets_file.parent.mkdir(parents=True)
    script.secrets_file.write_text("secrets: {}\n")
    with pytest.raises(UsageError, match="not encrypted"):
        vault.init(script)
