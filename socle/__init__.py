# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The command line of Socle: runs the playbooks through ansible-runner and tells what they do."""

import os
from pathlib import Path

OPERATORS_CONFIG = os.environ.get("ANSIBLE_CONFIG", "")
"""The operator's own configuration of Ansible, which counts besides that of the project."""
# Ansible looks for its configuration when it is imported, and in the folder where the operator stands.
os.environ["ANSIBLE_CONFIG"] = str(Path(__file__).resolve().parent.parent / "ansible.cfg")
