# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The gateway half: namespaces, FRR configurations and rulesets, rendered from a plan."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from typing import Any

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.rie import firewall, frr, gateway

VRF: Any = {
    "name": "finances",
    "netns": "vrf-finances",
    "asn": 65010,
    "router_id": "100.67.0.1",
    "cloud": {
        "vlan": 101, "mtu": 1500, "v4": "100.64.0.1/30", "v6": "fd64:0:1::1/64",
        "router_v4": "100.64.0.2", "router_v6": "fd64:0:1::2",
    },
    "rie": {"vlan": 2102, "mtu": 1400, "v4": "100.66.1.6/30", "v6": "fd66:1:2::2/64"},
    "peer": {
        "vlan": 103, "v4": "100.65.0.1/30", "v6": "fd64:0:2::1/126", "gateway": "gw2",
        "neighbor_v4": "100.65.0.2", "neighbor_v6": "fd64:0:2::2",
    },
    "pe": {"asn": 64900, "v4": "100.66.1.5", "v6": "fd66:1:2::1", "max_prefixes": {"v4": 100, "v6": 50}},
    "export": {"v4": ["10.20.1.0/24", "10.20.0.0/24"], "v6": ["fd20:0:2:1::/64"]},
    "accept": {"v4": [{"prefix": "10.128.2.0/24", "le": 28}], "v6": [{"prefix": "fd80:0:2::/48", "le": 48}]},
    "communities": ["65010:1002"],
    "bfd": {"transmit_ms": 300, "receive_ms": 200, "multiplier": 4},
    "timers": {"keepalive": 3, "hold": 9, "connect": 3},
}  # fmt: skip


def vrf(**changes: Any) -> Any:
    """Return the sample VRF with replaced parts."""
    return {**copy.deepcopy(VRF), **changes}


def lines(text: str) -> list[str]:
    """Return the lines without their indentation."""
    return [line.strip() for line in text.splitlines()]


class TestFrr:
    def test_exports_are_exact_sorted_and_numbered(self) -> None:
        found = [line for line in lines(frr.render_frr(VRF)) if line.startswith("ip prefix-list export")]
        assert found == [
            "ip prefix-list export-v4 seq 5 permit 10.20.0.0/24",
            "ip prefix-list export-v4 seq 10 permit 10.20.1.0/24",
        ]

    def test_order_of_the_inventory_does_not_matter(self) -> None:
        turned = vrf(export={"v4": VRF["export"]["v4"][::-1], "v6": VRF["export"]["v6"]})
        assert frr.render_frr(turned) == frr.render_frr(VRF)

    def test_le_only_where_it_is_longer_than_the_prefix(self) -> None:
        text = frr.render_frr(VRF)
        assert "ip prefix-list accept-v4 seq 5 permit 10.128.2.0/24 le 28\n" in text
        assert "ipv6 prefix-list accept-v6 seq 5 permit fd80:0:2::/48\n" in text

    def test_nothing_exported_or_accepted_denies_all(self) -> None:
        text = frr.render_frr(vrf(export={}, accept={}))
        for name in ("ip prefix-list export-v4", "ipv6 prefix-list accept-v6"):
            assert f"{name} seq 5 deny any" in text
        assert " permit 1" not in "\n".join(line for line in lines(text) if "prefix-list" in line and "seq" in line)

    @pytest.mark.parametrize("family", ["v4", "v6"])
    def test_every_session_is_filtered_both_ways(self, family: str) -> None:
        text = frr.render_frr(VRF)
        for address in [VRF["pe"][family], VRF["peer"][f"neighbor_{family}"]]:
            assert re.search(rf"neighbor {re.escape(address)} route-map \S+-{family} in\n", text)
            assert re.search(rf"neighbor {re.escape(address)} route-map \S+-{family} out\n", text)
            assert f" neighbor {address} bfd\n neighbor {address} bfd profile rie\n" in text
        assert f"neighbor {VRF['pe'][family]} maximum-prefix {VRF['pe']['max_prefixes'][family]} restart" in text

    def test_profile_of_the_design(self) -> None:
        text = lines(frr.render_frr(VRF))
        for line in ("frr defaults traditional", "no bgp default ipv4-unicast", "bgp reject-as-sets",
                     "neighbor 100.66.1.5 timers connect 3", "neighbor 100.65.0.2 next-hop-self",
                     "redistribute static route-map static-v4", "set community 65010:1002"):  # fmt: skip
            assert line in text
        assert not any("ttl-security" in line for line in text)

    def test_statics_toward_the_router_are_watched_and_tagged_floating_ones_are_not_redistributed(self) -> None:
        text = frr.render_frr(VRF)
        assert "ip route 10.20.0.0/24 100.64.0.2 cloud tag 100 bfd profile cloud\n" in text
        assert "ip route 10.128.2.0/24 100.65.0.2 peer tag 250 250\n" in text
        assert "route-map static-v4 permit 10\n match ip address prefix-list export-v4\n match tag 100\n" in text

    def test_bfd_defaults_are_left_out(self) -> None:
        text = lines(frr.render_frr(VRF))
        assert "detect-multiplier 4" in text
        assert "receive-interval 200" in text
        assert not any(line.startswith("transmit-interval") for line in text)

    def test_a_pe_with_bfd_of_its_own_has_its_own_profile(self) -> None:
        text = frr.render_frr(vrf(pe={**VRF["pe"], "bfd": {"transmit_ms": 1000, "receive_ms": 300, "multiplier": 5}}))
        for address in (VRF["pe"]["v4"], VRF["pe"]["v6"]):
            assert f" neighbor {address} bfd\n neighbor {address} bfd profile pe\n" in text
        for family in ("v4", "v6"):
            assert f" neighbor {VRF['peer'][f'neighbor_{family}']} bfd profile rie\n" in text
        assert text.count("bfd profile pe\n") == 2
        assert " cloud tag 100 bfd profile cloud\n" in text
        assert (
            "bfd\n profile pe\n  detect-multiplier 5\n  transmit-interval 1000\n exit\n !\n"
            " profile cloud\n  detect-multiplier 4\n  receive-interval 200\n exit\n !\n"
            " profile rie\n  detect-multiplier 4\n  receive-interval 200\n exit\n !\nexit\n"
        ) in text

    def test_a_drained_gateway_asks_both_sides_for_another_way_and_keeps_its_own(self) -> None:
        text, usual = frr.render_frr(VRF, drain="all"), frr.render_frr(VRF)
        more = [line for line in text.splitlines() if line not in usual.splitlines()]
        assert more == [" bgp graceful-shutdown", "  shutdown"]
        assert " profile cloud\n  detect-multiplier 4\n  receive-interval 200\n  shutdown\n exit\n" in text
        assert "graceful-shutdown" not in usual and "shutdown\n" not in usual

    def test_on_the_way_back_the_cloud_is_first(self) -> None:
        text, usual = frr.render_frr(VRF, drain="rie"), frr.render_frr(VRF)
        assert [line for line in text.splitlines() if line not in usual.splitlines()] == [" bgp graceful-shutdown"]
        assert frr.render_frr(VRF, drain="none") == usual

    def test_routes_of_the_pe_are_logged_and_those_of_the_other_gateway_are_not(self) -> None:
        debugs = [line for line in lines(frr.render_frr(VRF)) if line.startswith("debug ")]
        assert debugs == [f"debug bgp updates in {VRF['pe'][family]}" for family in ("v4", "v6")]

    def test_a_pe_that_says_what_all_have_changes_nothing(self) -> None:
        same = {"bfd": VRF["bfd"], "timers": VRF["timers"], "local_role": False, "max_prefixes_out": {}}
        assert frr.render_frr(vrf(pe={**VRF["pe"], **same}, large_communities=[])) == frr.render_frr(VRF)

    def test_a_pe_with_timers_of_its_own(self) -> None:
        text = frr.render_frr(vrf(pe={**VRF["pe"], "timers": {"keepalive": 10, "hold": 30, "connect": 5}}))
        for address in (VRF["pe"]["v4"], VRF["pe"]["v6"]):
            assert f" neighbor {address} timers 10 30\n neighbor {address} timers connect 5\n" in text
        assert text.count("timers 3 9\n") == text.count("timers connect 3\n") == 2

    def test_the_role_of_a_customer_only_where_the_pe_has_roles(self) -> None:
        text = frr.render_frr(vrf(pe={**VRF["pe"], "local_role": True}), "s3cret")
        roles = [line for line in lines(text) if "local-role" in line]
        assert roles == ["neighbor 100.66.1.5 local-role customer", "neighbor fd66:1:2::1 local-role customer"]
        assert "local-role" not in frr.render_frr(VRF)

    def test_our_own_as_once_and_only_where_a_vrf_of_ours_is_imported(self) -> None:
        """Such a route comes back from the provider edge, and from the other gateway with the site's AS in its path."""
        found = [line for line in lines(frr.render_frr(vrf(allow_own_as=True))) if "allowas-in" in line]
        neighbours = ["100.66.1.5", "100.65.0.2", "fd66:1:2::1", "fd64:0:2::2"]
        assert found == [f"neighbor {item} allowas-in 1" for item in neighbours]
        assert "allowas-in" not in frr.render_frr(VRF)

    def test_the_limit_of_announcements(self) -> None:
        text = lines(frr.render_frr(vrf(pe={**VRF["pe"], "max_prefixes_out": {"v4": 7}})))
        assert "neighbor 100.66.1.5 maximum-prefix-out 7" in text
        assert "neighbor fd66:1:2::1 maximum-prefix-out 11" in text

    def test_communities_are_spelt_and_sorted_as_frr_prints_them(self) -> None:
        """FRR 10.3 sorts communities by value, drops duplicates, and prints some by name."""
        given = ["65535:65281", "65010:20", "65535:666", "65010:3", "65010:20", "0:7", "65535:0"]
        large = ["4294967295:0:1", "65010:10:1", "65010:9:1", "65010:9:1"]
        text = frr.render_frr(vrf(communities=given, large_communities=large))
        assert (
            " match ip address prefix-list export-v4\n"
            " set community 0:7 65010:3 65010:20 graceful-shutdown blackhole no-export\n"
            " set large-community 65010:9:1 65010:10:1 4294967295:0:1\nexit\n"
        ) in text
        assert text.count(" set large-community ") == 2

    def test_one_gateway_or_one_family(self) -> None:
        alone = vrf(peer=None)
        alone["pe"].pop("v6")
        text = frr.render_frr(alone)
        assert "100.65.0.2" not in text
        assert "address-family ipv6" not in text

    def test_password_only_toward_the_provider_and_masked(self) -> None:
        text = frr.render_frr(VRF, "s3cret")
        assert text.count("s3cret") == 2
        assert "neighbor 100.66.1.5 password s3cret" in text
        assert "s3cret" not in frr.masked(text)
        assert "s3cret" not in frr.masked("line 3: % Unknown command: neighbor 100.66.1.5 password s3cret")

    def test_daemons_stay_in_the_namespace_and_off_tcp(self) -> None:
        text = frr.render_daemons(VRF)
        assert 'watchfrr_options="--netns=vrf-finances --min-restart-interval 5 --max-restart-interval 120"' in text
        assert text.count('"-P 0') == 5
        assert 'zebra_wrap="/usr/local/lib/socle/start-zebra"' in text
        assert 'mgmtd_wrap="/usr/local/lib/socle/start-mgmtd"' in text
        assert text.startswith(frr.MANAGED)

    def test_unit_requires_the_namespace(self) -> None:
        text = frr.render_drop_in(vrf(name="a-b", netns="vrf-a-b"))
        assert "Requires=socle-netns@vrf-a-b.service\nAfter=socle-netns@vrf-a-b.service" in text


def test_what_a_configuration_announces() -> None:
    assert frr.exported(frr.render_frr(VRF)) == {"10.20.0.0/24", "10.20.1.0/24", "fd20:0:2:1::/64"}
    assert frr.exported(frr.render_frr(vrf(export={}))) == frr.exported(None) == set()


class TestPasswordPrelude:
    """Passwords must change, but must never be an argument of a command."""

    def test_nothing_to_do(self) -> None:
        text = frr.render_frr(VRF, "one")
        assert frr.password_prelude(text, text) == ""
        assert frr.password_prelude("", text) == ""

    def test_change(self) -> None:
        found = frr.password_prelude(frr.render_frr(VRF, "one"), frr.render_frr(VRF, "two"))
        assert "one" not in found
        assert found.startswith("router bgp 65010\n neighbor 100.66.1.5 password two\n")

    def test_removal(self) -> None:
        found = frr.password_prelude(frr.render_frr(VRF, "one"), frr.render_frr(VRF))
        assert " no neighbor 100.66.1.5 password\n" in found
        assert "one" not in found

    def test_neighbor_goes(self) -> None:
        other = vrf(pe={**VRF["pe"], "v4": "100.66.1.9"})
        found = frr.password_prelude(frr.render_frr(VRF, "one"), frr.render_frr(other, "one"))
        assert " no neighbor 100.66.1.5\n" in found

    def test_another_autonomous_system(self) -> None:
        found = frr.password_prelude(frr.render_frr(VRF, "one"), frr.render_frr(vrf(asn=65020), "one"))
        assert found == "no router bgp 65010\n"


class TestRuleset:
    def test_replaces_itself_in_one_transaction(self) -> None:
        text = firewall.render_ruleset(VRF)
        assert "\ntable inet rie\ndelete table inet rie\ntable inet rie {\n" in text
        assert text.count("{") == text.count("}")

    def test_default_is_to_drop(self) -> None:
        text = firewall.render_ruleset(VRF)
        assert text.count("policy drop;") == 2
        assert 'iifname "cloud" ip saddr != @export_v4 jump drop_spoofed' in text
        assert 'iifname "rie" fib saddr oif missing jump drop_urpf' in text

    def test_gtsm_binds_the_gateway_and_not_what_it_forwards(self) -> None:
        found = firewall.render_ruleset(VRF)
        body = found[found.index("chain input") : found.index("chain forward")]
        assert body.count("jump drop_gtsm") == found.count("jump drop_gtsm") == 4
        assert body.index("drop_gtsm") < body.index("tcp dport 179 accept")

    def test_every_drop_is_counted(self) -> None:
        text = firewall.render_ruleset(VRF)
        for drop in firewall.DROPS:
            assert f'counter name "{drop}" drop' in text

    def test_nothing_exported_passes_nothing(self) -> None:
        text = firewall.render_ruleset(vrf(export={"v4": [], "v6": []}))
        assert "elements" not in text

    @pytest.mark.skipif(not shutil.which("nft"), reason="nft is not installed")
    @pytest.mark.parametrize("sample", [VRF, vrf(peer=None), vrf(export={}), vrf(export={"v4": ["10.0.0.0/24"]})])
    def test_nft_accepts_it(self, sample: Any) -> None:
        command = ["unshare", "--net", "nft", "--check", "--file", "-"]
        done = subprocess.run(command, input=firewall.render_ruleset(sample), capture_output=True, text=True)
        if "Operation not permitted" in done.stderr:
            pytest.skip("needs root")
        assert done.returncode == 0, done.stderr


class TestStandby:
    """The transit of the other gateway while that gateway is lost."""

    BOTH = vrf(standby={
        "vlan": 102, "mtu": 1500, "mac": "02:00:00:00:00:01", "gateway": "gw2", "v4": "100.64.0.5/30",
        "v6": "fd64:0:1:1::1/64", "router_v4": "100.64.0.6", "router_v6": "fd64:0:1:1::2",
    })  # fmt: skip

    def test_routes_go_over_both_transits(self) -> None:
        text = frr.render_frr(self.BOTH)
        for link, router in (("cloud", "100.64.0.2"), ("standby", "100.64.0.6")):
            assert f"ip route 10.20.0.0/24 {router} {link} tag 100 bfd profile cloud\n" in text

    def test_it_is_filtered_as_the_other(self) -> None:
        text = firewall.render_ruleset(self.BOTH)
        assert 'iifname { "cloud", "standby" } ip saddr != @export_v4 jump drop_spoofed' in text
        assert 'oifname { "cloud", "standby" } ip6 daddr != @export_v6 jump drop_stray' in text
        assert 'iifname "standby" ip saddr 100.64.0.6 udp dport 3784 ip ttl 255 accept' in text
        assert 'iifname { "cloud", "standby", "peer" } oifname "rie" ip saddr @export_v4 accept' in text

    def test_it_has_the_hardware_address_of_its_twin(self) -> None:
        link = gateway.definition(self.BOTH, "br-rie")["links"][1]
        assert (link["name"], link["host"], link["tag"]) == ("standby", "s-finances", 102)
        assert link["mac"] == "02:00:00:00:00:01"


class TestNamespaces:
    def test_definition(self) -> None:
        found = gateway.definition(VRF, "br-rie", tx_offload=False)
        assert [(link["name"], link["host"], link["tag"], link["mtu"]) for link in found["links"]] == [
            ("cloud", "c-finances", 101, 1500),
            ("rie", "r-finances", 2102, 1400),
            ("peer", "p-finances", 103, 1500),
        ]
        assert found["links"][0]["addresses"] == ["100.64.0.1/30", "fd64:0:1::1/64"]
        assert all(len(link["host"]) <= 15 for link in gateway.definition(vrf(name="a" * 11), "br-rie")["links"])

    def test_sysctls_of_a_router(self) -> None:
        keys = gateway.definition(VRF, "br-rie")["sysctls"]
        assert keys["net.ipv4.ip_forward"] == keys["net.ipv6.conf.all.forwarding"] == "1"
        assert keys["net.ipv4.conf.all.rp_filter"] == keys["net.ipv6.conf.all.accept_ra"] == "0"

    def test_trunks(self) -> None:
        other = vrf(name="interieur", rie={**VRF["rie"], "vlan": 2101}, peer=None)
        assert gateway.trunks([VRF, other], {"rie": "rie0", "peer": "peer0"}) == {"rie0": [2101, 2102], "peer0": [103]}
        assert gateway.trunks([], {"rie": "rie0"}) == {"rie0": []}
