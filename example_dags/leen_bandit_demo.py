"""Real findings, end to end: Bandit scans an installed package, every finding becomes a ticket, a gate judges the run.

``make demo`` runs it against the sandbox. SQLAlchemy, which Airflow brings, gives several hundred findings. The title
of a ticket quotes the statement that was found, so a few long statements give a title that Jira does not take: those
tickets are refused, the others are filed, and the gate lets the run pass as long as no more than 5 % failed.

Needs Bandit where the task runs: ``pip install 'airflow-provider-leen[demo]'``.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

PRIORITY_OF_SEVERITY = {"HIGH": "HIGH", "MEDIUM": "MEDIUM", "LOW": "LOW", "UNDEFINED": "UNKNOWN"}


def scan_package(package: str) -> list[dict[str, Any]]:
    """Run Bandit over an installed package; the paths in its findings start with the package's name."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"There is no installed package '{package}' to scan: name another one in the Dag's parameters."
        )
    folder = Path(spec.submodule_search_locations[0])
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", folder.name, "--format", "json"]
    scan = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    # Bandit exits with 1 when it has found something, as a compiler does.
    if scan.returncode not in (0, 1) or not scan.stdout:
        raise RuntimeError(f"Bandit could not scan '{package}': {scan.stderr.strip()[-500:]}")
    findings: list[dict[str, Any]] = json.loads(scan.stdout)["results"]
    return findings


def ticket_from_finding(finding: dict[str, Any]) -> dict[str, Any]:
    """Turn one of Bandit's findings into a ticket: its title says what and where, its text has the evidence."""
    lines = source_lines(finding["code"])
    statement = " ".join(lines[number].strip() for number in finding["line_range"] if number in lines)
    place = f"{finding['filename']}:{finding['line_number']}"
    return {
        "name": f"{finding['test_name']} in {place}: {statement}",
        "description": description_of(finding, "\n".join(lines.values())),
        "priority": PRIORITY_OF_SEVERITY[finding["issue_severity"]],
    }


def description_of(finding: dict[str, Any], code: str) -> str:
    """Write the ticket's text in Markdown."""
    facts = [
        f"- **File:** `{finding['filename']}`, line {finding['line_number']}",
        f"- **Check:** [{finding['test_id']} {finding['test_name']}]({finding['more_info']})",
        f"- **Severity:** {finding['issue_severity']}, **confidence:** {finding['issue_confidence']}",
    ]
    if cwe := finding.get("issue_cwe"):
        facts.append(f"- **Weakness:** [CWE-{cwe['id']}]({cwe['link']})")
    fence = "````" if "```" in code else "```"
    return "\n".join([finding["issue_text"], "", *facts, "", f"{fence}python", code, fence])


def source_lines(code: str) -> dict[int, str]:
    """Read Bandit's excerpt, in which each line starts with its number and one space."""
    numbered = (line.partition(" ") for line in code.splitlines())
    return {int(number): text for number, _, text in numbered if number.isdigit()}


@dag(
    schedule=None,
    tags=["leen"],
    params={"package": Param("sqlalchemy", type="string", description="An installed package to scan")},
)
def leen_bandit_demo() -> None:
    @task
    def scan(package: str) -> list[dict[str, Any]]:
        return scan_package(package)

    @task
    def to_tickets(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [ticket_from_finding(finding) for finding in findings]

    create = LeenBulkCreateTicketsOperator(
        task_id="create_tickets",
        tickets=to_tickets(scan("{{ params.package }}")),
        ticket_defaults={"project_vendor_id": "SEC", "type": "Bug"},
    )
    LeenTicketFailureSensor(task_id="gate", results=create.output, max_failure_rate=0.05)


leen_bandit_demo()
