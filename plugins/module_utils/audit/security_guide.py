# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The 54 active checks of the OpenStack Security Guide, by id, applied to a node's files and sockets.

Pure: :func:`evaluate` takes a :class:`Snapshot` (see security_guide_host). A check tests the *behaviour* of the
service: an option that is not set has its default of OpenStack 2025.1, and an option that a release has removed is
replaced by its successor. Several files of a service are read as oslo.config reads them: the last one that sets an
option wins.

Source: https://docs.openstack.org/security-guide/checklist.html; Identity 04 is obsolete there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .security_guide_facts import COMPUTED, Finding, Options, Snapshot, Unreadable, files, settings
from .security_guide_services import (
    BLOCK,
    COMPUTE,
    DASHBOARD,
    IDENTITY,
    IMAGE,
    KEYS,
    NEUTRON,
    SHARED,
    Service,
    absent,
    ports,
)

GUIDE = "https://docs.openstack.org/security-guide"
BODY_SIZE = 114688
"""Bytes of a request; this is also oslo.middleware's default."""

Test = Callable[[Snapshot], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One check of the guide: a title in our words, the patterns that it reads, and the test.

    ``api``: the check applies to nodes with the API, not to every node of the service.
    """

    service: Service
    number: int
    title: str
    looks_at: str
    test: Test
    api: bool = False

    @property
    def name(self) -> str:
        return f"Check-{self.service.name}-{self.number:02}"

    @property
    def url(self) -> str:
        """Return the page of the guide; only some of its titles have a stable anchor."""
        return f"{GUIDE}/{self.service.page}/checklist.html"


def _owned(service: Service) -> Check:
    def test(snapshot: Snapshot) -> Iterator[Finding]:
        wanted = f"{service.owner}:{service.group}"
        for path in _named(service, snapshot):
            stat = snapshot.stats.get(path)
            found = f"{stat.owner}:{stat.group}" if stat else "nobody, it is not there"
            yield Finding(path, "belongs to", found, wanted, found == wanted)

    what = "the files" if service is DASHBOARD else "the folder and the files"
    title = f"{what.capitalize()} of the configuration belong to {service.owner}:{service.group}"
    return Check(service, 1, title, f"owner of {service.directory}: {', '.join(service.files)}", test)


def _named(service: Service, snapshot: Snapshot) -> list[str]:
    """Return the files that the guide names and this release has, and their folder; the main one must exist."""
    paths = [f"{service.directory}/{file}" for file in service.files]
    there = [path for path in paths if path in snapshot.stats or path == service.main]
    return there if service is DASHBOARD else [service.directory, *there]


def _closed(service: Service) -> Check:
    def test(snapshot: Snapshot) -> Iterator[Finding]:
        folder = snapshot.stats.get(service.directory)
        if folder and not folder.mode & ~0o750 and service is not DASHBOARD and service.main in snapshot.stats:
            yield Finding(service.directory, "has the mode", f"{folder.mode:04o}", "0750 or stricter", True)
            return
        for path in _named(service, snapshot):
            stat, most = snapshot.stats.get(path), 0o750 if path == service.directory else 0o640
            found = f"{stat.mode:04o}" if stat else "none, it is not there"
            yield Finding(path, "has the mode", found, f"{most:04o} or stricter", bool(stat and not stat.mode & ~most))

    if service is DASHBOARD:
        return Check(service, 2, "Others cannot read the configuration", f"mode of {service.main}, at most 0640", test)
    looks_at = f"mode of {service.directory}, at most 0750; else of each file, at most 0640"
    return Check(service, 2, "Others cannot read the configuration", looks_at, test)


def _with_options(service: Service, test: Callable[[Options], Iterable[Finding]]) -> Test:
    return lambda snapshot: test(Options(snapshot, service.config, service.main))


def _strategy(service: Service, section: str = "DEFAULT") -> Check:
    def test(options: Options) -> Iterator[Finding]:
        value = options.get(section, "auth_strategy", "keystone")
        yield value.finding(value.text == "keystone", "keystone")

    looks_at = f"{service.main}: [{section}] auth_strategy"
    return Check(service, 3, "Keystone authenticates every request", looks_at, _with_options(service, test), api=True)


def _authtoken(service: Service) -> Check:
    def test(options: Options) -> Iterator[Finding]:
        section = "keystone_authtoken"
        yield options.https(section, "www_authenticate_uri", (section, "auth_uri"))
        yield options.off(section, "insecure")
        if options.get(section, "auth_url").given:
            yield options.https(section, "auth_url")

    looks_at = f"{service.main}: [keystone_authtoken] www_authenticate_uri, auth_url, insecure"
    title = "Tokens are checked with Keystone over verified TLS"
    return Check(service, 4, title, looks_at, _with_options(service, test), api=True)


def _tls(service: Service, number: int) -> Check:
    def test(snapshot: Snapshot) -> Iterator[Finding]:
        for port in ports(service, snapshot):
            known = snapshot.listeners.get(port, ())
            if not known:
                yield Finding(f"port {port}", "", "nothing listens", "an API over TLS", False)
            for item in known:
                found = f"talks {item.tls}" if item.tls else f"talks no TLS: {item.why}"
                yield Finding(str(item), "", found, "TLS 1.2 or 1.3", bool(item.tls))

    looks_at = f"every socket on the port of the API ({service.port}, or what its configuration says): a TLS handshake"
    return Check(service, number, "The API is served over TLS", looks_at, test, api=True)


def _body_size(service: Service, number: int) -> Check:
    def test(options: Options) -> Iterator[Finding]:
        former = [("DEFAULT", "osapi_max_request_body_size"), ("DEFAULT", "max_request_body_size")]
        value = options.get("oslo_middleware", "max_request_body_size", str(BODY_SIZE), *former)
        yield value.finding(value.text.isdigit() and 0 < int(value.text) <= BODY_SIZE, f"at most {BODY_SIZE}")

    looks_at = f"{service.main}: [oslo_middleware] max_request_body_size, at most {BODY_SIZE} bytes"
    return Check(service, number, "The body of a request is limited", looks_at, _with_options(service, test), api=True)


def _peer(service: Service, number: int, peer: str, section: str, former: str) -> Check:
    """Check a peer that is found through the catalogue, so that only its verification can be disabled."""

    def test(options: Options) -> Iterator[Finding]:
        yield options.off(section, "insecure", ("DEFAULT", former))

    looks_at = f"{service.main}: [{section}] insecure, formerly {former}"
    title = f"{service.title} talks to {peer} over verified TLS"
    return Check(service, number, title, looks_at, _with_options(service, test))


# Identity


def _admin_token(snapshot: Snapshot) -> Iterator[Finding]:
    value = Options(snapshot, IDENTITY.config, IDENTITY.main).get("DEFAULT", "admin_token")
    unset = not value.given or value.text in ("", "<none>")
    yield Finding(value.file, f"{value.name} is", "not set" if unset else "set", "not set", unset)
    for path in files(snapshot, IDENTITY.more):
        lines = [line for line in snapshot.texts[path].splitlines() if not line.lstrip().startswith(("#", ";"))]
        named = any("AdminTokenAuthMiddleware" in line or "filter:admin_token_auth" in line for line in lines)
        yield Finding(path, "admin_token_auth is", "there" if named else "not there", "not there", not named)


def _insecure_debug(options: Options) -> Iterator[Finding]:
    yield options.off("DEFAULT", "insecure_debug")


def _fernet(options: Options) -> Iterator[Finding]:
    value = options.get("token", "provider", "fernet")
    yield value.finding(value.text == "fernet", "fernet")


# Compute


def _nova_glance(options: Options) -> Iterator[Finding]:
    yield options.off("glance", "insecure", ("glance", "api_insecure"))
    # If neither is set, the catalogue has the URL of Glance, and no file of the node shows that it is https.
    given = [name for name in ("api_servers", "endpoint_override") if options.get("glance", name).given]
    for name in given or ["endpoint_override"]:
        yield options.https("glance", name)


# Block Storage


def _cinder_glance(options: Options) -> Iterator[Finding]:
    yield options.off("DEFAULT", "glance_api_insecure")
    yield options.https("DEFAULT", "glance_api_servers")


def _nas(options: Options) -> Iterator[Finding]:
    backends = [name.strip() for name in options.get("DEFAULT", "enabled_backends").text.split(",") if name.strip()]
    for section in dict.fromkeys(["DEFAULT", *backends]):
        for name in ("nas_secure_file_permissions", "nas_secure_file_operations"):
            value = options.get(section, name, "auto")
            if value.given or section == "DEFAULT":
                yield value.finding(value.text.lower() in ("auto", "true"), "auto")


def _encryption(snapshot: Snapshot) -> Iterator[Finding]:
    for service in (BLOCK, COMPUTE):
        if service is COMPUTE and absent(COMPUTE, snapshot):
            continue
        options = Options(snapshot, service.config, service.main)
        value = options.get("key_manager", "backend", "", ("key_manager", "api_class"))
        # The key manager in the configuration file has one fixed key for all users.
        held = value.given and value.text and "conf_key_mgr" not in value.text.lower()
        yield value.finding(bool(held), "a key manager, such as barbican")


# Image


def _glance_strategy(options: Options) -> Iterator[Finding]:
    former = options.get("DEFAULT", "auth_strategy", "keystone")
    if former.given:
        yield former.finding(former.text == "keystone", "keystone")
    value = options.get("paste_deploy", "flavor")
    yield value.finding("keystone" in value.text.split("+"), "keystone, which puts its middleware into the pipeline")


def _port_scans(snapshot: Snapshot) -> Iterator[Finding]:
    for path in files(snapshot, IMAGE.more):
        for rule in _rules(snapshot.texts[path], "copy_from"):
            yield Finding(path, "copy_from is", repr(rule), "a role, such as role:admin", rule not in ("", "@", "[]"))
    # Version 1 of the API with its copy_from no longer exists; this now fetches from an address of the user's choice.
    options = Options(snapshot, IMAGE.config, IMAGE.main)
    methods = options.get("DEFAULT", "enabled_import_methods", "[glance-direct,web-download,copy-image]")
    if "web-download" not in methods.text:
        yield methods.finding(True, "")
        return
    allowed = options.get("import_filtering_opts", "allowed_ports", "[80,443]")
    yield allowed.finding(bool(allowed.text.strip("[] ")), "a few ports, or no web-download in enabled_import_methods")


def _rules(text: str, name: str) -> list[str]:
    """Return the rules that a policy file, JSON or YAML, has for a target."""
    try:
        known = json.loads(text)
        return [str(known[name])] if isinstance(known, dict) and name in known else []
    except ValueError:
        found = re.findall(rf"""^\s*["']?{re.escape(name)}["']?\s*:\s*(.*?)\s*,?\s*$""", text, re.MULTILINE)
        return [item.strip("\"'") for item in found]


# Dashboard


def _setting(number: int, name: str, wanted: Any, default: Any, title: str) -> Check:
    """Return the check of a setting that must have a value; ``default`` applies if it is not set."""

    def test(snapshot: Snapshot) -> Iterator[Finding]:
        value, path = settings(snapshot, DASHBOARD.config, DASHBOARD.main).get(name, (default, ""))
        shown = f"{value!r}" if path else f"not set (by default {value!r})"
        same = type(value) is type(wanted) and value == wanted
        yield Finding(path or DASHBOARD.main, f"{name} is", shown, repr(wanted), same)

    return Check(DASHBOARD, number, title, f"{DASHBOARD.main}: {name}", test)


def _validator(snapshot: Snapshot) -> Iterator[Finding]:
    value, path = settings(snapshot, DASHBOARD.config, DASHBOARD.main).get("PASSWORD_VALIDATOR", ({}, ""))
    regex = value.get("regex", "") if isinstance(value, dict) else ""
    shown = repr(regex) if path else "not set (by default '.*')"
    ok = bool(regex) and regex not in (".*", "^.*$", COMPUTED)
    yield Finding(path or DASHBOARD.main, "PASSWORD_VALIDATOR is", shown, "a regex that not all passwords match", ok)


# Key Manager


def _pipeline(snapshot: Snapshot) -> Iterator[Finding]:
    parsed = Options(snapshot, KEYS.more, KEYS.more[0])
    names = dict.fromkeys([parsed.get("composite:main", "/v1", "barbican-api-keystone").text, "barbican-api-keystone"])
    for name in names:
        value = parsed.get(f"pipeline:{name}", "pipeline")
        yield value.finding("authtoken" in value.text.split(), "authtoken among its filters")


CHECKS: tuple[Check, ...] = (
    _owned(IDENTITY),
    _closed(IDENTITY),
    _tls(IDENTITY, 3),
    _body_size(IDENTITY, 5),
    Check(IDENTITY, 6, "No shared token makes an administrator",
          f"{IDENTITY.main}: [DEFAULT] admin_token; keystone-paste.ini: admin_token_auth", _admin_token),
    Check(IDENTITY, 7, "Answers do not tell why an authentication failed", f"{IDENTITY.main}: [DEFAULT] insecure_debug",
          _with_options(IDENTITY, _insecure_debug)),
    Check(IDENTITY, 8, "Tokens are Fernet tokens", f"{IDENTITY.main}: [token] provider",
          _with_options(IDENTITY, _fernet)),
    _owned(DASHBOARD),
    _closed(DASHBOARD),
    _setting(3, "DISALLOW_IFRAME_EMBED", True, True, "No other page can frame the dashboard"),
    _setting(4, "CSRF_COOKIE_SECURE", True, False, "The cookie against forged requests is sent over TLS only"),
    _setting(5, "SESSION_COOKIE_SECURE", True, False, "The cookie of the session is sent over TLS only"),
    _setting(6, "SESSION_COOKIE_HTTPONLY", True, True, "Scripts cannot read the cookie of the session"),
    _setting(7, "PASSWORD_AUTOCOMPLETE", "off", "off", "Browsers do not keep the password"),
    _setting(8, "DISABLE_PASSWORD_REVEAL", True, False, "A typed password is not shown"),
    _setting(9, "ENFORCE_PASSWORD_CHECK", True, False, "Who changes a password gives the administrator's"),
    Check(DASHBOARD, 10, "Simple passwords are refused", f"{DASHBOARD.main}: PASSWORD_VALIDATOR", _validator),
    _setting(11, "SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https"), None,
             "The dashboard knows from its proxy that the user came over TLS"),
    _owned(COMPUTE),
    _closed(COMPUTE),
    _strategy(COMPUTE, "api"),
    _authtoken(COMPUTE),
    Check(COMPUTE, 5, "Nova talks to Glance over verified TLS",
          f"{COMPUTE.main}: [glance] insecure, endpoint_override (or api_servers)",
          _with_options(COMPUTE, _nova_glance)),
    _owned(BLOCK),
    _closed(BLOCK),
    _strategy(BLOCK),
    _authtoken(BLOCK),
    _peer(BLOCK, 5, "Nova", "nova", "nova_api_insecure"),
    Check(BLOCK, 6, "Cinder talks to Glance over verified TLS",
          f"{BLOCK.main}: [DEFAULT] glance_api_insecure, glance_api_servers", _with_options(BLOCK, _cinder_glance)),
    Check(BLOCK, 7, "Volumes on NFS are not everybody's",
          f"{BLOCK.main}: nas_secure_file_permissions and nas_secure_file_operations of each backend",
          _with_options(BLOCK, _nas)),
    _body_size(BLOCK, 8),
    Check(BLOCK, 9, "Volumes can be encrypted", f"{BLOCK.main} and {COMPUTE.main}: [key_manager] backend", _encryption),
    _owned(IMAGE),
    _closed(IMAGE),
    Check(IMAGE, 3, "Keystone authenticates every request", f"{IMAGE.main}: [paste_deploy] flavor",
          _with_options(IMAGE, _glance_strategy), api=True),
    _authtoken(IMAGE),
    Check(IMAGE, 5, "Nobody scans ports by the download of an image",
          "policy of copy_from; [import_filtering_opts] allowed_ports where web-download is enabled", _port_scans,
          api=True),
    _owned(SHARED),
    _closed(SHARED),
    _strategy(SHARED),
    _authtoken(SHARED),
    _peer(SHARED, 5, "Nova", "nova", "nova_api_insecure"),
    _peer(SHARED, 6, "Neutron", "neutron", "neutron_api_insecure"),
    _peer(SHARED, 7, "Cinder", "cinder", "cinder_api_insecure"),
    _body_size(SHARED, 8),
    _owned(NEUTRON),
    _closed(NEUTRON),
    _strategy(NEUTRON),
    _authtoken(NEUTRON),
    _tls(NEUTRON, 5),
    _owned(KEYS),
    _closed(KEYS),
    Check(KEYS, 3, "Keystone authenticates every request",
          "/etc/barbican/barbican-api-paste.ini: authtoken in the pipeline", _pipeline, api=True),
    _authtoken(KEYS),
)  # fmt: skip
BY_NAME = {check.name: check for check in CHECKS}


def evaluate(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Return every check by its id: ``{state, why, files}``; state is pass, fail or notapplicable, as in XCCDF."""
    return {check.name: _judged(check, snapshot) for check in CHECKS}


def _judged(check: Check, snapshot: Snapshot) -> dict[str, Any]:
    if reason := absent(check.service, snapshot, check.api):
        return {"state": "notapplicable", "why": reason, "files": []}
    try:
        found = list(check.test(snapshot))
    except Unreadable as fault:
        found = [fault.args[0]]
    wrong = [item for item in found if not item.ok]
    told = wrong or found
    return {
        "state": "fail" if wrong or not found else "pass",
        "why": "; ".join(map(str, told)) or "nothing was found to judge",
        "files": list(dict.fromkeys(item.file for item in told)),
    }
