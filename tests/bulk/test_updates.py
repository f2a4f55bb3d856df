"""Changing tickets alike: what is read, the result of each id, and the error a task ends with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenOutcomeUnknownError,
    LeenThresholdError,
)
from airflow_provider_leen.bulk.summary import UpdateSummary, closing_table
from airflow_provider_leen.bulk.table import TicketTable
from airflow_provider_leen.bulk.updates import (
    final_error,
    progress_of,
    read_ticket_ids,
    read_updates,
    summarise,
    unique_ids,
)

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000001" for letter in "abc")


# Reading


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ([A, B], [A, B]),
        ((A,), [A]),
        ([[A], [], [B, C]], [A, B, C]),
        (A, [A]),
        (UUID(A), [UUID(A)]),
        (f'["{A}", "{B}"]', [A, B]),
        (f"['{A}']", [A]),
        (f'"{A}"', [A]),
        ([], []),
        ([A, None, 7], [A, None, 7]),
    ],
)
def test_ids_are_read_in_every_form_that_a_template_yields(value: Any, ids: list[Any]) -> None:
    assert read_ticket_ids(value) == ids


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "type NoneType"),
        ("None", "type NoneType"),
        ({"results": []}, "write a list of Leen's ticket ids"),
        (7, "type int"),
        (b"ab", "type bytes"),
        ("SEC-101", "neither JSON nor a Python literal"),
    ],
)
def test_a_value_that_is_no_list_of_ids_is_refused(value: Any, said: str) -> None:
    with pytest.raises(LeenConfigError, match=said):
        read_ticket_ids(value)


@pytest.mark.parametrize(
    ("value", "updates"),
    [
        ({"status": "CLOSED", "priority": None}, {"status": "CLOSED"}),
        ('{"description": "", "name": "x"}', {"description": "", "name": "x"}),
        ("{'assigned_user_id': 'u'}", {"assigned_user_id": "u"}),
    ],
)
def test_updates_are_read_without_their_nulls(value: Any, updates: dict[str, str]) -> None:
    assert read_updates(value) == updates


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "changes nothing: write one or more of status, priority"),
        ({"status": None}, "changes nothing"),
        ({"state": "CLOSED", "status": "CLOSED"}, "names state: write"),
        ({"status": 7}, "holds 7 for status: write a text"),
        (["status"], "of type list: write a dict"),
        ("closed", "neither JSON"),
    ],
)
def test_updates_that_cant_be_made_are_refused(value: Any, said: str) -> None:
    with pytest.raises(LeenConfigError, match=said):
        read_updates(value)


@pytest.mark.parametrize(
    ("ids", "valid"),
    [
        ([], []),
        ([C, A, B], [C, A, B]),
        ([A, A.upper(), UUID(A), B], [A, B]),
        (["SEC-1", None, 7, A, "a" * 32], [A]),
    ],
)
def test_each_valid_id_goes_out_once(ids: list[Any], valid: list[str]) -> None:
    assert unique_ids(ids) == valid


# Results

UPDATED, REJECTED, UNKNOWN, UNSENT = "updated", "rejected", "unknown", "unsent"


def table_of(statuses: dict[str, str]) -> TicketTable:
    """What is known when these ids have these statuses."""
    table = TicketTable()
    for ticket_id, status in statuses.items():
        table.sent([ticket_id], 1.0, 11.0, "h", False, True)
        if status == UPDATED:
            table.changed([ticket_id])
        elif status == REJECTED:
            table.refused({ticket_id: "closed"})
        elif status == UNKNOWN:
            table.unknown([ticket_id], "lost")
        else:
            table.withdrawn([ticket_id])
        assert table[ticket_id].status == status
    return table


def test_every_id_has_a_result_in_input_order() -> None:
    ids = [B, "SEC-1", A.upper(), None, B, C]
    summary = summarise(ids, table_of({A: UPDATED, B: REJECTED}))
    told = [(result["ticket_id"], result["status"], result["success"]) for result in summary["results"]]
    assert told == [
        (B, "rejected", False),
        ("SEC-1", "invalid", False),
        (A.upper(), "updated", True),
        (None, "invalid", False),
        (B, "rejected", False),
        (C, "unsent", False),
    ]
    assert [result["request_index"] for result in summary["results"]] == list(range(6))
    counts = {name: value for name, value in summary.items() if name != "results"}
    assert counts == {
        "total": 6, "succeeded": 1, "failed": 5,
        "updated": 1, "rejected": 2, "invalid": 2, "unknown": 0, "unsent": 1,
    }  # fmt: skip


def test_each_result_that_is_no_success_says_why() -> None:
    results = summary_of(UNKNOWN, REJECTED, UNSENT)["results"]
    assert [result["error"] for result in results] == ["lost", "closed", "the task ended before it was changed"]


def test_the_error_of_an_invalid_id_says_what_to_write() -> None:
    [result] = summarise(["SEC-1"], TicketTable())["results"]
    assert result["error"] == "'SEC-1' is not a UUID: write Leen's id of the ticket"


# The end


def summary_of(*statuses: str) -> UpdateSummary:
    ids = [A, B, C][: len(statuses)]
    return summarise(ids, table_of(dict(zip(ids, statuses, strict=True))))


@pytest.mark.parametrize(
    ("statuses", "halted", "limits", "error"),
    [
        ([], None, (None, None), None),
        ([UPDATED, REJECTED], None, (1, None), None),
        ([UPDATED, REJECTED], None, (None, 0.4), LeenThresholdError),
        ([UPDATED, UNKNOWN], None, (9, None), LeenOutcomeUnknownError),
        ([UPDATED, UNSENT], LeenConnectError("down"), (9, None), LeenConnectError),
        ([UNKNOWN, UNSENT], LeenAuthError("no", status=401), (9, None), LeenAuthError),
    ],
)
def test_the_error_that_matters_most_ends_the_task(
    statuses: list[str],
    halted: LeenError | None,
    limits: tuple[int | None, float | None],
    error: type[LeenError] | None,
) -> None:
    chosen = final_error(summary_of(*statuses), halted, *limits)
    assert (type(chosen) if chosen else None) is error


def test_an_unknown_outcome_names_its_tickets_and_says_that_a_retry_does_no_harm() -> None:
    error = final_error(summary_of(UPDATED, UNKNOWN), None, None, None)
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == [B]
    assert f"#1 {B}: lost" in str(error)
    assert str(error).startswith("It is unknown whether 1 ticket was changed. A retry sets the same")
    assert error.can_be_settled, "a retry policy must let the retry come"


def test_of_many_unknown_outcomes_the_first_are_named() -> None:
    ids = [f"{number:08}-0000-4000-8000-000000000001" for number in range(30)]
    error = final_error(summarise(ids, table_of(dict.fromkeys(ids, UNKNOWN))), None, None, None)
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == ids
    assert str(error).startswith("It is unknown whether 30 tickets were changed.")
    assert str(error).endswith("… and 10 more")


def test_a_passed_threshold_carries_the_counts_and_names_the_first_tickets() -> None:
    summary = summarise([f"SEC-{number}" for number in range(30)], TicketTable())
    error = final_error(summary, None, None, 0.5)
    assert isinstance(error, LeenThresholdError)
    assert (error.summary["invalid"], "results" in error.summary) == (30, False)
    assert "30 of 30 tickets failed" in str(error)
    assert "#4 SEC-4: 'SEC-4' is not a UUID" in str(error)


def test_the_closing_table_has_every_count_and_the_errors() -> None:
    lines = closing_table(summary_of(UPDATED, REJECTED)).splitlines()
    assert lines == [
        "updated   1",
        "rejected  1",
        "invalid   0",
        "unknown   0",
        "unsent    0",
        "-" * 11,
        "total     2",
        "errors (all):",
        f"  #1 {B}: closed",
    ]


def test_the_progress_counts_what_is_known_and_what_was_refused() -> None:
    summary = summarise([A, B, C, "SEC-1"], table_of({A: UPDATED, B: REJECTED, C: UNKNOWN}))
    assert progress_of(summary) == {"total": 4, "done": 3, "failed": 2}
