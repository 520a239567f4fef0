# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The deployed and hardened site: it works, only encrypted ports are open between nodes, and no secret is readable.

The tests depend on the first one, and run after the tests of the deployed site.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from socle.lab import nodes
from socle.project import Site

ROOT = Path(__file__).resolve().parents[3]
OF_ALL = {22: "ssh", 6514: "tls"}
OF_CONTROL = dict.fromkeys((5000, 5671, 6641, 6642, 8004, 8774, 8775, 8778, 9292, 9696), "tls")
"""TCP ports that other nodes may reach, and the protocol of each."""

LOOK = r"""
import concurrent.futures, json, socket, ssl, subprocess, sys
def kind(target):
    # What lies behind a router says nothing of the node.
    if b'"gateway"' in subprocess.run(["ip", "-j", "route", "get", target[0]], capture_output=True).stdout:
        return None
    try:
        with socket.create_connection(target, timeout=3) as connection:
            connection.settimeout(3)
            try:
                if connection.recv(4) == b"SSH-":
                    return "ssh"
            except OSError:
                pass
    except OSError:
        return None
    context = ssl._create_unverified_context()
    try:
        with socket.create_connection(target, timeout=3) as raw, context.wrap_socket(raw):
            return "tls"
    except OSError:
        return "plain"
targets = [tuple(target) for target in json.load(sys.stdin)]
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps([[*target, kind] for target, kind in zip(targets, pool.map(kind, targets)) if kind]))
"""
SEARCH = r"""
import grp, json, os, re, stat, subprocess, sys
secrets = json.load(sys.stdin)
names = {value.encode(): name for name, value in secrets.items()}
pattern = re.compile(b"|".join(map(re.escape, names)))
longest = max(map(len, names))
found = set()
def look(where, stream):
    kept = b""
    while part := stream.read(1 << 20):
        found.update((where, names[hit]) for hit in pattern.findall(kept + part))
        kept = part[-longest:]
def own(info):
    # Readable by its owner, and by a group that is the service's own.
    return not info.st_mode & 0o004 and (not info.st_mode & 0o040 or grp.getgrgid(info.st_gid).gr_name in sys.argv[1:])
for process in filter(str.isdigit, os.listdir("/proc")):
    try:
        if int(process) != os.getpid():
            look("process " + open(f"/proc/{process}/comm").read().strip(), open(f"/proc/{process}/cmdline", "rb"))
    except OSError:
        pass
for top in ("/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var"):
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
        for file in files:
            path = os.path.join(folder, file)
            try:
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode) and (path.startswith("/var/log") or not own(info)):
                    look(path, open(path, "rb"))
            except OSError:
                pass
with subprocess.Popen(["journalctl", "--no-pager", "--output=export"], stdout=subprocess.PIPE) as journal:
    look("journal", journal.stdout)
print(json.dumps(sorted(found)))
"""
READERS = (
    "root", "frr", "glance", "haproxy", "heat", "keystone", "libvirt-qemu", "memcache", "mysql", "neutron", "nova",
    "placement", "rabbitmq", "bird",
)  # fmt: skip
"""Groups of a single service, without other members."""


@pytest.fixture(scope="module")
def on(inventory):
    """`on(node, script, given, *arguments)`: the JSON output of a Python script, which reads `given` from its input."""
    ways = {node.name: node.ssh for node in nodes(Site(inventory))}

    def run(name, script, given, *arguments):
        # Standard input contains the script and then `given`, so neither is visible in a process list.
        head = f"import sys; exec(sys.stdin.read({len(script)}))"
        command = [*ways[name], "python3", "-c", f"'{head}'", *arguments]
        done = subprocess.run(command, input=script + json.dumps(given), text=True, capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def secrets(hostvars):
    """Every secret of the site, by its name."""
    return hostvars["ctl1"]["secrets"]


def changes(outcome):
    return {host: counts["changed"] for host, counts in outcome["hosts"].items() if counts.get("changed")}


def test_the_deployed_site_is_hardened(socle):
    code, outcome = socle("harden")
    assert (code, outcome["failures"]) == (0, [])


def test_a_second_time_changes_nothing(socle):
    code, outcome = socle("harden")
    assert (code, changes(outcome)) == (0, {})


def test_nor_has_the_deployment_anything_to_mend(socle):
    code, outcome = socle("deploy")
    assert (code, changes(outcome)) == (0, {})


def test_new_guests_boot_and_every_packet_goes_as_it_should(socle, proven, api, eventually):
    servers = api.get("compute", "/v2.1/servers?all_tenants=1")["servers"]
    assert servers
    for server in servers:
        eventually(lambda path=f"/v2.1/servers/{server['id']}": api.ask("DELETE", "compute", path)[0] in (204, 404))
    code, outcome = socle("verify")
    assert proven(outcome)["ok"]
    assert code == 0


def test_it_comes_back_by_itself_when_the_power_does(inventory, machine, eventually, socle, proven):
    """All nodes lose power at once, so none finds another running. Only the backbone keeps running."""
    names = [node.name for node in nodes(Site(inventory)) if node.groups != ["backbone"]]

    def say(name, command):
        try:
            return machine(name).run(command).stdout.strip()
        except RuntimeError:  # no answer yet
            return ""

    def started():
        return {name: say(name, "cut -d' ' -f22 /proc/1/stat") for name in names}

    before = started()
    assert all(before.values())
    for name in names:
        say(name, "systemctl reboot")
    eventually(lambda: all(now not in ("", before[name]) for name, now in started().items()))
    eventually(lambda: all(say(name, "systemctl is-system-running") in ("running", "degraded") for name in names))
    failed = {name: machine(name).check_output("systemctl --failed --plain --no-legend") for name in names}
    assert failed == dict.fromkeys(names, "")
    code, outcome = socle("verify")
    assert proven(outcome)["ok"]
    assert (code, outcome["failures"]) == (0, [])
    code, outcome = socle("deploy")
    assert (code, changes(outcome)) == (0, {})
    code, outcome = socle("harden")
    assert (code, changes(outcome)) == (0, {})


def test_other_nodes_reach_only_what_is_encrypted(inventory, machine, on):
    """Connect to every listening socket of a node from every other node. Ports without a listener need no test."""
    groups = {node.name: node.groups for node in nodes(Site(inventory))}
    ours = [name for name in groups if groups[name] != ["backbone"]]
    assert len(ours) >= 4
    for name in ours:
        lines = machine(name).check_output("ss -H -l -n -t").splitlines()
        ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in lines}
        assert 22 in ports
        addresses = {line.split()[3].split("/")[0] for line in machine(name).check_output("ip -4 -o a").splitlines()}
        targets = [(address, port) for address in addresses if not address.startswith("127.") for port in ports]
        allowed = OF_ALL | (OF_CONTROL if "control" in groups[name] else {})
        for other in sorted(groups.keys() - {name}):
            reached = {(port, kind) for _address, port, kind in on(other, LOOK, targets)}
            assert (22, "ssh") in reached
            assert reached <= set(allowed.items()), f"from {other} to {name}"


def test_no_secret_is_in_a_process_list_a_log_or_a_file_of_others(hostvars, on, secrets):
    assert {"ctl1", "cmp1", "gw1", "gw2"} <= hostvars.keys()
    for name in hostvars:
        assert on(name, SEARCH, secrets, *READERS) == [], name


def test_the_search_for_secrets_finds_them(machine, on, secrets):
    """This shows that the test before this one can fail."""
    host, path = machine("ctl1"), "/var/tmp/left-by-a-test"
    host.run_expect([0], "install -m 0644 /etc/keystone/keystone.conf %s", path)
    try:
        assert [path, "keystone_database"] in on("ctl1", SEARCH, secrets, *READERS)
    finally:
        host.run_expect([0], "rm %s", path)


def test_no_secret_is_in_what_runs_leave_with_the_operator(secrets):
    wanted = {value.encode(): name for name, value in secrets.items()}
    files = [path for path in (ROOT / ".socle").rglob("*") if path.is_file() and not path.is_symlink()]
    assert any("artifacts" in path.parts for path in files)
    found = [(str(path), name) for path in files for value, name in wanted.items() if value in path.read_bytes()]
    assert found == []
