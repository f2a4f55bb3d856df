"""Dags for the pictures, beside the examples: one whose gate fails, and one that runs for a while."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import dag

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

SERVICES = ("billing", "login", "search", "shop", "mail")


def findings(count: int) -> list[dict[str, Any]]:
    """Return a list of which each tenth ticket has a priority that the tracker does not know, and one has no title."""
    rows: list[dict[str, Any]] = [
        {
            "name": f"CVE-2026-{1000 + number} in {SERVICES[number % 5]}",
            "identifier": f"CVE-2026-{1000 + number}/{SERVICES[number % 5]}",
            "priority": "SHINY" if number % 10 == 3 else "HIGH",
        }
        for number in range(count)
    ]
    del rows[5]["name"]
    return rows


@dag(schedule=None, tags=["leen"])
def leen_gate_fails() -> None:
    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets=findings(90),
        ticket_defaults={"project_vendor_id": "SEC", "type": "Bug"},
        retries=3,
        retry_delay=1.0,
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output, max_failure_rate=0.05)


@dag(schedule=None, tags=["leen"])
def leen_at_work() -> None:
    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets=findings(4000),
        ticket_defaults={"project_vendor_id": "SEC", "type": "Bug"},
        batch_size=20,
        retries=3,
        retry_delay=1.0,
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output, max_failure_rate=0.05)


leen_gate_fails()
leen_at_work()
