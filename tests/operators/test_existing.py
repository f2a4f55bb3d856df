"""A daily scan that finds the same again, on real Airflow."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError, LeenServerError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, bulk_dag, counts

UUID = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}
LOOK_UP = "/v1/itsm/tickets/by-identifier/"


def skipping_dag(count: int, **arguments: Any) -> Any:
    given = [{"name": f"finding {number}", "identifier": f"CVE-2026-{number}"} for number in range(count)]
    return bulk_dag(given, ticket_defaults=UUID, if_exists="skip", **arguments)


def test_the_next_days_run_creates_what_is_new_only(sandbox: SandboxServer, run_dag: Any) -> None:
    run_dag(skipping_dag(3))
    run = run_dag(skipping_dag(5, max_failures=0))
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"existing": 3, "created": 2}
    assert run.summary()["succeeded"] == 5
    assert run.xcom("create", "failed_tickets") == []
    assert run.xcom("create", "progress") == {"total": 5, "done": 5, "failed": 0}
    assert len(sandbox.tickets()) == 5


def test_a_look_up_that_fails_fails_the_task_before_anything_is_created_and_a_retry_works(
    sandbox: SandboxServer, run_dag: Any, connect: Connect
) -> None:
    connect(extra={"max_retries": 0})
    run_dag(skipping_dag(3))
    sandbox.inject("status", status=500, method="GET", path=LOOK_UP)
    run = run_dag(skipping_dag(5, retries=1, on_retry_callback=lambda _: sandbox.end_faults()))
    assert [type(error) for error in run.exceptions] == [LeenServerError]
    assert counts(run.summary()) == {"existing": 3, "created": 2}
    assert len(sandbox.tickets()) == 5


def test_if_exists_that_is_neither_is_refused_in_a_sentence() -> None:
    with pytest.raises(LeenConfigError, match="`if_exists` is 'update': write 'create' or 'skip'"):
        LeenBulkCreateTicketsOperator(task_id="create", tickets=[], if_exists="update")
