#!/usr/bin/python
# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: isolation_report
short_description: Prove that packets pass between tenants only where the route targets allow it
version_added: 0.1.0
author: ["Cloudwatt, Orange (@cloudwatt)"]
description:
  - Compares the running state of the gateways and of the cloud with the graph of route target imports. Writes a
    report, JSON on one line, with the smallest counter-example for each pair of VRFs that is not isolated.
  - If a key is given, the report is signed with a detached CMS signature in RV(signature_path). C(openssl cms -verify
    -binary -inform DER -in PATH.p7s -content PATH -CAfile ca.pem -purpose any -out /dev/null) verifies it.
  - Violations do not fail the task; the caller evaluates RV(ok).
  - A report is not configuration, so writing it does not count as a change.
requirements: [cryptography, to sign]
attributes:
  check_mode: {support: full, description: "Evaluates the facts, and writes nothing."}
  diff_mode: {support: none, description: Changes nothing.}
options:
  plan:
    description: RV(cloudwatt.socle.rie_plan#module:plan).
    type: dict
    required: true
  evidence:
    description:
      - C(gateways), by name RV(cloudwatt.socle.rie_evidence#module:evidence), and C(cloud), with C(routers).
      - What is missing is named in the report, which then is not RV(ok).
    type: dict
    required: true
  cloud_lists:
    description:
      - Live lists of Neutron for all projects, C(routers), C(networks) and C(ports). They take the place of C(cloud)
        in O(evidence).
    type: dict
  probes:
    description: C(probes) of C(verify.json). Without them no packet confirms the proof, and the report says so.
    type: list
    elements: dict
  site: {description: Name of the site., type: str, required: true}
  path: {description: File of the report; its directory is created if it does not exist., type: path, required: true}
  certificate_path:
    description: Certificate of the signer, PEM. Without it and O(key_path) the report is not signed.
    type: path
  key_path: {description: "The signer's EC or RSA key, PEM.", type: path}
  key_passphrase: {description: Opens O(key_path)., type: str}
"""

EXAMPLES = r"""
- name: Prove the isolation of the tenants
  cloudwatt.socle.isolation_report:
    plan: "{{ rie_plan_result.plan }}"
    evidence: "{{ isolation_evidence }}"
    site: fr1
    path: .socle/reports/fr1/isolation.json
    certificate_path: inventories/fr1/pki/ca.pem
    key_path: inventories/fr1/pki/ca.key
    key_passphrase: "{{ vault_ca_passphrase }}"
  delegate_to: localhost
  register: isolation
"""

RETURN = r"""
ok:
  description: Whether everything was examined, no violation found, and the probes, if any, agree.
  returned: success
  type: bool
violations:
  description: The smallest counter-example of each pair; C(from_vrf), C(to_vrf), C(path), C(where), C(remedy) and more.
  returned: success
  type: list
  elements: dict
report:
  description: The report as it is written.
  returned: success
  type: dict
path:
  description: The report.
  returned: success
  type: str
signature_path:
  description: Its signature, empty when it is not signed.
  returned: success
  type: str
"""

import datetime
import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.cloudwatt.socle.plugins.module_utils.common import files
from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation import proof as isolation

try:
    from ansible_collections.cloudwatt.socle.plugins.module_utils.isolation import signing

    NO_CRYPTOGRAPHY = None
except ImportError:
    NO_CRYPTOGRAPHY = traceback.format_exc()

ARGUMENTS = {
    "plan": {"type": "dict", "required": True},
    "evidence": {"type": "dict", "required": True},
    "cloud_lists": {"type": "dict"},
    "probes": {"type": "list", "elements": "dict"},
    "site": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "certificate_path": {"type": "path"},
    "key_path": {"type": "path", "no_log": False},
    "key_passphrase": {"type": "str", "no_log": True},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_together=[("certificate_path", "key_path")])
    options = module.params
    path = Path(options["path"])
    signature_path = Path(f"{path}.p7s")
    evidence = dict(options["evidence"])
    signature = None
    try:
        if options["cloud_lists"] is not None:
            evidence["cloud"] = isolation.cloud_of_neutron(**options["cloud_lists"])
        report = isolation.report(
            options["plan"],
            evidence,
            site=options["site"],
            made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            probes=options["probes"],
        )
        data = isolation.canonical(report)
        if not options["key_path"]:
            module.warn("The isolation report is not signed: no key was given.")
        elif NO_CRYPTOGRAPHY:
            module.fail_json(msg=missing_required_lib("cryptography"), exception=NO_CRYPTOGRAPHY)
        else:
            certificate, key = Path(options["certificate_path"]).read_bytes(), Path(options["key_path"]).read_bytes()
            signature = signing.sign(data, certificate, key, options["key_passphrase"])
        if not module.check_mode:
            # The signature of an older report must never be beside the new report.
            signature_path.unlink(missing_ok=True)
            files.write(path, data, owner=None)
            if signature:
                files.write(signature_path, signature, owner=None)
    except (OSError, KeyError, TypeError, ValueError) as error:
        module.fail_json(msg=f"isolation report: {type(error).__name__}: {error}", exception=traceback.format_exc())
    module.exit_json(
        changed=False,
        ok=report["ok"],
        violations=report["violations"],
        report=report,
        path=str(path),
        signature_path=str(signature_path) if signature else "",
    )


if __name__ == "__main__":
    main()
