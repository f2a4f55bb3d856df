"""How a deferred task waits: until when, and what a trigger's event means."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_leen.api.errors import LeenConfigError, LeenOutcomeUnknownError
from airflow_provider_leen.bulk.journal import Place
from airflow_provider_leen.bulk.outline import Outline
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.tasks.creating import CreatingTask
from airflow_provider_leen.tasks.deferral import Resumed, end_of_waiting, read_event, waiting_ends_at
from airflow_provider_leen.tasks.updating import UpdatingTask

STARTED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PLACE = {"place": {"lease": 2, "token": "token", "values": 7}, "may_send_again": False}
OUTLINE = {"list_hash": "00ff", "outcomes": [["job", "job-1"], ["rejected", "closed"]], "runs": [[0, 3], [1, 1]]}


def resumed(status: str, message: str | None = None) -> Resumed:
    return Resumed(status, message, None)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(timedelta(seconds=10), 9), (timedelta(minutes=10), 540), (timedelta(hours=2), 7140)],
)
def test_a_task_waits_until_somewhat_before_its_time_is_over(timeout: timedelta, seconds: float) -> None:
    assert waiting_ends_at(STARTED, timeout) == STARTED.timestamp() + seconds


def test_a_task_without_a_timeout_waits_without_end() -> None:
    assert waiting_ends_at(STARTED, None) is None


@pytest.mark.parametrize("status", ["done", "timeout", "error"])
@pytest.mark.parametrize(
    ("read", "carried", "meaning"),
    [
        (CreatingTask.read_carried, PLACE, (Place(2, "token", 7), False)),
        (CreatingTask.read_carried, PLACE | {"may_send_again": True}, (Place(2, "token", 7), True)),
        (
            UpdatingTask.read_carried,
            OUTLINE,
            Outline("00ff", [["job", "job-1"], ["rejected", "closed"]], [[0, 3], [1, 1]]),
        ),
    ],
    ids=["creating", "creating, once more", "updating"],
)
def test_what_a_trigger_carries_comes_back_in_its_event(
    status: str, read: Callable[[Any], Any], carried: Any, meaning: Any
) -> None:
    event = json.loads(json.dumps({"status": status, "message": "m", "carried": carried}))
    assert read_event(event, read) == Resumed(status, "m", meaning)


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        "done",
        ["done"],
        True,
        {"status": "done"},
        {"status": "done", "carried": None},
        {"status": "done", "carried": PLACE | OUTLINE | {"place": None, "runs": None}},
        {"status": "done", "carried": {"place": {"lease": "x", "token": "t", "values": 0}}},
        {"status": "done", "carried": OUTLINE | {"runs": [[2, 1]]}},
        {"status": "done", "carried": OUTLINE | {"outcomes": ["job"]}},
        {"status": "success", "carried": PLACE | OUTLINE},
        {"status": ["done"], "carried": PLACE | OUTLINE},
        {"carried": PLACE | OUTLINE},
    ],
    ids=repr,
)
def test_an_event_that_is_none_of_the_triggers_never_counts_as_a_success(event: Any) -> None:
    creating = LeenBulkCreateTicketsOperator(task_id="create", tickets=[], deferrable=True)
    updating = LeenUpdateTicketsOperator(task_id="update", ticket_ids=[], updates={"status": "CLOSED"})
    for operator, retry in ((creating, "submits nothing twice"), (updating, "sets the same values again")):
        with pytest.raises(LeenOutcomeUnknownError, match=rf"an unusable event: .* {retry}") as caught:
            operator.execute_complete({}, event)
        assert caught.value.can_be_settled, "a retry policy must let the retry come"


def test_when_the_trigger_saw_the_jobs_end_those_that_still_run_are_waited_for() -> None:
    assert end_of_waiting(resumed("done"), ["job"], ["key"], None) is None


def test_when_time_is_over_the_jobs_are_named() -> None:
    jobs = [f"job-{number}" for number in range(30)]
    error = end_of_waiting(resumed("timeout"), jobs, [], timedelta(hours=1))
    assert type(error) is AirflowTaskTimeout
    assert "30 of Leen's jobs had not ended" in str(error)
    assert "execution_timeout of 1:00:00" in str(error)
    assert "job-19, …" in str(error)


def test_when_the_triggerer_could_not_ask_its_reason_is_reported_and_a_retry_may_help() -> None:
    error = end_of_waiting(resumed("error", "HTTP 401: no."), ["job-1"], ["key-1"], None)
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == ["key-1"]
    assert error.can_be_settled
    assert "HTTP 401: no." in str(error)


@pytest.mark.parametrize("interval", [0, -1, True, "10", None])
def test_an_interval_that_makes_no_sense_is_refused(interval: Any) -> None:
    with pytest.raises(LeenConfigError, match=r"`poll_interval` is .*: write a number of seconds above 0"):
        LeenBulkCreateTicketsOperator(task_id="create", tickets=[], poll_interval=interval)
