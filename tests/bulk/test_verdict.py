from __future__ import annotations

import pickle

import pytest

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenLedgerError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenServerError,
    LeenStoppedError,
    LeenThresholdError,
    LeenValidationError,
)
from airflow_provider_leen.bulk.statuses import Status
from airflow_provider_leen.bulk.summary import Summary
from airflow_provider_leen.bulk.verdict import final_error
from tests.support.results import summary_of

FIRST = [LeenAuthError, LeenConfigError, LeenNotFoundError, LeenLedgerError, LeenStoppedError]
AFTER_UNKNOWN = [LeenConnectError, LeenRateLimitError, LeenServerError, LeenResponseError, LeenValidationError]

ALL_GOOD = summary_of("created", "existing")
SOME_BAD = summary_of("created", "rejected", "invalid")
UNSENT_LEFT = summary_of("created", "rejected", "unsent")
UNKNOWN_LEFT = summary_of("created", "rejected", "unknown")
BOTH_LEFT = summary_of("created", "rejected", "unknown", "unsent")


@pytest.mark.parametrize("summary", [UNSENT_LEFT, UNKNOWN_LEFT, BOTH_LEFT], ids=["unsent", "unknown", "both"])
@pytest.mark.parametrize("kind", FIRST)
def test_what_kept_the_task_from_its_work_comes_before_unknown_outcomes(
    kind: type[LeenError], summary: Summary
) -> None:
    halted = kind("why")
    assert final_error(summary, halted, 0, None) is halted
    assert ("id-2" in str(halted)) is (summary is not UNSENT_LEFT), "an unknown ticket is named all the same"


@pytest.mark.parametrize("kind", AFTER_UNKNOWN)
def test_unknown_outcomes_come_before_a_leen_that_is_unreachable_or_broken(kind: type[LeenError]) -> None:
    error = final_error(BOTH_LEFT, kind("why"), 0, None)
    assert type(error) is LeenOutcomeUnknownError
    assert str(error).endswith("\nThe task ended early: why")


@pytest.mark.parametrize("kind", AFTER_UNKNOWN)
def test_a_leen_that_is_unreachable_or_broken_comes_before_a_threshold(kind: type[LeenError]) -> None:
    halted = kind("why")
    assert final_error(UNSENT_LEFT, halted, 0, None) is halted


@pytest.mark.parametrize("kind", [LeenLedgerError, LeenStoppedError, *AFTER_UNKNOWN])
def test_what_ended_the_task_when_nothing_was_left_to_do_is_no_failure(kind: type[LeenError]) -> None:
    assert final_error(ALL_GOOD, kind("why"), 0, None) is None
    assert final_error(SOME_BAD, kind("why"), None, None) is None
    assert type(final_error(SOME_BAD, kind("why"), 1, None)) is LeenThresholdError


@pytest.mark.parametrize("limits", [(0, None), (None, 0.0)])
def test_unknown_outcomes_are_never_judged_by_a_threshold(limits: tuple[int | None, float | None]) -> None:
    assert type(final_error(UNKNOWN_LEFT, None, *limits)) is LeenOutcomeUnknownError


@pytest.mark.parametrize(
    ("max_failures", "max_failure_rate", "fails"),
    [(None, None, False), (2, None, False), (1, None, True), (None, 0.7, False), (None, 0.6, True), (9, 0.6, True)],
)
def test_a_threshold_decides_when_every_outcome_is_known(
    max_failures: int | None, max_failure_rate: float | None, fails: bool
) -> None:
    error = final_error(SOME_BAD, None, max_failures, max_failure_rate)
    assert isinstance(error, LeenThresholdError) == fails == (error is not None)


def test_a_passed_threshold_names_counts_and_first_errors() -> None:
    error = final_error(SOME_BAD, None, 1, None)
    assert isinstance(error, LeenThresholdError)
    assert "2 of 3 tickets failed" in str(error)
    assert "#1 finding 1: refused 1" in str(error)
    assert error.summary["failed"] == 2
    assert "results" not in error.summary


def test_unknown_outcomes_are_all_named_the_first_twenty_with_what_is_known() -> None:
    unknown: list[Status] = ["unknown"] * 30
    error = final_error(summary_of("created", *unknown), None, None, None)
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == [f"id-{index}" for index in range(1, 31)]
    assert all(identifier in str(error) for identifier in error.identifiers)
    assert str(error).count("refused ") == 20
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.identifiers) == (str(error), error.identifiers)


def test_unknown_outcomes_with_the_same_reason_share_one_line_for_it() -> None:
    summary = summary_of("unknown", "unknown", "unknown", "unknown")
    for result in summary["results"][1:]:
        result["error"] = "the reply was lost"
    first, *others = str(final_error(summary, None, None, None)).splitlines()[1:]
    assert first.endswith(": refused 0")
    assert [line.split()[0] for line in others] == ["#1", "#2", "#3", "Each"]
    assert others[-1] == "  Each of these 3: the reply was lost"
