# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Names of Ansible's own variables about how a host is reached, and slips in them.

Ansible takes any `ansible_*` without a word, so `ansible_usr: ops` would have no effect. Collections and facts have
names of their own, so only what is nearly one of these is a slip.
"""

from __future__ import annotations

import difflib

KNOWN = [
    "ansible_async_dir",
    "ansible_become",
    "ansible_become_exe",
    "ansible_become_flags",
    "ansible_become_method",
    "ansible_become_pass",
    "ansible_become_password",
    "ansible_become_user",
    "ansible_common_remote_group",
    "ansible_connection",
    "ansible_connection_user",
    "ansible_control_path",
    "ansible_control_path_dir",
    "ansible_facts_modules",
    "ansible_host",
    "ansible_host_key_checking",
    "ansible_hostname",
    "ansible_interpreter_python_fallback",
    "ansible_module_compression",
    "ansible_no_target_syslog",
    "ansible_paramiko_host",
    "ansible_paramiko_host_key_checking",
    "ansible_paramiko_pass",
    "ansible_paramiko_password",
    "ansible_paramiko_port",
    "ansible_paramiko_private_key_file",
    "ansible_paramiko_proxy_command",
    "ansible_paramiko_timeout",
    "ansible_paramiko_use_rsa_sha2_algorithms",
    "ansible_paramiko_user",
    "ansible_password",
    "ansible_pipelining",
    "ansible_port",
    "ansible_private_key",
    "ansible_private_key_file",
    "ansible_private_key_passphrase",
    "ansible_python_interpreter",
    "ansible_python_module_rlimit_nofile",
    "ansible_remote_tmp",
    "ansible_scp_executable",
    "ansible_scp_extra_args",
    "ansible_sftp_batch_mode",
    "ansible_sftp_executable",
    "ansible_sftp_extra_args",
    "ansible_shell_allow_world_readable_temp",
    "ansible_shell_executable",
    "ansible_shell_type",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_executable",
    "ansible_ssh_extra_args",
    "ansible_ssh_host",
    "ansible_ssh_host_key_checking",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_ssh_password_mechanism",
    "ansible_ssh_pipelining",
    "ansible_ssh_pkcs11_provider",
    "ansible_ssh_port",
    "ansible_ssh_private_key",
    "ansible_ssh_private_key_file",
    "ansible_ssh_private_key_passphrase",
    "ansible_ssh_retries",
    "ansible_ssh_timeout",
    "ansible_ssh_transfer_method",
    "ansible_ssh_use_tty",
    "ansible_ssh_user",
    "ansible_ssh_verbosity",
    "ansible_sshpass_prompt",
    "ansible_su_exe",
    "ansible_su_flags",
    "ansible_su_pass",
    "ansible_su_user",
    "ansible_sudo_chdir",
    "ansible_sudo_exe",
    "ansible_sudo_flags",
    "ansible_sudo_pass",
    "ansible_sudo_user",
    "ansible_system_tmpdirs",
    "ansible_timeout",
    "ansible_user",
]
ALIKE = 0.9


def meant(name: str) -> str:
    """The variable that a slip in `name` hides; "" if it is one of them, or none that is known here."""
    found = [] if name in KNOWN else difflib.get_close_matches(name, KNOWN, 1, ALIKE)
    return found[0] if found else ""
