# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Send the probes of a reachability matrix from network namespaces (root, Linux).

Each probe runs in a thread that first enters the namespace, because a network namespace belongs to a thread and not
to the process.
"""

from __future__ import annotations

import ctypes
import errno
import http.client
import json
import os
import secrets
import select
import socket
import struct
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .reachability import satisfied

CLONE_NEWNET = 0x40000000
NETNS_DIRECTORY = "/run/netns"
# linux/in.h and linux/in6.h; the socket module does not export them.
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
#: Seconds that a relaying guest gets for one probe in addition to the wait. Guests run under emulation in the lab.
RELAY_SLACK = 15.0
UNREACHABLE_ERRNO = {
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EACCES,
    errno.EPERM,
    errno.EMSGSIZE,
    errno.EPROTO,
}
RESET_ERRNO = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE}


class ProbeError(Exception):
    """The probe cannot be sent: the namespace or source address does not exist, or the relay fails."""


def enter_netns(name: str) -> None:
    """Move the calling thread into the named network namespace; an empty name means the host's namespace.

    :raises ProbeError: if the namespace does not exist or cannot be entered.
    """
    path = os.path.join(NETNS_DIRECTORY, name) if name else "/proc/1/ns/net"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ProbeError(f"network namespace {name or 'of the host'}: {error.strerror}") from error
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET) != 0:
            raise ProbeError(f"network namespace {name or 'of the host'}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(handle)


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of ``data``."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(family: str, ident: int, sequence: int, size: int) -> bytes:
    """Return an ICMP or ICMPv6 echo request with ``size`` bytes of payload; the kernel fills in the ICMPv6 checksum."""
    kind = 8 if family == "v4" else 128
    payload = (b"socle" * (size // 5 + 1))[:size]
    head = struct.pack("!BBHHH", kind, 0, 0, ident, sequence)
    if family == "v4":
        head = struct.pack("!BBHHH", kind, 0, checksum(head + payload), ident, sequence)
    return head + payload


def read_reply(family: str, packet: bytes, ident: int) -> tuple[str, str] | None:
    """Read an ICMP message: ``("reach", "")``, ``("unreachable", why)``, or None if it does not answer our request."""
    if family == "v4":
        packet = packet[(packet[0] & 0x0F) * 4 :]
        reply, errors, inner = 0, {3: "destination unreachable", 11: "time exceeded"}, 20
    else:
        reply, errors, inner = (
            129,
            {1: "destination unreachable", 2: "packet too big", 3: "time exceeded"},
            40,
        )
    if len(packet) < 8:
        return None
    kind, code = packet[0], packet[1]
    if kind == reply and struct.unpack("!H", packet[4:6])[0] == ident:
        return "reach", ""
    if kind in errors:
        quoted = packet[8:]
        if family == "v4" and quoted:
            inner = (quoted[0] & 0x0F) * 4
        request = quoted[inner : inner + 8]
        if len(request) >= 6 and struct.unpack("!H", request[4:6])[0] == ident:
            return "unreachable", f"{errors[kind]}, code {code}"
    return None


def send_echo(probe: Mapping[str, Any], wait: float) -> dict[str, Any]:
    """Send one echo request with don't-fragment set; return the result seen within ``wait`` seconds."""
    family = probe["family"]
    domain, proto = (
        (socket.AF_INET, socket.IPPROTO_ICMP) if family == "v4" else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    )
    ident = secrets.randbelow(0xFFFF) + 1
    with socket.socket(domain, socket.SOCK_RAW, proto) as sock:
        if family == "v4":
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        _bind(sock, probe["source"])
        started = time.monotonic()
        try:
            sock.sendto(echo_request(family, ident, 1, probe.get("size") or 56), (probe["target"], 0))
        except OSError as error:
            if error.errno in UNREACHABLE_ERRNO:
                return {"outcome": "unreachable", "detail": error.strerror}
            raise ProbeError(str(error.strerror)) from error
        while (left := started + wait - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                break
            try:
                packet, sender = sock.recvfrom(65535)
            except OSError as error:
                return {"outcome": "unreachable", "detail": error.strerror}
            answer = read_reply(family, packet, ident)
            if answer is None or (answer[0] == "reach" and sender[0].split("%")[0] != probe["target"]):
                continue
            detail = answer[1] + (f", from {sender[0]}" if answer[1] else "")
            return {
                "outcome": answer[0],
                "detail": detail,
                "rtt_ms": round((time.monotonic() - started) * 1000, 1),
            }
    return {"outcome": "unreachable", "detail": f"no answer in {wait:g} s"}


def _bind(sock: socket.socket, source: str) -> None:
    try:
        sock.bind((source, 0))
    except OSError as error:
        raise ProbeError(f"source address {source}: {error.strerror}") from error


def fetch(source: str, target: str, path: str, wait: float) -> dict[str, Any]:
    """GET ``http://target/path`` from ``source``: ``{outcome, status, body, detail, rtt_ms}``."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(target, 80, timeout=wait, source_address=(source, 0))
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(65536).decode("utf-8", "replace")
    except TimeoutError:
        return {"outcome": "unreachable", "detail": f"no answer in {wait:g} s"}
    except http.client.HTTPException as error:
        return {"outcome": "refused", "detail": f"not an HTTP answer: {error!r}"}
    except OSError as error:
        if error.errno in RESET_ERRNO:
            return {"outcome": "refused", "detail": error.strerror}
        if error.errno in UNREACHABLE_ERRNO:
            return {"outcome": "unreachable", "detail": error.strerror}
        if error.errno == errno.EADDRNOTAVAIL:
            raise ProbeError(f"source address {source}: {error.strerror}") from error
        raise ProbeError(str(error)) from error
    finally:
        connection.close()
    return {
        "outcome": "reach",
        "status": response.status,
        "body": body,
        "detail": "",
        "rtt_ms": round((time.monotonic() - started) * 1000, 1),
    }


def send_http(probe: Mapping[str, Any], wait: float) -> dict[str, Any]:
    """Ask the target for its name and for the source address that it sees."""
    answer = fetch(probe["source"], probe["target"], "/cgi-bin/whoami", wait)
    if answer["outcome"] == "reach":
        answer.update(read_whoami(answer.pop("status"), answer.pop("body")))
    return answer


def read_whoami(status: int, body: str) -> dict[str, Any]:
    """Return the name and the source address in the guest's answer.

    An answer of another shape is still an answer, but without a name.
    """
    try:
        said = json.loads(body)
        return {"name": said.get("name"), "remote_addr": said.get("remote_addr"), "detail": ""}
    except (ValueError, AttributeError):
        return {"name": None, "remote_addr": None, "detail": f"HTTP {status}, not a smoke guest's answer"}


def send_relayed(probe: Mapping[str, Any], wait: float) -> dict[str, Any]:
    """Let the guest ``via`` send the probe. A relay that fails is an error and never counts as silence."""
    query = urllib.parse.urlencode({"proto": probe["proto"], "target": probe["target"]}, safe=":")
    relay = probe["via"]
    answer = fetch(probe["source"], relay["address"], f"/cgi-bin/probe?{query}", wait + RELAY_SLACK)
    if answer["outcome"] != "reach":
        raise ProbeError(f"relay {relay['name']} at {relay['address']}: {answer['detail'] or answer['outcome']}")
    return read_relayed(answer["status"], answer["body"], relay["name"])


def read_relayed(status: int, body: str, relay: str) -> dict[str, Any]:
    """Read the guest's report ``{name, proto, target, reached, answer}``; for HTTP, ``answer`` is the target's whoami.

    :raises ProbeError: if the relay is not the expected guest or sends something else.
    """
    try:
        said = json.loads(body)
        reached = said["reached"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeError(f"relay {relay}: HTTP {status}, not a probe's answer") from error
    if said.get("name") not in (None, relay):
        raise ProbeError(f"relay {relay}: {said['name']} answered in its place")
    who = said.get("answer") if isinstance(said.get("answer"), dict) else {}
    return {
        "outcome": "reach" if reached else "unreachable",
        "name": who.get("name"),
        "remote_addr": who.get("remote_addr"),
        "detail": "" if reached else f"no answer to {relay}",
        "rtt_ms": None,
    }


def probe_once(probe: Mapping[str, Any], wait: float) -> dict[str, Any]:
    """Enter the probe's namespace, send the probe once and return the result without its id. Never raises."""
    try:
        enter_netns(probe["netns"])
        if probe.get("via"):
            return send_relayed(probe, wait)
        return send_echo(probe, wait) if probe["proto"] == "icmp" else send_http(probe, wait)
    except ProbeError as error:
        return {"outcome": "error", "detail": str(error)}
    except Exception as error:  # a failing probe must not end the others
        return {"outcome": "error", "detail": f"{type(error).__name__}: {error}"}


Sender = Callable[[Mapping[str, Any], float], dict[str, Any]]


def run(
    probes: Sequence[Mapping[str, Any]],
    timeout: float,
    tries: int,
    wait: float,
    workers: int,
    send: Sender = probe_once,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """Send all probes and return their results in the same order.

    The probes that expect an answer come first. They repeat until each has the right answer or ``timeout`` seconds have
    passed. Then the guests are known to be up, and the probes that expect no answer follow: each must stay silent in
    ``tries`` measured tries. A try that fails with an error is repeated, at most as often.

    :param wait: seconds that one try waits for its answer.
    """
    positive = [probe for probe in probes if probe["expect"] == "reach"]
    negative = [probe for probe in probes if probe["expect"] != "reach"]
    results: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:

        def round_of(batch: Iterable[Mapping[str, Any]]) -> None:
            batch = list(batch)
            for probe, result in zip(batch, pool.map(lambda probe: send(probe, wait), batch), strict=True):
                attempts = results.get(probe["id"], {}).get("attempts", 0) + 1
                results[probe["id"]] = {**result, "id": probe["id"], "attempts": attempts}

        deadline, pending = clock() + timeout, positive
        while pending:
            round_of(pending)
            pending = [probe for probe in pending if not satisfied(probe, results[probe["id"]])]
            if not pending or clock() >= deadline:
                break
            sleep(1.0)
        silent = dict.fromkeys((probe["id"] for probe in negative), 0)
        pending = negative
        for _attempt in range(2 * max(1, tries)):
            round_of(pending)
            for probe in pending:
                silent[probe["id"]] += results[probe["id"]]["outcome"] == "unreachable"
            # A single answer is a leak, so that probe ends here. A try with an error is repeated.
            pending = [
                probe
                for probe in pending
                if results[probe["id"]]["outcome"] in ("unreachable", "error") and silent[probe["id"]] < max(1, tries)
            ]
            if not pending:
                break
    return [results[probe["id"]] for probe in probes]
