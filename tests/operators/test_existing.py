"""A daily scan that finds the same again, on real Airflow."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, counts

UUID = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}


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


def test_if_exists_that_is_neither_is_refused_in_a_sentence() -> None:
    with pytest.raises(LeenConfigError, match="`if_exists` is 'update': write 'create' or 'skip'"):
        LeenBulkCreateTicketsOperator(task_id="create", tickets=[], if_exists="update")
