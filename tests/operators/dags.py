"""The Dags that these tests run, and where their connection leads."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.bulk.statuses import STATUSES
from airflow_provider_leen.bulk.summary import Summary
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.support.airflow_run import AIRFLOW

DEFAULTS = {"project_vendor_id": "SEC", "type": "Task"}

REMEMBERING = {"ledger_path": None if AIRFLOW >= (3, 3) else f"{os.environ['AIRFLOW_HOME']}/ledger"}
"""Where Airflow itself remembers nothing, the tests' operators do all the same."""

Connect = Callable[..., None]
AtCall = Callable[..., None]


def tickets(count: int) -> list[dict[str, Any]]:
    return [{"name": f"finding {number}"} for number in range(count)]


def with_bad_ones(count: int, *positions: int) -> list[dict[str, Any]]:
    """Tickets of which the vendor refuses some."""
    given = tickets(count)
    for position in positions:
        given[position]["priority"] = "URGENT"
    return given


def bulk_dag(given: Any = None, *, native: bool = False, **arguments: Any) -> DAG:
    """A Dag whose only task is the operator, named ``create``; it sends one batch at a time by default."""
    with DAG("leen_test", schedule=None, render_template_as_native_obj=native) as dag:
        create(given, **arguments)
    return dag


def create(given: Any = None, **arguments: Any) -> LeenBulkCreateTicketsOperator:
    usual: dict[str, Any] = {
        "task_id": "create",
        "ticket_defaults": DEFAULTS,
        "max_concurrent_batches": 1,
        "retry_delay": timedelta(0),
    } | REMEMBERING
    return LeenBulkCreateTicketsOperator(tickets=given, **usual | arguments)


def update_dag(ticket_ids: Any, **arguments: Any) -> DAG:
    """A Dag whose only task is the operator, named ``update``; it submits one batch at a time by default."""
    usual: dict[str, Any] = {
        "updates": {"status": "CLOSED"},
        "poll_interval": 0.01,
        "retry_delay": timedelta(0),
        "max_concurrent_batches": 1,
    }
    with DAG("leen_update", schedule=None) as dag:
        LeenUpdateTicketsOperator(task_id="update", ticket_ids=ticket_ids, **usual | arguments)
    return dag


def connection(sandbox: SandboxServer, *, extra: dict[str, Any] | None = None, **fields: Any) -> str:
    """The connection to the sandbox with other fields, as Airflow reads it from the environment."""
    return json.dumps(json.loads(sandbox.airflow_conn) | {"extra": extra or {}} | fields)


def counts(summary: Summary) -> dict[str, int]:
    """How many tickets have which status, those that none has left out; the summary's own counts must agree."""
    counted = Counter[str](result["status"] for result in summary["results"])
    assert dict(counted) == {status: summary[status] for status in STATUSES if summary[status]}
    assert summary["total"] == len(summary["results"]) == summary["succeeded"] + summary["failed"]
    return dict(counted)


def timeout_now() -> None:
    """What the timer behind ``execution_timeout`` does."""
    os.kill(os.getpid(), signal.SIGALRM)
