"""Runs every operator with hostile texts, and writes down what Airflow's database then holds.

Started by ``test_hostile_texts.py``, in its own process, whose environment names the database. Its arguments: a
file of tickets, whether the database is new and has no tables yet, and where to write.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.operators.create import LeenCreateTicketOperator
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from tests.operators.dags import create, tickets
from tests.operators.hostile_leen import TICKET_ID
from tests.support.airflow_run import AirflowRun, run, xcom_model


def hostile_dag(given: str) -> DAG:
    retried: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(0)}
    with DAG("leen_hostile", schedule=None) as dag:
        first: Any = create(task_id="from_file", tickets_path=given, embed_identifier=True).output
        create(first["failed_tickets"], task_id="handed_on")
        create([{"name": "mixed up"}], task_id="mixed_up", on_unknown="fail")

        @task
        def typed() -> list[dict[str, Any]]:
            values = [datetime(2024, 1, 1), Decimal("1.5"), ["x"]]
            return [{"name": f"typed {number}", "priority": value} for number, value in enumerate(values)]

        second: Any = create(typed(), task_id="from_upstream").output
        create(second["failed_tickets"], task_id="typed_handed_on")
        create(tickets(2), task_id="refused", leen_conn_id="refusing", **retried)
        create(tickets(2), task_id="invalid", leen_conn_id="invalid", **retried)
        create(tickets(2), task_id="broken", leen_conn_id="broken", on_unknown="fail")
        create([{"name": "a"}, {"name": "b"}], task_id="deferred", deferrable=True, poll_interval=0.1)
        LeenCreateTicketOperator(task_id="single", ticket={"name": "a", "project_vendor_id": "SEC", "type": "Task"})
        LeenUpdateTicketsOperator(
            task_id="update", ticket_ids=[TICKET_ID], updates={"status": "CLOSED"}, poll_interval=0.1
        )
    return dag


def published(finished: AirflowRun) -> dict[str, dict[str, Any]]:
    """All XComs, read back from the database: by task, then by key."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    model = xcom_model()
    with create_session() as session:
        ours = select(model.task_id, model.key).filter_by(run_id=finished.dag_run.run_id)
        names = [tuple(row) for row in session.execute(ours)]
    found: dict[str, dict[str, Any]] = {}
    for task_id, key in names:
        if task_id != "typed":
            found.setdefault(task_id, {})[key] = finished.xcom(task_id, key)
    return found


def main(given: str, is_new: str, place: str) -> None:
    if is_new == "new":
        from airflow.utils.db import initdb

        initdb()
    finished = run(hostile_dag(given))
    seen = {
        "states": finished.states,
        "errors": [[type(error).__name__, type(error.__cause__).__name__, str(error)] for error in finished.exceptions],
        "published": published(finished),
    }
    Path(place).write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
