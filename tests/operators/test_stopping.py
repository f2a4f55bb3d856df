"""A task that is stopped from outside tells what it knows before it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowTaskTimeout

from airflow_provider_leen.api.errors import LeenStoppedError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import DEFAULTS, AtCall, bulk_dag, counts, tickets, timeout_now

TIMED: dict[str, Any] = {"batch_size": 2, "execution_timeout": timedelta(seconds=100)}


@pytest.mark.smoke
def test_a_timeout_publishes_what_is_known_and_is_raised_as_itself(
    sandbox: SandboxServer, run_dag: Any, at_call: AtCall
) -> None:
    sandbox.inject("stall", nth=2, commit=True)
    at_call(2, timeout_now)
    run = run_dag(bulk_dag(tickets(8), **TIMED))
    assert run.states == {"create": "failed"}
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout]
    results = run.summary()["results"]
    assert [result["status"] for result in results] == [*["created"] * 2, *["unknown"] * 2, *["unsent"] * 4]
    assert run.xcom("create", "failed_tickets") == tickets(8)[4:]
    assert sandbox.count("POST") == 2


def test_a_call_in_flight_at_the_timeout_may_end_soon_after_it(
    sandbox: SandboxServer, run_dag: Any, at_call: AtCall
) -> None:
    sandbox.inject("latency", nth=2, seconds=0.4)
    at_call(2, timeout_now)
    run = run_dag(bulk_dag(tickets(8), **TIMED))
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout]
    assert counts(run.summary()) == {"created": 4, "unsent": 4}
    assert len(sandbox.tickets()) == 4


class KilledOperator(LeenBulkCreateTicketsOperator):
    """Is told to stop, as Airflow does it, as soon as its first call is in flight."""

    at_call: AtCall

    def execute(self, context: Any) -> Any:
        type(self).at_call(1, self.on_kill)
        return super().execute(context)


def killed_dag(count: int) -> DAG:
    with DAG("leen_test", schedule=None) as dag:
        KilledOperator(
            task_id="create", tickets=tickets(count), ticket_defaults=DEFAULTS, batch_size=2, max_concurrent_batches=2
        )
    return dag


def test_a_kill_lets_calls_in_flight_end_and_starts_no_other(
    sandbox: SandboxServer, run_dag: Any, at_call: AtCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KilledOperator, "at_call", at_call, raising=False)
    sandbox.inject("latency", seconds=0.3)
    run = run_dag(killed_dag(20))
    assert run.states == {"create": "failed"}
    assert [type(error) for error in run.exceptions] == [LeenStoppedError]
    in_flight = sandbox.count("POST")
    assert in_flight <= 2
    assert counts(run.summary()) == {"created": 2 * in_flight, "unsent": 20 - 2 * in_flight}
    assert len(sandbox.tickets()) == 2 * in_flight


def test_a_kill_during_the_last_call_changes_nothing(
    sandbox: SandboxServer, run_dag: Any, at_call: AtCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KilledOperator, "at_call", at_call, raising=False)
    sandbox.inject("latency", seconds=0.3)
    run = run_dag(killed_dag(2))
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 2}


def test_an_operator_that_is_killed_before_it_runs_has_nothing_to_stop() -> None:
    LeenBulkCreateTicketsOperator(task_id="create", tickets=[]).on_kill()
