"""The same findings every day, and new ones: with a register, with look-ups, and with a file as one would write it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

LEEN: dict[str, Any] = {
    "task_id": "create",
    "tickets_path": "{{ dag_run.conf['tickets_path'] }}",
    "ticket_defaults": {"type": "Task"},
    "leen_conn_id": "leen_{{ dag_run.conf['number'] }}",
    "connection_id": "{{ dag_run.conf['connection_id'] }}",
    "results_path": "{{ dag_run.conf['tickets_path'] }}.results.jsonl",
    # One call after the other, so that each way is killed at the same place.
    "max_concurrent_batches": 1,
    "retries": 3,
    "retry_delay": timedelta(0),
}

with DAG("daily_register", schedule=None):
    LeenBulkCreateTicketsOperator(register="{{ dag_run.conf['memory'] }}", **LEEN)

with DAG("daily_lookup", schedule=None):
    LeenBulkCreateTicketsOperator(if_exists="skip", embed_identifier=True, **LEEN)

with DAG("daily_file", schedule=None):

    @task(retries=3, retry_delay=timedelta(0))
    def create(**context: Any) -> int:
        """Post what the file does not name, and name it there."""
        import httpx

        conf = context["dag_run"].conf
        memory = Path(conf["memory"])
        filed = json.loads(memory.read_text()) if memory.exists() else {}
        rows = [json.loads(line) for line in Path(conf["tickets_path"]).read_text().splitlines()]
        new = [row | {"type": "Task"} for row in rows if row["identifier"] not in filed]
        headers = {"X-API-KEY": "sandbox-key", "X-CONNECTION-ID": conf["connection_id"]}
        with httpx.Client(base_url=conf["url"], headers=headers, timeout=30) as client:
            for start in range(0, len(new), 50):
                reply = client.post("itsm/tickets/bulk/sync", json={"tickets": new[start : start + 50]})
                reply.raise_for_status()
                for result in reply.json()["results"]:
                    filed[result["identifier"]] = result["vendor_ticket_id"]
        memory.write_text(json.dumps(filed))
        return len(new)

    create()
