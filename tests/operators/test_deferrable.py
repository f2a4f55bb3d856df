"""Creation by Leen's jobs on real Airflow: the same results as without, and each ticket once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowTaskTimeout
from airflow.triggers.base import TriggerEvent

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenOutcomeUnknownError,
)
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.triggers.leen import LeenJobsTrigger
from tests.operators.dags import DEFAULTS, REMEMBERING, Connect, bulk_dag, counts, tickets
from tests.support.airflow_run import AirflowRun
from tests.support.recorded import none_is_double

SYNC, SUBMISSION, JOBS = "/v1/itsm/tickets/bulk/sync", "/v1/itsm/tickets/bulk", "/v1/jobs/"
LOOK_UP = "/v1/itsm/tickets/by-identifier/"
REFUSED = {"name": "refused", "priority": "URGENT"}
TIMED: dict[str, Any] = {"execution_timeout": timedelta(seconds=1000)}
TOO_LATE = {"status": "timeout"}


@pytest.fixture(autouse=True)
def _without_long_waits(connect: Connect) -> None:
    connect(extra={"timeout": 30.0, "settle_time": 0.2, "max_retries": 0})


def job_dag(given: Any, **arguments: Any) -> DAG:
    return bulk_dag(given, deferrable=True, poll_interval=0.05, **arguments)


def submissions(sandbox: SandboxServer) -> list[RecordedRequest]:
    return [request for request in sandbox.requests if (request.method, request.path) == ("POST", SUBMISSION)]


def statuses(run: AirflowRun) -> list[str]:
    return [result["status"] for result in run.summary()["results"]]


def yields(*events: Any, carries: bool = False) -> Any:
    async def run(self: LeenJobsTrigger) -> AsyncIterator[TriggerEvent]:
        for event in events:
            yield TriggerEvent(event | {"carried": self.carried} if carries else event)

    return run


# The same as without


def test_the_summary_is_the_one_that_the_other_endpoint_gives(sandbox: SandboxServer, run_dag: Any) -> None:
    given = [*tickets(4), REFUSED, {"nam": "typo"}, {"name": "own", "identifier": "CVE-2026-1"}]
    direct = run_dag(bulk_dag(given, batch_size=3))
    by_jobs = run_dag(job_dag(given, batch_size=3))
    assert sandbox.count("POST", SYNC) == len(submissions(sandbox)) == 2
    assert by_jobs.states == direct.states == {"create": "success"}
    assert by_jobs.xcom("create", "failed_tickets") == direct.xcom("create", "failed_tickets")
    assert by_jobs.xcom("create", "progress") == direct.xcom("create", "progress")
    for one, other in zip(direct.summary()["results"], by_jobs.summary()["results"], strict=True):
        ids = dict.fromkeys(("identifier", "ticket_id", "vendor_ticket_id"))
        assert {**one, **ids} == {**other, **ids}
        assert bool(other["ticket_id"]) is bool(other["vendor_ticket_id"]) is other["success"]
    assert direct.summary().keys() == by_jobs.summary().keys()


@pytest.mark.smoke
def test_jobs_that_take_their_time_are_waited_for(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.plan_jobs(polls=2)
    run = run_dag(job_dag(tickets(6), batch_size=2, max_concurrent_batches=3))
    assert counts(run.summary()) == {"created": 6}
    assert len(submissions(sandbox)) == 3
    assert sandbox.count("GET", JOBS) == 3 * (3 + 1), "the trigger until it has ended, and the task once"


def test_each_mapped_instance_continues_with_its_own_tickets(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_mapped", schedule=None) as dag:
        LeenBulkCreateTicketsOperator.partial(
            task_id="create", ticket_defaults=DEFAULTS, deferrable=True, poll_interval=0.05, **REMEMBERING
        ).expand(tickets=[[REFUSED, {"name": "one"}], [{"name": "two"}]])
    run = run_dag(dag)
    assert counts(run.summary(map_index=0)) == {"created": 1, "rejected": 1}
    assert counts(run.summary(map_index=1)) == {"created": 1}
    assert {ticket["name"] for ticket in sandbox.tickets()} == {"one", "two"}


# Each ticket once


def test_job_ids_are_on_record_before_the_worker_is_freed(
    sandbox: SandboxServer, run_dag: Any, ledger: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    defer = LeenBulkCreateTicketsOperator.defer
    tries: list[int] = []

    def die_at_first(self: Any, **arguments: Any) -> Any:
        tries.append(sandbox.count("GET"))
        if len(tries) == 1:
            raise RuntimeError("the worker died")
        defer(self, **arguments)

    monkeypatch.setattr(LeenBulkCreateTicketsOperator, "defer", die_at_first)
    sandbox.plan_jobs(polls=2)
    run = run_dag(job_dag(tickets(4), batch_size=2, retries=1, **ledger))
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 4}
    assert len(submissions(sandbox)) == 2
    assert tries[0] == 0
    assert tries[1] == 2, "the second try found both jobs open"


@pytest.mark.parametrize("on_unknown", ["lookup", "resend"])
def test_a_job_that_never_ends_meets_the_timeout_and_is_not_sent_again(
    sandbox: SandboxServer, run_dag: Any, monkeypatch: pytest.MonkeyPatch, on_unknown: str
) -> None:
    sandbox.plan_jobs(stall="before")
    monkeypatch.setattr(LeenJobsTrigger, "run", yields(TOO_LATE, carries=True))
    arguments: dict[str, Any] = {"on_unknown": on_unknown, "embed_identifier": True, "retries": 1}
    run = run_dag(job_dag([*tickets(2), {"nam": "typo"}], **TIMED, **arguments))
    assert run.states == {"create": "failed"}
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout] * 2
    for error in run.exceptions:
        assert "1 of Leen's jobs had not ended shortly before the task's execution_timeout of 0:16:40" in str(error)
    assert statuses(run) == ["unknown", "unknown", "invalid"]
    assert "has not ended (status RUNNING)" in str(run.summary()["results"][0]["error"])
    assert run.xcom("create", "failed_tickets") == [{"nam": "typo"}]
    assert len(submissions(sandbox)) == 1
    assert sandbox.count("GET", LOOK_UP) == 0


def test_what_a_crashed_job_certainly_did_not_do_is_submitted_again(
    sandbox: SandboxServer, run_dag: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(extra={"timeout": 1.0, "settle_time": 0.2, "max_retries": 0})
    whole = LeenBulkCreateTicketsOperator.execute_complete

    def execute_complete(self: Any, context: Any, event: Any = None) -> Any:
        sandbox.plan_jobs()
        return whole(self, context, event)

    monkeypatch.setattr(LeenBulkCreateTicketsOperator, "execute_complete", execute_complete)
    sandbox.plan_jobs(crash_after=1)
    run = run_dag(job_dag([*tickets(3), REFUSED, {"nam": "typo"}], embed_identifier=True))
    assert run.states == {"create": "success"}
    assert statuses(run) == ["created"] * 3 + ["rejected", "invalid"]
    assert [len(request.ticket_names) for request in submissions(sandbox)] == [4, 3]
    assert none_is_double(sandbox)


def test_a_key_that_is_refused_in_the_middle_ends_the_submission_and_jobs_are_reported_as_unknown(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("status", status=401, nth=2, path=SUBMISSION)
    run = run_dag(job_dag(tickets(6), batch_size=2, retries=2))
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenAuthError
    assert statuses(run) == ["unknown"] * 2 + ["unsent"] * 4
    assert "It was submitted in job" in str(run.summary()["results"][0]["error"])
    assert run.xcom("create", "failed_tickets") == tickets(6)[2:]
    assert len(submissions(sandbox)) == 2


def test_without_a_durable_ledger_nothing_is_submitted(sandbox: SandboxServer, run_dag: Any) -> None:
    run = run_dag(job_dag(tickets(2), durable=False, retries=1))
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
    assert "`deferrable` needs a durable ledger" in str(error)
    assert sandbox.count() == 0


# The trigger's side


@pytest.mark.parametrize("events", [(), (None,), ({"status": "done"},)], ids=["none", "empty", "carries nothing"])
def test_a_lost_or_odd_event_fails_the_task_and_its_retry_reattaches(
    sandbox: SandboxServer, run_dag: Any, monkeypatch: pytest.MonkeyPatch, events: tuple[Any, ...]
) -> None:
    real = LeenJobsTrigger.run
    monkeypatch.setattr(LeenJobsTrigger, "run", yields(*events))
    mended: dict[str, Any] = {"on_retry_callback": lambda _: setattr(LeenJobsTrigger, "run", real)}
    run = run_dag(job_dag(tickets(2), retries=1, **mended))
    (error,) = run.exceptions
    assert isinstance(error, LeenOutcomeUnknownError)
    assert "an unusable event" in str(error)
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 2}
    assert len(submissions(sandbox)) == 1
