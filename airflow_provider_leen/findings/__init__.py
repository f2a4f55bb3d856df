"""Turns scanners' findings into tickets: pure functions, usable in a ``@task``.

``tickets_from_sarif`` reads the report of any scanner that writes SARIF 2.1.0, ``ticket_from_leen_finding`` one of
Leen's own vulnerability findings.
"""

from airflow_provider_leen.findings.leen import ticket_from_leen_finding
from airflow_provider_leen.findings.sarif import SarifTickets, is_sarif, tickets_from_sarif

__all__ = ["SarifTickets", "is_sarif", "ticket_from_leen_finding", "tickets_from_sarif"]
