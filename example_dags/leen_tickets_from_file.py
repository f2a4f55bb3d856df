"""Tickets from a JSON Lines file: each line is a ticket. The worker reads the file, so no list passes through XCom.

``tickets_path`` also takes an object-storage URL (``s3://reports/findings.jsonl``) and files that end in ``.json``,
``.csv`` and ``.sarif``. ``ticket_defaults`` apply to every ticket; two lines of the sample have their own type, which
overrides the default.
"""

from __future__ import annotations

from pathlib import Path

from airflow.providers.common.compat.sdk import Param, dag

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

SAMPLE = Path(__file__).with_name("tickets.jsonl")


@dag(
    schedule=None,
    tags=["leen"],
    params={
        "tickets_path": Param(
            str(SAMPLE), type="string", description="A .jsonl, .json, .csv or .sarif file, or its URL"
        )
    },
)
def leen_tickets_from_file() -> None:
    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets_path="{{ params.tickets_path }}",
        ticket_defaults={"project_vendor_id": "SEC", "type": "Bug"},
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output)


leen_tickets_from_file()
