# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Report TCP segments that the kernel dropped for their MD5 signature (RFC 2385), by VRF; the kernel only counts them.

Both a library and a program: on a gateway it runs as ``socle-tcp-md5.service`` and logs every increase. The counters
are those of the namespace of a VRF's bgpd, so they count only its sessions. Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

RUN = Path("/run/frr")
PROC = Path("/proc")
INTERVAL = 10.0
REASONS = {
    "TCPMD5Failure": "signed with another key",
    "TCPMD5NotFound": "not signed",
    "TCPMD5Unexpected": "signed, and no key is known",
}


def dropped(vrf: str) -> dict[str, int]:
    """Return segments dropped since the namespace was created, by reason; {} if the VRF has no bgpd."""
    try:
        pid = int((RUN / vrf / "bgpd.pid").read_text())
        lines = (PROC / str(pid) / "net" / "netstat").read_text().splitlines()
    except (OSError, ValueError):
        return {}
    # A line of names, then one of numbers, each preceded by its protocol.
    found: dict[str, int] = {}
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        pairs = zip(names.split()[1:], numbers.split()[1:], strict=False)
        found |= {REASONS[name]: int(number) for name, number in pairs if name in REASONS}
    return found


def words(counts: Mapping[str, int]) -> str:
    """``3 segments signed with another key, 1 not signed``, or "" if there are none."""
    listed = [f"{count} {reason}" for reason, count in counts.items() if count > 0]
    return f"TCP MD5, segments dropped: {', '.join(listed)}" if listed else ""


def increases(before: dict[str, dict[str, int]]) -> Iterator[str]:
    """Return a line for each VRF that has dropped segments since ``before``, which is updated.

    A VRF seen for the first time starts from zero, so that drops before the first look are reported, too.
    """
    for path in sorted(RUN.glob("*/bgpd.pid")):
        vrf = path.parent.name
        now = dropped(vrf)
        old = before.get(vrf, {})
        if any(now.get(reason, 0) < count for reason, count in old.items()):  # the namespace was recreated
            old = {}
        if said := words({reason: count - old.get(reason, 0) for reason, count in now.items()}):
            yield f"VRF {vrf}: {said}"
        if now:
            before[vrf] = now


def main() -> None:
    """Run forever; printed lines go to the journal and start with their priority."""
    before: dict[str, dict[str, int]] = {}
    while True:
        for line in increases(before):
            print(f"<4>{line}", flush=True)
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
