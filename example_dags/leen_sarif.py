"""A scanner's report becomes tickets: one per finding, however often the Dag runs.

The report is SARIF 2.1.0, which Semgrep, Trivy, CodeQL, Bandit and many others write. Semgrep wrote the
sample for twenty lines of Python. A ticket's identifier is made from the finding, so it is the same in tomorrow's
report, and ``if_exists="skip"`` files no ticket that Leen knows. This needs the project by Leen's id.
"""

from __future__ import annotations

from pathlib import Path

from airflow.providers.common.compat.sdk import Param, dag

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

SAMPLE = Path(__file__).with_name("scan.sarif")
PROJECT = "5ec00000-0000-4000-8000-000000000001"  # the sandbox's; `airflow leen projects` lists yours


@dag(
    schedule=None,
    tags=["leen"],
    params={"report": Param(str(SAMPLE), type="string", description="A SARIF report, or a URL of one")},
)
def leen_sarif() -> None:
    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets_path="{{ params.report }}",
        ticket_defaults={"project_id": PROJECT, "type": "Bug"},
        if_exists="skip",
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output)


leen_sarif()
