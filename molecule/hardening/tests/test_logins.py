# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Logins on a hardened node: with any shell, and with accounts of a directory (SSSD)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = Path(__file__).resolve().parents[1]
testinfra_hosts = ["ansible://gw1"]


@pytest.fixture
def account(host):
    """`account(shell)`: create an account with this shell and return its name."""
    made: list[str] = []

    def make(shell: str) -> str:
        name = f"person{len(made)}"
        host.check_output("useradd --create-home --shell %s %s", shell, name)
        made.append(name)
        return name

    yield make
    for name in made:
        host.check_output("pkill -KILL -u %s; userdel --remove %s 2>/dev/null || true", name, name)


def on_a_terminal(host, command: str, typed: str = "exit\n") -> str:
    """Return the output of a terminal after this input."""
    return host.check_output("printf %s | timeout 20 script --quiet --return --command %s /dev/null", typed, command)


@pytest.mark.parametrize("shell", ["/bin/dash", "/bin/bash", "/bin/sh"])
def test_a_login_shell_says_nothing(host, account, shell):
    name = account(shell)
    typed = '. /etc/profile\necho "limit ${TMOUT-none}"\nexit\n'
    told = on_a_terminal(host, f"su - {name}", typed)
    assert "limit 600" in told
    for complaint in ("not found", "readonly", "read only", "error"):
        assert complaint not in told.lower(), told


def test_a_login_shell_inside_another_says_nothing(host, account):
    told = on_a_terminal(host, f"su - {account('/bin/bash')}", "bash -l\nbash -l\necho limit $TMOUT\n" + 3 * "exit\n")
    assert "limit 600" in told
    assert "readonly" not in told


@pytest.mark.parametrize("shell", ["/bin/dash", "/bin/bash"])
def test_a_command_has_no_time_limit_and_says_nothing(host, account, shell):
    done = host.run("su - %s -c %s", account(shell), 'echo "${TMOUT-none}"')
    assert (done.stdout, done.stderr) == ("none\n", "")


def test_only_a_good_password_can_be_set(host, account):
    """The dictionary check rejects every password if the dictionary is missing."""
    name = account("/bin/bash")
    host.run_expect([0], "echo %s | chpasswd", f"{name}:Vk7#mq!xTz29-Lwe&fo")
    for weak in ("Short-1a", "alllowercaseletterswithoutanythingelse"):
        assert host.run("echo %s | chpasswd", f"{name}:{weak}").rc != 0, weak


# --- accounts of a directory

PASSWORD = "Vk7#mq!xTz29-Lwe&fo"
DIRECTORY = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends install pamtester sssd-proxy libnss-sss libpam-sss libnss-extrausers >/dev/null
mkdir -p /var/lib/extrausers
echo 'agent:x:20001:20001:An agent:/home/agent:/bin/bash' > /var/lib/extrausers/passwd
echo 'agent:x:20001:' > /var/lib/extrausers/group
cat > /usr/local/sbin/directory-password <<'END'
#!/bin/sh
# The directory of the test: one account, one password.
IFS= read -r given || :
[ "$PAM_USER" = agent ] && [ "$(printf %s "$given" | tr -d '\000')" = 'PASSWORD' ]
END
chmod 0755 /usr/local/sbin/directory-password
cat > /etc/pam.d/directory <<'END'
auth required pam_exec.so quiet expose_authtok /usr/local/sbin/directory-password
account required pam_permit.so
END
cat > /etc/sssd/sssd.conf <<'END'
[sssd]
services = nss, pam
domains = directory
[domain/directory]
id_provider = proxy
proxy_lib_name = extrausers
auth_provider = proxy
proxy_pam_target = directory
END
chown --reference=/etc/sssd /etc/sssd/sssd.conf
chmod 0600 /etc/sssd/sssd.conf
grep -q '^passwd:.*sss' /etc/nsswitch.conf || sed -i 's/^\(passwd\|group\):.*/& sss/' /etc/nsswitch.conf
systemctl restart sssd
"""
SSSD = {
    "auth": ["[success=end default=ignore] pam_sss.so use_first_pass"],
    "account": ["sufficient pam_localuser.so", "[default=bad success=ok user_unknown=ignore] pam_sss.so"],
    "password": ["[success=end default=ignore] pam_sss.so use_authtok"],
    "session": ["required pam_mkhomedir.so umask=0077", "optional pam_sss.so"],
}


def stacks(host) -> str:
    return host.check_output("sha256sum /etc/pam.d/common-*")


@pytest.fixture(scope="module")
def harden(inventory):
    """`harden(lines)`: harden the node again with PAM lines of the site and return exit code and output."""

    def run(lines) -> tuple[int, str]:
        words = ["-i", inventory, SCENARIO / "converge.yml", "--vault-password-file", inventory / ".vault-password"]
        words += ["--limit", "gw1", "-e", f"@{SCENARIO / 'vars.yml'}", "-e", json.dumps({"hardening_pam_lines": lines})]
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", *words], cwd=ROOT, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def directory(host, eventually):
    """A directory in SSSD with the account `agent`, and the PAM stacks before its packages were installed."""
    before = stacks(host)
    host.check_output("sh -c %s", DIRECTORY.replace("PASSWORD", PASSWORD))
    assert eventually(lambda: host.run("getent passwd agent").rc == 0, 30)
    return before


def asked(host, user: str, password: str, *what: str) -> bool:
    """Return whether PAM accepts this password."""
    return host.run("printf '%%s\\n' %s | pamtester login %s " + " ".join(what), password, user).rc == 0


def failures(host, user: str) -> int:
    return len(re.findall(r" V$", host.check_output("faillock --user %s", user), re.M))


def test_packages_that_come_later_leave_the_stacks_alone(host, directory):
    """libpam-sss calls pam-auth-update, which does not change files of other owners."""
    assert stacks(host) == directory
    assert "pam_sss" not in host.file("/etc/pam.d/common-auth").content_string


def test_without_its_lines_nobody_of_the_directory_gets_in(host, directory):
    assert not asked(host, "agent", PASSWORD, "authenticate")
    host.check_output("faillock --user agent --reset")


def test_with_its_lines_accounts_of_both_kinds_get_in(host, directory, harden):
    code, told = harden(SSSD)
    assert code == 0, told[-3000:]
    assert asked(host, "agent", PASSWORD, "authenticate", "acct_mgmt")
    assert failures(host, "agent") == 0
    host.check_output("useradd --create-home local-one && echo %s | chpasswd", f"local-one:{PASSWORD}")
    assert asked(host, "local-one", PASSWORD, "authenticate", "acct_mgmt")
    assert not asked(host, "local-one", "another", "authenticate")
    # The session creates a home directory that only its owner may read.
    assert host.check_output("su - agent -c %s", "echo $HOME $(stat -c %a $HOME) $(id -un)") == "/home/agent 700 agent"
    code, told = harden(SSSD)
    assert code == 0
    assert "gw1 " in told and "changed=0" in told.split("gw1 ")[-1], told[-1000:]


def test_attempts_on_an_account_of_the_directory_are_counted(host, directory):
    for number in (1, 2):
        assert not asked(host, "agent", "wrong", "authenticate")
        assert failures(host, "agent") == number
    assert asked(host, "agent", PASSWORD, "authenticate")
    assert failures(host, "agent") == 0
    for _attempt in range(3):
        assert not asked(host, "agent", "wrong", "authenticate")
    assert not asked(host, "agent", PASSWORD, "authenticate")
    host.check_output("faillock --user agent --reset")
    assert asked(host, "agent", PASSWORD, "authenticate")


def test_an_account_that_the_directory_does_not_know_stays_out(host, directory):
    assert not asked(host, "nobody-of-that-name", PASSWORD, "authenticate")
    assert not asked(host, "nobody-of-that-name", PASSWORD, "acct_mgmt")


def test_a_key_of_somebody_in_the_directory_opens_ssh(host, directory, hostvars):
    """SSH asks for no password, so only the stacks account and session apply."""
    settings = hostvars["gw1"]
    public = Path(f"{settings['ansible_ssh_private_key_file']}.pub").read_text()
    host.check_output(
        "install -d -m 0700 -o agent -g agent /home/agent/.ssh && printf %%s %s > /home/agent/.ssh/authorized_keys && "
        "chown agent: /home/agent/.ssh/authorized_keys",
        public,
    )
    words = ["ssh", *settings["ansible_ssh_common_args"].split(), "-o", "BatchMode=yes", "-o", "ControlPath=none",
             "-p", str(settings["ansible_port"]), "-i", settings["ansible_ssh_private_key_file"],
             f"agent@{settings['ansible_host']}", "id -un"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "agent\n", done.stderr


def test_a_module_that_is_not_there_is_refused_and_the_stacks_stay(host, directory, harden):
    before = stacks(host)
    lines = {**SSSD, "auth": ["[success=end default=ignore] pam_ldap_of_the_moon.so use_first_pass"]}
    code, told = harden(lines)
    assert code != 0
    assert "pam_ldap_of_the_moon.so is not on this node" in told
    assert stacks(host) == before
    assert asked(host, "agent", PASSWORD, "authenticate")


def test_a_line_that_is_not_well_formed_is_refused_and_the_stacks_stay(host, directory, harden):
    before = stacks(host)
    code, told = harden({"auth": ["sufficient pam_sss.so"]})
    assert code != 0
    assert "hardening_pam_lines: auth: 'sufficient pam_sss.so'" in told
    assert stacks(host) == before
