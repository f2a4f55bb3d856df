"""A 429 slows all batches of a task down together: times and calls in flight as the sandbox saw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_leen.api.errors import LeenRateLimitError
from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, bulk_dag, counts, tickets


def bulk_calls(sandbox: SandboxServer) -> list[RecordedRequest]:
    return [request for request in sandbox.requests if request.is_bulk]


def ended(request: RecordedRequest) -> float:
    assert request.finished is not None
    return request.finished


def peak(requests: Sequence[RecordedRequest]) -> int:
    """The most of these requests that were in flight at one time."""
    return max(sum(other.started <= request.started < ended(other) for other in requests) for request in requests)


def test_all_batches_wait_as_long_as_leen_asks_and_then_only_half_of_them_go_on(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("rate_limit", nth=1, retry_after=0.5)
    sandbox.inject("latency", seconds=0.3, nth=1)
    sandbox.inject("latency", seconds=0.5, nth=(2, 3, 4))
    sandbox.inject("latency", seconds=0.1, nth=tuple(range(5, 14)))
    run = run_dag(bulk_dag(tickets(24), batch_size=2, max_concurrent_batches=4))
    assert counts(run.summary()) == {"created": 24}
    calls = bulk_calls(sandbox)
    assert len(calls) == 12 + 1
    (refused,) = (call for call in calls if call.status == 429)
    assert peak(calls[:4]) == 4
    assert all(call.started >= ended(refused) + 0.5 for call in calls[4:])
    assert peak(calls[4:9]) <= 2, "until five calls in a row were quiet"


def test_no_call_leaves_before_the_date_that_leen_names(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("rate_limit", nth=1, retry_after=1.2, retry_after_date=True)
    run = run_dag(bulk_dag(tickets(2)))
    assert counts(run.summary()) == {"created": 2}
    refused, again = bulk_calls(sandbox)
    # A date has no fractions of a second.
    assert again.started >= int(refused.started + 1.2)


def test_a_429_without_retry_after_is_tried_again_soon(sandbox: SandboxServer, run_dag: Any, connect: Connect) -> None:
    connect(extra={"max_retry_wait": 0.01})
    sandbox.inject("rate_limit", nth=(1, 2, 3))
    run = run_dag(bulk_dag(tickets(2)))
    assert counts(run.summary()) == {"created": 2}
    assert sandbox.count("POST") == 4


def test_a_wait_that_is_too_long_is_left_to_airflow(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("rate_limit", retry_after=3600, times=1)
    run = run_dag(bulk_dag(tickets(6), batch_size=2, retries=1))
    assert run.states == {"create": "success"}
    (error,) = run.exceptions
    assert type(error) is LeenRateLimitError
    assert error.retry_after == 3600
    assert sandbox.count("POST") == 1 + 3
    assert len(sandbox.tickets()) == 6


def test_an_endless_429_ends_after_the_retries_with_everything_unsent(
    sandbox: SandboxServer, run_dag: Any, connect: Connect
) -> None:
    connect(extra={"max_retries": 2, "max_retry_wait": 0.01})
    sandbox.inject("rate_limit")
    run = run_dag(bulk_dag(tickets(6), batch_size=2))
    assert [type(error) for error in run.exceptions] == [LeenRateLimitError]
    assert sandbox.count("POST") == 3
    assert counts(run.summary()) == {"unsent": 6}


def test_a_sandbox_that_takes_few_calls_a_second_gets_each_ticket_once(
    sandbox: SandboxServer, run_dag: Any, connect: Connect
) -> None:
    connect(extra={"max_retries": 20})
    sandbox.inject("rate_limit", rate=0.4, retry_after=0.05)
    run = run_dag(bulk_dag(tickets(40), batch_size=2, max_concurrent_batches=4))
    assert counts(run.summary()) == {"created": 40}
    assert sorted(ticket["name"] for ticket in sandbox.tickets()) == sorted(row["name"] for row in tickets(40))
    assert sandbox.faults["rate_limit"] == sandbox.count("POST") - 20 > 0
