# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Package sources: those of Debian are rewritten with their components, and other sources are kept."""

from __future__ import annotations

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import apt_sources as engine

WANTED = {
    "mirror": "http://mirror.example/debian",
    "security_mirror": "http://mirror.example/debian-security",
    "suite": "trixie",
    "components": ["main"],
    "keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}
MAIN_ONLY = """\
# Written by Ansible (role base).
Types: deb
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
INSTALLER = """\
#deb cdrom:[Debian GNU/Linux 13.2.0 _Trixie_]/ trixie contrib main
deb http://ftp.fr.debian.org/debian/ trixie main non-free-firmware
deb-src http://ftp.fr.debian.org/debian/ trixie main non-free-firmware

deb http://security.debian.org/debian-security trixie-security main non-free-firmware
deb http://ftp.fr.debian.org/debian/ trixie-updates main contrib
"""
CLOUD_IMAGE = """\
Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: trixie trixie-updates trixie-backports
Components: main

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: trixie-security
Components: main
"""
SITE = "deb [signed-by=/etc/apt/keyrings/site.gpg arch=amd64] https://repo.site.example/apt trixie main tools\n"


def plan(**present):
    names = {"main": engine.MAIN, "ours": engine.OURS, "site": f"{engine.FOLDER}/site.list"}
    files = {names.get(name, f"{engine.FOLDER}/{name}.sources"): text for name, text in present.items()}
    return engine.plan(WANTED, files)


def fields(text, key):
    return [line.partition(": ")[2] for line in text.splitlines() if line.startswith(f"{key}: ")]


def test_a_node_without_sources_gets_the_components_of_the_site():
    assert plan() == ({engine.OURS: MAIN_ONLY}, [])


def test_what_the_installer_wrote_keeps_its_components():
    files, absent = plan(main=INSTALLER)
    assert absent == [engine.MAIN]
    assert files.keys() == {engine.OURS}
    assert fields(files[engine.OURS], "Components") == ["main non-free-firmware contrib"] * 2
    assert fields(files[engine.OURS], "Types") == ["deb deb-src"] * 2


def test_a_suite_that_the_role_does_not_write_stays():
    files, absent = plan(ours=CLOUD_IMAGE)
    assert absent == []
    assert fields(files[engine.OURS], "Suites") == ["trixie trixie-updates", "trixie-security", "trixie-backports"]
    assert fields(files[engine.OURS], "URIs")[2] == "mirror+file:///etc/apt/mirrors/debian.list"


@pytest.mark.parametrize(
    "foreign",
    [
        SITE,
        "deb https://download.docker.com/linux/debian trixie stable\n",
        "deb https://repo.site.example/trixie ./\n",
        "deb http://deb.debian.org/debian bookworm main\n",
        "deb http://deb.debian.org/debian trixie-backports main\n",
    ],
)
def test_a_repository_of_somebody_else_is_not_touched(foreign):
    files, absent = plan(main=INSTALLER + foreign, site=foreign)
    assert absent == []
    assert files[engine.MAIN].splitlines()[-1] == foreign.strip()
    assert "ftp.fr.debian.org/debian/ trixie main" not in files[engine.MAIN]
    assert f"{engine.FOLDER}/site.list" not in files


def test_a_foreign_stanza_in_our_file_and_a_disabled_one_stay():
    foreign = "# ours\nTypes: deb\nURIs: https://repo.site.example/apt\nSuites: trixie\nComponents: tools\n"
    off = "Enabled: no\nTypes: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie\nComponents: non-free\n"
    files, _ = plan(ours=f"{MAIN_ONLY}\n{foreign}\n{off}")
    assert files[engine.OURS] == f"{MAIN_ONLY}\n{foreign}\n{off}"


@pytest.mark.parametrize("text", [INSTALLER, CLOUD_IMAGE, INSTALLER + SITE, "", MAIN_ONLY])
@pytest.mark.parametrize("name", ["main", "ours", "debian"])
def test_a_second_run_finds_nothing_to_do(name, text):
    paths = {"main": engine.MAIN, "ours": engine.OURS, "debian": f"{engine.FOLDER}/debian-old.sources"}
    if name != "main" and text.startswith("#deb"):
        pytest.skip("one-line sources are in other files")
    present = {paths[name]: text}
    files, absent = engine.plan(WANTED, present)
    present = {path: text for path, text in {**present, **files}.items() if path not in absent}
    assert engine.plan(WANTED, present) == ({engine.OURS: present[engine.OURS]}, [])


def test_several_files_are_joined_and_empty_ones_go():
    suites = "Suites:\n trixie\n trixie-updates\n"
    one = f"Types: deb\nURIs: http://deb.debian.org/debian\n{suites}Components: main contrib\n"
    files, absent = plan(main="# nothing\ndeb http://deb.debian.org/debian trixie main non-free\n", other=one)
    assert sorted(absent) == [engine.MAIN, f"{engine.FOLDER}/other.sources"]
    assert fields(files[engine.OURS], "Components") == ["main non-free contrib"] * 2
