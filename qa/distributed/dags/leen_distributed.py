"""Twenty lists of findings, an operator for each of them under a pool, and a gate over all; and one list in a file."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from qa.distributed.sizes import CONCURRENT_BATCHES, LISTS, POOL, TICKETS

with DAG("leen_distributed", schedule=None, catchup=False, max_active_tasks=LISTS):

    @task
    def findings() -> list[list[dict[str, str]]]:
        """What twenty scans have found."""
        text = "Untrusted input reaches a query without being checked. " * 6
        return [
            [
                {"name": f"Finding {number} of scan {scan}", "description": text, "project_vendor_id": "SEC"}
                for number in range(TICKETS)
            ]
            for scan in range(LISTS)
        ]

    create = LeenBulkCreateTicketsOperator.partial(
        task_id="create",
        ticket_defaults={"type": "Task"},
        embed_identifier=True,
        max_concurrent_batches=CONCURRENT_BATCHES,
        pool=POOL,
        retries=3,
        retry_delay=timedelta(0),
    ).expand(tickets=findings())
    LeenTicketFailureSensor(task_id="gate", results=create.output, max_failures=0)

with DAG("leen_by_path", schedule=None, catchup=False):
    by_path = LeenBulkCreateTicketsOperator(
        task_id="create",
        tickets_path="{{ dag_run.conf['tickets_path'] }}",
        results_path="{{ dag_run.conf['tickets_path'] }}.results.jsonl",
        ticket_defaults={"type": "Task"},
    )
    LeenTicketFailureSensor(task_id="gate", results=by_path.output, max_failures=0)
