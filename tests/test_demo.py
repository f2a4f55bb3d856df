"""The demo's days: which findings each report has, and that what it shows is checked."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.demo_days import Day, DemoError, check_day, day_lines, three_days

FINDINGS = [
    {"filename": f"shop/{number}.py", "test_id": "B101", "line_number": line}
    for number in range(12)
    for line in ((1,) if number < 8 else (1, 2))
]


def report_of(day: Day) -> dict[str, Any]:
    """What a run says that did as it should."""
    statuses = [status for status, count in day.expected.items() for _ in range(count)]
    rows = [{"status": status, "vendor_ticket_id": "SEC-1", "name": "eval", "identifier": "a"} for status in statuses]
    return {"run": "success", "states": {}, "returned": {"reconcile": {"failed": 0, "results": rows}}}


def test_three_days_have_3_new_2_gone_and_1_back() -> None:
    monday, tuesday, wednesday = three_days(FINDINGS)
    assert len(monday.findings) == len(FINDINGS) - 4

    def named(day: Day) -> set[tuple[str, int]]:
        return {(finding["filename"], finding["line_number"]) for finding in day.findings}

    assert len(named(tuesday) - named(monday)) == len(named(monday) - named(tuesday)) == 1
    assert len(named(tuesday) - named(wednesday)) == 2
    new_or_back = named(wednesday) - named(tuesday)
    assert len(new_or_back) == 4
    assert len(new_or_back & named(monday)) == 1
    for day in (monday, tuesday, wednesday):
        gone = sum(day.expected.get(status, 0) for status in ("closed", "pending"))
        assert sum(day.expected.values()) - gone == len(day.findings)


def test_a_scan_that_finds_next_to_nothing_is_refused() -> None:
    with pytest.raises(DemoError, match="found too little to show: 3 findings"):
        three_days(FINDINGS[:3])


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({}, None),
        ({"run": "failed"}, "ended as 'failed'"),
        ({"returned": {"reconcile": {"results": [{"status": "created"}]}}}, "the results are {'created': 1}"),
        ({"tickets": []}, "holds 0 tickets, and should hold 12"),
        ({"duplicates": {"by_identifier": [{"identifier": "a", "count": 2}]}}, "twice are"),
    ],
)
def test_a_day_is_not_taken_at_its_word(change: dict[str, Any], refusal: str | None) -> None:
    day = three_days(FINDINGS)[0]
    outcome: dict[str, Any] = {"tickets": [{}] * 12, "duplicates": {"by_identifier": []}, **report_of(day), **change}
    tickets, duplicates = outcome.pop("tickets"), outcome.pop("duplicates")
    if refusal is None:
        check_day(day, outcome, tickets, duplicates)
        return
    with pytest.raises(DemoError) as refused:
        check_day(day, outcome, tickets, duplicates)
    assert refusal in str(refused.value)


def test_a_day_s_table_names_what_was_done_and_what_waits() -> None:
    wednesday = three_days(FINDINGS)[2]
    text = "\n".join(day_lines(wednesday, report_of(wednesday)["returned"]["reconcile"], 1))
    for part in (
        "filed         3  in 1 call",
        "known        10",
        "reopened      1",
        "closed        1",
        "pending       1",
    ):
        assert part in text
    assert "after a sync" in text
    assert "none of them twice" in text
    assert "\033" not in text, "colour is for a terminal"
