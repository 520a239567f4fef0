# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""All scripts for `/bin/sh` are plain shell: on Debian it is dash, which lacks the extensions of bash."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from plugin_utils.hardening.test_hardening import settings

from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening import lockout_guard
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import Policy
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import guest_image, node_image
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import machine as lab_machine
from ansible_collections.cloudwatt.socle.plugins.module_utils.lab import plan as lab_plan
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import files as hardening

ROOT = Path(__file__).resolve().parents[3]
COMMAND = re.compile(r"""(?:/bin/)?sh -c '([^']+)'""")
GUARD = re.compile(r'if \[ -n "\$\{BASH_VERSION-\}" \]; then\n.*?(?=\n\s*(?:else|fi)\b)', re.DOTALL)
"""Lines that only bash executes."""
BASH = {
    "a word of bash": r"(?:^|[;&|({]\s*|\bthen\s|\bdo\s|\belse\s)\s*"
    r"(?:declare|typeset|shopt|source|pushd|popd|select|function|mapfile|let)\s",
    "[[ ]]": r"(?:^|\s)\[\[\s",
    "== in a test": r"\[ [^]]*\s==\s[^]]*\]",
    "(( ))": r"(?:^|[;&|]|\bif|\bwhile)\s*\(\(",
    "&> or |&": r"[^<>&]&>|\|&",
    "a string as input": r"<<<",
    "a command as file": r"(?:^|\s)[<>]\(",
    "an array": r"(?:^|\s)\w+\+?=\(|\$\{\w+\[",
    "a part of a variable": r"\$\{\w+(?:/|:\d|\^|,)",
    "ANSI-C quotes": r"(?:^|[\s=])\$'",
    "echo with options": r"\becho -[en]",
    "braces": r"\{\d+\.\.\d+\}",
    "a variable of bash": r"\$\{?(?:RANDOM|SECONDS|BASHPID|PIPESTATUS|EUID|HOSTNAME|OSTYPE)\b",
    "a signal by its whole name, or ERR": r"\btrap\s.*\b(?:SIG[A-Z]+|ERR|DEBUG|RETURN)\b",
    "read with options": r"\bread\s+-[a-qs-z]",
}


def scripts():
    """Return every script for `/bin/sh`, on the control node or on a node, by its place."""
    found = {
        "node_image.FINISH": node_image.FINISH,
        "node_image.HOLD_COMPILATION": node_image.HOLD_COMPILATION,
        "lab_machine.LAUNCHER": lab_machine.LAUNCHER,
        "lab_plan.SUPERVISE": lab_plan.SUPERVISE,
        "lockout_guard": lockout_guard.restore_script(Path("/run/x")),
        **{f"guest_image.{name}": getattr(guest_image, name) for name in ("INIT", "UDHCPC", "WHOAMI", "PROBE")},
    }
    given = settings(boot_password_hash="grub.pbkdf2.sha512.1.A")
    for entry in hardening.files(Policy.of("high"), given):
        path, content = entry["path"], entry["content"]
        if isinstance(content, dict):
            command = str(content.get("Service", {}).get("ExecStart", ""))
            found |= {f"{path} {number}": part for number, part in enumerate(COMMAND.findall(command), 1)}
        elif content.startswith("#!/bin/sh") or path == "/etc/profile" or path.startswith("/etc/profile.d/"):
            found[path] = content
    for path in sorted((*ROOT.glob("roles/**/*"), *ROOT.glob("playbooks/*"), *ROOT.glob("scripts/*"))):
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if re.match(r"#! ?/bin/sh\b", text):
            found[str(path.relative_to(ROOT))] = text
        elif path.suffix in (".yml", ".service", ".j2"):
            found |= {
                f"{path.relative_to(ROOT)} {number}": part for number, part in enumerate(COMMAND.findall(text), 1)
            }
    return found


SCRIPTS = scripts()


def bashisms(text):
    plain = GUARD.sub("", text)
    return [name for name, pattern in BASH.items() if re.search(pattern, plain, re.MULTILINE)]


def test_the_scripts_are_found():
    assert {"/etc/profile.d/session-timeout.sh", "roles/rabbitmq/files/rabbitmq-cookie"} <= SCRIPTS.keys()
    assert any(place.startswith("roles/haproxy/vars/main.yml") for place in SCRIPTS)
    assert "/etc/grub.d/01_hardening" in SCRIPTS


@pytest.mark.skipif(not shutil.which("dash"), reason="dash is not on this machine")
@pytest.mark.parametrize("place", SCRIPTS)
def test_dash_can_read_it(place):
    done = subprocess.run(["dash", "-n"], input=SCRIPTS[place], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("place", SCRIPTS)
def test_nothing_in_it_is_of_bash(place):
    assert bashisms(SCRIPTS[place]) == []


@pytest.mark.parametrize(
    "text",
    [
        "declare -xr TMOUT=600", "if true; then source /x; fi", "[[ -e x ]]", '[ "$a" == b ]', "((a++))", "make &> log",
        "cat <<< x", "diff <(a) b", "a=(1 2)", 'echo "${a[0]}"', 'echo "${a/b/c}"', "a=$'x'", "echo -e x",
        "for i in {1..3}; do :; done", 'echo "$RANDOM"', "trap x SIGTERM", "read -p x y",
    ],
)  # fmt: skip
def test_the_search_finds_what_is_of_bash(text):
    assert bashisms(text)
