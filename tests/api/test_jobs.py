"""What a job says of its tickets, in every shape in which a job may say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_leen.api.jobs import describe, has_ended, results_of_create, results_of_update
from airflow_provider_leen.api.models import Job

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


def failed(reason: Any) -> Job:
    return Job(status="FAILED", failure_reason=reason)


def breakdown(*results: dict[str, Any]) -> dict[str, Any]:
    succeeded = sum(result.get("success") is True for result in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return {**counts, "results": list(results)}


GOOD = {"success": True, "request_index": 0, "identifier": "one", "error": None}
BAD = {"success": False, "request_index": 1, "identifier": "two", "error": "There is no priority 'urgent'."}


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("QUEUED", False),
        ("RUNNING", False),
        ("SUCCESS", True),
        ("FAILED", True),
        ("success", True),
        ("CANCELLED", False),
        ("", False),
    ],
)
def test_only_success_and_failed_end_a_job(status: str, ended: bool) -> None:
    assert has_ended(Job(status=status)) is ended


def test_a_success_means_that_every_ticket_worked_and_tells_no_ids() -> None:
    results = results_of_create(Job(status="SUCCESS"), 2)
    assert [(r.success, r.request_index, r.identifier, r.ticket_id) for r in results if r] == [
        (True, 0, None, None),
        (True, 1, None, None),
    ]
    assert [r.ticket_id for r in results_of_update(Job(status="SUCCESS"), [A, B]) if r] == [A, B]


@pytest.mark.parametrize("encode", [lambda reason: reason, json.dumps], ids=["object", "JSON text"])
def test_a_failure_tells_of_each_ticket_as_object_or_as_text(encode: Any) -> None:
    good, bad = results_of_create(failed(encode(breakdown(GOOD, BAD))), 2)
    assert good
    assert bad
    assert (good.success, good.identifier) == (True, "one")
    assert (bad.success, bad.error) == (False, "There is no priority 'urgent'.")


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "The worker was lost",
        "{not json",
        "[1, 2]",
        "7",
        7,
        [GOOD, BAD],
        {},
        {"results": None},
        {"results": "two"},
        {"results": [GOOD, BAD, BAD]},
        {"results": [GOOD | {"request_index": 1}, BAD | {"request_index": 0}]},
        '{"results": ' + "[" * 100_000 + "}",
    ],
)
def test_a_reason_without_a_readable_breakdown_tells_of_no_ticket(reason: Any) -> None:
    assert results_of_create(failed(reason), 2) == [None, None]


@pytest.mark.parametrize(
    ("results", "told"),
    [([GOOD], [True, None]), ([GOOD, {"request_index": 1}], [True, None]), ([GOOD, 7], [True, None])],
)
def test_what_a_breakdown_leaves_out_stays_unknown(results: list[Any], told: list[bool | None]) -> None:
    read = results_of_create(failed({"results": results}), 2)
    assert [result and result.success for result in read] == told


def updated(ticket_id: str | None, index: int, *, success: bool = True) -> dict[str, Any]:
    return {"success": success, "request_index": index, "ticket_id": ticket_id, "error": None if success else "closed"}


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([updated(A, 0), updated(B, 1, success=False)], [True, False]),
        ([updated(B, 0, success=False), updated(A, 1)], [True, False]),
        ([updated(A.upper(), 0), updated(B, 1)], [True, True]),
        ([updated(B, 0)], [None, True]),
        ([updated(None, 0), updated(B, 1)], [None, True]),
        ([updated("cccccccc-0000-4000-8000-000000000003", 0)], [None, None]),
        ("both", [None, None]),
    ],
)
def test_the_result_of_an_update_is_found_by_its_ticket_id(results: Any, told: list[bool | None]) -> None:
    read = results_of_update(failed({"results": results}), [A, B])
    assert [result and result.success for result in read] == told


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, "status FAILED"),
        (breakdown(GOOD, BAD), "status FAILED"),
        ("The worker\n was lost", "status FAILED: The worker was lost"),
        ({"cause": "timeout"}, 'status FAILED: {"cause": "timeout"}'),
        ("x" * 400, f"status FAILED: {'x' * 299}…"),
    ],
)
def test_the_end_of_a_job_is_told_in_one_line(reason: Any, text: str) -> None:
    assert describe(failed(reason)) == text
