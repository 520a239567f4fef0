# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The validation reads the same hosts, groups and variables as Ansible, and names the file and line of each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import ini_lines
from socle import vault
from socle.project import ROOT, Site

INI = """\
[control]
ctl1 ansible_host=10.99.0.11

[compute]
cmp1 ansible_host=10.99.0.21 tunnel_address=10.99.1.21  # one

[gateway]
gw[1:2]

[gateway:vars]
tunnel_address="{{ ansible_host | replace('10.99.0.', '10.99.1.') }}"

[nodes:children]
control
compute
gateway

[backbone]
rie ansible_host=10.99.0.41
"""
SCRIPT = f"""\
#!{sys.executable}
import json
variables = {{"ansible_host": "10.99.0.77", "rack": "r1", "tunnel_address": "10.99.1.21", "nova_compute_virt_typ": "x"}}
print(json.dumps({{"compute": {{"hosts": ["cmp7"]}}, "_meta": {{"hostvars": {{"cmp7": variables}}}}}}))
"""


class Folder:
    """A copy of the lab's inventory with additional files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        ignore = shutil.ignore_patterns("secrets.yml", ".vault-password", "pki")
        shutil.copytree(ROOT / "inventories" / "lab", path, ignore=ignore)
        vault.init(Site(path))

    def write(self, name: str, text: str) -> Folder:
        self.path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        self.path.joinpath(name).write_text(text)
        return self

    def found(self) -> list[str]:
        """Return the violations as "file:line: reason"."""
        violations = site_validate.violations(self.path, self.path / ".vault-password")
        return [f"{v['file'].rsplit('/', 1)[-1]}:{v['line']}: {v['reason']}" for v in violations]

    def ini(self) -> Folder:
        """Return the same hosts in INI and JSON."""
        self.path.joinpath("hosts.yml").unlink()
        self.write("hosts", INI).write("host_vars/gw1.json", '{"ansible_host": "10.99.0.31"}\n')
        return self.write("host_vars/gw2.yml", "ansible_host: 10.99.0.32\n")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(site_validate, "fetch", lambda url: "")
    monkeypatch.setattr(site_validate, "source_of", lambda address: "")
    return Folder(tmp_path / "lab")


def test_an_ini_inventory_with_ranges_templates_and_json_is_valid(lab):
    assert lab.ini().found() == []


def test_violations_of_an_ini_inventory_have_its_lines(lab):
    lab.ini().write("host_vars/gw2.yml", "ansible_host: 10.99.0.31\n")
    lab.write("hosts", INI.replace("10.99.0.41", "10.98.0.41").replace("[control]", "[control]\nctl_2"))
    assert lab.found() == [
        "gw2.yml:1: is also ansible_host of gw1",
        "hosts:2: host ctl_2 has no ansible_host",
        "hosts:2: host name ctl_2 is not a DNS name in lower case",
        "hosts:12: is also tunnel_address of gw1",
        "hosts:20: is outside of 10.99.0.0/24",
    ]


def test_hosts_of_a_second_file_are_hosts(lab):
    lab.write("more.ini", "[compute]\ncmp2 ansible_host=10.99.0.21\ncmp3 nova_compute_virt_typ=kvm\n")
    assert lab.found() == [
        "more.ini:2: is also ansible_host of cmp1",
        "more.ini:2: host cmp2 has no tunnel_address",
        "more.ini:3: host cmp3 has no ansible_host",
        "more.ini:3: host cmp3 has no tunnel_address",
        "more.ini:3: unknown variable",
    ]


def test_variables_in_json_are_checked(lab):
    lab.write("group_vars/all/extra.json", '{\n "site_regoin": "x",\n "site_public_vip": "10.98.0.6"\n}\n')
    # site.yml is read after extra.json, so its address takes precedence.
    assert lab.found() == ["extra.json:2: unknown variable"]
    lab.path.joinpath("group_vars/all/extra.json").rename(lab.path / "group_vars/all/zz.json")
    assert lab.found() == ["zz.json:2: unknown variable", "zz.json:3: is outside of 10.99.0.0/24"]


def test_a_script_may_set_variables_of_its_own_but_no_misspelt_ones(lab):
    lab.write("dynamic", SCRIPT)
    lab.path.joinpath("dynamic").chmod(0o755)
    assert lab.found() == ["dynamic:1: unknown variable", "hosts.yml:16: is also tunnel_address of cmp7"]


def test_a_value_is_checked_as_it_is_rendered(lab):
    site = lab.path.joinpath("group_vars/all/site.yml")
    text = site.read_text().replace("site_internal_vip: 10.99.0.5", "site_internal_vip: \"{{ '10.98.0.' ~ 5 }}\"")
    site.write_text(text + "neutron_physical_mtu: \"{{ 'many' }}\"\n")
    assert [line.split(":", 2)[2] for line in lab.found()] == [
        " is outside of 10.99.0.0/24", " is not a whole number, once it is rendered",
    ]  # fmt: skip


def test_a_variable_of_all_nodes_need_not_be_in_group_all(lab):
    site = lab.path.joinpath("group_vars/all/site.yml")
    kept = [line for line in site.read_text().splitlines() if not line.startswith("site_region:")]
    site.write_text("\n".join(kept).replace("site_domain:", "# site_domain:") + "\n")
    assert lab.found() == ["site.yml:1: is missing (role site has no default for it)"]
    assert lab.write("group_vars/nodes.yml", "site_domain: nodes.example\n").found() == []


def test_a_file_that_ansible_passes_over_is_told(lab):
    assert lab.write("group_vars/all.yml", "site_region: other\n").found() == ["all.yml:1: is not read by Ansible"]


def test_values_of_the_vault_are_never_shown(lab):
    password = lab.path / ".vault-password"
    program = Path(sys.executable).parent / "ansible-vault"
    words = [program, "encrypt_string", "--vault-password-file", password, "10.98.0.77"]
    encrypted = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    lab.write("host_vars/cmp1.yml", f"ansible_host: {encrypted}")
    [found] = site_validate.violations(lab.path, password)
    assert (found["line"], found["reason"], found["value"]) == (1, "is outside of 10.99.0.0/24", "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("more.ini", "[compute\ncmp9\n"),
        ("more.ini", "[compute:planets]\ncmp9\n"),
        ("more.yml", "compute: {hosts: {7: {}}}\n"),
        ("more.yml", "compute: [\n"),
        ("more", "cmp9 'ansible_host\n"),
        ("host_vars/cmp1.yml", "a: b: c\n"),
        ("host_vars/cmp1.yml", "- 1\n"),
        ("group_vars/compute.yml", "\tx"),
        ("host_vars/cmp1.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
        ("host_vars/cmp1/x.json", "{"),
    ],
)
def test_what_ansible_cannot_read_is_told_with_its_file(lab, name, text):
    found = lab.write(name, text).found()
    assert any(line.startswith(name.rsplit("/", 1)[-1] + ":") for line in found), found


def test_the_lines_of_an_ini_inventory():
    document = ini_lines.parse(INI)
    assert document.line(("gateway", "hosts", "gw[1:2]")) == 8
    assert document.line(("gateway", "vars", "tunnel_address")) == 11
    assert document.data["compute"]["hosts"] == {"cmp1": {"ansible_host": "10.99.0.21", "tunnel_address": "10.99.1.21"}}
    assert list(document.data["nodes"]["children"]) == ["control", "compute", "gateway"]


# --- as part of a run ----------------------------------------------------------------------------------------


def played(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Return the exit status of playbooks/validate.yml, and its violations."""
    program = Path(sys.executable).parent / "ansible-playbook"
    words: list[str | Path] = [
        program,
        "playbooks/validate.yml",
        "--vault-password-file",
        folder / ".vault-password",
        *arguments,
    ]
    environment = os.environ | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    [play] = json.loads(ended.stdout[ended.stdout.index("{") :])["plays"]
    result = next(iter(play["tasks"][0]["hosts"].values()))
    violations = [f"{v['file'].rsplit('/', 1)[-1]}:{v['line']}: {v['reason']}" for v in result["violations"]]
    return ended.returncode, [line for line in violations if "does not answer" not in line]


def test_all_sources_of_a_run_and_plugins_are_seen(lab, tmp_path):
    more = tmp_path / "elsewhere"
    more.mkdir()
    more.joinpath("hosts.ini").write_text("[compute]\ncmp2 ansible_host=10.99.0.22\n")
    lab.write("plugin.yml", "plugin: ansible.builtin.constructed\ngroups: {rack1: inventory_hostname == 'cmp1'}\n")
    lab.write("group_vars/rack1.yml", "nova_compute_virt_type: qemu\nnova_compute_virt_typ: qemu\n")
    sources = ["-i", str(lab.path), "-i", str(more / "hosts.ini")]
    status, found = played(lab.path, *sources, "-e", "site_public_vip=10.98.0.9")
    assert status != 0
    assert sorted(found) == [
        "command line:1: is outside of 10.99.0.0/24",
        "hosts.ini:2: host cmp2 has no tunnel_address",
        "rack1.yml:2: unknown variable",
    ]


def test_controllers_from_elsewhere_need_a_folder_for_the_authority(lab, tmp_path):
    """Otherwise each host would look for the CA beside the file that defines the host."""
    hosts = lab.path.joinpath("hosts.yml")
    hosts.write_text(hosts.read_text().replace("            ctl1:\n              ansible_host: 10.99.0.11\n", ""))
    more = tmp_path / "elsewhere"
    more.mkdir()
    more.joinpath("hosts.ini").write_text("[control]\nctl1 ansible_host=10.99.0.11\n")
    sources = ["-i", str(lab.path), "-i", str(more / "hosts.ini")]
    _status, [found] = played(lab.path, *sources)
    assert found.startswith("hosts.ini:2: controller ctl1 is defined outside of ")
    assert played(lab.path, *sources, "-e", f"pki_directory={tmp_path}/pki") == (0, [])


def test_a_plugin_that_fails_half_way_is_told(lab):
    lab.write("plugin.yml", "plugin: ansible.builtin.constructed\nstrict: true\ncompose: {base_timezone: nothing}\n")
    status, [found] = played(lab.path, "-i", str(lab.path))
    assert status != 0
    assert found.startswith("plugin.yml:1: Ansible cannot read it: ")


def test_a_plugin_that_finds_nothing_is_told(lab):
    lab.write("netbox.yml", "plugin: nowhere.to.be_found\n")
    status, [found] = played(lab.path, "-i", str(lab.path))
    assert status != 0
    assert found.startswith("netbox.yml:1: Ansible cannot read it: auto: ")
    assert "unknown plugin 'nowhere.to.be_found'" in found
