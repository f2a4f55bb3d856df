"""Leen as the source: its critical and high open findings without a ticket become tickets, each once.

Run it as often as you like: a ticket's identifier is made from the finding's id, and ``if_exists="skip"`` files no
ticket that Leen knows, not even a closed one. This needs the project by Leen's id: Leen knows a ticket that was created
in bulk by keys only after its next sync, and then perhaps not its identifier.

A scanner and a tracker are two connections in Leen. The login of the Airflow connection is the tracker's connection ID,
for filing tickets; findings are read with the scanner's.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_leen.findings import ticket_from_leen_finding
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

SCANNER = "5ca00000-0000-4000-8000-000000000001"  # the sandbox's; yours is in Leen's portal
PROJECT = "Security"


@dag(schedule=None, tags=["leen"])
def leen_findings_to_tickets() -> None:
    @task
    def find_project() -> str:
        with LeenHook() as hook:
            for project in hook.iter_projects():
                if project.name == PROJECT:
                    return project.id
        raise ValueError(f"Leen sees no project named {PROJECT!r}: correct PROJECT in the Dag file.")

    @task
    def find_tickets() -> list[dict[str, str]]:
        with LeenHook(connection_id=SCANNER) as hook:
            findings = hook.iter_vulnerability_findings(severity=["CRITICAL", "HIGH"], state=["OPEN", "REOPENED"])
            return [ticket_from_leen_finding(finding) for finding in findings if not finding.has_ticket]

    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets=find_tickets(),
        ticket_defaults={"project_id": find_project(), "type": "Bug"},
        if_exists="skip",
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output)


leen_findings_to_tickets()
