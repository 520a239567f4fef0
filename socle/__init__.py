# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The command line of Socle: runs the playbooks through ansible-runner and tells what they do."""
