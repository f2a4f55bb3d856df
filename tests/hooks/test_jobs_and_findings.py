"""The hook's methods for jobs and findings, in a task."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.sandbox.findings import findings
from airflow_provider_leen.sandbox.server import SandboxServer

CRITICAL = sum(finding.record["severity"] == "CRITICAL" for finding in findings())
TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task", "identifier": "scan-1"}


def test_a_task_can_submit_jobs_and_read_findings(run_dag: Any, sandbox: SandboxServer) -> None:
    with DAG("jobs_and_findings", schedule=None) as dag:

        @task
        def work() -> dict[str, Any]:
            with LeenHook() as hook:
                created = hook.get_job(hook.submit_bulk_create([TICKET]))
                ticket = hook.get_ticket_by_identifier("scan-1")
                assert ticket
                updated = hook.get_job(hook.submit_bulk_update([ticket.id], {"status": "CLOSED"}))
            with LeenHook(connection_id=SandboxServer.scanner_connection_id) as hook:
                grave = [finding.id for finding in hook.iter_vulnerability_findings(severity=["CRITICAL"])]
            return {"jobs": [created.status, updated.status], "grave": len(grave)}

        work()

    run = run_dag(dag)
    assert run.states == {"work": "success"}
    assert run.xcom("work") == {"jobs": ["SUCCESS", "SUCCESS"], "grave": CRITICAL}
    assert sandbox.tickets()[0]["status"] == "CLOSED"
