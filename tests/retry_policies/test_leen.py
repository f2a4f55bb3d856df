from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_leen.api.errors import (
    LeenConnectError,
    LeenLedgerError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenServerError,
)
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, connection, tickets
from tests.support.airflow_run import AIRFLOW, AirflowRun

try:
    from airflow.providers.common.compat.sdk import RetryAction

    from airflow_provider_leen.retry_policies.leen import LeenRetryPolicy
except ImportError as absent:
    if AIRFLOW >= (3, 3):
        raise
    pytest.skip(str(absent), allow_module_level=True)

RunDag = Callable[..., AirflowRun]


def decide(exception: BaseException, try_number: int = 1, **policy: Any) -> tuple[Any, float | None]:
    decision = LeenRetryPolicy(**policy).evaluate(exception, try_number, 5)
    return decision.action, None if decision.retry_delay is None else decision.retry_delay.total_seconds()


def test_a_rate_limit_waits_as_long_as_leen_said_and_never_less() -> None:
    for _ in range(50):
        action, delay = decide(LeenRateLimitError("slow down", retry_after=7200.0))
        assert action is RetryAction.RETRY
        assert delay is not None
        assert 7200 <= delay <= 7260


OUTAGES = [
    LeenConnectError("no route"),
    LeenServerError("broken", status=503),
    LeenRateLimitError("slow down"),
    LeenOutcomeUnknownError("lost", can_be_settled=True),
]


@pytest.mark.parametrize("exception", OUTAGES, ids=lambda exception: type(exception).__name__)
@pytest.mark.parametrize(("try_number", "longest"), [(1, 60), (2, 120), (3, 240), (6, 1920), (7, 3600), (500, 3600)])
def test_an_outage_backs_off_from_try_to_try_up_to_a_cap(exception: Exception, try_number: int, longest: float) -> None:
    delays = {decide(exception, try_number) for _ in range(20)}
    assert {action for action, _ in delays} == {RetryAction.RETRY}
    assert all(longest / 2 <= (delay or 0) <= longest for _, delay in delays)
    assert len(delays) > 1


def test_the_delays_can_be_set() -> None:
    _, delay = decide(LeenConnectError("x"), 9, first_delay=timedelta(seconds=4), max_delay=timedelta(seconds=8))
    assert delay is not None
    assert 4 <= delay <= 8


def test_an_unknown_outcome_that_no_retry_can_settle_fails_at_once() -> None:
    assert decide(LeenOutcomeUnknownError("lost")) == (RetryAction.FAIL, None)


@pytest.mark.parametrize(
    ("exception", "reason"),
    [
        (LeenOutcomeUnknownError("lost", can_be_settled=True), "a retry can look them up, or may send them again"),
        (LeenOutcomeUnknownError("lost"), "a retry can't find out more"),
        (LeenConnectError("no route"), "Leen is not available (LeenConnectError)"),
        (LeenRateLimitError("slow down", retry_after=60.0), "Leen asked for this wait"),
    ],
)
def test_the_reason_says_what_is_so(exception: Exception, reason: str) -> None:
    assert reason in str(LeenRetryPolicy().evaluate(exception, 1, 5).reason)


@pytest.mark.parametrize("exception", [LeenLedgerError("gone"), ValueError("else")], ids=["a Leen error", "another"])
def test_anything_else_is_left_to_the_task(exception: Exception) -> None:
    assert decide(exception) == (RetryAction.DEFAULT, None)


# In Airflow


def policy() -> LeenRetryPolicy:
    return LeenRetryPolicy(first_delay=timedelta(0))


def test_a_task_is_not_retried_when_a_retry_can_not_know_more(run_dag: RunDag, sandbox: SandboxServer) -> None:
    sandbox.inject("lost")
    run = run_dag(bulk_dag(tickets(2), retries=3, retry_policy=policy()))
    assert run.states == {"create": "failed"}
    [error] = run.exceptions
    assert isinstance(error, LeenOutcomeUnknownError)
    assert sandbox.count("POST") == 1


def test_a_task_whose_tickets_carry_their_keys_is_retried_and_ends_complete(
    run_dag: RunDag, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"timeout": 1, "settle_time": 0, "max_retries": 0}
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra=extra))
    sandbox.inject("lost", times=1)
    # The first try can ask neither Leen nor the vendor, and so ends not knowing.
    sandbox.inject("status", status=503, method="GET", path="/v1/itsm", times=4)
    run = run_dag(bulk_dag(tickets(2), retries=4, retry_policy=policy(), embed_identifier=True))
    assert {type(error) for error in run.exceptions} == {LeenOutcomeUnknownError}
    assert run.states == {"create": "success"}
    assert run.summary()["created"] == 2
    assert len(sandbox.tickets()) == 2


@pytest.mark.parametrize(
    ("arguments", "can_be_settled"),
    [
        ({"on_unknown": "resend"}, True),
        ({"on_unknown": "resend", "durable": False}, False),
        ({"on_unknown": "fail", "embed_identifier": True}, False),
    ],
    ids=["a retry sends again", "a retry remembers nothing", "a retry never asks"],
)
def test_the_operator_says_whether_a_retry_can_settle_what_is_unknown(
    arguments: dict[str, Any], can_be_settled: bool, run_dag: RunDag, sandbox: SandboxServer
) -> None:
    sandbox.inject("lost")
    [error] = run_dag(bulk_dag(tickets(1), **arguments)).exceptions
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.can_be_settled is can_be_settled
