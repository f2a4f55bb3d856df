"""The operator on real Airflow, against the sandbox on a real socket."""

from __future__ import annotations

from datetime import datetime, UTC
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

DEFAULTS = {"project_vendor_id": "SEC", "type": "Task"}


def make_dag(tickets, **kw):
    with DAG("leen_test", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        LeenBulkCreateTicketsOperator(task_id="create", tickets=tickets, ticket_defaults=DEFAULTS, **kw)
    return dag


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 1000])
def test_n(sandbox, run_dag, count):
    r = run_dag(make_dag([{"name": f"t{i}"} for i in range(count)]))
    assert r.states == {"create": "success"}
    s = r.summary()
    assert s["created"] == count
    assert [x["request_index"] for x in s["results"]] == list(range(count))
    assert sandbox.count("POST") == -(-count // 50)
