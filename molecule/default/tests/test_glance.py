# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Role glance: a downloaded image equals the uploaded one."""

from __future__ import annotations

testinfra_hosts = ["ansible://control"]


def test_unit_and_configuration(guarded):
    guarded(["glance-api"], "/etc/glance/glance-api.conf", "glance")


def test_an_image_comes_back(api):
    body = {"name": "molecule", "disk_format": "raw", "container_format": "bare", "visibility": "private"}
    status, image, _ = api.ask("POST", "image", "/v2/images", body)
    assert status == 201
    path = f"/v2/images/{image['id']}"
    try:
        assert api.ask("PUT", "image", f"{path}/file", b"socle" * 1000)[0] == 204
        assert api.get("image", f"{path}/file") == b"socle" * 1000
        assert api.get("image", path)["size"] == 5000
    finally:
        assert api.ask("DELETE", "image", path)[0] == 204


def test_without_a_token_there_is_nothing(api):
    assert api.ask("GET", "image", "/v2/images", **{"X-Auth-Token": "forged"})[0] == 401


def test_images_are_glances_only(host):
    host.run_expect([1, 2], "runuser -u nobody -- ls /var/lib/glance/images")
