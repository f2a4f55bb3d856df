"""Reports that scanners wrote of a small source, and of the same source with lines added above in another folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.findings import tickets_from_sarif

DATA = Path(__file__).parent / "data"
SCANNERS = sorted(path.stem for path in (DATA / "before").iterdir())
IDENTIFIER = re.compile(r"[A-Za-z0-9._-]+:[A-Za-z0-9._-]+:[0-9a-f]{24}")


def load(scanner: str, when: str = "before") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / when / f"{scanner}.sarif").read_text())
    return document


@pytest.mark.parametrize("scanner", SCANNERS)
def test_every_finding_is_accounted_for_and_has_its_own_identifier(scanner: str) -> None:
    document = load(scanner)
    tickets = tickets_from_sarif(document)
    assert tickets.findings == sum(len(run["results"]) for run in document["runs"]) > 0
    assert tickets.remarks == []
    identifiers = [ticket["identifier"] for ticket in tickets]
    assert len(set(identifiers)) == len(tickets)
    assert all(IDENTIFIER.fullmatch(identifier) and len(identifier) <= 128 for identifier in identifiers)
    for ticket in tickets:
        assert ticket["name"].isprintable()
        assert len(ticket["name"]) <= 255
        assert ticket["priority"] in ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL")
        assert ticket["description"].count("\n```") % 2 == 0


@pytest.mark.parametrize("scanner", SCANNERS)
def test_lines_added_above_and_another_checkout_change_no_identifier(scanner: str) -> None:
    before, after = (tickets_from_sarif(load(scanner, when)) for when in ("before", "after"))
    assert sorted(one["identifier"] for one in before) == sorted(one["identifier"] for one in after)
    assert "/home/ci" not in json.dumps(before)


def test_what_semgrep_without_a_licence_writes_in_place_of_fingerprints_is_not_used() -> None:
    tickets = tickets_from_sarif(load("semgrep"))
    assert tickets.left_out == {"suppressed": 1, "in the ticket of an equal one": 1}
    assert len(tickets) == 5
    assert tickets.account == (
        "7 results in the SARIF report: 5 tickets, 1 suppressed, 1 in the ticket of an equal one."
    )


def test_a_ticket_says_what_where_why_and_how_severe() -> None:
    tickets = tickets_from_sarif(load("semgrep"))
    [ticket] = [ticket for ticket in tickets if "`" * 4 in ticket["description"]]
    assert ticket["name"] == (
        'rules.shell-true: A command runs through a shell (`f"{command} ```"`). Pass a list instead in src/app.py:11'
    )
    assert ticket["priority"] == "HIGH"
    assert ticket["description"].split("\n\n")[1:3] == [
        "- **File:** `src/app.py`, line 11\n"
        "- **Rule:** `rules.shell-true`\n"
        "- **Severity:** HIGH (8.1)\n"
        "- **Weakness:** [CWE-78](https://cwe.mitre.org/data/definitions/78.html)\n"
        "- **Tags:** OWASP-A03:2021 - Injection, security\n"
        "- **Tool:** Semgrep OSS",
        '````\n    subprocess.call(f"{command} ```", shell=True)\n````',
    ]
    assert "**About this rule**" in ticket["description"]


def test_equal_findings_of_one_file_are_one_ticket_that_lists_the_places() -> None:
    [ticket] = [one for one in tickets_from_sarif(load("bandit")) if "more place" in one["name"]]
    assert ticket["name"].endswith(" in src/app.py:6 and 1 more place")
    assert "**Places**\n\n- `src/app.py`, line 6\n- `src/app.py`, line 10" in ticket["description"]
