# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The words of roles/ROLE/meta/shapes.yml: what each takes. A word that is missing is one entry here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from . import value_tests
from .shape_kinds import Leaf, Names, Refused, near


def matching(pattern: str, what: str, example: str, secret: bool = False) -> Leaf:
    """Text that matches ``pattern`` as a whole."""
    compiled = re.compile(pattern)

    def test(value: Any, names: Names) -> None:
        if not compiled.fullmatch(value_tests.text_of(value, what)):
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
        if value_tests.text_of(value, what) not in known:
            raise Refused(f"is not {what}", near(value, known, f"these are known: {', '.join(known)}"))

    return Leaf(what, "", test)


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
    "anything": Leaf("anything", "", value_tests.anything),
    "mapping": Leaf("a mapping", "", value_tests.mapping),
    "boolean": Leaf("true or false", "true", value_tests.boolean),
    "scalar": Leaf("a single value", "1", value_tests.scalar),
    "option value": Leaf("a single value", "1", value_tests.option_value),
    "quotable": Leaf("text without quotes", "-F 1", value_tests.quotable),
    "null": Leaf("null", "null", value_tests.nothing),
    "empty": matching("", "empty", '""'),
    "zero": Leaf("0", "0", value_tests.integer(0, 0)),
    "text": matching(r"[^\x00-\x1f\x7f]*", "text on one line", "a text"),
    "name": matching(r"[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*", "a name on one line", "public API"),
    "lines": matching(r"[^\x00-\x08\x0e-\x1f\x7f]+", "a text", "a text"),
    "identifier": matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}", "a name of letters, digits and _ . -", "openstack"),
    "secret": Leaf("a secret", "", value_tests.secret, secret=True),
    "address": Leaf("an address", "10.0.0.1", value_tests.address(None)),
    "address 4": Leaf("an IPv4 address", "10.0.0.1", value_tests.address(4)),
    "address 6": Leaf("an IPv6 address", "fd20::1", value_tests.address(6)),
    "prefix": Leaf("a network", "10.0.0.0/24", value_tests.prefix(None)),
    "prefix 4": Leaf("an IPv4 network", "10.0.0.0/24", value_tests.prefix(4)),
    "prefix 6": Leaf("an IPv6 network", "fd20::/48", value_tests.prefix(6)),
    "interface address": Leaf(
        "an address with the length of its network", "10.0.0.1/24", value_tests.interface_address
    ),
    "interface": matching(r"(?!\.\.?$)[^\s/:\x00-\x1f]{1,15}", "an interface name", "ens1f0"),
    "link pattern": matching(r"(?!\.\.?$)[^\s/\x00-\x1f]{1,31}", "an interface name", "ens1f0"),
    "domain": matching(value_tests.DOMAIN.pattern, "a DNS name", "cloud.example"),
    "url": Leaf("a URL", "http://127.0.0.1/health", value_tests.url(value_tests.SCHEMES)),
    "mirror": Leaf("the URL of a mirror", "http://deb.debian.org/debian", value_tests.url(value_tests.MIRROR_SCHEMES)),
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
    "rule": Leaf("a rule", "R39", value_tests.rule),
    "kernel parameter": matching(r"[a-z0-9_-]+([./][A-Za-z0-9_*:@-]+)+", "a kernel parameter", "net.ipv4.ip_forward"),
    "kernel module": matching(r"[A-Za-z0-9_-]+", "the name of a kernel module", "vhost_net"),
    "journald option": vocabulary(r"[A-Z][A-Za-z]+", "an option of journald", JOURNALD),
    "network section": vocabulary(r"[A-Z][A-Za-z0-9-]+", "a section of systemd.network", NETWORK_SECTIONS),
    "section": vocabulary(r"[^\x00-\x1f\]]*", "the name of a section", "DEFAULT"),
    "option": matching(r"[^\s=\x00-\x1f#;\[]([^=\x00-\x1f]*[^\s=\x00-\x1f])?", "the name of an option", "debug"),
    "sshd option": vocabulary(r"[A-Za-z][A-Za-z0-9]*", "an option of sshd", SSHD),
    "sshd value": Leaf("a value for sshd", '"no"', value_tests.sshd_value),
    "ovs key": matching(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*", "a key of Open vSwitch", "ovn-monitor-all"),
    "rabbitmq key": matching(r"[a-z0-9_$-]+(\.[A-Za-z0-9_$*:-]+)*", "a key of rabbitmq.conf", "log.file.level"),
    "galera option": matching(r"[a-z_]+(\.[a-z0-9_]+)*", "an option of the Galera provider", "gcache.size"),
    "galera value": Leaf("a value without ;", "512M", value_tests.galera_value),
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
    "time zone": Leaf("a time zone", "Europe/Paris", value_tests.time_zone),
    "time server": Leaf("a time server", "ntp.example iburst", value_tests.time_server),
    "log collector": Leaf("a host name or address", "ctl1.cloud.example", value_tests.log_collector),
    "port range": Leaf("a port or a range of ports", "49152-49215", value_tests.port_range),
    "regular expression": Leaf("a regular expression", "^linux-image-", value_tests.regular_expression),
    "path expression": Leaf("a regular expression of paths", "/etc/socle/", value_tests.path_expression),
    "ovn remotes": Leaf("OVN databases", "ssl:10.0.0.11:6641", value_tests.ovn_remotes),
    "firewall source": Leaf("a group of hosts, or operators, clients, any", "", value_tests.firewall_source),
    "url path": matching(r"/[^\s\"'\\#\x00-\x1f]*", "a path that begins with /", "/healthcheck"),
    "status codes": matching(
        r"[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*", "HTTP status codes", "200-399"
    ),
    "database name": matching(r"[A-Za-z0-9_]{1,64}", "a name of letters, digits and _", "nova_api"),
    "host pattern": matching(r"[A-Za-z0-9_.:%/-]{1,255}", "a host pattern of MariaDB", "10.0.0.%"),
    "host": member("a host of the inventory", lambda names: names.hosts),
    "group": member("a group of the inventory", lambda names: names.groups),
    "role": member("a role of this project", lambda names: names.roles),
}
#: Words with arguments.
PARAMETRIC: dict[str, Callable[[str], Leaf]] = {
    "integer": lambda given: Leaf("a whole number", "", value_tests.integer(*map(int, given.split("..")))),
    "number": lambda given: Leaf("a number", "", value_tests.number(*map(float, given.split("..")))),
    "one of": lambda given: Leaf(f"one of {given}", "", value_tests.choice(given.split())),
    "sentence": lambda given: Leaf("a sentence", "", value_tests.sentence(int(given))),
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
    "catalog domain": {
        "name": "openstack name",
        "administrator": "openstack name",
        "password": "secret",
        "(description)": "text",
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
