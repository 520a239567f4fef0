# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Tests of single values: each raises `Refused` with a reason, and with a remedy where it knows one."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from ...module_utils.hardening.rules import RULES
from .role_specs import TRUTHS
from .shape_kinds import Names, Refused, Test, near


def text_of(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    # YAML reads 0750 and 1e3 as numbers, and yes as a truth value.
    raise Refused(f"is not {what}", "write it in quotes" if value is not None else "give it a value, or remove the key")


def boolean(value: Any, names: Names) -> None:
    if not isinstance(value, bool) and str(value).lower() not in TRUTHS:
        raise Refused("is neither true nor false", "write true or false")


def scalar(value: Any, names: Names) -> None:
    if value is None or isinstance(value, list | dict):
        raise Refused("is not a single value", "write text or a number")
    if re.search(r"[\x00-\x1f\x7f]", str(value).rstrip("\n")):
        raise Refused("has more than one line, or control characters", "write it on one line")


def option_value(value: Any, names: Names) -> None:
    # null removes an option, and {} is one without a value.
    if value is not None and value != {}:
        scalar(value, names)


def nothing(value: Any, names: Names) -> None:
    if value is not None:
        raise Refused("is not null")


def quotable(value: Any, names: Names) -> None:
    scalar(value, names)
    if re.search(r'["\\`$]', str(value)):
        raise Refused('holds one of " \\ ` $, which end or change the quoted text that it becomes a part of')


def secret(value: Any, names: Names) -> None:
    if not isinstance(value, str) or not value:
        raise Refused("is not a text", "write it in quotes")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise Refused("has more than one line, or control characters", "use printable characters")


def prefix(version: int | None) -> Test:
    def test(value: Any, names: Names) -> None:
        _no_scope(value)
        try:
            network = ipaddress.ip_network(value)
        except ValueError as error:
            raise Refused(str(error)) from None
        if version and network.version != version:
            raise Refused(f"is not an IPv{version} network")

    return test


def _no_scope(value: Any) -> None:
    """:mod:`ipaddress` takes numbers, and a scope after an address (``fe80::1%eth0``)."""
    if not isinstance(value, str) or "%" in value:
        raise Refused("is not an address or network")


def address(version: int | None) -> Test:
    def test(value: Any, names: Names) -> None:
        _no_scope(value)
        try:
            address = ipaddress.ip_address(value)
        except ValueError as error:
            raise Refused(str(error)) from None
        if version and address.version != version:
            raise Refused(f"is not an IPv{version} address")

    return test


def interface_address(value: Any, names: Names) -> None:
    _no_scope(value)
    try:
        ipaddress.ip_interface(value)
    except ValueError as error:
        raise Refused(str(error)) from None
    if "/" not in value:
        raise Refused("has no prefix length")


DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
"""A DNS name whose labels are letters, digits and hyphens."""
SCHEMES = {"http", "https"}
MIRROR_SCHEMES = SCHEMES | {
    "file",
    "copy",
    "ftp",
    "mirror+http",
    "mirror+https",
    "mirror+file",
    "tor+http",
    "tor+https",
}


def url(schemes: set[str]) -> Test:
    def test(value: Any, names: Names) -> None:
        text = text_of(value, "a URL")
        if re.search(r"[\x00-\x20\x7f]", text):
            raise Refused("is not a URL: it has blanks")
        scheme = text.partition(":")[0] if ":/" in text else ""
        if scheme not in schemes:
            raise Refused(
                f"is not a URL that begins with {' or '.join(f'{word}://' for word in sorted(schemes & SCHEMES))}"
            )
        try:
            parts = urlsplit(text)
            host, _port = parts.hostname, parts.port
        except ValueError:
            # The parser's own words may quote a part of a password.
            raise Refused("is not a URL: its host or port cannot be read") from None
        if scheme.rpartition("+")[2] in ("file", "copy"):
            if not parts.path.startswith("/"):
                raise Refused("has no absolute path")
        elif not host or not (DOMAIN.fullmatch(host) or _is_address(host)):
            raise Refused("has no host name or address after //")

    return test


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def time_zone(value: Any, names: Names) -> None:
    text, known = text_of(value, "a time zone"), _time_zones()
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", text) or (known and text not in known):
        raise Refused("is not the name of a time zone", near(text, known, "write it like Europe/Paris"))


def time_server(value: Any, names: Names) -> None:
    host, *options = text_of(value, "a time server").split(" ")
    if not (DOMAIN.fullmatch(host) or _is_address(host)):
        raise Refused("does not begin with a host name or address")
    if wrong := [word for word in options if not re.fullmatch(r"[A-Za-z0-9.:+-]+", word)]:
        raise Refused(f"has {wrong[0]!r} among chrony's options of a server")


def log_collector(value: Any, names: Names) -> None:
    text = text_of(value, "a host name")
    if not DOMAIN.fullmatch(text) and not _is_address(text):
        raise Refused("is not a host name or address")


def port_range(value: Any, names: Names) -> None:
    first, _dash, last = str(value).partition("-")
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", str(value)):
        raise Refused("is not a port or a range of ports")
    if not 1 <= int(first) <= int(last or first) <= 65535:
        raise Refused("is not a range of ports from 1 to 65535")


def rule(value: Any, names: Names) -> None:
    digits = str(value).removeprefix("R")
    if not digits.isdigit() or int(digits) not in RULES:
        raise Refused(f"is not a rule of ANSSI-BP-028, R1 to R{max(RULES)}", "write it like R39")


def regular_expression(value: Any, names: Names) -> None:
    try:
        re.compile(text_of(value, "a regular expression"))
    except re.error as error:
        raise Refused(f"is not a regular expression: {error}") from None
    quotable(value.replace("\\", "").replace("$", ""), names)


def path_expression(value: Any, names: Names) -> None:
    regular_expression(value.replace('"', "") if isinstance(value, str) else value, names)
    scalar(value, names)
    if not value.startswith("/"):
        raise Refused("does not begin with /, as the paths that AIDE watches do")


def firewall_source(value: Any, names: Names) -> None:
    known = names.groups | {"operators", "clients", "any"}
    if text_of(value, "a group of hosts") not in known:
        raise Refused(
            "is no group of hosts and none of operators, clients, any",
            near(value, known, f"these are known: {', '.join(sorted(known))}"),
        )


def sshd_value(value: Any, names: Names) -> None:
    if isinstance(value, bool):
        raise Refused("is a truth value in YAML, which sshd does not read", "write yes or no in quotes")
    scalar(value, names)


def ovn_remotes(value: Any, names: Names) -> None:
    for part in text_of(value, "a list of OVN databases").split(","):
        found = re.fullmatch(r"(ssl|tcp):(\[?[^\s,\]]+\]?):([0-9]{1,5})", part)
        if not found or not 1 <= int(found[3]) <= 65535:
            raise Refused(f"has {part!r}, which is not ssl:ADDRESS:PORT")


def anything(value: Any, names: Names) -> None:
    return


def mapping(value: Any, names: Names) -> None:
    if not isinstance(value, dict):
        raise Refused("is not a mapping", "write `key: value` lines")


def galera_value(value: Any, names: Names) -> None:
    scalar(value, names)
    if ";" in str(value):
        raise Refused("holds a ;, which ends an option of the Galera provider")


def integer(low: int, high: int) -> Test:
    def test(value: Any, names: Names) -> None:
        # Ansible turns digits in quotes, as those of `-e name=7` are, into a number.
        digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value)
        if isinstance(value, bool) or not (isinstance(value, int) or digits):
            raise Refused("is not a whole number", f"use a number from {low} to {high}")
        if not low <= int(value) <= high:
            raise Refused("is out of range", f"use a number from {low} to {high}")

    return test


def number(low: float, high: float) -> Test:
    def test(value: Any, names: Names) -> None:
        try:
            number = float(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError):
            number = None
        if number is None:
            raise Refused("is not a number", f"use a number from {low:g} to {high:g}")
        if not low <= number <= high:
            raise Refused("is out of range", f"use a number from {low:g} to {high:g}")

    return test


def choice(words: list[str]) -> Test:
    def test(value: Any, names: Names) -> None:
        if value not in words:
            quotes = ", in quotes" if isinstance(value, bool) else ""
            raise Refused("is not one of the choices", f"use {', '.join(words)}{quotes}")

    return test


def sentence(count: int) -> Test:
    def test(value: Any, names: Names) -> None:
        if not isinstance(value, str) or len(value.split()) < count:
            raise Refused(f"is not a sentence of {count} words or more", "say why, so that others can judge it")

    return test
