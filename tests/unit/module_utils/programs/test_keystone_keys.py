# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Keystone's keys: every controller can read the tokens of every other one while they are valid."""

from __future__ import annotations

import json
import os
import pwd
import stat
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cloudwatt.socle.plugins.module_utils.programs import keystone_keys as engine
from ansible_collections.cloudwatt.socle.plugins.module_utils.programs.keystone_keys import Ring

DAY, HOUR, NOW = 86400, 3600, 1_800_000_000
LIFE, MARGIN = 49 * HOUR, 2 * HOUR
SEED = engine.Seed(NOW - 400 * DAY, bytes(range(32)))
TOKENS = Ring("fernet", [SEED], DAY, LIFE + MARGIN)
CREDENTIALS = Ring("credential", [SEED], 7 * DAY, 7 * DAY, reach=182 * DAY)
moments = st.integers(NOW, NOW + 30 * DAY)


def crypto(keys: dict[str, str]) -> MultiFernet:
    """Return the keys as Keystone uses them: the highest number encrypts, every key decrypts."""
    return MultiFernet([Fernet(keys[name]) for name in sorted(keys, key=int, reverse=True)])


def after(ring: Ring, present: dict[str, str], now: float) -> dict[str, str]:
    todo = engine.plan(ring, present, now)
    return {name: key for name, key in {**present, **todo.add, **todo.replace}.items() if name not in todo.retire}


def seeds(*since: int) -> list[engine.Seed]:
    return [engine.Seed(moment, bytes([number]) * 32) for number, moment in enumerate(since)]


@given(made=moments, age=st.integers(0, LIFE), skews=st.tuples(*[st.integers(-HOUR // 2, HOUR // 2)] * 2),
       late=st.tuples(*[st.integers(0, HOUR)] * 2))  # fmt: skip
def test_a_token_is_readable_on_every_controller_for_its_whole_life(made, age, skews, late):
    """Clocks differ by up to half an hour, and the last rotation was up to an hour ago."""
    signer = TOKENS.wanted(made + skews[0] - late[0])
    reader = TOKENS.wanted(made + age + skews[1] - late[1])
    assert crypto(reader).decrypt(crypto(signer).encrypt(b"token")) == b"token"


@given(made=moments)
def test_a_token_is_not_readable_for_ever(made):
    old = crypto(TOKENS.wanted(made)).encrypt(b"token")
    with pytest.raises(InvalidToken):
        crypto(TOKENS.wanted(made + DAY + TOKENS.keep + 1)).decrypt(old)


@given(now=moments, period=st.integers(1, 40).map(lambda hours: hours * HOUR), keep=st.integers(0, 8 * DAY))
def test_keys_are_few_and_follow_from_seed_and_time_alone(now, period, keep):
    ring = Ring("fernet", [SEED], period, keep)
    keys = ring.wanted(now)
    assert len(keys) <= 2 + -(-keep // period)
    assert len(set(keys.values())) == len(keys)
    assert after(ring, {}, now) == after(ring, ring.wanted(now - period), now) == keys


@given(now=moments, steps=st.lists(st.integers(1, 60 * DAY), max_size=6))
def test_one_turn_is_enough_wherever_it_was(now, steps):
    present: dict[str, str] = {}
    for step in steps:
        now += step
        present = after(TOKENS, present, now)
        assert present == TOKENS.wanted(now)
        assert not any(engine.plan(TOKENS, present, now))


def test_repositories_share_no_key():
    assert not set(TOKENS.wanted(NOW).values()) & set(CREDENTIALS.wanted(NOW).values())


@given(taken=moments, learnt=st.tuples(*[st.integers(0, DAY)] * 2), made=st.integers(-3 * DAY, 3 * DAY),
       age=st.integers(0, LIFE))  # fmt: skip
def test_a_new_seed_costs_no_token(taken, learnt, made, age):
    """Each controller gets the seed at some time between its creation and its first period."""
    old, new = seeds(0, taken)
    takes_over = -(-taken // DAY) * DAY

    def ring(at: int, heard: int) -> Ring:
        return TOKENS._replace(seeds=[old, new] if at >= heard else [old])

    heard = [min(taken - HOUR + delay, takes_over - 1) for delay in learnt]
    signed, read = takes_over + made, takes_over + made + age
    signer = ring(signed, heard[0]).wanted(signed)
    reader = ring(read, heard[1]).wanted(read)
    assert crypto(reader).decrypt(crypto(signer).encrypt(b"token")) == b"token"


@given(taken=moments, late=st.integers(0, DAY), age=st.integers(0, LIFE))
def test_a_controller_that_learns_of_a_seed_too_late_still_reads_what_it_signed(taken, late, age):
    old, new = seeds(0, taken)
    signed = -(-taken // DAY) * DAY + late
    token = crypto(TOKENS._replace(seeds=[old]).wanted(signed)).encrypt(b"token")
    assert crypto(TOKENS._replace(seeds=[old, new]).wanted(signed + age)).decrypt(token) == b"token"


@given(taken=moments)
def test_an_old_seed_is_worth_nothing_in_the_end(taken):
    old, new = seeds(0, taken)
    done = taken + (engine.LATE + 2) * DAY + TOKENS.keep
    keys = TOKENS._replace(seeds=[old, new]).wanted(done)
    forged = {engine.derive(old, "fernet", start) for start in range(0, done + 3 * DAY, DAY) if start > taken - 9 * DAY}
    assert not forged & set(keys.values())
    assert keys == TOKENS._replace(seeds=[new]).wanted(done)


@given(pauses=st.lists(st.integers(0, 200 * DAY), min_size=1, max_size=8))
def test_seeds_that_sign_or_may_still_be_read_are_never_forgotten(pauses):
    now, text = NOW, str(engine.Seed(NOW, bytes(32)))
    for pause in pauses:
        now += pause
        before = engine.parse(text)
        text = engine.succeed(text, now)
        held = engine.parse(text)
        assert held[-1].since == now + engine.DEPLOY_WITHIN
        assert held[-1] not in before
        for ring in (TOKENS, CREDENTIALS):
            former, present = (ring._replace(seeds=found).wanted(now) for found in (before, held))
            assert {**former, "0": ""} == {**present, "0": ""}
    assert len(held) <= len(pauses) + 1


def test_a_seed_that_has_not_taken_over_is_replaced():
    text = engine.succeed(engine.succeed(str(SEED), NOW), NOW + 60)
    assert [seed.since for seed in engine.parse(text)] == [SEED.since, NOW + 60 + engine.DEPLOY_WITHIN]


@pytest.mark.parametrize("text", ["", "x", "1:", ":AAAA", "1:AAAA", "one:" + "A" * 43 + "=", f"{SEED} 5"])
def test_bad_seeds_are_refused_and_not_shown(text):
    with pytest.raises(engine.KeyRingError) as refusal:
        engine.parse(text)
    assert str(SEED).partition(":")[2] not in str(refusal.value)


def test_credentials_keep_three_keys_and_give_up_none_before_they_are_migrated(tmp_path):
    ring = CREDENTIALS._replace(directory=str(tmp_path), retire_after=("false",))
    engine.turn(ring, NOW, 0)
    assert len(engine.look(str(tmp_path))) == 2 + 26  # the keys go as far back as the oldest backup
    _, fault = engine.turn(ring._replace(reach=0), NOW, 0)
    assert "ended with 1" in fault
    assert len(engine.look(str(tmp_path))) == 2 + 26
    assert engine.turn(ring._replace(reach=0, retire_after=("true",)), NOW, 0) == (True, "")
    assert len(engine.look(str(tmp_path))) == 3
    assert engine.turn(ring, NOW, 0) == (False, "")
    assert len(engine.look(str(tmp_path))) == 3


def test_keys_of_another_making_go_and_the_staged_one_is_replaced_last(tmp_path, monkeypatch):
    for name in ("0", "1", "007"):
        (tmp_path / name).write_text("random")
    (tmp_path / "readme").write_text("no key")
    wrote: list = []
    pauses: list[float] = []
    write = engine.write

    def noted(*put):
        wrote.append(put[1])
        write(*put)

    monkeypatch.setattr(engine, "write", noted)
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert engine.turn(TOKENS._replace(directory=str(tmp_path)), NOW) == (True, "")
    assert (wrote[-1], pauses) == ("0", [engine.SETTLE])
    assert engine.look(str(tmp_path)) == TOKENS.wanted(NOW)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in TOKENS.wanted(NOW)} == {0o600}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*TOKENS.wanted(NOW), "readme"])


@settings(max_examples=20)
@given(now=moments)
def test_whenever_a_reader_comes_in_a_turn_no_key_is_missing(now, tmp_path_factory):
    """Between any two steps the keys exist that other controllers use before and after their rotation."""
    folder = tmp_path_factory.mktemp("keys")
    ring = TOKENS._replace(directory=str(folder))
    engine.turn(ring, now - DAY, 0)
    seen = [engine.look(str(folder))]
    todo = engine.plan(ring, seen[0], now)
    for name, key in {**todo.add, **todo.replace}.items():
        engine.write(str(folder), name, key)
        seen.append(engine.look(str(folder)))
    signers = [ring.wanted(now - DAY), ring.wanted(now)]
    for keys in seen:
        for signer in signers:
            assert crypto(keys).decrypt(crypto(signer).encrypt(b"token")) == b"token"


def test_a_clock_that_was_never_set_turns_nothing(tmp_path):
    with pytest.raises(engine.KeyRingError, match="clock"):
        engine.turn(TOKENS._replace(directory=str(tmp_path)), 0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node with the repositories of the program, which runs as the user of the tests."""
    repositories = {}
    for purpose, ring in (("fernet", TOKENS), ("credential", CREDENTIALS)):
        (tmp_path / purpose).mkdir()
        repositories[purpose] = {"directory": str(tmp_path / purpose), "seeds": str(SEED), "period": ring.period,
                                 "keep": ring.keep}  # fmt: skip
    config = tmp_path / "keystone-keys.json"
    config.write_text(json.dumps({"user": pwd.getpwuid(os.getuid()).pw_name, "repositories": repositories}))
    monkeypatch.setattr(engine, "CONFIG", str(config))
    monkeypatch.setattr(engine, "become", lambda user: None)
    monkeypatch.setattr(engine, "DOCTOR", ("true",))
    return tmp_path


def test_the_program_turns_then_finds_nothing_to_do(node, capsys, monkeypatch):
    assert engine.main(["--check"]) == 1
    assert str(node / "fernet" / "0") in capsys.readouterr().out
    assert engine.main([]) == 0
    first = {path: path.stat().st_mtime_ns for path in node.rglob("*/*")}
    assert (engine.main(["--check"]), engine.main([])) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in node.rglob("*/*")} == first
    (node / "fernet" / "1").write_text("old")
    monkeypatch.setattr(engine, "DOCTOR", ("sh", "-c", "echo a symptom; exit 1"))
    assert engine.main([]) == 1
    assert "<3>`sh -c echo a symptom; exit 1` ended with 1: a symptom" in capsys.readouterr().out


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"user": "root", "repositories": {"fernet": {"seeds": "x"}}}',
                                    '{"user": "root", "repositories": {"fernet": {"seeds": 1}}}'])  # fmt: skip
def test_the_program_tells_what_is_wrong_with_its_configuration(node, capsys, config):
    Path(engine.CONFIG).write_text(config)
    assert engine.main([]) == 2
    assert capsys.readouterr().out.startswith("<3>")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", False),
        (f"WARNING: {engine.ON_PURPOSE}", False),
        (f"WARNING: {engine.ON_PURPOSE}\nWARNING: another one", True),
        ("Traceback", True),
    ],
)
def test_the_doctor_may_find_what_is_so_on_purpose_and_nothing_else(tmp_path, said, told):
    doctor = tmp_path / "doctor"
    doctor.write_text(f"echo '{said}'\ntest -z '{said}'\n")
    found = engine.symptoms(("sh", str(doctor)))
    assert bool(found) is told
    assert said in found or not told
