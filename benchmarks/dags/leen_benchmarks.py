"""The Dags of the benchmarks. A run's ``conf`` says which server it uses and where its tickets are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

LEEN: dict[str, Any] = {
    "leen_conn_id": "leen_{{ dag_run.conf['number'] }}",
    "connection_id": "{{ dag_run.conf['connection_id'] }}",
    "ticket_defaults": {"type": "Task"},
}
PATH = "{{ dag_run.conf['tickets_path'] }}"

with DAG("warm_up", schedule=None):
    LeenBulkCreateTicketsOperator(task_id="create", tickets=[], **LEEN)

for _in_flight in (1, 2, 4, 8):
    for _durable in (True, False):
        with DAG(f"throughput_{_in_flight}_{'durable' if _durable else 'forgetful'}", schedule=None):
            LeenBulkCreateTicketsOperator(
                task_id="create",
                tickets_path=PATH,
                max_concurrent_batches=_in_flight,
                durable=_durable,
                retries=0,
                **LEEN,
            )

with DAG("retry", schedule=None):
    LeenBulkCreateTicketsOperator(task_id="create", tickets_path=PATH, retries=1, retry_delay=timedelta(0), **LEEN)

with DAG("tab", schedule=None):
    LeenBulkCreateTicketsOperator(
        task_id="create",
        tickets_path=PATH,
        leen_conn_id="leen_at_once",
        ticket_defaults={"type": "Task"},
        retries=0,
    )
