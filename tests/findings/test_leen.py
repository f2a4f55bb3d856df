"""Leen's own findings become tickets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_leen.api.models import Finding
from airflow_provider_leen.findings import ticket_from_leen_finding

FINDING = {
    "id": "0b3c",
    "title": "CVE-2021-23337 in lodash",
    "description": "Command injection through templates.",
    "severity": "HIGH",
    "state": "OPEN",
    "type": "DEPENDENCY",
    "first_seen": "2026-01-02T03:04:05+00:00",
    "remediation": "Upgrade lodash to 4.17.21.",
    "product": {"vendor_name": "Snyk", "name": "Open Source"},
    "analytic": {
        "type": "RULE",
        "uid": "js-lodash",
        "name": "Old lodash",
        "url": "https://rules.example.com/js-lodash",
    },
    "resource_related": {
        "affected_code": {
            "file_path": "web/package-lock.json",
            "start_line_number": 12,
            "end_line_number": 14,
            "url": "https://github.com/acme/shop/blob/main/web/package-lock.json#L12",
        },
        "affected_package": {"name": "lodash", "version": "4.17.20"},
    },
    "vulnerabilities": [{"uid": "CVE-2021-23337"}, {"uid": "GHSA-35jh-r3h4-6jhm"}],
    "analytic_output": "lodash@4.17.20 ```",
}


@pytest.mark.parametrize("finding", [FINDING, Finding.model_validate(FINDING)], ids=["JSON", "model"])
def test_a_finding_s_ticket_says_what_where_and_how_to_fix_it(finding: Any) -> None:
    ticket = ticket_from_leen_finding(finding)
    assert ticket["name"] == "CVE-2021-23337 in lodash"
    assert ticket["priority"] == "HIGH"
    assert ticket["identifier"] == "finding-0b3c"
    assert ticket["description"] == (
        "Command injection through templates.\n\n"
        "- **Severity:** HIGH\n"
        "- **Vulnerability:** [CVE-2021-23337](https://nvd.nist.gov/vuln/detail/CVE-2021-23337), GHSA-35jh-r3h4-6jhm\n"
        "- **File:** [`web/package-lock.json`, lines 12 to 14]"
        "(https://github.com/acme/shop/blob/main/web/package-lock.json#L12)\n"
        "- **Package:** lodash 4.17.20\n"
        "- **Rule:** [Old lodash](https://rules.example.com/js-lodash)\n"
        "- **Found by:** Snyk Open Source\n"
        "- **State:** OPEN\n"
        "- **First seen:** 2026-01-02T03:04:05+00:00\n\n"
        "**Fix**\n\nUpgrade lodash to 4.17.21.\n\n"
        "**Evidence**\n\n````\nlodash@4.17.20 ```\n````"
    )


@pytest.mark.parametrize(
    ("severity", "priority"),
    [("CRITICAL", "CRITICAL"), ("fatal", "CRITICAL"), ("Low", "LOW"), ("UNKNOWN", None), (None, None)],
)
def test_a_severity_that_is_none_gives_no_priority(severity: str | None, priority: str | None) -> None:
    assert ticket_from_leen_finding({"id": "1", "severity": severity}).get("priority") == priority


def test_only_the_id_need_be_there() -> None:
    assert ticket_from_leen_finding({"id": "1"}) == {
        "name": "Finding 1",
        "description": "",
        "identifier": "finding-1",
    }


LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*FINDING, "uid", "name"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(list(FINDING)), LOOSE))
def test_a_finding_of_any_shape_gives_a_ticket(finding: Any) -> None:
    assert all(isinstance(text, str) for text in ticket_from_leen_finding(finding).values())
