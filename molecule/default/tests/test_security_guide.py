# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The checks of the OpenStack Security Guide pass on every node that has the service."""

from __future__ import annotations

import json

testinfra_hosts = ["ansible://control", "ansible://compute"]

CHECK = "import json; from plugins.module_utils.audit.security_guide_host import judge; print(json.dumps(judge()))"
CONTROL = {"Identity": 7, "Compute": 5, "Image": 5, "Neutron": 5}
#: A hypervisor has no API and no authentication of users, so fewer checks apply.
COMPUTE = {"Compute": 3, "Neutron": 2}


def test_every_check_holds_where_its_service_is(host, bring_engines):
    engines = bring_engines(host)
    said = json.loads(host.check_output(f"PYTHONPATH={engines} python3 -c %s", CHECK))
    host.check_output("rm %s", engines)
    assert len(said) == 54
    assert {name: item["why"] for name, item in said.items() if item["state"] == "fail"} == {}
    judged = [name.split("-")[1] for name, item in said.items() if item["state"] == "pass"]
    counts = {service: judged.count(service) for service in judged}
    assert counts == (CONTROL if host.backend.host.startswith("ctl") else COMPUTE)
