# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The kernel's counters of segments with a wrong key, and the log lines about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.programs import tcp_md5


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`count(vrf, not_found, failure)`: set the counters in the namespace of a VRF."""
    monkeypatch.setattr(tcp_md5, "RUN", tmp_path / "frr")
    monkeypatch.setattr(tcp_md5, "PROC", tmp_path / "proc")
    pids: dict[str, int] = {}

    def write(vrf: str, not_found: int, failure: int) -> None:
        pid = pids.setdefault(vrf, 100 + len(pids))
        for path in (tmp_path / "frr" / vrf, tmp_path / "proc" / str(pid) / "net"):
            path.mkdir(parents=True, exist_ok=True)
        (tmp_path / "frr" / vrf / "bgpd.pid").write_text(f"{pid}\n")
        (tmp_path / "proc" / str(pid) / "net" / "netstat").write_text(
            "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPZeroWindow\n"
            f"TcpExt: 77 {not_found} 0 {failure} 78\n"
            "IpExt: InNoRoutes TCPMD5Other\nIpExt: 5 6\n"
        )

    return write


def test_counters_have_names(count) -> None:
    count("finances", 1, 3)
    found = tcp_md5.dropped("finances")
    assert found == {"not signed": 1, "signed, and no key is known": 0, "signed with another key": 3}
    assert tcp_md5.words(found) == "TCP MD5, segments dropped: 1 not signed, 3 signed with another key"


def test_a_vrf_without_bgpd_has_none(count, tmp_path: Path) -> None:
    assert tcp_md5.dropped("nowhere") == {}
    count("finances", 1, 1)
    (tmp_path / "frr" / "finances" / "bgpd.pid").write_text("")
    assert tcp_md5.dropped("finances") == {}
    (tmp_path / "frr" / "finances" / "bgpd.pid").write_text("4194304")
    assert tcp_md5.dropped("finances") == {}
    assert tcp_md5.words({}) == ""


def test_only_increases_are_told(count) -> None:
    before: dict[str, dict[str, int]] = {}
    count("finances", 2, 0)
    count("interieur", 0, 0)
    assert list(tcp_md5.increases(before)) == ["VRF finances: TCP MD5, segments dropped: 2 not signed"]
    assert list(tcp_md5.increases(before)) == []
    count("interieur", 0, 4)
    assert list(tcp_md5.increases(before)) == ["VRF interieur: TCP MD5, segments dropped: 4 signed with another key"]
    # The counters of a recreated namespace start at zero.
    count("finances", 0, 1)
    assert list(tcp_md5.increases(before)) == ["VRF finances: TCP MD5, segments dropped: 1 signed with another key"]
