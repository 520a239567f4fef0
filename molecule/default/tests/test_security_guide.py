# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The checks of the OpenStack Security Guide hold on nodes that the roles configured, wherever the service is."""

from __future__ import annotations

import json
from pathlib import Path

testinfra_hosts = ["ansible://control", "ansible://compute"]

ROOT = Path(__file__).resolve().parents[3]
ENGINE = ("common", "dpkg_status", "security_guide", "security_guide_facts", "security_guide_host")
JUDGE = "import json; from plugins.module_utils.security_guide_host import judge; print(json.dumps(judge()))"
CONTROL = {"Identity": 7, "Compute": 5, "Image": 5, "Neutron": 5}
#: The API and what authenticates its users is not there.
COMPUTE = {"Compute": 3, "Neutron": 2}


def test_every_check_holds_where_its_service_is(host):
    for name in ENGINE:
        text = (ROOT / "plugins" / "module_utils" / f"{name}.py").read_text()
        path = f"/tmp/guide/plugins/module_utils/{name}.py"
        host.check_output("mkdir -p /tmp/guide/plugins/module_utils && printf %%s %s > %s", text, path)
    said = json.loads(host.check_output("cd /tmp/guide && python3 -B -c %s", JUDGE))
    host.check_output("rm -r /tmp/guide")
    assert len(said) == 54
    assert {name: item["why"] for name, item in said.items() if item["state"] == "fail"} == {}
    judged = [name.split("-")[1] for name, item in said.items() if item["state"] == "pass"]
    counts = {service: judged.count(service) for service in judged}
    assert counts == (CONTROL if host.backend.host.startswith("ctl") else COMPUTE)
