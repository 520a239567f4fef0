# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The common PAM stacks with lines of a site: accepted users, counted failures, and rejected lines."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening import pam_stacks
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.hardening.pam_stacks import PamError

SSSD = {
    "auth": ["[success=end default=ignore] pam_sss.so use_first_pass"],
    "account": ["sufficient pam_localuser.so", "[default=bad success=ok user_unknown=ignore] pam_sss.so"],
    "password": ["[success=end default=ignore] pam_sss.so use_authtok"],
    "session": ["required pam_mkhomedir.so umask=0077", "optional pam_sss.so"],
}
CONTROLS = {
    "required": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "bad"},
    "requisite": {"success": "ok", "new_authtok_reqd": "ok", "ignore": "ignore", "default": "die"},
    "sufficient": {"success": "done", "new_authtok_reqd": "done", "default": "ignore"},
    "optional": {"success": "ok", "new_authtok_reqd": "ok", "default": "ignore"},
}
ALWAYS = {"pam_permit.so": "success", "pam_deny.so": "auth_err"}


def stack(name, lines=None):
    return pam_stacks.stacks(lines or {})[f"/etc/pam.d/common-{name}"].splitlines()


def run(lines, results):
    """Run a stack as Linux-PAM does. Return whether it accepts, and the called modules.

    ``results``: result of a module, by its file, or by its file and first argument. Other modules succeed.
    """
    impression, result, asked, place = None, None, [], 0
    while place < len(lines):
        found = re.fullmatch(r"-?(\w+) (\[.*?\]|\w+) (.*)", lines[place])
        assert found, lines[place]
        _kind, control, module = found.groups()
        words = module.split()
        name = next((key for key in (" ".join(words[:2]), words[0]) if key in results), words[0])
        returned = results.get(name, ALWAYS.get(words[0], "success"))
        asked.append(" ".join(words[:2]) if words[0] == "pam_faillock.so" else words[0])
        actions: dict[str, str] = CONTROLS.get(control) or dict(re.findall(r"(\w+)=(\w+)", control))
        action = actions.get(returned, actions.get("default", "bad"))
        place += 1
        if action.isdigit():
            place += int(action)
            assert place < len(lines), f"{lines[place - 1 - int(action)]} jumps out of the stack"
        elif action in ("ok", "done") and impression in (None, True):
            impression, result = True, returned
        elif action in ("bad", "die") and impression is not False:
            impression, result = False, returned
        if action == "die" or (action == "done" and impression):
            break
    return impression is True and result in ("success", "new_authtok_reqd"), asked


# --- without lines of a site


def test_without_lines_only_accounts_of_the_node_get_in():
    assert run(stack("auth"), {})[0]
    assert not run(stack("auth"), {"pam_unix.so": "auth_err"})[0]
    assert not run(stack("auth"), {"pam_unix.so": "user_unknown"})[0]
    assert run(stack("account"), {})[0]
    assert not run(stack("account"), {"pam_unix.so": "acct_expired"})[0]
    assert not run(stack("password"), {"pam_unix.so": "authtok_err"})[0]
    assert run(stack("session"), {})[0]


def test_attempts_are_counted_and_a_locked_account_does_not_get_in():
    assert run(stack("auth"), {})[1] == ["pam_faillock.so preauth", "pam_unix.so", "pam_faillock.so authsucc"]
    assert run(stack("auth"), {"pam_unix.so": "auth_err", "pam_faillock.so authfail": "auth_err"})[1][-1].endswith(
        "authfail"
    )
    locked = {"pam_faillock.so preauth": "auth_err", "pam_faillock.so authsucc": "auth_err"}
    assert not run(stack("auth"), locked)[0]


# --- with lines of a site

sources = st.lists(st.sampled_from(["success", "auth_err", "user_unknown", "authinfo_unavail"]), max_size=5)
after = st.lists(st.sampled_from(["success", "auth_err"]), max_size=3)


@given(st.sampled_from(["success", "auth_err", "user_unknown"]), sources, after)
def test_whoever_one_source_accepts_gets_in_and_everything_is_counted(unix, others, later):
    names = [f"pam_source{number}.so" for number in range(len(others))]
    checks = [f"pam_check{number}.so" for number in range(len(later))]
    lines = {
        "auth": [
            *[f"[success=end default=ignore] {name} use_first_pass" for name in names],
            *[f"required {name}" for name in checks],
        ]
    }
    said = {"pam_unix.so": unix, **dict(zip(names, others, strict=True)), **dict(zip(checks, later, strict=True))}
    said["pam_faillock.so authfail"] = "auth_err"
    accepted, asked = run(stack("auth", lines), said)
    known = "success" in (unix, *others)
    assert accepted == (known and "auth_err" not in later)
    assert ("pam_faillock.so authfail" in asked) == (not known)
    assert ("pam_faillock.so authsucc" in asked) == known
    # No module is called after a source has accepted, and the node's own accounts come first.
    assert [name for name in asked if name in names] == names[: ([unix, *others].index("success") if known else 5)]


@given(st.sampled_from(["success", "acct_expired", "user_unknown", "authinfo_unavail"]), sources)
def test_an_account_is_valid_where_its_source_says_so(unix, others):
    names = [f"pam_source{number}.so" for number in range(len(others))]
    for kind in ("account", "password"):
        lines = {kind: [f"[success=end default=ignore] {name}" for name in names]}
        said = {"pam_unix.so": unix, **dict(zip(names, others, strict=True))}
        assert run(stack(kind, lines), said)[0] == ("success" in (unix, *others))


def test_the_lines_for_sssd_are_right_for_both_kinds_of_account():
    directory = {"pam_unix.so": "user_unknown", "pam_localuser.so": "perm_denied"}
    local = {"pam_sss.so": "user_unknown"}
    for said, kinds in ((directory, ("auth", "password")), (local, ("auth", "account", "password"))):
        for kind in kinds:
            assert run(stack(kind, SSSD), said)[0], (kind, said)
    # Accounts of SSSD have no shadow entry, so pam_unix accepts them.
    remote = {"pam_localuser.so": "perm_denied"}
    assert run(stack("account", SSSD), remote)[0]
    assert not run(stack("account", SSSD), {**remote, "pam_sss.so": "perm_denied"})[0]
    assert not run(stack("auth", SSSD), {**directory, "pam_sss.so": "auth_err"})[0]
    assert "pam_pwhistory.so" in run(stack("password", SSSD), local)[1]
    assert "pam_pwhistory.so" not in run(stack("password", SSSD), directory)[1]
    assert stack("session", SSSD)[-3:-1] == [
        "session required pam_mkhomedir.so umask=0077", "session optional pam_sss.so"
    ]  # fmt: skip
    assert "pam_mkhomedir" not in "".join(stack("session-noninteractive", SSSD))


def test_the_example_of_the_guide_is_what_is_tested(root):
    [text] = re.findall(
        r"```yaml\n(.*?hardening_pam_lines:.*?)```", (root / "docs/hardening.md").read_text(), re.DOTALL
    )
    lines = yaml.safe_load(text)["hardening_pam_lines"]
    assert lines.pop("session_noninteractive") == ["optional pam_sss.so"]
    assert lines == SSSD


def test_a_jump_of_the_sites_own_lines_is_kept():
    lines = {"session": ["[success=ignore default=1] pam_localuser.so", "optional pam_a.so", "optional pam_b.so"]}
    asked = run(stack("session", lines), {"pam_localuser.so": "perm_denied"})[1]
    assert "pam_a.so" not in asked
    assert "pam_b.so" in asked


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "by stack"),
        ({"auht": []}, "'auht' is no stack"),
        ({"auth": "required pam_a.so"}, "no list"),
        ({"auth": [1]}, "one string"),
        ({"auth": ["required pam_a.so\nauth sufficient pam_permit.so"]}, "one string"),
        ({"auth": [""]}, "one string"),
        ({"auth": ["required"]}, "a control, a module"),
        ({"auth": ["auth required pam_a.so"]}, "leave the type out"),
        ({"session": ["-session required pam_a.so"]}, "leave the type out"),
        ({"session": ["@include common-x"]}, "leave the type out"),
        ({"account": ["include common-x"]}, "no module"),
        ({"account": ["mandatory pam_a.so"]}, "'mandatory'"),
        ({"account": ["required pam_a"]}, "'pam_a' is no module"),
        ({"account": ["required ../pam_a.so"]}, "no module"),
        ({"account": ["required pam_a.so # why"]}, "comment"),
        ({"account": ["required pam_a.so \\"]}, "continued"),
        ({"account": ["[success=ok default] pam_a.so"]}, "without blanks"),
        ({"account": ["[] pam_a.so"]}, "without blanks"),
        ({"account": ["[succes=ok default=bad] pam_a.so"]}, "'succes'"),
        ({"account": ["[success=okay default=bad] pam_a.so"]}, "'okay'"),
        ({"account": ["[success=0 default=bad] pam_a.so"]}, "'0'"),
        ({"account": ["[success=1 default=bad] pam_a.so"]}, "0 of its kind follow"),
        ({"account": ["[success=ok default=done] pam_a.so"]}, "does not accept"),
        ({"account": ["[success=end user_unknown=end default=bad] pam_a.so"]}, "does not accept"),
        ({"account": ["[success=end] pam_a.so"]}, "default=ignore"),
        ({"auth": ["sufficient pam_a.so"]}, "success=end default=ignore"),
        ({"auth": ["[success=done default=ignore] pam_a.so"]}, "pam_faillock"),
        ({"auth": ["[success=end default=die] pam_a.so"]}, "failed attempts"),
        ({"session": ["[success=end default=ignore] pam_a.so"]}, "no alternatives"),
    ],
)
def test_a_line_that_could_lock_out_or_let_in_is_refused(lines, says):
    with pytest.raises(PamError, match=re.escape(says)):
        pam_stacks.stacks(lines)


def test_every_wrong_line_is_told_at_once():
    with pytest.raises(PamError) as error:
        pam_stacks.parse({"auth": ["pam_a.so"], "account": ["required b", "required pam_c.so"], "x": []})
    assert len(error.value.faults) == 3


# --- the modules on the node


def validate(tmp_path, text):
    file = tmp_path / "stack"
    file.write_text(text)
    words = [word.replace("%s", str(file)) for word in shlex.split(pam_stacks.VALIDATE)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_module_that_is_not_on_the_node_is_named(tmp_path):
    broken = tmp_path / "pam_broken.so"
    broken.write_text("no library")
    text = "".join(f"{line}\n" for line in ("auth required pam_unix.so", "# auth required pam_no.so"))
    assert validate(tmp_path, text).returncode == 0
    text += f"auth [success=1 default=ignore] pam_nowhere.so x\n-auth optional pam_either.so\nauth optional {broken}\n"
    done = validate(tmp_path, text)
    assert done.returncode == 1
    assert re.findall(r"^\S*?(pam_\w+\.so) (?:is|cannot)", done.stderr, re.M) == ["pam_nowhere.so", "pam_broken.so"]
