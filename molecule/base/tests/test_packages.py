# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role base, packages: signed sources only, the packages of the node, no half-installed package."""

from __future__ import annotations

testinfra_hosts = ["ansible://control"]

UNSIGNED = """
set -e; cd "$(mktemp -d)"; mkdir repository lists
printf 'Origin: nobody\\nDate: Sat, 01 Aug 2026 00:00:00 UTC\\nSHA256:\\n' > repository/Release
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] copy:$PWD/repository ./" > source.list
apt-get update -o Dir::Etc::sourcelist="$PWD/source.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$PWD/lists"
"""


def test_every_source_names_the_key_that_signs_it(host):
    sources = host.file("/etc/apt/sources.list.d/debian.sources").content_string.split("\n\n")
    assert len(sources) == 2
    for stanza in sources:
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if line and line[0] != "#")
        assert host.file(fields["Signed-By"]).size > 0
        assert fields["Suites"].startswith("trixie")
    assert not host.file("/etc/apt/sources.list").exists
    assert host.file("/etc/apt/sources.list.d").listdir() == ["debian.sources"]


def test_an_unsigned_source_is_refused(host):
    update = host.run(UNSIGNED)
    assert update.rc != 0
    assert "is not signed" in update.stderr


def test_packages_are_whole(host):
    assert host.check_output("dpkg --audit") == ""
    for name in ("chrony", "nftables", "ssl-cert", "mariadb-server", "haproxy"):
        assert host.package(name).is_installed


def test_nothing_recommended_is_installed_along(host):
    assert 'APT::Install-Recommends "false";' in host.check_output("apt-config dump APT::Install-Recommends")
