"""The smallest useful Dag: a list becomes tickets, and the run fails if one of them was refused.

It needs the Airflow connection ``leen_default``, and a project with the key SEC in its tracker.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import dag

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor


@dag(schedule=None, tags=["leen"])
def leen_smallest() -> None:
    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets=[
            {"name": "Rotate the deploy key", "priority": "HIGH"},
            {"name": "Remove the unused admin account", "priority": "MEDIUM"},
        ],
        ticket_defaults={"project_vendor_id": "SEC", "type": "Task"},
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output)


leen_smallest()
