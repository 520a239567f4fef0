# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Images on several controllers: which of them may serve images, and the validation of a single one with images."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import yaml
from project.test_balancer import rendered, sections

from ansible_collections.cloudwatt.socle.plugins.action import site_validate
from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import image_store
from socle import vault
from socle.project import ROOT, Site

HOSTS = ("ctl1", "ctl2", "ctl3")
NAMES = {"aaa": "debian", "bbb": "cirros"}
DIRECTORY = "/var/lib/glance"


def probes(file_system: str = "ext4", images: dict[str, str] = NAMES, **files: list[str]) -> dict[str, dict]:
    return {host: {"files": files.get(host, []), "images": images, "file_system": file_system} for host in HOSTS}


def test_a_controller_that_has_every_image_serves_them():
    assert image_store.refusals(probes(ctl1=["aaa", "bbb"], ctl2=["aaa"]), ["ctl1"], False, DIRECTORY) == []


def test_a_controller_that_lacks_images_is_refused_by_their_names():
    found = image_store.refusals(probes(ctl1=["aaa", "bbb"], ctl2=["aaa"]), ["ctl2"], False, DIRECTORY)
    assert found == [
        "image cirros (bbb) is on ctl1 and not on ctl2, which is to serve it. Remedy: copy"
        " /var/lib/glance/images/bbb to ctl2 (owner glance), or set site_image_host to a controller that has it"
    ]


def test_files_that_no_image_names_and_images_that_nobody_has_are_no_reason():
    assert image_store.refusals(probes(ctl1=["aaa"], ctl2=["aaa", "deleted"]), ["ctl1"], False, DIRECTORY) == []
    # First deployment: there is no database yet.
    assert image_store.refusals(probes(images={}, ctl2=["aaa"]), ["ctl1"], False, DIRECTORY) == []


def test_a_controller_that_was_not_asked_is_not_judged():
    asked = {"ctl1": probes(ctl1=["aaa"])["ctl1"]}
    assert image_store.refusals(asked, ["ctl2"], False, DIRECTORY) == []


def test_a_shared_store_is_the_same_file_system_on_each():
    everywhere: dict[str, Any] = {host: ["aaa", "bbb"] for host in HOSTS}
    assert image_store.refusals(probes("nfs4", **everywhere), HOSTS, True, DIRECTORY) == []
    found = image_store.refusals(probes("ext4"), HOSTS, True, DIRECTORY)
    assert [line.split(" is ")[0] for line in found] == [f"/var/lib/glance of {host}" for host in HOSTS]
    # One controller has not mounted the store, and its own file system is of a type that could be shared.
    missing = image_store.refusals(probes("ceph", ctl1=["aaa", "bbb"], ctl3=["aaa", "bbb"]), HOSTS, True, DIRECTORY)
    assert len(missing) == 2
    assert all("not on ctl2" in line for line in missing)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib/glance/images", "nfs4"), ("/var/lib/glance", "nfs4"), ("/var/lib/glances", "ext4"), ("/a b/c", "ceph")],
)
def test_the_file_system_of_a_path(path, kind):
    mounts = "dev / ext4 rw 0 0\nnas:/g /var/lib/glance nfs4 rw 0 0\nmon:/ /a\\040b ceph rw 0 0\n"
    assert image_store.file_system(path, mounts) == kind


def test_images_are_read_from_their_locations():
    rows = [("aaa", "debian", "file:///var/lib/glance/images/aaa"), ("bbb", None, "file:///srv/x%20y/bbb")]
    assert image_store.images(rows) == {"aaa": "debian", "bbb": "bbb"}


def servers(**over) -> list[str]:
    return [line.split()[1] for line in sections(rendered(**over), "backend")["glance"] if line.startswith("server ")]


def test_one_controller_serves_images_and_all_do_with_shared_storage():
    assert servers() == ["ctl1"]
    assert servers(site_image_host="ctl3") == ["ctl3"]
    assert servers(site_image_store_shared=True) == list(HOSTS)
    backends = sections(rendered(), "backend")
    for name in ("keystone", "placement", "nova", "nova-metadata", "neutron"):
        assert [line.split()[1] for line in backends[name] if line.startswith("server ")] == list(HOSTS), name


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The site with three controllers, with secrets."""
    monkeypatch.setattr(site_validate, "fetch", lambda url: "")
    monkeypatch.setattr(site_validate, "source_of", lambda address: "")
    folder = tmp_path / "ha"
    ignore = shutil.ignore_patterns("secrets.yml", ".vault-password", "pki")
    shutil.copytree(ROOT / "inventories" / "ha", folder, ignore=ignore)
    assert vault.init(Site(folder))
    path = folder / "group_vars" / "all" / "site.yml"

    def findings(**values) -> list[tuple[str, str, str]]:
        path.write_text((path.read_text()) + yaml.safe_dump(values) if values else path.read_text())
        found = site_validate.findings(folder, folder / ".vault-password")
        return [(item["severity"], item["path"], item["reason"]) for item in found]

    return findings


def test_validation_names_the_single_point_of_failure(site):
    ((severity, path, reason),) = site()
    assert (severity, path) == ("warning", "all.children.nodes.children.control")
    assert reason == "ctl1 alone has the images: while it is down, no image is read and no guest is made"


def test_validation_names_the_chosen_one(site):
    ((severity, path, reason),) = site(site_image_host="ctl2")
    assert (severity, path) == ("warning", "site_image_host")
    assert reason.startswith("ctl2 alone has the images")


def test_shared_storage_has_no_such_point(site):
    assert site(site_image_store_shared=True) == []


def test_images_are_served_by_a_controller(site):
    assert site(site_image_host="cmp1") == [("error", "site_image_host", "is no host of group control")]
