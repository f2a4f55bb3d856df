"""The gate behind the operator, on real Airflow."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task, task_group

from airflow_provider_leen.api.errors import LeenConfigError, LeenThresholdError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.operators.dags import DEFAULTS, create, tickets, with_bad_ones


def gated_dag(given: Any, **limits: Any) -> DAG:
    with DAG("leen_test", schedule=None) as dag:
        LeenTicketFailureSensor(task_id="gate", results=create(given).output, **limits)
    return dag


def test_the_gate_succeeds_and_returns_the_counts_of_a_run(sandbox: SandboxServer, run_dag: Any) -> None:
    run = run_dag(gated_dag(with_bad_ones(4, 1), max_failures=1))
    assert run.states == {"create": "success", "gate": "success"}
    counts = run.xcom("gate")
    assert (counts["total"], counts["created"], counts["rejected"]) == (4, 3, 1)
    assert "results" not in counts


@pytest.mark.smoke
def test_the_gate_fails_a_run_at_once_and_names_the_first_errors(sandbox: SandboxServer, run_dag: Any) -> None:
    run = run_dag(gated_dag(with_bad_ones(4, 1, 2), max_failure_rate=0.25, retries=2))
    assert run.states == {"create": "success", "gate": "failed"}
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenThresholdError
    assert "2 of 4" in str(error)
    assert "\n  create #1 finding 1: " in str(error)
    assert "URGENT" in str(error)


@pytest.mark.parametrize("template", ["{{ ti.xcom_pull(task_ids='create') }}", "{{ ti.xcom_pull('create') | tojson }}"])
def test_the_summary_may_come_through_a_text(sandbox: SandboxServer, run_dag: Any, template: str) -> None:
    with DAG("leen_test", schedule=None) as dag:
        create(with_bad_ones(3, 0)) >> LeenTicketFailureSensor(task_id="gate", results=template, max_failures=1)
    run = run_dag(dag)
    assert run.states == {"create": "success", "gate": "success"}
    assert run.xcom("gate")["failed"] == 1


@pytest.mark.parametrize(("max_failures", "state"), [(2, "success"), (1, "failed")])
def test_the_summaries_of_a_mapped_operator_are_added_up(
    sandbox: SandboxServer, run_dag: Any, max_failures: int, state: str
) -> None:
    with DAG("leen_test", schedule=None) as dag:

        @task
        def lists() -> list[list[dict[str, Any]]]:
            return [with_bad_ones(3, 0), [], with_bad_ones(2, 1)]

        created = LeenBulkCreateTicketsOperator.partial(task_id="create", ticket_defaults=DEFAULTS).expand(
            tickets=lists()
        )
        LeenTicketFailureSensor(task_id="gate", results=created.output, max_failures=max_failures)
    run = run_dag(dag)
    assert run.states["create"] == "success success success"
    assert run.states["gate"] == state
    if state == "success":
        assert (run.xcom("gate")["total"], run.xcom("gate")["failed"]) == (5, 2)


def test_rows_are_named_by_their_task_map_index_and_place(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        # The first instance fails before it has a summary.
        mapped = LeenBulkCreateTicketsOperator.partial(task_id="mapped", ticket_defaults=DEFAULTS).expand(
            tickets=["no list of tickets", with_bad_ones(2, 1), with_bad_ones(3, 2)]
        )
        single = create(with_bad_ones(1, 0), task_id="single")
        LeenTicketFailureSensor(task_id="gate", results=[single.output, mapped.output], trigger_rule="all_done")
    run = run_dag(dag)
    assert run.states["gate"] == "failed"
    head, *lines = str(run.exceptions[-1]).splitlines()
    assert head.startswith("3 of 6 tickets failed (50 %)")
    assert [line.split(":")[0] for line in lines] == [
        "  single #0 finding 0",
        "  mapped[1] #1 finding 1",
        "  mapped[2] #2 finding 2",
    ]


def test_in_a_mapped_task_group_each_gate_names_its_own_instance(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:

        @task_group
        def filed(given: Any) -> None:
            created = LeenBulkCreateTicketsOperator(task_id="create", tickets=given, ticket_defaults=DEFAULTS)
            LeenTicketFailureSensor(task_id="gate", results=created.output)

        filed.expand(given=[tickets(1), with_bad_ones(2, 1)])
    run = run_dag(dag)
    assert run.states["filed.gate"] == "success failed"
    assert "\n  filed.create[1] #1 finding 1: " in str(run.exceptions[-1])


@pytest.mark.parametrize(
    ("limits", "state"),
    [
        ({"max_failures": "{{ none }}", "max_failure_rate": "{{ 0.5 }}"}, "success"),
        ({"max_failures": "{{ 9 }}", "max_failure_rate": "{{ 0.25 }}"}, "failed"),
        ({"max_failures": "{{ none }}", "max_failure_rate": "{{ none }}"}, "failed"),
    ],
    ids=["None is no limit", "a share", "no limit at all: any failure"],
)
def test_limits_are_templates_whose_text_is_parsed(
    sandbox: SandboxServer, run_dag: Any, limits: dict[str, str], state: str
) -> None:
    assert run_dag(gated_dag(with_bad_ones(4, 1, 2), **limits)).states["gate"] == state


def test_a_gate_behind_a_failed_operator_still_judges_what_it_published(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("status", status=401, nth=2)
    with DAG("leen_test", schedule=None) as dag:
        created = create(tickets(4), batch_size=2)
        LeenTicketFailureSensor(task_id="gate", results=created.output, max_failures=2, trigger_rule="all_done")
    run = run_dag(dag)
    assert run.states == {"create": "failed", "gate": "success"}
    assert (run.xcom("gate")["created"], run.xcom("gate")["unsent"]) == (2, 2)


def test_a_missing_summary_fails_the_gate(sandbox: SandboxServer, run_dag: Any) -> None:
    with DAG("leen_test", schedule=None) as dag:
        created = create("no list of tickets")
        LeenTicketFailureSensor(task_id="gate", results=created.output, max_failures=9, trigger_rule="all_done")
    run = run_dag(dag)
    assert run.states == {"create": "failed", "gate": "failed"}
    _, error = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
