# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""PAM: locks after failed logins, the quality of passwords, the common stacks, and su."""

from __future__ import annotations

from ...module_utils.hardening.rules import Policy
from . import pam_stacks
from .entries import Entry, Settings, template, text_file


def pam(policy: Policy, settings: Settings) -> list[Entry]:
    lock = settings["lock"]
    faillock = {
        "": {
            "deny": lock["attempts"],
            "fail_interval": lock["interval"],
            "unlock_time": lock["seconds"],
            "even_deny_root": {},
            "audit": {},
            "silent": {},
        }
    }
    quality = {
        "": {
            "minlen": settings["password_length"],
            "minclass": 4,
            "dcredit": -1,
            "ucredit": -1,
            "lcredit": -1,
            "ocredit": -1,
            "difok": 8,
            "maxrepeat": 3,
            "maxsequence": 3,
            "dictcheck": 1,
            "retry": 3,
            "enforce_for_root": {},
        }
    }
    return [
        {"path": "/etc/security/faillock.conf", "format": "ini", "content": faillock},
        {"path": "/etc/security/pwquality.conf", "format": "ini", "content": quality},
        *(
            {**text_file(path, content), "validate": pam_stacks.VALIDATE}
            for path, content in pam_stacks.stacks(settings["pam_lines"]).items()
        ),
        # Only members of the group may use su.
        text_file("/etc/pam.d/su", template("su", group=settings["su_group"])),
    ]
