# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The identity of a hypervisor that lost its disk."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.openstack import compute_identity as engine

UUID = "5b2e0d0a-0d5e-4f0f-9b0e-3a3c7a4b9f11"
OTHER = "11111111-0d5e-4f0f-9b0e-3a3c7a4b9f11"
SERVICE = {"id": "c0ffee", "host": "cmp1", "binary": "nova-compute"}


def hypervisor(uuid=UUID, host="cmp1"):
    return {"id": uuid, "hypervisor_hostname": f"{host}.site.example", "service": {"host": host}}


class Compute:
    """Nova's API with pages of hypervisors."""

    def __init__(self, services, *pages):
        self.services, self.pages, self.asked = services, pages, []

    def request(self, path, method, raise_exc=False, headers=None, **_):
        assert headers == {"OpenStack-API-Version": "compute 2.53"}
        self.asked.append(path)
        if path.startswith("/os-services"):
            body = {"services": self.services}
        else:
            number = int(path.partition("marker=")[2] or 0)
            body = {"hypervisors": list(self.pages[number])}
            if number + 1 < len(self.pages):
                href = f"https://api/v2.1/os-hypervisors/detail?limit=1&marker={number + 1}"
                body["hypervisors_links"] = [{"rel": "next", "href": href}]
        return SimpleNamespace(status_code=200, content=b"x", json=lambda: json.loads(json.dumps(body)))


def test_a_host_that_nova_does_not_know_is_a_new_one():
    compute = Compute([])
    assert engine.known(compute, "cmp1") == ""
    assert compute.asked == ["/os-services?binary=nova-compute&host=cmp1"]


def test_a_known_host_gets_its_own_uuid_back():
    compute = Compute([SERVICE], [hypervisor(OTHER, "cmp10")], [hypervisor()])
    assert engine.known(compute, "cmp1") == UUID
    assert len(compute.asked) == 3


@pytest.mark.parametrize(
    ("hypervisors", "said"),
    [([], "openstack compute service delete c0ffee"), ([hypervisor(), hypervisor(OTHER)], f"{UUID}.*{OTHER}.*Remedy")],
)
def test_what_cannot_be_told_is_refused_with_a_remedy(hypervisors, said):
    with pytest.raises(engine.IdentityError, match=said):
        engine.choose("cmp1", [SERVICE], hypervisors)


def test_the_file_is_looked_for_where_nova_looks(tmp_path):
    folders = [str(tmp_path / "etc"), str(tmp_path / "lib")]
    assert engine.local(folders) == ""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "compute_id").write_text(f"{UUID}\n")
    assert engine.local(folders) == UUID
    (tmp_path / "lib" / "compute_id").write_text("")
    with pytest.raises(engine.IdentityError, match="Remedy: remove it"):
        engine.local(folders)
