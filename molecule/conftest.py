# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all scenarios: the inventory as Ansible resolves it, and helpers that wait for a state."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import testinfra

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
os.environ["ANSIBLE_FORCE_COLOR"] = "0"  # Molecule forces colours, and tests read the output of Ansible
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
CONNECTION = ("ansible_host", "ansible_user", "ansible_ssh_private_key_file", "ansible_port", "ansible_become")
MAGIC = ("ansible_", "group_names", "inventory_", "playbook_", "omit", "hostvars", "groups", "vars", "environment")

Hostvars = dict[str, dict[str, Any]]
T = TypeVar("T")


def pytest_configure(config: pytest.Config) -> None:
    """Give testinfra an inventory without templates, which it cannot resolve, and one SSH connection per node."""
    source = Path(config.option.ansible_inventory or ROOT / "molecule" / "shared" / "inventory").resolve()
    hostvars, groups = resolved(source, scenario(config))
    directory = tempfile.TemporaryDirectory(prefix="socle-", dir="/tmp")
    config.add_cleanup(directory.cleanup)
    hosts = {
        name: {key: values[key] for key in CONNECTION if key in values}
        | {"ansible_ssh_common_args": f"{values['ansible_ssh_common_args']} -o ControlPath={directory.name}/%C"}
        for name, values in hostvars.items()
    }
    children: dict[str, dict[str, Any]] = {
        group: {"hosts": {key: {} for key in names}} for group, names in groups.items()
    }
    file = Path(directory.name) / "hosts.json"
    file.write_text(json.dumps({"all": {"hosts": hosts, "children": children}}))
    config.option.ansible_inventory = str(file)
    config.stash[HOSTVARS] = hostvars
    config.stash[SOURCE] = source


HOSTVARS = pytest.StashKey[Hostvars]()
SOURCE = pytest.StashKey[Path]()


def scenario(config: pytest.Config) -> Path | None:
    """The variables of the running scenario. They take precedence over those of the inventory."""
    places = [config.invocation_params.dir / word.partition("::")[0] for word in config.args]
    folders = [folder for place in places for folder in (place, *place.parents)]
    return next((folder / "vars.yml" for folder in folders if (folder / "vars.yml").is_file()), None)


def resolved(source: Path, over: Path | None = None) -> tuple[Hostvars, dict[str, list[str]]]:
    """Return the variables of each host of an inventory, overridden by `over`, and the hosts of each group."""
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultSecret
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    loader = DataLoader()
    loader.set_vault_secrets([("default", VaultSecret((source / ".vault-password").read_bytes().strip()))])
    inventory = InventoryManager(loader=loader, sources=[str(source)])
    manager = VariableManager(loader=loader, inventory=inventory)
    extra = loader.load_from_file(str(over), trusted_as_template=True) if over else {}
    hostvars = {}
    for host in inventory.get_hosts("all"):
        raw = manager.get_vars(host=host, include_hostvars=False) | extra
        templar = Templar(loader=loader, variables=raw)
        hostvars[host.name] = {
            key: templar.template(value)
            for key, value in raw.items()
            if key in (*CONNECTION, "ansible_ssh_common_args") or not key.startswith(MAGIC)
        }
    groups = inventory.get_groups_dict()
    return hostvars, {name: hosts for name, hosts in groups.items() if name not in ("all", "ungrouped")}


@pytest.fixture(scope="session")
def inventory(pytestconfig: pytest.Config) -> Path:
    """The folder of the inventory."""
    return pytestconfig.stash[SOURCE]


@pytest.fixture(scope="session")
def hostvars(pytestconfig: pytest.Config) -> Hostvars:
    """Variables of every host of the inventory, secrets included."""
    return pytestconfig.stash[HOSTVARS]


@pytest.fixture(scope="module")
def settings(host: Any, hostvars: Hostvars) -> dict[str, Any]:
    """Variables of the host under test."""
    return hostvars[host.backend.host]


@pytest.fixture(scope="session")
def machine(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """`machine(name)`: a connection to another host of the inventory than the one under test."""
    inventory = pytestconfig.option.ansible_inventory
    return lambda name: testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}")


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`eventually(ask, seconds=240)`: call `ask` until its result is true, and return the result.

    Tests do not measure durations, the benchmarks do: the timeout is long enough for a busy machine.
    """

    def wait(ask: Callable[[], T], seconds: float = 240) -> T:
        end = time.monotonic() + seconds
        while not (answer := ask()) and time.monotonic() < end:
            time.sleep(0.5)
        assert answer, f"still {answer!r} after {seconds} s"
        return answer

    return wait


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip with the engines, as `plugins.module_utils` and `plugins.plugin_utils`, for Python on a node."""
    file = tmp_path_factory.mktemp("engines") / "engines.zip"
    with zipfile.ZipFile(file, "w") as archive:
        sources = list((ROOT / "plugins").glob("*_utils/**/*.py"))
        folders = {folder for path in sources for folder in path.relative_to(ROOT).parents if folder.name}
        for path in sources:
            archive.write(path, path.relative_to(ROOT))
        for folder in folders:
            archive.writestr(f"{folder}/__init__.py", "")
    return file


@pytest.fixture(scope="module")
def bring_engines(engines: Path) -> Callable[[Any], str]:
    """`bring_engines(host)`: copy the engines to a node and return their path there, for `PYTHONPATH`."""

    def bring(host: Any) -> str:
        there = "/root/socle-engines.zip"
        host.ansible("ansible.builtin.copy", f"src={engines} dest={there} mode=0600", check=False)
        return there

    return bring


@pytest.fixture(scope="module")
def service(host: Any) -> Callable[[str], dict[str, str]]:
    """`service(name)`: the state of a unit in systemd."""

    def show(name: str) -> dict[str, str]:
        wanted = "ActiveState,SubState,UnitFileState,MainPID,NRestarts,Result,LoadState"
        lines = host.check_output("systemctl show -p %s %s", wanted, name).splitlines()
        return dict(line.split("=", 1) for line in lines)

    return show


LOGS = r"""
import json, os, stat
found = {}
for folder, _folders, files in os.walk("/var/log"):
    for name in files:
        info = os.lstat(path := os.path.join(folder, name))
        if stat.S_ISREG(info.st_mode) and "journal" not in path:
            found[path] = [info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_size]
print(json.dumps(found))
"""
NOT_RESTARTED = re.compile(
    r"(dbus|systemd-logind|systemd-networkd|systemd-machined|(user|getty|console-getty|container-getty|serial-getty)(@.*)?)"
    r"\.service"
)
"""Services that the session of the test depends on, and terminals."""
NOT_STARTED = re.compile(r"(apt-daily|aide-check|lynis|systemd-sysupdate|dailyaidecheck|e2scrub)")
"""Services of timers that need a mirror or take a quarter of an hour."""


@pytest.fixture(scope="session")
def second_day(eventually: Callable[..., Any]) -> Callable[[Any], None]:
    """`second_day(host)`: simulate two nights on a node: rotate its logs, restart its services and run its timers."""

    def logs(host: Any) -> dict[str, list[int]]:
        return json.loads(host.check_output("python3 -c %s", LOGS))

    def units(host: Any, what: str) -> list[str]:
        lines = host.check_output(f"systemctl list-{what} --plain --no-legend").splitlines()
        return [word for line in lines for word in line.split() if word.endswith(".service")]

    def failed(host: Any) -> str:
        return host.check_output("systemctl list-units --failed --plain --no-legend")

    def run(host: Any) -> None:
        before = logs(host)
        assert not failed(host)
        rotated: set[str] = set()
        for _night in range(2):
            for tag in ("auth.notice", "cron.notice", "kern.notice", "user.notice"):
                host.check_output("logger -p %s 'a line before the night'", tag)
            host.run_expect([0], "logrotate --force /etc/logrotate.conf")
            after = logs(host)
            rotated |= {path for path in after if re.search(r"-\d{8}(\.gz)?$", path)}
            wrong = {
                path: (had[:3], after[path][:3])
                for path, had in before.items()
                if path in after and had[:3] != after[path][:3]
            }
            assert wrong == {}, "owner, group and mode before and after a night"
            # Date the logs rotated today to yesterday, so that the next night can use their names.
            host.check_output(
                "find /var/log -type f -regextype posix-extended -regex '.*-[0-9]{8}([.]gz)?' -exec sh -c "
                """'for f; do mv "$f" "$(printf %%s "$f" | sed -E "s/-2([0-9]{7})/-1\\1/")"; done' sh {} +"""
            )
        assert rotated
        services = [name for name in units(host, "units --type=service --state=running")
                    if not NOT_RESTARTED.fullmatch(name)]  # fmt: skip
        assert "ssh.service" in services
        host.run_expect([0], f"systemctl restart {' '.join(services)}")
        running = lambda: set(services) <= set(units(host, "units --type=service --state=running"))  # noqa: E731
        assert eventually(running), failed(host)
        assert not failed(host)
        host.check_output("logger -p auth.notice 'a line of the morning'")
        assert eventually(lambda: host.run("grep -q 'a line of the morning' /var/log/auth.log").rc == 0, 30)
        for unit in sorted({name for name in units(host, "timers --all") if not NOT_STARTED.match(name)}):
            host.run_expect([0], f"systemctl start {unit}")
        for command in ("run-parts /etc/cron.hourly", "run-parts /etc/cron.daily", "systemd-tmpfiles --clean",
                        "systemd-tmpfiles --create --exclude-prefix=/dev"):  # fmt: skip
            host.run_expect([0], command)
        assert not failed(host)

    return run
