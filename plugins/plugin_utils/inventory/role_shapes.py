# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The shape of every option of the roles: roles/ROLE/meta/shapes.yml, and how values are checked against it.

Ansible's argument specifications know types and choices. Ranges, addresses, URLs, paths and names of hosts are beyond
them, and their files may hold no key of ours. So each role has one more file with a line for each option::

    haproxy_connections: integer 100..1000000       # a word of WORDS below, with its arguments
    base_security_mirror: mirror | empty            # either of two
    pki_addresses: [address]                        # a list
    lab_bridges: [{name: interface, (mtu): mtu}]     # mappings with known keys; one in parentheses may be left out
    base_sysctl: {<kernel parameter>: scalar}       # a mapping whose keys have a shape too
    site_waivers: [waiver]                          # a word of RECORDS, which several roles share

A word that is missing is one entry of WORDS. Values that hold Jinja expressions pass, as do the parts of a list or
mapping that do.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...module_utils.hardening.rules import RULES
from ..common.yaml_lines import Path as KeyPath
from .role_specs import TRUTHS, read

Fault = tuple[KeyPath, Any, str, str]
"""Path below the variable, value (None: it is not shown), reason, remedy."""


@dataclass(frozen=True)
class Names:
    """The names that values may refer to."""

    hosts: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()


class Refused(ValueError):
    """A value that its shape refuses: ``reason``, and ``remedy`` where the shape's own does not help."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


Test = Callable[[Any, Names], None]
"""Raises :class:`Refused`."""


class Shape:
    """What a value must look like."""

    what: str

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        raise NotImplementedError

    def takes(self, value: Any) -> bool:
        """Whether a value is of the kind that this shape is about, so that its faults say what to correct."""
        raise NotImplementedError


@dataclass(frozen=True)
class Leaf(Shape):
    """One value that is no list and no mapping."""

    what: str
    example: str
    test: Test
    secret: bool = False

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        if is_template(value):
            return
        try:
            self.test(value, names)
        except Refused as refused:
            shown = None if self.secret else value
            remedy = refused.remedy or (f"write it like {self.example}" if self.example else "correct it")
            yield path, shown, refused.reason, remedy

    def takes(self, value: Any) -> bool:
        return not isinstance(value, list | dict)


@dataclass(frozen=True)
class ListOf(Shape):
    item: Shape
    what: str = "a list"

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        if is_template(value):
            return
        if not isinstance(value, list):
            yield path, value, "is not a list", "write a list"
            return
        for index, element in enumerate(value):
            yield from self.item.faults(element, names, (*path, index))

    def takes(self, value: Any) -> bool:
        return isinstance(value, list)


@dataclass(frozen=True)
class Record(Shape):
    """A mapping: ``fields`` by key, those in ``optional`` may be missing; other keys and values as in ``others``."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    others: tuple[Shape, Shape] | None = None
    what: str = "a mapping"

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        if is_template(value):
            return
        if not isinstance(value, dict):
            yield path, value, "is not a mapping", "write `key: value` lines"
            return
        for key, content in value.items():
            if key in self.fields:
                yield from self.fields[key].faults(content, names, (*path, key))
            elif self.others:
                for _path, shown, reason, remedy in self.others[0].faults(key, names):
                    yield (*path, key), None, f"the key {shown} {reason}", remedy
                yield from self.others[1].faults(content, names, (*path, key))
            else:
                known = f"known keys: {', '.join(sorted(self.fields))}"
                yield (*path, key), None, "unknown key", near(str(key), self.fields, known)
        for key in self.fields.keys() - self.optional - value.keys():
            yield path, None, f"{key} is missing", "add it"

    def takes(self, value: Any) -> bool:
        return isinstance(value, dict)


@dataclass(frozen=True)
class Either(Shape):
    """Any of several; the faults are those of the one that is meant."""

    shapes: tuple[Shape, ...]

    @property
    def what(self) -> str:  # type: ignore[override]
        return " or ".join(shape.what for shape in self.shapes)

    def faults(self, value: Any, names: Names, path: KeyPath = ()) -> Iterator[Fault]:
        tried = [(shape, list(shape.faults(value, names, path))) for shape in self.shapes]
        if all(found for _shape, found in tried):
            meant = [found for shape, found in tried if shape.takes(value)] or [tried[0][1]]
            if len(meant) > 1 and len(meant[0]) == 1:
                [(_path, shown, _reason, remedy)] = meant[0]
                yield path, shown, f"is neither {self.what.replace(' or ', ' nor ')}", remedy
            else:
                yield from meant[0]

    def takes(self, value: Any) -> bool:
        return any(shape.takes(value) for shape in self.shapes)


def is_template(value: Any) -> bool:
    """Whether only Ansible can say what the value is."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the known one that it resembles, or what to do else."""
    found = difflib.get_close_matches(name, sorted(map(str, known)), 1, 0.6)
    return f"did you mean {found[0]}?" if found else otherwise


# --- tests of values ------------------------------------------------------------------------------------


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    # YAML reads 0750 and 1e3 as numbers, and yes as a truth value.
    raise Refused(f"is not {what}", "write it in quotes" if value is not None else "give it a value, or remove the key")


def matching(pattern: str, what: str, example: str, secret: bool = False) -> Leaf:
    """Text that matches ``pattern`` as a whole."""
    compiled = re.compile(pattern)

    def test(value: Any, names: Names) -> None:
        if not compiled.fullmatch(_text(value, what)):
            raise Refused(f"is not {what}")

    return Leaf(what, example, test, secret)


def vocabulary(pattern: str, what: str, known: str) -> Leaf:
    """Text of a form; one that is nearly, but not quite, a known word is a slip. Others may be newer than this list."""
    words = known.split()
    form = matching(pattern, what, words[0])

    def test(value: Any, names: Names) -> None:
        form.test(value, names)
        if value not in words:
            small = {word.lower(): word for word in words}
            if close := difflib.get_close_matches(value.lower(), small, 1, 0.82):
                raise Refused(f"is not {what}", f"did you mean {small[close[0]]}?")

    return Leaf(what, words[0], test)


def member(what: str, of: Callable[[Names], Iterable[str]]) -> Leaf:
    """The name of something that the site or the project has."""

    def test(value: Any, names: Names) -> None:
        known = sorted(of(names))
        if _text(value, what) not in known:
            raise Refused(f"is not {what}", near(value, known, f"these are known: {', '.join(known)}"))

    return Leaf(what, "", test)


def _boolean(value: Any, names: Names) -> None:
    if not isinstance(value, bool) and str(value).lower() not in TRUTHS:
        raise Refused("is neither true nor false", "write true or false")


def _scalar(value: Any, names: Names) -> None:
    if value is None or isinstance(value, list | dict):
        raise Refused("is not a single value", "write text or a number")
    if re.search(r"[\x00-\x1f\x7f]", str(value).rstrip("\n")):
        raise Refused("has more than one line, or control characters", "write it on one line")


def _option_value(value: Any, names: Names) -> None:
    # null removes an option, and {} is one without a value.
    if value is not None and value != {}:
        _scalar(value, names)


def _nothing(value: Any, names: Names) -> None:
    if value is not None:
        raise Refused("is not null")


def _quotable(value: Any, names: Names) -> None:
    _scalar(value, names)
    if re.search(r'["\\`$]', str(value)):
        raise Refused('holds one of " \\ ` $, which end or change the quoted text that it becomes a part of')


def _secret(value: Any, names: Names) -> None:
    if not isinstance(value, str) or not value:
        raise Refused("is not a text", "write it in quotes")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise Refused("has more than one line, or control characters", "use printable characters")


def _prefix(version: int | None) -> Test:
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


def _address(version: int | None) -> Test:
    def test(value: Any, names: Names) -> None:
        _no_scope(value)
        try:
            address = ipaddress.ip_address(value)
        except ValueError as error:
            raise Refused(str(error)) from None
        if version and address.version != version:
            raise Refused(f"is not an IPv{version} address")

    return test


def _interface_address(value: Any, names: Names) -> None:
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


def _url(schemes: set[str]) -> Test:
    def test(value: Any, names: Names) -> None:
        text = _text(value, "a URL")
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


def _time_zone(value: Any, names: Names) -> None:
    text, known = _text(value, "a time zone"), _time_zones()
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", text) or (known and text not in known):
        raise Refused("is not the name of a time zone", near(text, known, "write it like Europe/Paris"))


def _time_server(value: Any, names: Names) -> None:
    host, *options = _text(value, "a time server").split(" ")
    if not (DOMAIN.fullmatch(host) or _is_address(host)):
        raise Refused("does not begin with a host name or address")
    if wrong := [word for word in options if not re.fullmatch(r"[A-Za-z0-9.:+-]+", word)]:
        raise Refused(f"has {wrong[0]!r} among chrony's options of a server")


def _log_collector(value: Any, names: Names) -> None:
    text = _text(value, "a host name")
    if not DOMAIN.fullmatch(text) and not _is_address(text):
        raise Refused("is not a host name or address")


def _port_range(value: Any, names: Names) -> None:
    first, _dash, last = str(value).partition("-")
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", str(value)):
        raise Refused("is not a port or a range of ports")
    if not 1 <= int(first) <= int(last or first) <= 65535:
        raise Refused("is not a range of ports from 1 to 65535")


def _rule(value: Any, names: Names) -> None:
    digits = str(value).removeprefix("R")
    if not digits.isdigit() or int(digits) not in RULES:
        raise Refused(f"is not a rule of ANSSI-BP-028, R1 to R{max(RULES)}", "write it like R39")


def _regular_expression(value: Any, names: Names) -> None:
    try:
        re.compile(_text(value, "a regular expression"))
    except re.error as error:
        raise Refused(f"is not a regular expression: {error}") from None
    _quotable(value.replace("\\", "").replace("$", ""), names)


def _path_expression(value: Any, names: Names) -> None:
    _regular_expression(value.replace('"', "") if isinstance(value, str) else value, names)
    _scalar(value, names)
    if not value.startswith("/"):
        raise Refused("does not begin with /, as the paths that AIDE watches do")


def _firewall_source(value: Any, names: Names) -> None:
    known = names.groups | {"operators", "clients", "any"}
    if _text(value, "a group of hosts") not in known:
        raise Refused(
            "is no group of hosts and none of operators, clients, any",
            near(value, known, f"these are known: {', '.join(sorted(known))}"),
        )


def _sshd_value(value: Any, names: Names) -> None:
    if isinstance(value, bool):
        raise Refused("is a truth value in YAML, which sshd does not read", "write yes or no in quotes")
    _scalar(value, names)


def _ovn_remotes(value: Any, names: Names) -> None:
    for part in _text(value, "a list of OVN databases").split(","):
        found = re.fullmatch(r"(ssl|tcp):(\[?[^\s,\]]+\]?):([0-9]{1,5})", part)
        if not found or not 1 <= int(found[3]) <= 65535:
            raise Refused(f"has {part!r}, which is not ssl:ADDRESS:PORT")


def _anything(value: Any, names: Names) -> None:
    return


def _mapping(value: Any, names: Names) -> None:
    if not isinstance(value, dict):
        raise Refused("is not a mapping", "write `key: value` lines")


SSHD = """
    AcceptEnv AddressFamily AllowAgentForwarding AllowGroups AllowStreamLocalForwarding AllowTcpForwarding AllowUsers
    AuthenticationMethods AuthorizedKeysCommand AuthorizedKeysCommandUser AuthorizedKeysFile AuthorizedPrincipalsCommand
    AuthorizedPrincipalsCommandUser AuthorizedPrincipalsFile Banner CASignatureAlgorithms ChannelTimeout ChrootDirectory
    Ciphers ClientAliveCountMax ClientAliveInterval Compression DebianBanner DenyGroups DenyUsers DisableForwarding
    ExposeAuthInfo FingerprintHash ForceCommand GatewayPorts GSSAPIAuthentication GSSAPICleanupCredentials
    GSSAPIKeyExchange GSSAPIStoreCredentialsOnRekey GSSAPIStrictAcceptorCheck GSSAPIKexAlgorithms
    HostbasedAcceptedAlgorithms
    HostbasedAuthentication HostbasedUsesNameFromPacketOnly HostCertificate HostKey HostKeyAgent HostKeyAlgorithms
    IgnoreRhosts IgnoreUserKnownHosts Include IPQoS KbdInteractiveAuthentication KerberosAuthentication
    KerberosGetAFSToken
    KerberosOrLocalPasswd KerberosTicketCleanup KexAlgorithms ListenAddress LoginGraceTime LogLevel LogVerbose MACs
    MaxAuthTries MaxSessions MaxStartups ModuliFile PasswordAuthentication PermitEmptyPasswords PermitListen PermitOpen
    PermitRootLogin PermitTTY PermitTunnel PermitUserEnvironment PermitUserRC PerSourceMaxStartups PerSourceNetBlockSize
    PerSourcePenalties PerSourcePenaltyExemptList PidFile Port PrintLastLog PrintMotd PubkeyAcceptedAlgorithms
    PubkeyAuthOptions PubkeyAuthentication RDomain RefuseConnection RekeyLimit RequiredRSASize RevokedKeys
    SecurityKeyProvider
    SetEnv SshdAuthPath SshdSessionPath StreamLocalBindMask StreamLocalBindUnlink StrictModes Subsystem SyslogFacility
    TCPKeepAlive TrustedUserCAKeys UnusedConnectionTimeout UseDNS UsePAM VersionAddendum X11DisplayOffset X11Forwarding
    X11UseLocalhost XAuthLocation ChallengeResponseAuthentication
"""
JOURNALD = """
    Audit Compress ForwardToConsole ForwardToKMsg ForwardToSocket ForwardToSyslog ForwardToWall LineMax MaxFileSec
    MaxLevelConsole MaxLevelKMsg MaxLevelSocket MaxLevelStore MaxLevelSyslog MaxLevelWall MaxRetentionSec RateLimitBurst
    RateLimitIntervalSec ReadKMsg RuntimeKeepFree RuntimeMaxFiles RuntimeMaxFileSize RuntimeMaxUse Seal SplitMode
    Storage
    SyncIntervalSec SystemKeepFree SystemMaxFiles SystemMaxFileSize SystemMaxUse TTYPath
"""
NETWORK_SECTIONS = """
    Address Bridge BridgeFDB BridgeMDB BridgeVLAN CAN DHCPPrefixDelegation DHCPServer DHCPServerStaticLease DHCPv4
    DHCPv6
    IPv6AcceptRA IPv6AddressLabel IPv6PREF64Prefix IPv6Prefix IPv6RoutePrefix IPv6SendRA LLDP Link Match Neighbor
    Network
    NextHop Route RoutingPolicyRule SR-IOV
"""

#: Words without arguments.
WORDS: dict[str, Leaf] = {
    "anything": Leaf("anything", "", _anything),
    "mapping": Leaf("a mapping", "", _mapping),
    "boolean": Leaf("true or false", "true", _boolean),
    "scalar": Leaf("a single value", "1", _scalar),
    "option value": Leaf("a single value", "1", _option_value),
    "quotable": Leaf("text without quotes", "-F 1", _quotable),
    "null": Leaf("null", "null", _nothing),
    "empty": matching("", "empty", '""'),
    "zero": Leaf("0", "0", lambda value, names: _integer(0, 0)(value, names)),
    "text": matching(r"[^\x00-\x1f\x7f]*", "text on one line", "a text"),
    "name": matching(r"[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*", "a name on one line", "public API"),
    "lines": matching(r"[^\x00-\x08\x0e-\x1f\x7f]+", "a text", "a text"),
    "identifier": matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}", "a name of letters, digits and _ . -", "openstack"),
    "secret": Leaf("a secret", "", _secret, secret=True),
    "address": Leaf("an address", "10.0.0.1", _address(None)),
    "address 4": Leaf("an IPv4 address", "10.0.0.1", _address(4)),
    "address 6": Leaf("an IPv6 address", "fd20::1", _address(6)),
    "prefix": Leaf("a network", "10.0.0.0/24", _prefix(None)),
    "prefix 4": Leaf("an IPv4 network", "10.0.0.0/24", _prefix(4)),
    "prefix 6": Leaf("an IPv6 network", "fd20::/48", _prefix(6)),
    "interface address": Leaf("an address with the length of its network", "10.0.0.1/24", _interface_address),
    "interface": matching(r"(?!\.\.?$)[^\s/:\x00-\x1f]{1,15}", "an interface name", "ens1f0"),
    "link pattern": matching(r"(?!\.\.?$)[^\s/\x00-\x1f]{1,31}", "an interface name", "ens1f0"),
    "domain": matching(DOMAIN.pattern, "a DNS name", "cloud.example"),
    "url": Leaf("a URL", "http://127.0.0.1/health", _url(SCHEMES)),
    "mirror": Leaf("the URL of a mirror", "http://deb.debian.org/debian", _url(MIRROR_SCHEMES)),
    "url query": matching(
        r"[A-Za-z0-9_.~%/:+-]+=[^\s&#]*(&[A-Za-z0-9_.~%/:+-]+=[^\s&#]*)*", "the query of a URL", "a=1&b=2"
    ),
    "path": matching(r"/[^\s\"'\\`$;|&<>*?(){}\[\]#!\x00-\x1f]*", "an absolute path without blanks", "/etc/socle"),
    "operator path": matching(r"(?!\s)[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f]", "a path", "/var/lib/socle"),
    "relative path": matching(r"(?!/)(?!(.*/)?\.\.(/|$))[^\s\x00-\x1f]+", "a path below another", "pool/main/file.deb"),
    "bind mount": matching(
        r"[+-]?/[^\s:\x00-\x1f]*(:/?[^\s:\x00-\x1f]*(:[a-z,-]+)?)?", "a bind mount", "/srv/data:/data"
    ),
    "package": matching(r"[a-z0-9][a-z0-9.+-]+", "the name of a Debian package", "openssh-server"),
    "package version": matching(r"[0-9][A-Za-z0-9.+~:-]*", "the version of a Debian package", "0.1.82-1"),
    "suite": matching(r"[a-z][a-z0-9.-]*(/[a-z0-9.-]+)*", "the name of a Debian suite", "trixie"),
    "component": matching(r"[a-z][a-z0-9.-]*(/[a-z0-9.-]+)*", "a component of a Debian suite", "non-free-firmware"),
    "apt option": matching(
        r"[A-Za-z0-9][A-Za-z0-9_.*/-]*(::[A-Za-z0-9_.*/-]*)*", "an option of apt", "Acquire::http::Proxy"
    ),
    "sha256": matching(r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits", "cfde…755a"),
    "check": matching(r"[A-Za-z][A-Za-z0-9_-]*", "the name of a check", "sshd_disable_root_login"),
    "rule": Leaf("a rule", "R39", _rule),
    "kernel parameter": matching(r"[a-z0-9_-]+([./][A-Za-z0-9_*:@-]+)+", "a kernel parameter", "net.ipv4.ip_forward"),
    "kernel module": matching(r"[A-Za-z0-9_-]+", "the name of a kernel module", "vhost_net"),
    "journald option": vocabulary(r"[A-Z][A-Za-z]+", "an option of journald", JOURNALD),
    "network section": vocabulary(r"[A-Z][A-Za-z0-9-]+", "a section of systemd.network", NETWORK_SECTIONS),
    "section": vocabulary(r"[^\x00-\x1f\]]*", "the name of a section", "DEFAULT"),
    "option": matching(r"[^\s=\x00-\x1f#;\[]([^=\x00-\x1f]*[^\s=\x00-\x1f])?", "the name of an option", "debug"),
    "sshd option": vocabulary(r"[A-Za-z][A-Za-z0-9]*", "an option of sshd", SSHD),
    "sshd value": Leaf("a value for sshd", '"no"', _sshd_value),
    "ovs key": matching(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*", "a key of Open vSwitch", "ovn-monitor-all"),
    "rabbitmq key": matching(r"[a-z0-9_$-]+(\.[A-Za-z0-9_$*:-]+)*", "a key of rabbitmq.conf", "log.file.level"),
    "galera option": matching(r"[a-z_]+(\.[a-z0-9_]+)*", "an option of the Galera provider", "gcache.size"),
    "galera value": Leaf("a value without ;", "512M", lambda value, names: _galera_value(value, names)),
    "erlang atom": matching(r"[a-z][a-z0-9_]*", "the name of a plugin", "rabbitmq_management"),
    "cms option": matching(
        r"[a-z][a-z0-9-]*(=[^\s,]+)?", "an option without blanks and commas", "enable-chassis-as-gw"
    ),
    "cluster name": matching(r"[A-Za-z0-9_.-]{1,32}", "a name of at most 32 letters, digits and _ . -", "fr1"),
    "lab name": matching(r"[a-z][a-z0-9]{0,14}", "a name of at most 15 small letters and digits", "lab"),
    "site name": matching(r"[a-z][a-z0-9-]{0,30}", "a site name in lower case", "fr1"),
    "region": matching(r"[A-Za-z0-9][\w.-]{0,63}", "a region name", "fr1"),
    "openstack name": matching(r"(?!\s)[^\x00-\x1f\x7f]{1,64}", "a name of at most 64 characters", "interieur"),
    "account": matching(
        r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?", "the name of an account or of a group of accounts", "nova"
    ),
    "login": matching(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,254}", "the name of an account", "ops"),
    "mode": matching(r"0[0-7]{3,4}", "a mode in octal digits", '"0750", in quotes'),
    "mount option": matching(r"[^\s,\"'`$;|&<>()\\]+", "one option of a mount", "nosuid"),
    "unit": matching(
        r"[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|mount|path|target|device|swap|automount|slice|scope)",
        "the name of a unit",
        "ssh.service",
    ),
    "usb rule": matching(
        r"(allow|block|reject|match|#)( [^\x00-\x1f]+)?", "a rule of USBGuard", "allow with-interface 03:*:*"
    ),
    "mail recipient": matching(
        r"[^\s@,:|\"]+(@[^\s@,:|\"]+)?(, ?[^\s@,:|\"]+(@[^\s@,:|\"]+)?)*", "who reads mail", "ops@cloud.example"
    ),
    "boot password hash": matching(
        r"grub\.pbkdf2\.sha512\.[0-9]+\.[0-9A-Fa-f]+\.[0-9A-Fa-f]+",
        "a hash of grub-mkpasswd-pbkdf2",
        "grub.pbkdf2.sha512.10000.…",
        secret=True,
    ),
    "time zone": Leaf("a time zone", "Europe/Paris", _time_zone),
    "time server": Leaf("a time server", "ntp.example iburst", _time_server),
    "log collector": Leaf("a host name or address", "ctl1.cloud.example", _log_collector),
    "port range": Leaf("a port or a range of ports", "49152-49215", _port_range),
    "regular expression": Leaf("a regular expression", "^linux-image-", _regular_expression),
    "path expression": Leaf("a regular expression of paths", "/etc/socle/", _path_expression),
    "ovn remotes": Leaf("OVN databases", "ssl:10.0.0.11:6641", _ovn_remotes),
    "firewall source": Leaf("a group of hosts, or operators, clients, any", "", _firewall_source),
    "host": member("a host of the inventory", lambda names: names.hosts),
    "group": member("a group of the inventory", lambda names: names.groups),
    "role": member("a role of this project", lambda names: names.roles),
}


def _galera_value(value: Any, names: Names) -> None:
    _scalar(value, names)
    if ";" in str(value):
        raise Refused("holds a ;, which ends an option of the Galera provider")


def _integer(low: int, high: int) -> Test:
    def test(value: Any, names: Names) -> None:
        # Ansible turns digits in quotes, as those of `-e name=7` are, into a number.
        digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value)
        if isinstance(value, bool) or not (isinstance(value, int) or digits):
            raise Refused("is not a whole number", f"use a number from {low} to {high}")
        if not low <= int(value) <= high:
            raise Refused("is out of range", f"use a number from {low} to {high}")

    return test


def _number(low: float, high: float) -> Test:
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


def _choice(words: list[str]) -> Test:
    def test(value: Any, names: Names) -> None:
        if value not in words:
            quotes = ", in quotes" if isinstance(value, bool) else ""
            raise Refused("is not one of the choices", f"use {', '.join(words)}{quotes}")

    return test


def _sentence(count: int) -> Test:
    def test(value: Any, names: Names) -> None:
        if not isinstance(value, str) or len(value.split()) < count:
            raise Refused(f"is not a sentence of {count} words or more", "say why, so that others can judge it")

    return test


#: Words with arguments.
PARAMETRIC: dict[str, Callable[[str], Leaf]] = {
    "integer": lambda given: Leaf("a whole number", "", _integer(*map(int, given.split("..")))),
    "number": lambda given: Leaf("a number", "", _number(*map(float, given.split("..")))),
    "one of": lambda given: Leaf(f"one of {given}", "", _choice(given.split())),
    "sentence": lambda given: Leaf("a sentence", "", _sentence(int(given))),
    "name": lambda given: matching(
        rf"(?!\s)[^\x00-\x1f\x7f]{{1,{given}}}", f"a name of at most {given} characters", "fr1"
    ),
}

#: Notations that several roles share.
RECORDS: dict[str, Any] = {
    "port": "integer 1..65535",
    "mtu": "integer 576..65535",
    "options": {"<option>": "option value | [scalar]"},
    "sections": {"<section>": "options | [options] | null"},
    "network sections": {"<network section>": "options | [options]"},
    "waiver": {"check": "check", "groups": ["waived group"], "reason": "sentence 5", "control": "sentence 3"},
    "waived group": "one of all | group",
    "api service": {
        "name": "identifier",
        "unit": "identifier",
        "port": "port",
        "(public)": "boolean",
        "(check_path)": "url path",
        "(members)": ["host"],
        "(check_status)": "status codes",
        "(timeout)": "integer 1..86400",
    },
    "database": {
        "name": "database name",
        "(charset)": "database name",
        "(collation)": "database name",
        "(users)": [
            {
                "name": "identifier",
                "(host)": "host pattern",
                "(password)": "secret",
                "(unix_socket)": "boolean",
                "(privileges)": "text",
                "(require)": "one of NONE SSL X509",
            }
        ],
    },
    "catalog user": {
        "name": "openstack name",
        "password": "secret",
        "(description)": "text",
        "(project)": "openstack name",
        "(roles)": ["openstack name"],
    },
    "catalog service": {
        "name": "openstack name",
        "type": "identifier",
        "(description)": "text",
        "(endpoints)": {"<one of public internal admin>": "url"},
    },
    "openstack login": {
        "auth_url": "url",
        "username": "openstack name",
        "password": "secret",
        "project_name": "openstack name",
        "(user_domain_name)": "openstack name",
        "(project_domain_name)": "openstack name",
        "(cacert)": "path",
    },
    "bfd timers": {
        "(transmit_ms)": "integer 10..60000",
        "(receive_ms)": "integer 10..60000",
        "(multiplier)": "integer 1..255",
    },
}
WORDS |= {
    "url path": matching(r"/[^\s\"'\\#\x00-\x1f]*", "a path that begins with /", "/healthcheck"),
    "status codes": matching(
        r"[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*", "HTTP status codes", "200-399"
    ),
    "database name": matching(r"[A-Za-z0-9_]{1,64}", "a name of letters, digits and _", "nova_api"),
    "host pattern": matching(r"[A-Za-z0-9_.:%/-]{1,255}", "a host pattern of MariaDB", "10.0.0.%"),
}


# --- notation -------------------------------------------------------------------------------------------


def parse(notation: Any) -> Shape:
    """The shape that a notation (see the top of this file) stands for.

    :raises ValueError: a word that is not known.
    """
    if isinstance(notation, list):
        [item] = notation
        return ListOf(parse(item))
    if isinstance(notation, dict):
        fields = {key.strip("()"): parse(value) for key, value in notation.items() if key[0] != "<"}
        others = [(parse(key[1:-1]), parse(value)) for key, value in notation.items() if key[0] == "<"]
        optional = frozenset(key[1:-1] for key in notation if key[0] == "(")
        return Record(fields, optional, others[0] if others else None)
    parts = notation.split(" | ")
    return Either(tuple(map(_word, parts))) if len(parts) > 1 else _word(notation)


@cache
def _word(text: str) -> Shape:
    if text[:1] == "[":
        return ListOf(_word(text[1:-1]))
    if text in WORDS:
        return WORDS[text]
    if text in RECORDS:
        return parse(RECORDS[text])
    for word, make in PARAMETRIC.items():
        if text.startswith(f"{word} "):
            return make(text.removeprefix(f"{word} "))
    raise ValueError(f"shapes.yml: {text!r} is not a word of plugins/plugin_utils/inventory/role_shapes.py")


def load(project: Path) -> dict[str, Shape]:
    """The shapes of all roles of the project, by option."""
    return {
        option: parse(notation)
        for path in sorted(project.glob("roles/*/meta/shapes.yml"))
        for option, notation in read(path).items()
    }
