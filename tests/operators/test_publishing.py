"""What a task leaves behind: results in order, both XComs before anything is raised, and the right exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_leen.api.errors import LeenAuthError, LeenThresholdError
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, counts, create, tickets, with_bad_ones


def test_results_are_in_the_order_of_the_input(sandbox: SandboxServer, run_dag: Any) -> None:
    # The one that arrives first is answered last.
    others = {"until": lambda: sum(request.finished is not None for request in sandbox.requests) == 4}
    sandbox.inject("latency", nth=1, **others)
    run = run_dag(bulk_dag(tickets(20), batch_size=4, max_concurrent_batches=5))
    results = run.summary()["results"]
    assert [result["request_index"] for result in results] == list(range(20))
    assert [result["name"] for result in results] == [ticket["name"] for ticket in tickets(20)]
    key_of = {ticket["name"]: ticket["vendor_ticket_id"] for ticket in sandbox.tickets()}
    assert [result["vendor_ticket_id"] for result in results] == [key_of[ticket["name"]] for ticket in tickets(20)]


def test_a_result_says_everything_that_is_known_of_its_ticket(sandbox: SandboxServer, run_dag: Any) -> None:
    given = [
        {"name": "by key", "identifier": "scan-1/42"},
        {"name": "by uuid", "project_id": "5ec00000-0000-4000-8000-000000000001", "identifier": "scan-1/43"},
    ]
    run = run_dag(bulk_dag(given))
    by_key, by_uuid = run.summary()["results"]
    created = {ticket["name"]: ticket for ticket in sandbox.tickets()}
    assert by_key == {
        "request_index": 0,
        "success": True,
        "status": "created",
        "name": "by key",
        "identifier": "scan-1/42",
        "ticket_id": None,
        "vendor_ticket_id": created["by key"]["vendor_ticket_id"],
        "error": None,
    }
    assert by_uuid["vendor_ticket_id"] == created["by uuid"]["vendor_ticket_id"]
    assert by_uuid["ticket_id"] is not None


@pytest.mark.smoke
def test_what_is_known_is_published_when_a_later_batch_breaks(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("status", status=401, nth=2)
    given = with_bad_ones(10, 1)
    run = run_dag(bulk_dag(given, batch_size=4))
    (error,) = run.exceptions
    assert type(error.__cause__) is LeenAuthError
    assert [result["status"] for result in run.summary()["results"]] == [
        "created",
        "rejected",
        "created",
        "created",
        *["unsent"] * 6,
    ]
    assert run.xcom("create", "failed_tickets") == [given[1], *given[4:]]


def test_failed_tickets_are_those_that_surely_do_not_exist_as_they_were_given(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("failed_with_id", nth=1)
    given = [
        {"name": "in doubt"},
        {"name": "bad", "priority": "URGENT", "description": None},
        {"name": "good"},
        {"title": "no name"},
        "no mapping",
    ]
    run = run_dag(bulk_dag(given, on_unknown="fail"))
    assert counts(run.summary()) == {"created": 1, "rejected": 1, "invalid": 2, "unknown": 1}
    assert run.xcom("create", "failed_tickets") == [given[1], given[3], given[4]]


def test_failed_tickets_are_another_operators_input(sandbox: SandboxServer, run_dag: Any) -> None:
    given = [{"name": "one", "priority": "HIGH"}, {"name": "two"}, {"name": "three"}]
    with DAG("leen_test", schedule=None) as dag:
        first = create(given, ticket_defaults={"project_vendor_id": "SEC", "type": "Task", "priority": "SHINY"})
        failed: Any = first.output
        create(failed["failed_tickets"], task_id="again")
    run = run_dag(dag)
    assert run.states == {"create": "success", "again": "success"}
    assert counts(run.summary("create")) == {"created": 1, "rejected": 2}
    assert counts(run.summary("again")) == {"created": 2}
    assert [ticket["name"] for ticket in sandbox.tickets()] == ["one", "two", "three"]


# Thresholds


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        pytest.param({}, True, id="none"),
        pytest.param({"max_failures": 1}, False, id="number, more"),
        pytest.param({"max_failure_rate": 0.5}, True, id="rate, as many"),
    ],
)
def test_a_task_with_a_limit_fails_when_it_is_passed_after_publishing(
    sandbox: SandboxServer, run_dag: Any, limits: dict[str, Any], passes: bool
) -> None:
    given = with_bad_ones(4, 0, 3)
    run = run_dag(bulk_dag(given, retries=2, **limits))
    assert run.states == {"create": "success" if passes else "failed"}
    assert counts(run.summary()) == {"created": 2, "rejected": 2}
    assert run.xcom("create", "failed_tickets") == [given[0], given[3]]
    assert len(sandbox.tickets()) == 2
    assert [type(error) for error in run.exceptions] == ([] if passes else [AirflowFailException])
    for error in run.exceptions:
        assert type(error.__cause__) is LeenThresholdError
        assert error.__cause__.summary["failed"] == 2
        assert "2 of 4 tickets failed" in str(error)
        assert "#0 finding 0: " in str(error)


def test_the_log_has_a_line_for_each_batch_and_closes_with_counts_and_errors(
    sandbox: SandboxServer, run_dag: Any, task_log: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    run_dag(bulk_dag(with_bad_ones(30, *range(25)), batch_size=10))
    assert [record.getMessage().split(" (")[0] for record in caplog.records if "Batch" in record.getMessage()] == [
        "Batch 1 of 3: 10 rejected",
        "Batch 2 of 3: 10 rejected",
        "Batch 3 of 3: 5 rejected, 5 created",
    ]
    table = task_log().partition("Results of 30 tickets")[2]
    assert "first 20 of 25" in table
    assert table.count("\n  #") == 20
