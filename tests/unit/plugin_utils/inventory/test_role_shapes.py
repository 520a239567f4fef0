# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Every option of every role has a shape that rejects the values which its reader cannot use."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from plugin_utils.inventory.test_site_rules import Copy, site  # noqa: F401

from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory import (
    host_rules,
    role_shapes,
    role_specs,
    shape_kinds,
    shape_words,
)
from ansible_collections.cloudwatt.socle.plugins.plugin_utils.inventory.variable_rules import OTHER_KEYS

ROOT = Path(__file__).resolve().parents[4]
ROUNDS = 16
PARAMETRIC = r"(integer|number|one of|sentence|name) (.*)"
NOTATIONS = {
    option: notation
    for path in sorted(ROOT.glob("roles/*/meta/shapes.yml"))
    for option, notation in yaml.safe_load(path.read_text()).items()
}
NAMES = shape_kinds.Names(frozenset({"gw1"}), frozenset({"control"}), frozenset({"base"}))

#: Valid and invalid values, by word of the notation.
VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "account": (["nova", "_apt"], ["a b", "no:va", 7, ""]),
    "address": (["10.0.0.1", "fd20::1"], ["10.0.0.256", "fe80::1%eth0", 167772161, "10.0.0.0/24", ""]),
    "address 4": (["10.0.0.1"], ["fd20::1", "ten"]),
    "address 6": (["fd20::1"], ["10.0.0.1", "fd20:::1"]),
    "anything": ([1, "a", [], {}], []),
    "apt option": (["Acquire::http::Proxy", "APT::Get::Assume-Yes"], ["Acquire http", 'a"b', ""]),
    "bind mount": (["/srv", "/srv:/data", "/srv:/data:norbind"], ["srv", "/a b"]),
    "boolean": ([True, "yes", "false"], ["maybe", 2, [], None]),
    "boot password hash": (["grub.pbkdf2.sha512.10000.AB12.CD34"], ["plain", "grub.pbkdf2.sha512.AB.CD"]),
    "check": (["sshd_disable_root_login", "Check-Identity-05"], ["a check", "1", ""]),
    "cluster name": (["fr1"], ["x" * 33, "a b"]),
    "cms option": (["enable-chassis-as-gw", "a=b"], ["a,b", "a b", ""]),
    "component": (["main", "non-free-firmware"], ["main contrib", "Main", ""]),
    "database name": (["nova_api"], ["nova-api", "n`a"]),
    "domain": (["cloud.example"], ["cloud example", "-a.example", "a..b", "x" * 64, 7]),
    "empty": ([""], ["a"]),
    "erlang atom": (["rabbitmq_management"], ["rabbitmq-management", "A"]),
    "firewall source": (["control", "operators", "any"], ["contrl", "10.0.0.0/24", 7]),
    "galera option": (["gcache.size"], ["gcache size", "a=b"]),
    "galera value": (["512M", 4], ["1;repl.x=2", None, ["a"]]),
    "group": (["control"], ["contrl", 7]),
    "host": (["gw1"], ["gw9", 7]),
    "host pattern": (["%", "10.0.0.%"], ["a b", "'"]),
    "identifier": (["openstack", "br-rie"], ["a b", "a/b", "", 7]),
    "interface": (["ens1f0", "bond0.101"], ["x" * 16, "a b", "a/b", ".", 7]),
    "interface address": (["10.0.0.1/24", "fd20::1/64"], ["10.0.0.1", "10.0.0.1/33"]),
    "journald option": (["SystemMaxUse"], ["SystemMaxUze", "system max"]),
    "kernel module": (["vhost_net"], ["vhost net", "a;b"]),
    "kernel parameter": (
        ["net.ipv4.ip_forward", "net/ipv4/conf/eth0.1/forwarding"],
        ["ip forward", "forward", "a.b = 1"],
    ),
    "lab name": (["lab"], ["Lab", "a-b", "x" * 16]),
    "lines": (["one\ntwo"], ["", "a\x00b", 7]),
    "link pattern": (["ens1f0", "en*"], ["a b", "a/b"]),
    "log collector": (["logs.example", "10.0.0.9"], ["logs example", "a_b", 'x" y="', 7]),
    "login": (["ops", "ops@corp.example"], ["a b", "ALL=(ALL)", 7]),
    "mail recipient": (["root@localhost", "ops"], ["a b", '|"/bin/sh"', "a@b@c"]),
    "mapping": ([{}], ["a", [1]]),
    "mirror": (
        ["http://deb.example/debian", "https://user:secret@[::1]:8080/debian", "file:/srv/debian"],
        [
            "deb.example/debian",
            "htp://deb.example",
            "http://",
            "http://a b/",
            "http://deb.example:99999/",
            "file:srv",
            7,
        ],
    ),
    "mode": (["0750", "01777"], [0o750, "750", "0799", "rwxr-x---"]),
    "mount option": (["nosuid", "size=10%"], ["nosuid,nodev", "a b", "x';reboot"]),
    "name": (["public API"], ["", "a\nb", 7]),
    "network section": (["Network", "Link"], ["Netwrk", "a b"]),
    "null": ([None], [0, "", "null"]),
    "openstack name": (["interieur", "ministère"], ["", "x" * 65, 7]),
    "operator path": (["/var/lib/a b", "~/reports", "reports"], ["", "a\nb", 7, " "]),
    "option": (["debug", "ssl-mode"], ["", "a=b", "[a", "a\nb"]),
    "option value": ([None, 1, "a", True, {}], ["a\nb", {"a": 1}]),
    "ovn remotes": (["ssl:10.0.0.1:6641,ssl:10.0.0.2:6641"], ["10.0.0.1:6641", "ssl:10.0.0.1:99999", ""]),
    "ovs key": (["ovn-monitor-all"], ["a b", "", "a=b"]),
    "package": (["openssh-server", "libstdc++6"], ["OpenSSH", "a b", "x", "a;b"]),
    "package version": (["0.1.82-1"], ["newest", "1 2"]),
    "path": (["/etc/socle"], ["etc/socle", "/a b", "/a;reboot", "", 7]),
    "path expression": (["/etc/socle/", "/root/[.]cache"], ["etc", "/a(", "/a\nb"]),
    "port range": ([22, "49152-49215"], [0, 65536, "9-8", "ssh", True, "1-70000"]),
    "prefix": (["10.0.0.0/24", "fd20::/48"], ["10.11.0.0/33", "notanet", "10.0.0.1/24", 7]),
    "prefix 4": (["10.0.0.0/24"], ["fd20::/48", "10.0.0.7/24"]),
    "prefix 6": (["fd20::/48"], ["10.0.0.0/24", "fd20::1/48"]),
    "quotable": (["-F 1", 7, True], ['a"b', "a\nb", "$(x)", None]),
    "rabbitmq key": (["log.file.level", "listeners.ssl.1"], ["log file", "a=b", "#a"]),
    "region": (["fr1"], ["a b", "", 7]),
    "regular expression": (["^linux-image-", "^(a|b)$"], ["(", "a[", 'a"b', 7]),
    "relative path": (["pool/a.deb", "./usr/a"], ["/etc/passwd", "../a", "a b"]),
    "role": (["base"], ["bsae", 7]),
    "rule": (["R39", "39", 39], ["R390", "R0", "rule", "R1.5"]),
    "scalar": ([1, "a", True], [None, "a\nb", ["a"], {"a": 1}]),
    "secret": (["p@ss/w%rd#1:$x"], ["", 7, None, "a\nb", ["a"]]),
    "section": (["DEFAULT", "", "oslo_policy"], ["a]b", "a\nb", "DEFAULTS", "default"]),
    "sha256": (["0" * 64], ["0" * 63, "x" * 64]),
    "site name": (["fr1"], ["La b", "1a"]),
    "sshd option": (["AllowUsers", "X11Forwarding"], ["AlowUsers", "a b"]),
    "sshd value": (["no", 4], [False, None, "a\nb"]),
    "status codes": (["200-399", "200,404"], ["ok", "999"]),
    "suite": (["trixie", "stable/updates"], ["Trixie", "a b", ""]),
    "text": (["a text", ""], ["a\nb", 7]),
    "time server": (
        ["ntp.example iburst", "10.0.0.1 iburst minpoll 4"],
        ["", "_ iburst", "ntp.example  iburst", "server ;", 7],
    ),
    "time zone": (["Europe/Paris", "Etc/UTC"], ["Europe/Pariss", "../../etc/passwd", 7]),
    "unit": (["ssh.service", "console-getty.service"], ["ssh", "a b.service"]),
    "url": (["http://127.0.0.1:8404/health"], ["127.0.0.1:8404", "ftp://a/", "http://a b"]),
    "url path": (["/healthcheck"], ["healthcheck", "/a b", "/a#b"]),
    "url query": (["charset=utf8mb4&ssl_ca=/etc/ca.pem"], ["charset", "a=b c", "a=b&"]),
    "usb rule": (["allow with-interface 03:*:*"], ["permit all", "allow\nblock"]),
    "zero": ([0, "0"], [1, "a"]),
}


def words(notation):
    """Yield the words of a notation, with those of its records."""
    if isinstance(notation, list):
        yield from words(notation[0])
    elif isinstance(notation, dict):
        for key, value in notation.items():
            yield from words(key[1:-1]) if key[0] == "<" else ()
            yield from words(value)
    else:
        for part in notation.split(" | "):
            if part[0] == "[":
                yield from words(part[1:-1])
            elif part in shape_words.RECORDS:
                yield from words(shape_words.RECORDS[part])
            else:
                yield part


def parametric(notation: str) -> list[str]:
    """Return the two parts of a word with a parameter, such as `integer 1..5`."""
    found = re.fullmatch(PARAMETRIC, notation)
    assert found, notation
    return list(found.groups())


def good(notation):
    """Return one valid value."""
    if isinstance(notation, list):
        return [good(notation[0])]
    if isinstance(notation, dict):
        return {good(key[1:-1]) if key[0] == "<" else key.strip("()"): good(value) for key, value in notation.items()}
    if (first := notation.split(" | ")[0]) != notation or first[0] == "[":
        return [good(first[1:-1])] if first[0] == "[" else good(first)
    if notation in shape_words.RECORDS:
        return good(shape_words.RECORDS[notation])
    if notation in VALUES:
        return VALUES[notation][0][0]
    kind, given = parametric(notation)
    if kind in ("integer", "number"):
        return (int if kind == "integer" else float)(given.split("..")[0])
    return {"one of": given.split()[0], "sentence": "one two three four five", "name": "a"}[kind]


def bad(notation):
    """Yield invalid values, each with the path of its fault."""
    if isinstance(notation, list):
        yield (), "text"
        yield from (((0, *path), [value]) for path, value in bad(notation[0]))
        return
    if isinstance(notation, dict):
        yield (), "text"
        sample = good(notation)
        for key, content in notation.items():
            if key[0] == "<":
                yield from (
                    ((name,), {**sample, name: good(content)})
                    for _path, name in bad(key[1:-1])
                    if isinstance(name, str)
                )
                name = good(key[1:-1])
            else:
                name = key.strip("()")
                if name == key:
                    yield (), {other: value for other, value in sample.items() if other != name}
            yield from (((name, *path), {**sample, name: value}) for path, value in bad(content))
        if not any(key[0] == "<" for key in notation):
            yield ("no_such_key",), {**sample, "no_such_key": 1}
        return
    parts = notation.split(" | ")
    if len(parts) > 1 or notation[0] == "[":
        shape = role_shapes.parse(notation)
        for part in parts:
            found = bad([part[1:-1]] if part[0] == "[" else part)
            yield from ((path, value) for path, value in found if list(shape.faults(value, NAMES)))
        return
    if notation in shape_words.RECORDS:
        yield from bad(shape_words.RECORDS[notation])
        return
    if notation in VALUES:
        yield from (((), value) for value in VALUES[notation][1])
        return
    kind, given = parametric(notation)
    if kind in ("integer", "number"):
        low, high = map(float, given.split(".."))
        yield from (((), value) for value in (int(low) - 1, int(high) + 1, "many", True, None))
    else:
        yield from (
            ((), value) for value in {"one of": ["no_such_choice", 7], "sentence": ["why", 7], "name": ["", 7]}[kind]
        )


def test_every_option_of_every_role_has_a_shape():
    """A new option needs one line in roles/ROLE/meta/shapes.yml."""
    paths = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    assert len(paths) > 20
    for path in paths:
        points = yaml.safe_load(path.read_text())["argument_specs"].values()
        options = {name for point in points for name in point.get("options") or {}}
        given = set(yaml.safe_load((path.parent / "shapes.yml").read_text()))
        assert options - given == set(), f"add these to {path.parent}/shapes.yml"
        others = OTHER_KEYS | {name for name in given if name.startswith("ansible_")}
        assert given - options - others == set(), f"{path.parent}/shapes.yml has options that the role has not"


def test_every_word_has_values_to_be_tried_with():
    used = {word for notation in NOTATIONS.values() for word in words(notation)}
    plain = {word for word in used if not re.fullmatch(PARAMETRIC, word)}
    assert plain - VALUES.keys() == set()
    assert plain - shape_words.WORDS.keys() == set()
    assert VALUES.keys() == shape_words.WORDS.keys(), "words that no role uses"
    assert [word for word, (_good, wrong) in VALUES.items() if not wrong] == ["anything"]


@pytest.mark.parametrize("word", sorted(VALUES))
def test_a_word_takes_what_is_right_and_refuses_what_is_wrong(word):
    shape = role_shapes.parse(word)
    assert isinstance(shape, shape_kinds.Leaf)
    right, wrong = VALUES[word]
    assert [fault for value in right for fault in shape.faults(value, NAMES)] == []
    for value in wrong:
        [(path, shown, reason, remedy)] = shape.faults(value, NAMES)
        assert path == ()
        assert reason
        assert remedy
        assert (shown is None) == (value is None or shape.secret)


@pytest.mark.parametrize("option", sorted(NOTATIONS))
def test_a_good_value_of_each_option_passes(option):
    assert list(role_shapes.parse(NOTATIONS[option]).faults(good(NOTATIONS[option]), NAMES)) == []


@pytest.mark.parametrize("option", sorted(NOTATIONS))
def test_each_bad_value_of_each_option_is_refused_where_it_is(option):
    shape = role_shapes.parse(NOTATIONS[option])
    cases = list(bad(NOTATIONS[option]))
    assert bool(cases) == (NOTATIONS[option] != "anything")
    for path, value in cases:
        assert path in [where for where, *_rest in shape.faults(value, NAMES)], f"{value!r} at {path}"


def test_defaults_have_their_shapes():
    known = role_specs.load(ROOT)
    names = shape_kinds.Names(frozenset({"gw1", "gw2"}), frozenset(host_rules.KNOWN_GROUPS), frozenset(known.names))
    shapes = role_shapes.load(ROOT)
    assert known.values
    assert [
        (option, fault) for option, value in known.values.items() for fault in shapes[option].faults(value, names)
    ] == []


def test_a_bad_value_of_each_option_is_a_violation_with_file_line_and_key(site):  # noqa: F811
    """Each round sets all options at once, and each option gets another of its bad values."""
    tried = {
        option: list(islice(bad(notation), ROUNDS))
        for option, notation in NOTATIONS.items()
        if option != "ansible_host"
    }
    assert [option for option, values in tried.items() if not values] == []
    file = site.folder / "group_vars" / "all" / "zz.yml"
    for number in range(ROUNDS):
        chosen = {option: values[number % len(values)] for option, values in tried.items()}
        # JSON is also YAML, and writes each option on one line.
        file.write_text("".join(f"{option}: {json.dumps(value)}\n" for option, (_path, value) in chosen.items()))
        found = site.check()
        for line, (option, (path, value)) in enumerate(chosen.items(), 1):
            mine = [text for text in found if re.match(rf"zz\.yml:{line} {option}\b", text)]
            assert mine, f"{option}: {value!r} at {path} is no violation"


def test_templates_pass_also_inside():
    shape = role_shapes.parse([{"name": "interface", "(mtu)": "mtu"}])
    assert list(shape.faults([{"name": "{{ name }}", "mtu": "{{ mtu }}"}], NAMES)) == []
    assert list(shape.faults("{{ links }}", NAMES)) == []


def test_an_unknown_word_is_told():
    with pytest.raises(ValueError, match="no such word"):
        role_shapes.parse("no such word")
