# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""/etc/hosts: the names of the site take precedence, and other names of the node are kept."""

from __future__ import annotations

from ansible_collections.cloudwatt.socle.plugins.module_utils.service import config_files
from ansible_collections.cloudwatt.socle.plugins.module_utils.service.hosts_file import KEPT, merge

SITE = {"10.0.0.11": ["ctl1.site.example", "ctl1"], "10.0.0.5": ["internal.site.example"]}
INSTALLED = """\
127.0.0.1\tlocalhost
127.0.1.1\tctl1.site.example\tctl1
10.9.0.1  mirror.site.example mirror  # the packages
10.0.0.99 CTL1 old-name
::1     localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
"""


def test_names_of_the_node_are_kept_unless_the_site_has_them() -> None:
    lines = merge(SITE, INSTALLED).splitlines()
    assert lines[lines.index(KEPT.strip()) + 1 :] == [
        "10.9.0.1 mirror.site.example mirror",
        "10.0.0.99 old-name",
        "ff02::1 ip6-allnodes",
    ]
    assert not [line for line in lines if line.startswith("127.0.1.1")]
    assert "10.0.0.11 ctl1.site.example ctl1" in lines


def test_a_second_run_changes_nothing_and_a_name_given_up_goes() -> None:
    once = merge(SITE, INSTALLED)
    assert merge(SITE, once) == once
    fewer = merge({"10.0.0.11": SITE["10.0.0.11"]}, once)
    assert "internal.site.example" not in fewer
    assert "mirror.site.example" in fewer


def test_a_node_without_other_names_has_the_names_of_the_site_only() -> None:
    assert KEPT not in merge(SITE, "")


def test_the_format_of_the_service_module(tmp_path) -> None:
    file = tmp_path / "hosts"
    file.write_text(INSTALLED)
    item = {"path": str(file), "format": "hosts", "content": SITE}
    assert config_files.kept([item])[0]["content"] == merge(SITE, INSTALLED)
    other = {**item, "path": str(tmp_path / "template"), "keeps": str(file)}
    assert config_files.kept([other])[0]["content"] == merge(SITE, INSTALLED)


def test_a_file_is_left_out_without_what_it_requires(tmp_path) -> None:
    item = {"path": str(tmp_path / "a"), "content": "x", "requires": str(tmp_path / "cloud.cfg.d")}
    assert config_files.kept([item]) == []
    (tmp_path / "cloud.cfg.d").mkdir()
    assert config_files.kept([item]) == [item]
