# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""The audit: content, tailoring, counts, regressions, and the page."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import audit
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit import page as audit_page
from ansible_collections.cloudwatt.socle.plugins.module_utils.audit.security_guide import BY_NAME
from ansible_collections.cloudwatt.socle.plugins.module_utils.hardening.rules import LEVELS, Waiver

GATE = audit.Gate("enhanced", 98, 3, 80)
WAIVER = Waiver("sysctl_net_ipv4_ip_forward", ("gateway",), "It routes <for> tenants.", "A packet filter.")
MEMBERS = {
    "minimal": ["ssh", "only_minimal"],
    "intermediary": ["ssh", "sysctl_net_ipv4_ip_forward"],
    "enhanced": ["ssh", "sysctl_net_ipv4_ip_forward", "sysctl_kernel_sysrq", "auditd"],
    "high": ["ssh", "sysctl_net_ipv4_ip_forward", "sysctl_kernel_sysrq", "auditd", "kernel_config_bug"],
}
CONF = "/etc/keystone/keystone.conf"
GUIDE = {name: {"state": "notapplicable", "why": "", "files": []} for name in BY_NAME} | {
    name: {"state": "pass", "why": f"{CONF}: as wanted", "files": [CONF]} for name in BY_NAME if "Identity" in name
}
LYNIS = {"index": 86, "warnings": [], "suggestions": ["SSH-7408: <change>"]}


@pytest.fixture
def datastream(tmp_path):
    """Return a datastream with the profiles of `MEMBERS`."""
    profiles = "".join(
        f'<Profile id="{audit.PROFILE}{level}">'
        + "".join(f'<select idref="{audit.RULE}{name}" selected="true"/>' for name in names)
        + f'<select idref="{audit.RULE}deselected" selected="false"/></Profile>'
        for level, names in MEMBERS.items()
    )
    rules = "".join(
        f'<Rule id="{audit.RULE}{name}" severity="high"><title>About <b>{name}</b></title>'
        '<reference href="https://cyber.gouv.fr/x">R12</reference><reference href="https://other">1</reference></Rule>'
        for name in sorted({name for names in MEMBERS.values() for name in names} | {"deselected"})
    )
    file = tmp_path / "ds.xml"
    file.write_text(f'<d><Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2">{profiles}{rules}</Benchmark></d>')
    return file


@pytest.fixture
def content(datastream):
    return audit.read_content(str(datastream))


def node(results, **more):
    given = {"name": "gw1", "groups": ("gateway",), "places": (), "results": results, "lynis": LYNIS, "guide": GUIDE}
    return audit.Node(**given | more)


GOOD = {
    "ssh": "pass",
    "sysctl_kernel_sysrq": "pass",
    "auditd": "pass",
    "only_minimal": "pass",
    "kernel_config_bug": "fail",
}


def judge(content, *nodes, before=None, gate=GATE, more=(), expected=()):
    failures = audit.expected(expected, content)
    return audit.report(content, nodes, [WAIVER, *more], gate, before, "now", failures)


def said(**states):
    """Return the guide's results of a node, with other states of some checks, such as identity_07="fail"."""
    names = {f"Check-{name.title().replace('_', '-')}": state for name, state in states.items()}
    return GUIDE | {name: {"state": state, "why": f"{CONF}: <x>", "files": [CONF]} for name, state in names.items()}


def test_content_gives_levels_rules_and_titles(content):
    assert set(content.levels["intermediary"]) == {"ssh", "sysctl_net_ipv4_ip_forward"}
    check = content.checks["auditd"]
    assert (check.title, check.level, check.rules, check.severity) == ("About auditd", "enhanced", ("R12",), "high")
    assert "deselected" not in content.checks


@pytest.mark.parametrize("text", ["", "<d/>", "<d><Benchmark xmlns='http://checklists.nist.gov/xccdf/1.2'/></d>"])
def test_the_stream_of_another_system_is_refused(tmp_path, text):
    file = tmp_path / "ds.xml"
    file.write_text(text)
    with pytest.raises(audit.AuditError, match=r"ds\.xml"):
        audit.read_content(str(file))


def test_the_tailoring_selects_all_levels_but_the_waived(content):
    root = ET.fromstring(audit.tailoring(content, [WAIVER], ["gateway"], {"alias": "a&b"}))
    chosen = {
        item.attrib["idref"].removeprefix(audit.RULE): item.get("selected")
        for item in root.iter(f"{audit.XCCDF}select")
    }
    assert chosen == {"only_minimal": "true", WAIVER.check: "false"}
    assert root.findtext(f".//{audit.XCCDF}set-value") == "a&b"
    [profile] = root.iter(f"{audit.XCCDF}Profile")
    assert profile.get("extends") == f"{audit.PROFILE}high"
    assert WAIVER.check not in audit.tailoring(content, [WAIVER], ["control"], {})


def test_figures_add_up(content):
    found = judge(content, node(GOOD))
    counts = found["nodes"][0]["levels"]
    assert set(counts) == set(LEVELS)
    assert counts["enhanced"] == {
        "checks": 4, "evaluated": 3, "passed": 3, "failed": 0, "waived": 1, "not_live": 0, "not_applicable": 0,
        "rate": 100.0,
    }  # fmt: skip
    assert counts["high"]["failed"] == 1
    assert found["ok"], found["faults"]


def test_what_a_place_cannot_meet_is_told_apart_even_when_it_passes(content):
    found = judge(content, node(GOOD, places=("kernel",)))
    (item,) = [item for item in found["nodes"][0]["findings"] if item["check"] == "sysctl_kernel_sysrq"]
    assert item["state"] == "not live"
    assert found["nodes"][0]["levels"]["enhanced"]["not_live"] == 1


def test_a_judge_that_evaluates_nothing_is_not_believed(content):
    found = judge(content, node(dict.fromkeys(GOOD, "notapplicable")))
    assert not found["ok"]
    assert any("0 checks of enhanced were evaluated" in fault for fault in found["faults"])


def test_a_check_that_was_not_answered_is_a_failure(content):
    found = judge(content, node({name: said for name, said in GOOD.items() if name != "auditd"}))
    assert found["nodes"][0]["levels"]["enhanced"]["failed"] == 1
    assert not found["ok"]


def test_a_regression_is_a_failure_though_the_gate_is_reached(content):
    gate = audit.Gate("enhanced", 0, 0, 0)
    before = judge(content, node(GOOD), gate=gate)
    found = judge(content, node({**GOOD, "auditd": "fail"}), before=before, gate=gate)
    assert found["faults"] == ["gw1: auditd passed and now does not"]
    assert found["nodes"][0]["since"] == {"fail": ["auditd"]}


AUDITD = {"check": "auditd", "groups": ["gateway"], "reason": "No log of the kernel here."}


def test_a_check_that_fails_the_first_time_is_a_failure_though_the_gate_is_reached(content):
    gate = audit.Gate("enhanced", 0, 0, 0)
    for said in ("fail", "error", "unknown"):
        found = judge(content, node({**GOOD, "auditd": said}), gate=gate)
        (fault,) = found["faults"]
        assert fault.startswith("gw1: auditd does not pass: ")
        assert "audit_expected_failures" in fault
    # A failed check of a higher level is a fault only if it has passed before.
    assert judge(content, node(GOOD), gate=gate)["ok"]


def test_only_the_failures_of_its_groups_are_expected_of_a_node(content):
    gate = audit.Gate("enhanced", 0, 0, 0)
    failing = {**GOOD, "auditd": "fail"}
    assert judge(content, node(failing), gate=gate, expected=[AUDITD])["ok"]
    assert judge(content, node(failing), gate=gate, expected=[{**AUDITD, "groups": ["all"]}])["ok"]
    assert not judge(content, node(failing), gate=gate, expected=[{**AUDITD, "groups": ["control"]}])["ok"]


def test_an_expected_failure_that_passes_is_told(content):
    found = judge(content, node(GOOD), expected=[AUDITD])
    assert found["faults"] == ["gw1: auditd passes: take it out of audit_expected_failures"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"check": "moon"}, "moon is no check"),
        ({"groups": []}, "give check, groups and reason"),
        ({"groups": "gateway"}, "give check, groups and reason"),
        ({"reason": "because"}, "in a sentence"),
        ({"until": "2027"}, "nothing else"),
    ],
)
def test_an_expected_failure_has_a_check_groups_and_a_reason(content, wrong, says):
    with pytest.raises(audit.AuditError, match=f"audit_expected_failures: .*{says}"):
        audit.expected([AUDITD | wrong], content)


def test_fewer_evaluated_than_before_is_a_failure(content):
    gate = audit.Gate("enhanced", 0, 0, 0)
    before = judge(content, node(GOOD), gate=gate)
    found = judge(content, node({**GOOD, "auditd": "notapplicable"}), before=before, gate=gate)
    assert found["faults"] == ["gw1: only 2 checks of enhanced were evaluated, after 3 the last time"]


def test_lynis_below_the_gate(content):
    assert "Lynis' index is 70" in judge(content, node(GOOD, lynis={"index": 70}))["faults"][0]


def test_figures_of_the_security_guide_add_up(content):
    waiver = Waiver("Check-Identity-05", ("gateway",), "Tokens are large here.", "HAProxy limits bodies.")
    guide = said(identity_05="fail", identity_08="fail")
    found = judge(content, node(GOOD, guide=guide), more=[waiver])
    (told,) = found["nodes"]
    findings = told["guide"].pop("findings")
    assert told["guide"] == {
        "checks": 54, "evaluated": 6, "passed": 5, "failed": 1, "waived": 1, "not_applicable": 47,
    }  # fmt: skip
    assert found["faults"] == [f"gw1: Check-Identity-08 does not pass: {CONF}: <x>"]
    states = {item["check"]: (item["state"], item["why"], item["files"]) for item in findings}
    assert states["Check-Identity-05"] == ("waived", "Tokens are large here. Instead: HAProxy limits bodies.", [CONF])
    assert states["Check-Identity-08"] == ("fail", f"{CONF}: <x>", [CONF])


def test_a_waiver_of_the_security_guide_is_none_of_the_tailoring(content):
    waiver = Waiver("Check-Identity-05", ("all",), "Tokens are large here.", "HAProxy limits bodies.")
    assert "Identity" not in audit.tailoring(content, [WAIVER, waiver], ["gateway"], {})


def test_a_regression_of_the_security_guide(content):
    before = judge(content, node(GOOD))
    found = judge(content, node(GOOD, guide=said(identity_07="fail")), before=before)
    assert found["faults"] == [f"gw1: Check-Identity-07 passed and now does not: {CONF}: <x>"]
    assert found["nodes"][0]["since"] == {"fail": ["Check-Identity-07"]}


def test_fewer_checks_of_the_security_guide_than_before(content):
    before = judge(content, node(GOOD))
    found = judge(content, node(GOOD, guide=said(identity_07="notapplicable")), before=before)
    assert found["faults"] == ["gw1: only 6 checks of the Security Guide were evaluated, after 7 the last time"]


def test_a_check_of_the_security_guide_that_was_not_answered_is_a_failure(content):
    guide = {name: told for name, told in GUIDE.items() if name != "Check-Identity-07"}
    found = judge(content, node(GOOD, guide=guide))
    assert found["nodes"][0]["guide"]["failed"] == 1
    assert found["faults"] == ["gw1: Check-Identity-07 does not pass: nothing was said of it"]


def test_a_report_from_before_the_security_guide_can_be_compared_with(content):
    before = judge(content, node(GOOD))
    del before["nodes"][0]["guide"]
    assert judge(content, node(GOOD), before=before)["ok"]


def test_no_node_is_no_success(content):
    assert not judge(content)["ok"]


def test_only_the_chosen_checks_are_evaluated():
    everything = audit.scan_argv("ds.xml", "tailoring.xml", "results.xml", [])
    assert "--rule" not in everything
    assert everything[-1] == "ds.xml"
    chosen = audit.scan_argv("ds.xml", "tailoring.xml", "results.xml", ["ssh", f"{audit.RULE}auditd"])
    names = [chosen[place + 1] for place, word in enumerate(chosen) if word == "--rule"]
    assert names == [f"{audit.RULE}ssh", f"{audit.RULE}auditd"]
    assert [word for word in chosen if word not in names and word != "--rule"] == everything


def test_results_are_read_and_unselected_ones_are_not(tmp_path):
    file = tmp_path / "results.xml"
    rows = "".join(
        f'<rule-result idref="{audit.RULE}{name}"><result>{said}</result></rule-result>'
        for name, said in (("a", "pass"), ("b", "notselected"), ("c", "fail"))
    )
    file.write_text(f'<TestResult xmlns="http://checklists.nist.gov/xccdf/1.2">{rows}</TestResult>')
    assert audit.read_results(str(file)) == {"a": "pass", "c": "fail"}
    file.write_text('<TestResult xmlns="http://checklists.nist.gov/xccdf/1.2"/>')
    with pytest.raises(audit.AuditError, match="no check"):
        audit.read_results(str(file))


def test_lynis_report():
    text = "hardening_index=84\nwarning[]=A-1|one|-|\nsuggestion[]=B-2|two|x|\nsuggestion[]=B-3|three|-|\nother=1\n"
    assert audit.read_lynis(text) == {"index": 84, "warnings": ["A-1: one"], "suggestions": ["B-2: two", "B-3: three"]}
    assert audit.read_lynis("")["index"] == 0


class Links(HTMLParser):
    """Collects the links and the text of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key == "href"]

    def handle_data(self, data):
        self.text += data


def test_each_finding_leads_to_its_rule_and_its_waiver(content):
    page = Links()
    report = judge(content, node({**GOOD, "auditd": "fail"}, guide=said(identity_07="fail")))
    page.feed(audit_page.page(report))
    assert f"{audit_page.COMPLIANCE}#r12" in page.links
    assert f"{audit_page.COMPLIANCE}#{WAIVER.check}" in page.links
    assert audit_page.GUIDE in page.links
    assert "It routes <for> tenants." in page.text
    assert "SSH-7408: <change>" in page.text
    assert f"{audit_page.SECURITY_GUIDE}#check-identity-07" in page.links
    assert "https://docs.openstack.org/security-guide/identity/checklist.html" in page.links
    assert f"{CONF}: <x>" in page.text
