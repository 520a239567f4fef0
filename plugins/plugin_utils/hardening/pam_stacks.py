# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The common PAM stacks of a hardened node, including the lines that a site adds for remote accounts (SSSD, LDAP).

Pure. A line is a control, a module and its arguments, as in ``/usr/share/pam-configs``. The lines are a mapping by
stack. ``=end`` in a control skips the other sources of accounts, as in that folder. Linux-PAM needs the number of lines
that a jump skips, and a wrong number locks all users out or lets all users in. So this module computes the numbers.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STACKS = ("auth", "account", "password", "session", "session_noninteractive")
TYPES = ("auth", "account", "password", "session")
WORDS = ("required", "requisite", "sufficient", "optional")
ACTIONS = ("ignore", "bad", "die", "ok", "done", "reset", "end")
#: Results of a module that may appear in a control (pam.conf(5)).
_RESULTS = """
    success open_err symbol_err service_err system_err buf_err perm_denied auth_err cred_insufficient authinfo_unavail
    user_unknown maxtries new_authtok_reqd acct_expired session_err cred_unavail cred_expired cred_err no_module_data
    conv_err authtok_err authtok_recover_err authtok_lock_busy authtok_disable_aging try_again ignore abort
    authtok_expired module_unknown bad_item conv_again incomplete default
"""
RESULTS = frozenset(_RESULTS.split())
_LINE = re.compile(r"(?P<control>\[[^\]]*\]|\S+)\s+(?P<module>\S+)(?P<arguments>(?:\s+.*)?)")
_MODULE = re.compile(r"(?:/[\w.+/-]+/)?[\w.+-]+\.so")
_PAIR = re.compile(r"(\w+)=(\w+)")


class PamError(ValueError):
    """Lines that cannot be part of a stack. ``faults`` has a correction for each of them."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Line:
    """A line of a stack without its type: ``control`` as in the file, ``module`` with its arguments."""

    control: str
    module: str

    @property
    def alternative(self) -> bool:
        """Tell whether the module is an alternative to pam_unix, and on success skips the others by a jump."""
        return "end" in self.actions.values()

    @property
    def actions(self) -> dict[str, str]:
        """Return the action for each result; empty if the control is a word."""
        return dict(_PAIR.findall(self.control)) if self.control.startswith("[") else {}

    def text(self, kind: str, end: int) -> str:
        """Return the line as written to a file; ``end`` is the number of lines that a jump to the end skips."""
        return f"{kind} {self.control.replace('=end', f'={end}')} {self.module}"


@dataclass(frozen=True)
class Lines:
    """The lines of a stack: ``alternatives`` to pam_unix, and lines that run ``after`` them for every account."""

    alternatives: tuple[Line, ...] = ()
    after: tuple[Line, ...] = ()


def parse(given: Any) -> dict[str, Lines]:
    """Check the lines of a site (stack -> list of lines) and return those of every stack.

    :raises PamError: with all faults.
    """
    if not isinstance(given, Mapping):
        raise PamError(f"give lists of lines by stack: {', '.join(STACKS)}")
    faults = [f"{name!r} is no stack: use {', '.join(STACKS)}" for name in given if name not in STACKS]
    found: dict[str, Lines] = {}
    for stack in STACKS:
        texts = given.get(stack) or []
        if not isinstance(texts, (list, tuple)):
            faults.append(f"{stack} is no list of lines")
            texts = ()
        lines = []
        for text in texts:
            try:
                lines.append(_line(stack, text))
            except PamError as fault:
                faults.append(f"{stack}: {text!r}: {fault}")
        found[stack] = Lines(
            tuple(line for line in lines if line.alternative), tuple(line for line in lines if not line.alternative)
        )
        faults += [f"{stack}: {fault}" for fault in _jumps(found[stack])]
    if faults:
        raise PamError(*faults)
    return found


def _line(stack: str, text: Any) -> Line:
    if not isinstance(text, str) or len(text.splitlines()) != 1:
        raise PamError("a line is one string: control, module, arguments")
    if "#" in text or "\\" in text:
        raise PamError("a comment or a continued line hides what follows: write one plain line")
    first = text.split(maxsplit=1)[0].lstrip("-")
    if first in TYPES or text.lstrip().startswith(("-", "@")):
        raise PamError("leave the type out, it is the name of the stack: control, module, arguments")
    match = _LINE.fullmatch(text.strip())
    if not match:
        raise PamError("a line is a control, a module, and arguments")
    control, module = match["control"], match["module"]
    if not _MODULE.fullmatch(module) or ".." in module:
        raise PamError(f"{module!r} is no module: write its file, such as pam_sss.so")
    line = Line(control, f"{module}{match['arguments'].rstrip()}")
    if control.startswith("["):
        _control(stack, control, line.actions)
    elif control not in WORDS:
        raise PamError(f"control {control!r}: use {', '.join(WORDS)}, or [result=action ...]")
    elif stack == "auth" and control == "sufficient":
        # It would end the stack before pam_faillock resets the count of failed attempts.
        raise PamError("sufficient passes by pam_faillock: write [success=end default=ignore]")
    return line


def _control(stack: str, control: str, actions: Mapping[str, str]) -> None:
    if not actions or _PAIR.sub("", control[1:-1]).strip():
        raise PamError(f"control {control!r}: write [result=action ...], without blanks around =")
    for result, action in actions.items():
        if result not in RESULTS:
            raise PamError(f"control {control!r}: no module returns {result!r}")
        if action not in ACTIONS and not (action.isdigit() and int(action) > 0):
            raise PamError(f"control {control!r}: {action!r} is none of {', '.join(ACTIONS)} nor a number of lines")
        if action == "end" and stack.startswith("session"):
            raise PamError("a session has no alternatives: every line is run, so =end means nothing")
        if action in ("done", "end") and result not in ("success", "new_authtok_reqd"):
            raise PamError(f"control {control!r}: {result}={action} lets in whom the module does not accept")
        if stack == "auth" and action == "done":
            raise PamError("done passes by pam_faillock: write =end")
    if "end" in actions.values():
        if "default" not in actions:
            raise PamError(f"control {control!r}: say what other results mean, such as default=ignore")
        if stack == "auth" and "die" in actions.values():
            raise PamError(f"control {control!r}: die passes by the count of failed attempts: write bad or ignore")


def _jumps(lines: Lines) -> list[str]:
    """Return faults for jumps past the end of the site's own lines of the same part."""
    faults = []
    for part in (lines.alternatives, lines.after):
        for place, line in enumerate(part):
            left = len(part) - place - 1
            faults += [
                f"{line.control!r} jumps over {action} lines, and {left} of its kind follow"
                for action in line.actions.values()
                if action.isdigit() and int(action) > left
            ]
    return faults


def _sources(kind: str, unix: str, lines: Lines, beyond: int = 0) -> list[str]:
    """Return pam_unix (with ``{end}`` in its control) and its alternatives; jumps also skip ``beyond`` later lines."""
    count = len(lines.alternatives)
    jumps = [line.text(kind, count - place + beyond) for place, line in enumerate(lines.alternatives)]
    return [f"{kind} {unix.format(end=count + 1 + beyond)}", *jumps]


def _after(kind: str, lines: Lines) -> list[str]:
    return [line.text(kind, 0) for line in lines.after]


def stacks(given: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the files of the common stacks by path.

    :raises PamError: the site's lines are not well formed.
    """
    lines = parse(given)
    auth = [
        "auth required pam_faillock.so preauth",
        *_sources("auth", "[success={end} default=ignore] pam_unix.so try_first_pass", lines["auth"]),
        "auth [default=die] pam_faillock.so authfail",
        # These lines come before authsucc, which ends the stack.
        *_after("auth", lines["auth"]),
        "auth sufficient pam_faillock.so authsucc",
        "auth requisite pam_deny.so",
        "auth required pam_permit.so",
    ]
    account = [
        *_sources("account", "[success={end} new_authtok_reqd=done default=ignore] pam_unix.so", lines["account"]),
        "account requisite pam_deny.so",
        "account required pam_permit.so",
        "account required pam_faillock.so",
        # These lines come last, because Debian's line for SSSD ends the stack for local accounts.
        *_after("account", lines["account"]),
    ]
    password = [
        "password requisite pam_pwquality.so retry=3",
        # pam_pwhistory would refuse remote accounts, because their former passwords are not stored on the node.
        *(["password [success=ignore default=1] pam_localuser.so"] if lines["password"].alternatives else []),
        "password requisite pam_pwhistory.so remember=5 use_authtok enforce_for_root",
        *_sources(
            "password",
            "[success={end} default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt rounds=11",
            lines["password"],
        ),
        "password requisite pam_deny.so",
        "password required pam_permit.so",
        *_after("password", lines["password"]),
    ]
    session = [
        "session [default=1] pam_permit.so",
        "session requisite pam_deny.so",
        "session required pam_permit.so",
        "session optional pam_umask.so",
        "session required pam_unix.so",
    ]
    found = {
        "common-auth": auth,
        "common-account": account,
        "common-password": password,
        "common-session": [*session, *_after("session", lines["session"]), "-session optional pam_systemd.so"],
        "common-session-noninteractive": [*session, *_after("session", lines["session_noninteractive"])],
    }
    return {f"/etc/pam.d/{name}": "".join(f"{line}\n" for line in text) for name, text in found.items()}


#: Loads each module that a file names, as Linux-PAM does, and names each module that is missing or lacks a library. A
#: module is optional if the type of its line begins with a dash.
_LOADS = r"""
import ctypes, glob, re, sys
faults = []
for line in open(sys.argv[1]):
    found = re.match(r"\w+\s+(?:\[[^\]]*\]|\w+)\s+(\S+\.so)", line)
    if not found:
        continue
    name = found[1]
    folders = [""] if name.startswith("/") else ["/usr/lib/*/security/", "/usr/lib/security/", "/lib/*/security/"]
    places = [place for folder in folders for place in glob.glob(folder + name)]
    try:
        ctypes.CDLL(places[0])
    except IndexError:
        faults.append(f"{name} is not on this node: add its package to base_node_packages")
    except OSError as fault:
        faults.append(f"{name} cannot be loaded: {fault}")
sys.exit("\n".join(faults) or 0)
"""
VALIDATE = f"python3 -c {shlex.quote(_LOADS)} %s"
