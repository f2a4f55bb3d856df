"""The gate that watches tasks at work, on real Airflow."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    task,
)

from airflow_provider_leen.api.errors import LeenConfigError, LeenThresholdError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.operators.dags import DEFAULTS, create, tickets, with_bad_ones

# dag.test() runs one task after the other: a gate that waited in its process would wait for ever.
WATCH: dict[str, Any] = {"task_id": "gate", "mode": "reschedule", "poke_interval": 0.05}


def test_the_gate_waits_until_the_task_has_ended_and_judges_its_summary(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        LeenTicketFailureSensor(task_ids="create", max_failures=1, **WATCH)
        create(with_bad_ones(4, 1))
    run = run_dag(dag)
    assert run.states == {"create": "success", "gate": "success"}
    assert run.xcom("gate")["rejected"] == 1


def test_mapped_instances_are_added_up_and_waited_for(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        # The limit is passed by all together: dag.test() runs the gate between any two of them.
        LeenTicketFailureSensor(task_ids=["create"], max_failures=2, **WATCH)
        LeenBulkCreateTicketsOperator.partial(task_id="create", ticket_defaults=DEFAULTS).expand(
            tickets=[with_bad_ones(3, 0), with_bad_ones(3, 1), with_bad_ones(3, 2)]
        )
    run = run_dag(dag)
    assert run.states["gate"] == "failed"
    assert "3 of 9 tickets failed" in str(run.exceptions[-1])


def test_the_gate_fails_while_a_task_is_still_running(sandbox: SandboxServer, run_dag: Any) -> None:
    failed: list[Any] = []

    class AtWork(BaseSensorOperator):
        def poke(self, context: Any) -> bool:
            context["ti"].xcom_push(key="progress", value={"total": 100, "done": 10, "failed": 3})
            return bool(failed)

    with DAG("leen_test", schedule=None) as dag:
        AtWork(task_id="create", mode="reschedule", poke_interval=0.05)
        LeenTicketFailureSensor(task_ids="create", max_failures=2, on_failure_callback=failed.append, **WATCH)
    run = run_dag(dag)
    assert run.states["gate"] == "failed"
    (error,) = [error for error in run.exceptions if isinstance(error, AirflowFailException)]
    assert isinstance(error.__cause__, LeenThresholdError)
    assert "3 of 100 tickets failed" in str(error)
    assert "still running" in str(error)


def test_a_watched_task_that_ends_without_a_summary_fails_the_gate(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        LeenTicketFailureSensor(task_ids="create", max_failures=100, **WATCH)
        create("no list at all")
    run = run_dag(dag)
    assert run.states == {"create": "failed", "gate": "failed"}
    assert "ended without a summary" in str(run.exceptions[-1])


def test_a_mapped_operator_over_an_empty_list_had_nothing_to_do(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:

        @task
        def lists() -> list[Any]:
            return []

        LeenTicketFailureSensor(task_ids=["create", "other"], **WATCH)
        LeenBulkCreateTicketsOperator.partial(task_id="create", ticket_defaults=DEFAULTS).expand(tickets=lists())
        create(tickets(2), task_id="other")
    run = run_dag(dag)
    assert (run.states["create"], run.states["gate"]) == ("skipped", "success")
    assert (run.xcom("gate")["total"], run.xcom("gate")["created"]) == (2, 2)


def test_a_gate_whose_tasks_were_all_skipped_passes_with_no_ticket(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:

        @task
        def nothing_found() -> None:
            raise AirflowSkipException

        nothing_found() >> create(tickets(2))
        LeenTicketFailureSensor(task_ids="create", max_failure_rate=0.0, **WATCH)
    run = run_dag(dag)
    assert (run.states["create"], run.states["gate"]) == ("skipped", "success")
    assert (run.xcom("gate")["total"], run.xcom("gate")["failed"]) == (0, 0)


def test_a_task_that_is_not_there_fails_the_gate(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        LeenTicketFailureSensor(task_ids="craete", **WATCH)
    run = run_dag(dag)
    assert "'craete'" in str(run.exceptions[-1])


@pytest.mark.parametrize("arguments", [{}, {"results": {}, "task_ids": "create"}])
def test_results_or_task_ids_one_of_the_two(arguments: dict[str, Any]) -> None:
    with pytest.raises(LeenConfigError, match="exactly one of `results` and `task_ids`"):
        LeenTicketFailureSensor(task_id="gate", **arguments)


def test_no_task_to_watch_is_refused() -> None:
    with pytest.raises(LeenConfigError, match="`task_ids` is empty"):
        LeenTicketFailureSensor(task_id="gate", task_ids=[])


def test_a_task_that_is_named_twice_counts_once(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        LeenTicketFailureSensor(task_ids=["create", "create"], max_failures=1, **WATCH)
        create(with_bad_ones(2, 1))
    run = run_dag(dag)
    assert run.states["gate"] == "success"
    assert run.xcom("gate")["total"] == 2
