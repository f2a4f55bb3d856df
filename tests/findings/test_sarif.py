"""SARIF reports become tickets: what a finding's ticket says, and that nothing of a report gets lost."""

from __future__ import annotations

import json
import logging
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.tickets import KeyScope, prepare
from airflow_provider_leen.findings import is_sarif, tickets_from_sarif
from tests.findings.reports import only, read, report, result

DEFAULTS = {"project_vendor_id": "SEC", "type": "Bug"}


def rule(rule_id: str = "R1", **fields: Any) -> dict[str, Any]:
    return {"id": rule_id, **fields}


# Severity


@pytest.mark.parametrize(
    ("found", "described", "priority"),
    [
        ({}, {}, "MEDIUM"),
        ({"level": "error"}, {}, "HIGH"),
        ({"level": "note"}, {"defaultConfiguration": {"level": "error"}}, "LOW"),
        ({"level": "none"}, {}, "INFORMATIONAL"),
        ({"level": ["error"]}, {"defaultConfiguration": {"level": "error"}}, "HIGH"),
        ({"kind": "review"}, {"defaultConfiguration": {"level": "error"}}, "INFORMATIONAL"),
        ({"level": "error"}, {"properties": {"security-severity": "9.8"}}, "CRITICAL"),
        ({"properties": {"security-severity": 7}}, {"properties": {"security-severity": "9.8"}}, "HIGH"),
        ({"properties": {"security-severity": "6.9"}}, {}, "MEDIUM"),
        ({"properties": {"security-severity": " 0.1 "}}, {}, "LOW"),
        ({"properties": {"security-severity": "0.0"}}, {}, "INFORMATIONAL"),
        ({"properties": {"security-severity": "Moderate"}}, {}, "MEDIUM"),
        ({"properties": {"security-severity": "nan"}, "level": "note"}, {}, "LOW"),
        ({"properties": {"security-severity": "11"}, "level": "note"}, {}, "LOW"),
        ({"properties": {"security-severity": True}, "level": "note"}, {}, "LOW"),
    ],
)
def test_the_priority_is_that_of_the_severity_else_of_the_level(found: Any, described: Any, priority: str) -> None:
    assert only(result(**found), rules=[rule(**described)])["priority"] == priority


def test_a_level_may_be_configured_for_the_run() -> None:
    override = {"descriptor": {"index": 0}, "configuration": {"level": "error"}}
    ticket = only(result(), rules=[rule()], invocations=[{"ruleConfigurationOverrides": [override]}])
    assert ticket["priority"] == "HIGH"


def test_equal_findings_share_the_highest_priority() -> None:
    assert only(result(level="note"), result(line=9, level="error"))["priority"] == "HIGH"


# The rule

EXTENSIONS = [{"name": "pack", "guid": "G1", "rules": [rule("E1"), rule("E2", guid="RG", name="second")]}]


@pytest.mark.parametrize(
    ("reference", "rule_id"),
    [
        ({"ruleIndex": 1}, "D2"),
        ({"ruleId": "D2", "ruleIndex": 0}, "D2"),
        ({"ruleId": "E2"}, "E2"),
        ({"rule": {"index": 1, "toolComponent": {"index": 0}}}, "E2"),
        ({"rule": {"index": 1, "toolComponent": {"guid": "G1"}}}, "E2"),
        ({"ruleIndex": 1, "rule": {"toolComponent": {"name": "pack"}}}, "E2"),
        ({"rule": {"guid": "RG"}}, "E2"),
        ({"rule": {"id": "E1"}}, "E1"),
        ({"ruleId": "D2/case"}, "D2/case"),
        ({"ruleId": "unknown", "ruleIndex": 99}, "unknown"),
        ({"rule": {"index": 0, "toolComponent": {"index": 7}}}, "finding"),
        ({}, "finding"),
    ],
)
def test_a_rule_is_found_wherever_the_report_keeps_it(reference: Any, rule_id: str) -> None:
    document = report({"message": {"text": "x"}, **reference}, rules=[rule("D1"), rule("D2", helpUri="https://d2.dev")])
    document["runs"][0]["tool"]["extensions"] = EXTENSIONS
    [ticket] = tickets_from_sarif(document)
    assert ticket["name"].split(":")[0] == rule_id
    assert ("https://d2.dev" in ticket["description"]) is rule_id.startswith("D2")


@pytest.mark.parametrize(
    ("message", "described", "text"),
    [
        ({"text": "Use {0}, {1} and {0}.", "arguments": ["a", "b"]}, {}, "Use a, b and a."),
        ({"text": "{{0}} is {0}", "arguments": ["a"]}, {}, "{0} is a"),
        ({"text": "Braces {0} stay"}, {}, "Braces {0} stay"),
        ({"text": "{5}", "arguments": ["a"]}, {}, "{5}"),
        ({"id": "one", "arguments": [3]}, {"messageStrings": {"one": {"text": "Found {0}"}}}, "Found 3"),
        ({"id": "all"}, {}, "From the tool"),
        ({"text": "plain", "markdown": "**bold**"}, {}, "**bold**"),
        ({"text": "See [this](1) and [that](8)."}, {}, "See [this (src/b.py:3)]"),
        ({"text": r"Not \[a link](1)"}, {}, r"Not \[a link](1)"),
    ],
)
def test_a_message_is_filled_in(message: Any, described: Any, text: str) -> None:
    related = [{"id": 1, "physicalLocation": {"artifactLocation": {"uri": "src/b.py"}, "region": {"startLine": 3}}}]
    document = report(result() | {"message": message, "relatedLocations": related}, rules=[rule(**described)])
    document["runs"][0]["tool"]["driver"]["globalMessageStrings"] = {"all": {"text": "From the tool"}}
    document["runs"][0]["versionControlProvenance"] = [{"repositoryUri": "https://github.com/acme/shop"}]
    [ticket] = tickets_from_sarif(document)
    assert ticket["description"].startswith(text)


@pytest.mark.parametrize(
    ("found", "described"),
    [
        ({"properties": {"tags": ["external/cwe/cwe-079"]}}, {}),
        ({}, {"properties": {"tags": ["security", "CWE-79: Improper Neutralization"]}}),
        ({}, {"properties": {"cwe": ["CWE-79"]}}),
        ({"properties": {"cwe": "79"}}, {}),
        ({"taxa": [{"id": "79", "toolComponent": {"name": "CWE"}}]}, {}),
        ({}, {"relationships": [{"target": {"id": "CWE-79", "toolComponent": {"name": "cwe"}}}]}),
    ],
)
def test_a_weakness_is_found_in_all_its_forms(found: Any, described: Any) -> None:
    description = only(result(**found), rules=[rule(**described)])["description"]
    assert "- **Weakness:** [CWE-79](https://cwe.mitre.org/data/definitions/79.html)\n" in description
    assert "**Tags:** external" not in description


def test_a_ticket_is_safe_with_any_finding() -> None:
    hostile = "x\x00\x1b[31m\u202e\ud800 {{ conn.leen.password }}\r\n# title"
    code = f"a\n````\n{hostile}"
    place = {"uri": "src/`a`](https://evil.example)\n.py"}
    ticket = only(
        result("r\n1", place, code=code, message=hostile, properties={"tags": ["[t](https://e.example)"]}),
        rules=[rule("r\n1", helpUri="javascript:alert(1)")],
    )
    for text in ticket.values():
        assert not {"\x00", "\x1b", "\u202e", "\ud800"} & set(text)
    assert "\n" not in ticket["name"]
    assert "`````\na\n````\n" in ticket["description"]
    assert "javascript" not in ticket["description"]
    assert r"\[t\](https" in ticket["description"]
    json.dumps(ticket).encode()


@pytest.mark.parametrize("size", [300, 100_000])
def test_long_texts_are_cut_to_what_the_tracker_takes(size: int) -> None:
    long = "🔍" * size
    described = rule(long, shortDescription={"text": f"about {long[1:]}"}, help={"text": long})
    ticket = only(result(long, f"src/{long}.py", message=long, code=long), rules=[described])
    assert len(ticket["name"].encode("utf-16-le")) <= 2 * 255
    assert len(ticket["description"].encode("utf-16-le")) <= 2 * 32_767


@pytest.mark.parametrize(
    ("short", "message", "name"),
    [
        ("SQL injection.", "Found", "R1: SQL injection in src/a.py:7"),
        ("Finding: R1", "Found in `x`\nand more", "R1: Found in `x` in src/a.py:7"),
        ("R1: SQL injection", "Found", "R1: SQL injection in src/a.py:7"),
        ("Use of `{library}`", "Use of `md5`", "R1: Use of `md5` in src/a.py:7"),
        (None, "lodash has R1", "R1: lodash has R1 in src/a.py:7"),
        (None, "R1", "R1 in src/a.py:7"),
        (None, None, "R1 in src/a.py:7"),
    ],
)
def test_a_name_says_what_the_rule_is_about_and_where(short: str | None, message: str | None, name: str) -> None:
    assert only(result(message=message), rules=[rule(shortDescription={"text": short})])["name"] == name


def test_what_is_found_at_an_address_has_no_line() -> None:
    ticket = only(result(uri="https://shop.example.com/login?next=(a)"))
    assert ticket["name"] == "R1: Found in https://shop.example.com/login?next=(a)"
    assert "(https://shop.example.com/login?next=%28a%29)\n" in ticket["description"]


# Every result is accounted for


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"suppressions": [{"kind": "inSource"}]}, "suppressed"),
        ({"suppressions": [{"kind": "external", "status": "accepted"}, {"kind": "inSource"}]}, "suppressed"),
        ({"suppressions": [{"kind": "external", "status": "underReview"}]}, None),
        ({"suppressions": [{"kind": "inSource"}, {"kind": "external", "status": "rejected"}]}, None),
        ({"suppressions": []}, None),
        ({"suppressions": None}, None),
        ({"baselineState": "absent"}, "gone since the baseline"),
        ({"baselineState": "unchanged"}, None),
        ({"baselineState": "updated"}, None),
        ({"kind": "pass"}, "without a problem"),
        ({"kind": "notApplicable"}, "without a problem"),
        ({"kind": "informational"}, "without a problem"),
        ({"kind": "open"}, None),
        ({"kind": "fail"}, None),
    ],
)
def test_a_result_that_needs_no_fix_is_counted_and_has_no_ticket(fields: Any, reason: str | None) -> None:
    tickets = read(result(**fields), result("R2"))
    assert tickets.left_out == ({reason: 1} if reason else {})
    assert len(tickets) == (1 if reason else 2)
    assert tickets.findings == 2


@pytest.mark.parametrize("broken", [None, 5, "text", [], [{"ruleId": "R1"}], float("nan"), 10**30])
def test_a_result_that_cannot_be_read_is_an_invalid_row_and_the_others_are_tickets(broken: Any) -> None:
    tickets = read(result(), broken, result("R2"))
    assert tickets.findings == len(tickets) == 3
    rows = prepare(tickets, DEFAULTS, KeyScope("d", "r", "t", -1, "https://api.leen.dev/v1", "c"))
    assert [row.error is None for row in rows] == [True, False, True]
    assert "result 2 of Scanner in run 1, which can't be read" in str(rows[1].error)


@pytest.mark.parametrize("run", [None, 3, {"results": "none"}, {"tool": 5, "results": {"a": 1}}])
def test_a_run_that_cannot_be_read_is_an_invalid_row(run: Any) -> None:
    document = report(result())
    document["runs"].append(run)
    tickets = tickets_from_sarif(document)
    assert len(tickets) == 2
    assert "can't be read" in tickets[1]["name"]["unsendable"]


def test_several_runs_are_read_and_equal_findings_of_them_are_one() -> None:
    document = report(result(), tool="One")
    document["runs"] += report(result(), tool="Two")["runs"] + report(result(line=9), tool="One")["runs"]
    tickets = tickets_from_sarif(document)
    assert [ticket["identifier"].split(":")[0] for ticket in tickets] == ["One", "Two"]
    assert tickets.account == "3 results in the SARIF report: 2 tickets, 1 in the ticket of an equal one."


@pytest.mark.parametrize(
    ("run", "remark"),
    [
        ({"invocations": [{"executionSuccessful": False}]}, "reports that its scan failed"),
        (
            {"invocations": [{"toolExecutionNotifications": [{"level": "error", "message": {"text": "no\nparser"}}]}]},
            "reports 1 error during the scan, the first: no parser",
        ),
        ({"externalPropertyFileReferences": {"results": [{"location": {"uri": "more.sarif"}}]}}, "to other files"),
    ],
)
def test_a_remark_says_what_makes_a_report_incomplete(run: Any, remark: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    [said] = read(result(), **run).remarks
    assert remark in said
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_a_run_without_any_list_of_results_is_remarked_upon() -> None:
    document = report()
    assert tickets_from_sarif(document).remarks == []
    del document["runs"][0]["results"]
    assert "no list of results, not even an empty one" in tickets_from_sarif(document).remarks[0]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "runs",
        {},
        {"runs": {}},
        {"runs": []},
        {"version": "1.0.0", "runs": []},
        {"Results": [], "version": "2"},
    ],
)
def test_a_report_that_is_not_sarif_is_refused_in_a_sentence(document: Any) -> None:
    with pytest.raises(LeenConfigError, match=r"SARIF 2\.1\.0"):
        tickets_from_sarif(document)


def test_a_report_without_a_version_is_known_by_its_schema() -> None:
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": []}
    assert is_sarif(document)
    assert tickets_from_sarif(document).account == "0 results in the SARIF report: 0 tickets."


def test_the_tickets_are_a_plain_list_for_xcom() -> None:
    tickets = read(result())
    assert json.loads(json.dumps(tickets)) == list(tickets)
    assert pickle.loads(pickle.dumps(list(tickets))) == tickets


# Any content of a report

RUN = (
    "tool driver extensions rules results artifacts invocations originalUriBaseIds versionControlProvenance properties"
)
RESULT = (
    "ruleId ruleIndex rule level kind message locations relatedLocations codeFlows threadFlows suppressions taxa fixes"
)
PLACE = "location physicalLocation artifactLocation uri uriBaseId index region contextRegion startLine endLine snippet"
REST = (
    "id guid name toolComponent text markdown arguments messageStrings globalMessageStrings contents logicalLocations"
    " fullyQualifiedName workingDirectory executionSuccessful ruleConfigurationOverrides descriptor configuration"
    " defaultConfiguration provenance invocationIndex tags security-severity cwe relationships target status"
    " baselineState fingerprints partialFingerprints primaryLocationLineHash repositoryUri revisionId mappedTo"
    " analysisTarget help description helpUri shortDescription fullDescription hostedViewerUri workItemUris"
    " externalPropertyFileReferences toolExecutionNotifications"
)
FIELDS = " ".join((RUN, RESULT, PLACE, REST)).split()
KNOWN = [
    "",
    " ",
    "R1",
    "error",
    "fail",
    "absent",
    "a.py",
    "../a",
    "file:///w/a",
    "C:\\a",
    "https://[x",
    "{0} [a](0)",
    "9.8",
]
TEXTS = st.sampled_from(KNOWN) | st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=5),
    max_leaves=40,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=st.lists(VALUES | st.fixed_dictionaries({"results": st.lists(VALUES)}), max_size=3), root=st.none() | TEXTS)
def test_no_report_raises_and_each_result_is_accounted_for(runs: Any, root: str | None) -> None:
    tickets = tickets_from_sarif({"version": "2.1.0", "runs": runs}, root=root)
    results = [len(run["results"]) for run in runs if isinstance(run, dict) and isinstance(run.get("results"), list)]
    unreadable = [ticket for ticket in tickets if not isinstance(ticket["name"], str)]
    assert sum(results) <= tickets.findings <= sum(results) + len(runs)
    good = [ticket for ticket in tickets if isinstance(ticket["name"], str)]
    assert len({ticket["identifier"] for ticket in good}) == len(good) == len(tickets) - len(unreadable)
    json.dumps(tickets).encode()


RESULTS = st.lists(
    st.builds(
        result,
        st.sampled_from(["R1", "R2"]),
        st.sampled_from(["src/a.py", "src/b.py", "/w/a.py", "/w/x/a.py"]),
        st.integers(1, 50),
        code=st.sampled_from(["", "call(a)", "call(b)", "if x:\n    call(a)"]),
        message=st.sampled_from(["Found", "Found it"]),
        partialFingerprints=st.sampled_from([{}, {"h/v1": "0123456789abcdef"}, {"h/v1": "fedcba9876543210"}]),
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=RESULTS, added=st.integers(0, 30), order=st.randoms(use_true_random=False))
def test_identifiers_stay_the_same_when_the_code_moves(found: Any, added: int, order: Any) -> None:
    moved = json.loads(json.dumps(found).replace("/w/", "/other/checkout/"))
    for one in moved:
        one["locations"][0]["physicalLocation"]["region"]["startLine"] += added
    order.shuffle(moved)
    one, other = read(*found), read(*moved)
    assert sorted(ticket["identifier"] for ticket in one) == sorted(ticket["identifier"] for ticket in other)
