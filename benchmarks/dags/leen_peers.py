"""250 tickets, filed by this package and by what people use instead; each retried by Airflow, as they would have it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from airflow.providers.atlassian.jira.operators.jira import JiraOperator
from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.http.operators.http import HttpOperator

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator

TICKETS = 250
TEXT = "What a scanner has to say of this one. " * 10
FINDINGS = [
    {"name": f"finding {number}", "description": TEXT, "project_vendor_id": "SEC", "type": "Task"}
    for number in range(TICKETS)
]
BATCHES = [FINDINGS[start : start + 50] for start in range(0, TICKETS, 50)]
BULK = "v1/itsm/tickets/bulk/sync"
RETRIES = 3
PATIENT: dict[str, Any] = {"retries": RETRIES, "retry_delay": timedelta(0)}

for _dag_id, _in_flight in {"peer_leen": 4, "peer_leen_in_turn": 1}.items():
    with DAG(_dag_id, schedule=None):
        LeenBulkCreateTicketsOperator(
            task_id="create",
            tickets=FINDINGS,
            leen_conn_id="leen_{{ dag_run.conf['number'] }}",
            connection_id="{{ dag_run.conf['connection_id'] }}",
            max_concurrent_batches=_in_flight,
            embed_identifier=True,
            **PATIENT,
        )

with DAG("peer_http", schedule=None):
    HttpOperator.partial(
        task_id="create",
        http_conn_id="http_{{ dag_run.conf['number'] }}",
        endpoint=BULK,
        headers={
            "X-API-KEY": "sandbox-key",
            "X-CONNECTION-ID": "{{ dag_run.conf['connection_id'] }}",
            "Content-Type": "application/json",
        },
        max_active_tis_per_dagrun=1,
        **PATIENT,
    ).expand(data=[json.dumps({"tickets": batch}) for batch in BATCHES])

with DAG("peer_task", schedule=None):

    @task(retries=RETRIES, retry_delay=timedelta(0))
    def create(**context: Any) -> int:
        """Post each batch in turn, as anyone would write it."""
        import httpx

        conf = context["dag_run"].conf
        headers = {"X-API-KEY": "sandbox-key", "X-CONNECTION-ID": conf["connection_id"]}
        created = 0
        with httpx.Client(base_url=conf["url"], headers=headers, timeout=30) as client:
            for batch in BATCHES:
                reply = client.post("itsm/tickets/bulk/sync", json={"tickets": batch})
                reply.raise_for_status()
                created += reply.json()["succeeded"]
        return created

    create()

with DAG("peer_jira", schedule=None, max_active_tasks=64):
    JiraOperator.partial(task_id="create", jira_conn_id="jira_bench", jira_method="create_issue", **PATIENT).expand(
        jira_method_args=[
            {
                "fields": {
                    "summary": finding["name"],
                    "description": finding["description"],
                    "project": {"key": "SEC"},
                    "issuetype": {"name": "Task"},
                }
            }
            for finding in FINDINGS
        ]
    )
