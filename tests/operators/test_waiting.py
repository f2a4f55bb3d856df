"""How a deferred task waits: until when, and what a trigger's event means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_leen.api.errors import LeenConfigError, LeenOutcomeUnknownError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.tasks.deferral import end_of_waiting, read_event, waiting_ends_at

STARTED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(timedelta(seconds=10), 9), (timedelta(minutes=10), 540), (timedelta(hours=2), 7140)],
)
def test_a_task_waits_until_somewhat_before_its_time_is_over(timeout: timedelta, seconds: float) -> None:
    assert waiting_ends_at(STARTED, timeout) == STARTED.timestamp() + seconds


def test_a_task_without_a_timeout_waits_without_end() -> None:
    assert waiting_ends_at(STARTED, None) is None


@pytest.mark.parametrize("status", ["done", "timeout", "error"])
def test_an_event_of_the_trigger_is_understood(status: str) -> None:
    assert read_event({"status": status, "message": "m"}) == {"status": status, "message": "m"}


@pytest.mark.parametrize("event", [None, {}, "done", ["done"], {"status": "success"}, {"status": ["done"]}, True])
def test_an_event_that_is_none_of_the_triggers_never_passes_for_success(event: Any) -> None:
    operator = LeenBulkCreateTicketsOperator(task_id="create", tickets=[], deferrable=True)
    context: Any = {}
    for go_on in (operator.execute_complete, operator.execute_complete_again):
        with pytest.raises(LeenOutcomeUnknownError, match=r"no usable event .* submits nothing twice") as caught:
            go_on(context, event)
        assert caught.value.can_be_settled, "a retry policy must let the retry come"


def test_when_the_trigger_saw_the_jobs_end_those_that_go_on_are_waited_for() -> None:
    assert end_of_waiting({"status": "done"}, ["job"], ["key"], None) is None


def test_when_time_is_over_the_jobs_are_named() -> None:
    jobs = [f"job-{number}" for number in range(30)]
    error = end_of_waiting({"status": "timeout"}, jobs, [], timedelta(hours=1))
    assert type(error) is AirflowTaskTimeout
    assert "30 of Leen's jobs had not ended" in str(error)
    assert "execution_timeout of 1:00:00" in str(error)
    assert "job-19, …" in str(error)


def test_when_the_triggerer_could_not_ask_its_reason_is_told_and_a_retry_may_come() -> None:
    error = end_of_waiting({"status": "error", "message": "HTTP 401: no."}, ["job-1"], ["key-1"], None)
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == ["key-1"]
    assert error.can_be_settled
    assert "HTTP 401: no." in str(error)


@pytest.mark.parametrize("interval", [0, -1, True, "10", None])
def test_an_interval_that_makes_no_sense_is_refused(interval: Any) -> None:
    with pytest.raises(LeenConfigError, match=r"`poll_interval` is .*: write a number of seconds above 0"):
        LeenBulkCreateTicketsOperator(task_id="create", tickets=[], poll_interval=interval)
