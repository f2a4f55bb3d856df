"""The Dags of the benchmarks. A run's ``conf`` says which server it uses and where its tickets are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Context

from airflow_provider_leen.bulk.summary import Summary
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from benchmarks.peak import begin_peak, peak

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


class Weighed(LeenBulkCreateTicketsOperator):
    """Writes beside its results how many bytes of memory its task took above what it began with."""

    def execute(self, context: Context) -> Summary:
        begin_peak()
        before = peak()
        summary = super().execute(context)
        Path(f"{self.results_path}.peak").write_text(str(peak() - before))
        return summary


with DAG("memory", schedule=None):
    Weighed(
        task_id="create",
        tickets_path=PATH,
        results_path=f"{PATH}.results",
        leen_conn_id="leen_at_once",
        ticket_defaults={"type": "Task"},
        retries=0,
    )

with DAG("tab", schedule=None):
    LeenBulkCreateTicketsOperator(
        task_id="create",
        tickets_path=PATH,
        leen_conn_id="leen_at_once",
        ticket_defaults={"type": "Task"},
        retries=0,
    )
