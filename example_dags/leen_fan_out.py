"""One list of tickets for several trackers: a mapped task for each Leen connection ID, and one gate for all.

An Airflow connection holds the account's API key; a Leen connection ID names one data source of that account, a
customer's Jira for example. ``connection_id`` overrides the one in the Airflow connection, so one Airflow connection
serves them all. The mapped tasks run in parallel, and each fails and is retried alone. Each knows by its index what it
created: add new connection IDs at the end of the list, or clearing an old run creates tickets again.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

LEEN_CONNECTION_IDS = [
    "0b7c9a52-6c1e-4f0d-9f63-5d2f6f0f4a01",
    "3f9d1c84-2a57-4c3b-8e0a-9b1d7c6e5f02",
    "c51e7d20-94b8-4a6f-b2d3-1e8f0a9c7b03",
]


@dag(schedule=None, tags=["leen"])
def leen_fan_out() -> None:
    @task
    def list_tickets() -> list[dict[str, Any]]:
        advisories = {"libxml2": "HIGH", "zlib": "MEDIUM", "curl": "LOW"}
        return [{"name": f"Update {package}", "priority": priority} for package, priority in advisories.items()]

    create = LeenBulkCreateTicketsOperator.partial(
        task_id="create_tickets",
        tickets=list_tickets(),
        ticket_defaults={"project_vendor_id": "SEC", "type": "Task"},
    ).expand(connection_id=LEEN_CONNECTION_IDS)
    LeenTicketFailureSensor(task_id="gate", results=create.output)


leen_fan_out()
