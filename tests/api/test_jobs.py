"""What a job says of its tickets, in every shape in which a job may say it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_leen.api.jobs import describe, has_ended, results_of_create, results_of_update
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.results import Claim

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


def failed(reason: Any) -> Job:
    return Job(status="FAILED", failure_reason=reason)


def breakdown(*results: dict[str, Any]) -> dict[str, Any]:
    succeeded = sum(result.get("success") is True for result in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return {**counts, "results": list(results)}


GOOD = {"success": True, "request_index": 0, "identifier": "one", "error": None}
BAD = {"success": False, "request_index": 1, "identifier": "two", "error": "There is no priority 'urgent'."}
SENT = ["one", "two"]


def statuses(job: Job, sent: Sequence[str | None] = SENT) -> list[str]:
    return [claim.status for claim in results_of_create(job, sent)]


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


@pytest.mark.parametrize("status", ["SUCCESS", "success", " Success "])
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"failure_reason": None},
        {"failure_reason": ""},
        {"failure_reason": "{}"},
        {"failure_reason": {"total": 2, "succeeded": 2, "failed": 0, "results": []}},
        {"failure_reason": json.dumps(breakdown(GOOD, BAD | {"success": True, "error": " "}))},
        {"id": "j", "error": None, "errors": [], "results": None, "failed": 0},
    ],
    ids=range(7),
)
def test_a_success_means_that_every_ticket_worked_and_names_none(status: str, said: dict[str, Any]) -> None:
    job = Job(status=status, **said)
    assert results_of_create(job, SENT) == [Claim("succeeded")] * 2
    assert results_of_update(job, [A, B]) == [Claim("succeeded")] * 2


@pytest.mark.parametrize(
    "said",
    [
        {"failure_reason": breakdown(GOOD, BAD)},
        {"failure_reason": json.dumps(breakdown(GOOD, BAD))},
        {"failure_reason": "one of them failed"},
        {"failure_reason": {"failed": 1}},
        {"failure_reason": {"total": 3, "succeeded": 3, "failed": 0}},
        {"failure_reason": {"total": 2, "succeeded": 1}},
        {"failure_reason": {"error": "the vendor timed out"}},
        {"failure_reason": {"results": [GOOD]}},
        {"failure_reason": {"results": [GOOD, GOOD | {"error": "no"}]}},
        {"failure_reason": {"results": "both"}},
        {"failure_reason": ["no"]},
        {"results": [GOOD, BAD]},
        {"failed": 1},
        {"errors": ["no"]},
    ],
    ids=range(14),
)
def test_a_success_that_says_otherwise_proves_nothing(said: dict[str, Any]) -> None:
    job = Job(status="SUCCESS", **said)
    assert statuses(job) == ["unknown"] * 2
    updated = results_of_update(job, [A, B])
    assert [claim.status for claim in updated] == ["unknown"] * 2
    assert "SUCCESS" in str(updated[0].error)


@pytest.mark.parametrize("status", ["FAILED", "failed"])
@pytest.mark.parametrize("encode", [lambda reason: reason, json.dumps], ids=["object", "JSON text"])
def test_a_failure_has_a_result_for_each_ticket_as_object_or_as_text(encode: Any, status: str) -> None:
    good, bad = results_of_create(Job(status=status, failure_reason=encode(breakdown(GOOD, BAD))), SENT)
    assert (good.status, good.identifier) == ("succeeded", "one")
    assert (bad.status, bad.error) == ("rejected", "There is no priority 'urgent'.")


def without_names(reason: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return reason | {"results": [result | {"identifier": None} for result in reason["results"]]} | changes


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
        {"results": [GOOD, BAD]},
        breakdown(GOOD, BAD, BAD),
        breakdown(GOOD),
        breakdown(BAD),
        breakdown(GOOD, GOOD | {"request_index": 1, "identifier": "two"}),
        breakdown(GOOD | {"request_index": 1}, BAD | {"request_index": 0}),
        breakdown(BAD | {"request_index": 0}, GOOD | {"request_index": 1}),
        breakdown(GOOD, BAD) | {"succeeded": 0, "failed": 2},
        breakdown(GOOD, BAD) | {"total": 3},
        breakdown(GOOD, BAD) | {"error": "the vendor timed out"},
        '{"results": ' + "[" * 100_000 + "}",
    ],
    ids=range(21),
)
def test_a_reason_without_a_sound_breakdown_proves_nothing(reason: Any) -> None:
    assert statuses(failed(reason)) == ["unknown"] * 2


def test_a_breakdown_that_leaves_out_the_first_ticket_proves_nothing() -> None:
    results = [GOOD | {"request_index": n, "identifier": None} for n in (1, 2)] + [
        BAD | {"request_index": 3, "identifier": None}
    ]
    sent = ["a", "b", "c", "d"]
    for counts in ({"total": 4, "succeeded": 3, "failed": 1}, {"total": 3, "succeeded": 2, "failed": 1}):
        assert statuses(failed({**counts, "results": results}), sent) == ["unknown"] * 4


# A breakdown of failures only


def refused(identifier: Any, index: Any, **fields: Any) -> dict[str, Any]:
    return {"success": False, "request_index": index, "identifier": identifier, "error": "no"} | fields


ONLY = [refused("b", 1), refused("d", 3)]
COUNTS = {"total": 4, "succeeded": 2, "failed": 2}
ALL = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "results",
    [
        ONLY,
        ONLY[::-1],
        [refused("B ", 1), refused("d", 3, error="")],
        [refused("b", 2), refused("d", 4)],
    ],
    ids=["in order", "in another order", "normalised", "counted from 1"],
)
def test_failures_alone_are_enough_if_the_counts_prove_the_others(results: list[dict[str, Any]]) -> None:
    assert statuses(failed(COUNTS | {"results": results}), ALL) == ["succeeded", "rejected", "succeeded", "rejected"]


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        pytest.param(COUNTS | {"results": [refused(None, 1), refused("d", 3)]}, ALL, id="one has no identifier"),
        pytest.param(COUNTS | {"results": [refused("x", 1), refused("d", 3)]}, ALL, id="one has another"),
        pytest.param(COUNTS | {"results": [refused("b", 1), refused("b", 1)]}, ALL, id="the same twice"),
        pytest.param(COUNTS | {"results": [refused("b", 1)]}, ALL, id="fewer than counted"),
        pytest.param(COUNTS | {"results": [*ONLY, refused("a", 0)]}, ALL, id="more than counted"),
        pytest.param(COUNTS | {"total": 5, "results": ONLY}, ALL, id="another total"),
        pytest.param(COUNTS | {"succeeded": 1, "results": ONLY}, ALL, id="too few succeeded"),
        pytest.param({"failed": 2, "results": ONLY}, ALL, id="counts are missing"),
        pytest.param(COUNTS | {"results": [refused("b", 0), refused("d", 1)]}, ALL, id="other indices"),
        pytest.param(COUNTS | {"results": [refused("b", 1), refused("d", 4)]}, ALL, id="mixed indices"),
        pytest.param(COUNTS | {"results": [refused("a", 1), refused("b", 2)]}, ALL, id="from 1, or other tickets"),
        pytest.param(
            {"total": 4, "succeeded": 3, "failed": 1, "results": [refused("a", 1)]}, ALL, id="one, from 1 or another"
        ),
        pytest.param(COUNTS | {"results": [refused("b", 1, success=True), ONLY[1]]}, ALL, id="one succeeded"),
        pytest.param(
            COUNTS | {"results": [refused("b", 1, vendor_ticket_id="SEC-1"), ONLY[1]]}, ALL, id="one has an id"
        ),
        pytest.param(COUNTS | {"results": [], "failed": 0, "succeeded": 4}, ALL, id="no failure"),
        pytest.param(COUNTS | {"results": ONLY}, ["a", None, "c", "d"], id="one is no longer in the list"),
        pytest.param(
            COUNTS | {"results": [refused("x" * 64, 1), ONLY[1]]},
            ["x" * 64 + "a", "x" * 64 + "b", "c", "d"],
            id="one may be two",
        ),
    ],
)
def test_failures_alone_prove_nothing_if_the_others_are_not_proved(
    reason: dict[str, Any], sent: list[str | None]
) -> None:
    assert statuses(failed(reason), sent) == ["unknown"] * 4


# Updates


def updated(ticket_id: Any, index: int, *, success: bool = True) -> dict[str, Any]:
    return {"success": success, "request_index": index, "ticket_id": ticket_id, "error": None if success else "closed"}


C = "cccccccc-0000-4000-8000-000000000003"


@pytest.mark.parametrize(
    ("results", "said"),
    [
        pytest.param([updated(A, 0), updated(B, 1, success=False)], ["succeeded", "rejected"], id="in order"),
        pytest.param([updated(A, 1), updated(B, 2, success=False)], ["succeeded", "rejected"], id="counted from 1"),
        pytest.param([updated(A.upper(), 0), updated(None, 1, success=False)], ["succeeded", "rejected"], id="case"),
        pytest.param([updated(B, 1, success=False), updated(A, 0)], ["succeeded", "rejected"], id="another order"),
        pytest.param([updated(B, 0, success=False), updated(A, 1)], ["unknown"] * 2, id="index against id"),
        pytest.param([updated(A, 0), updated(C, 1, success=False)], ["unknown"] * 2, id="another ticket"),
        pytest.param([updated(A, 0), updated(7, 1, success=False)], ["unknown"] * 2, id="an id that is no text"),
        pytest.param([updated(B, 1)], ["unknown"] * 2, id="one is missing"),
        pytest.param([updated(A, 0), updated(B, 1)], ["unknown"] * 2, id="no failure"),
        pytest.param("both", ["unknown"] * 2, id="a text"),
    ],
)
def test_an_update_is_proved_by_ticket_id_as_a_creation_is_by_identifier(results: Any, said: list[str]) -> None:
    reason = breakdown(*results) if isinstance(results, list) else {"results": results}
    assert [claim.status for claim in results_of_update(failed(reason), [A, B])] == said


def test_the_failures_of_an_update_may_stand_alone() -> None:
    reason = {"total": 3, "succeeded": 2, "failed": 1, "results": [updated(B, 1, success=False)]}
    assert [c.status for c in results_of_update(failed(reason), [A, B, C])] == ["succeeded", "rejected", "succeeded"]


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
def test_the_end_of_a_job_is_reported_in_one_line(reason: Any, text: str) -> None:
    assert describe(failed(reason)) == text
