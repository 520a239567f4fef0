# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Module ``node_service`` as a whole: the state that each phase leaves to the next, and the result of a failure."""

from __future__ import annotations

import grp
import os
import pwd
from types import SimpleNamespace

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import service_units, service_units_host
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.service_arguments import ARGUMENTS
from ansible_collections.cloudwatt.socle.plugins.modules import node_service

RUNNING = service_units.Live("loaded", "active", "running", "enabled", "/u/socle-test.service", (), "run1", since=2**40)
US = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a call with the module's defaults, on a node where every unit runs and the files are under `tmp_path`."""
    monkeypatch.setattr(service_units_host.Runner, "look", lambda self: {unit.name: RUNNING for unit in self.units})
    monkeypatch.setattr(node_service, "DPKG_STATUS", str(tmp_path / "status"))
    (tmp_path / "status").write_text("Package: haproxy\nStatus: install ok installed\n")

    def make(check=True, **options):
        defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
        return node_service.Call({**defaults, **options}, check)

    return make


def test_restarts_are_forecast_from_the_files_of_the_call(call, tmp_path):
    path = str(tmp_path / "test.conf")
    units = [{"name": "socle-test", "reads": [path]}]
    asked = call(files=[{"path": path, "content": "new\n", "mode": "0644"}], units=units)
    asked.apply()
    assert asked.result["restarted"] == ["socle-test.service"]
    assert path in asked.result["reasons"]["socle-test.service"]
    assert asked.result["changed_paths"] == [path]
    assert [part["after_header"] for part in asked.result["diff"]] == [path, "systemd units"]
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("phases", "paths", "restarted"), [(["configure"], 1, 0), (["run"], 0, 0), (["configure", "run"], 1, 1)]
)
def test_only_the_phases_asked_for(call, tmp_path, phases, paths, restarted):
    path = str(tmp_path / "test.conf")
    units = [{"name": "socle-test", "reads": [path]}]
    asked = call(files=[{"path": path, "content": "new\n", "mode": "0644"}], units=units, phases=phases)
    asked.apply()
    assert (len(asked.result["changed_paths"]), len(asked.result["restarted"])) == (paths, restarted)
    assert asked.result["changed"] is bool(paths)


def test_nothing_runs_while_a_package_is_missing(call, tmp_path):
    path = str(tmp_path / "sources")
    asked = call(
        check=False,
        files=[{"path": path, "content": "deb\n", "mode": "0644", **US}],
        packages=["haproxy", "keepalived"],
        units=[{"name": "socle-test", "reads": [path]}],
    )
    asked.apply()
    assert asked.result["missing"] == ["keepalived"]
    assert asked.result["restarted"] == asked.result["started"] == []
    assert (tmp_path / "sources").read_text() == "deb\n"


def test_nothing_runs_while_an_installation_is_unfinished(call, tmp_path, monkeypatch):
    """After a run that was killed after its packages, the units that these enabled are still to be handled."""
    path = str(tmp_path / "test.conf")
    units = [{"name": "socle-test", "reads": [path]}]
    more = {"files": [{"path": path, "content": "", "mode": "0644", **US}], "packages": ["haproxy"], "units": units}
    monkeypatch.setattr(node_service.package_starts, "unfinished", lambda: True)
    asked = call(check=False, **more)
    asked.apply()
    assert asked.result["unfinished"]
    assert asked.result["missing"] == asked.result["restarted"] == []
    monkeypatch.setattr(node_service.package_starts, "unfinished", lambda: False)
    asked = call(**more)
    asked.apply()
    assert not asked.result["unfinished"]


def test_package_sources_are_files_of_the_call(call, tmp_path, monkeypatch):
    """A file with a password that only root may read keeps its mode."""
    main, ours = tmp_path / "sources.list", tmp_path / "debian.sources"
    main.write_text("deb http://mirror.example/debian trixie main non-free-firmware\n")
    ours.write_text("Types: deb\nURIs: https://login:word@repo.example/apt\nSuites: trixie\nComponents: tools\n")
    ours.chmod(0o600)
    monkeypatch.setattr(node_service.apt_sources, "MAIN", str(main))
    monkeypatch.setattr(node_service.apt_sources, "OURS", str(ours))
    monkeypatch.setattr(node_service.apt_sources, "FOLDER", str(tmp_path))
    wanted = {"mirror": "http://mirror.example/debian", "suite": "trixie", "components": ["main"], "keyring": "/k"}
    asked = call(check=False, apt_sources={**wanted, "security_mirror": None}, phases=["configure"])
    asked.apply()
    assert asked.result["changed_paths"] == [str(main), str(ours)]
    assert not main.exists()
    assert "Components: main non-free-firmware\n" in ours.read_text()
    assert "login:word" in ours.read_text()
    assert "word@" not in str(asked.result["diff"])
    assert "login:" in str(asked.result["diff"])
    assert "repo.example/apt" in ours.read_text()
    assert ours.stat().st_mode & 0o777 == 0o600
    assert call(apt_sources={**wanted, "security_mirror": None}).entries


def test_a_check_goes_on_and_counts_a_missing_package_as_a_change(call):
    asked = call(packages=["keepalived"], units=[{"name": "socle-test", "state": "stopped"}])
    asked.apply()
    assert asked.result["missing"] == ["keepalived"]
    assert asked.result["stopped"] == ["socle-test.service"]
    assert asked.result["changed"] is True


def test_all_that_is_wrong_with_files_or_schemas_is_refused_before_anything_is_done(call, tmp_path):
    good = {"path": str(tmp_path / "good"), "content": "", "mode": "0644", **US}
    schema = {"name": "nova", "package": "nova-common", "commands": ["nova-manage"]}
    with pytest.raises(node_service.SchemaError, match="not a list of words"):
        call(check=False, files=[good], schemas=[schema])
    with pytest.raises(node_service.config_files.ConfigError, match="given twice"):
        call(check=False, files=[good, good])
    assert not (tmp_path / "good").exists()


def test_a_failure_still_tells_what_was_written(call, tmp_path, monkeypatch):
    monkeypatch.setattr(service_units_host.Runner, "look", lambda self: {"socle-test.service": service_units.Live()})
    monkeypatch.setattr(service_units_host, "systemctl", lambda *words: None)
    path = str(tmp_path / "test.conf")
    asked = call(
        check=False, files=[{"path": path, "content": "new\n", "mode": "0644", **US}], units=[{"name": "socle-test"}]
    )
    with pytest.raises(node_service.UnitError, match="is the package installed"):
        asked.apply()
    assert asked.result["changed"]
    assert asked.result["changed_paths"] == [path]


def test_values_of_a_command_s_environment_are_secret(call):
    command = {"argv": ["x"], "environment": {"PASSWORD": "abcdefgh"}}
    assert call(schemas=[{"name": "x", "package": "x", "commands": [command]}]).secrets == ["abcdefgh"]


def test_a_service_that_only_a_timer_starts_is_loaded_anew(monkeypatch, tmp_path):
    shown = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload={}\n"
    said = "\n".join((shown.format("no"), shown.format("yes")))
    words: list[str] = []
    monkeypatch.setattr(service_units_host, "run", lambda argv: SimpleNamespace(ok=True, stdout=said, output=""))
    monkeypatch.setattr(service_units_host, "systemctl", lambda *argv: words.append(argv[0]))
    unit = service_units.Unit.of({"name": "keys.timer", "reads": ["/etc/systemd/system/keys.service"]})
    service_units_host.Runner([unit], [], check=False)
    assert words == ["daemon-reload"]
