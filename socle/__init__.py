# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The command line of Socle: runs the playbooks through ansible-runner and shows their progress."""

import os
from pathlib import Path

OPERATORS_CONFIG = os.environ.get("ANSIBLE_CONFIG", "")
"""The operator's own Ansible configuration, which applies in addition to that of the project."""
# Ansible looks for its configuration when it is imported, and also in the current folder.
os.environ["ANSIBLE_CONFIG"] = str(Path(__file__).resolve().parent.parent / "ansible.cfg")
