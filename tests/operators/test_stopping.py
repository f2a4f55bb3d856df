"""A task that is stopped from outside publishes what it knows before it ends."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowTaskTimeout

from airflow_provider_leen.api.errors import LeenStoppedError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import DEFAULTS, AtCall, bulk_dag, tickets, timeout_now


@pytest.mark.smoke
def test_a_timeout_publishes_what_is_known_and_is_raised_as_itself(
    sandbox: SandboxServer, run_dag: Any, at_call: AtCall
) -> None:
    sandbox.inject("stall", nth=2, commit=True)
    at_call(2, timeout_now)
    run = run_dag(bulk_dag(tickets(8), batch_size=2, execution_timeout=timedelta(seconds=1000)))
    assert run.states == {"create": "failed"}
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout]
    results = run.summary()["results"]
    assert [result["status"] for result in results] == [*["created"] * 2, *["unknown"] * 2, *["unsent"] * 4]
    assert run.xcom("create", "failed_tickets") == tickets(8)[4:]
    assert sandbox.count("POST") == 2


class KilledOperator(LeenBulkCreateTicketsOperator):
    """Is told to stop, as Airflow does it, as soon as its first call is in flight, which then is answered."""

    sandbox: SandboxServer
    at_call: AtCall

    def execute(self, context: Any) -> Any:
        killed = threading.Event()
        self.sandbox.inject("latency", until=killed.is_set)

        def kill() -> None:
            self.on_kill()
            killed.set()

        type(self).at_call(1, kill)
        return super().execute(context)


@pytest.mark.parametrize("count", [2, 20])
def test_a_kill_lets_calls_in_flight_end_and_starts_no_other_and_during_the_last_one_changes_nothing(
    sandbox: SandboxServer, run_dag: Any, at_call: AtCall, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(KilledOperator, "sandbox", sandbox, raising=False)
    monkeypatch.setattr(KilledOperator, "at_call", at_call, raising=False)
    with DAG("leen_test", schedule=None) as dag:
        KilledOperator(
            task_id="create", tickets=tickets(count), ticket_defaults=DEFAULTS, batch_size=2, max_concurrent_batches=2
        )
    run = run_dag(dag)
    in_flight = sandbox.count("POST")
    assert in_flight <= 2
    assert len(sandbox.tickets()) == run.summary()["created"] == 2 * in_flight
    assert run.summary()["unsent"] == count - 2 * in_flight
    if count > 2:
        assert [type(error) for error in run.exceptions] == [LeenStoppedError]
    else:
        assert run.states == {"create": "success"}


def test_an_operator_that_is_killed_before_it_runs_has_nothing_to_stop() -> None:
    LeenBulkCreateTicketsOperator(task_id="create", tickets=[]).on_kill()
