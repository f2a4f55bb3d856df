"""Real findings every day: Bandit scans an installed package, and the tickets are reconciled with its findings.

Each new finding gets one ticket, and the tickets of findings that are gone are closed. A gate judges the run. ``make
demo`` runs it on three days against the sandbox. SQLAlchemy, which Airflow installs, has several hundred findings.

Needs Bandit where the task runs: ``pip install 'airflow-provider-leen[demo]'``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_leen.operators.reconcile import LeenReconcileTicketsOperator
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor

PRIORITY_OF_SEVERITY = {"HIGH": "HIGH", "MEDIUM": "MEDIUM", "LOW": "LOW", "UNDEFINED": "UNKNOWN"}

AIRFLOW_HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


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


def read_report(path: str) -> list[dict[str, Any]]:
    """Read a report that Bandit has written: ``bandit --recursive … --format json --output PATH``."""
    findings: list[dict[str, Any]] = json.loads(Path(path).read_text())["results"]
    return findings


def tickets_from_findings(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn Bandit's findings into tickets, each with an identifier that is the same tomorrow.

    It names the check, the file and the code, not the line: code that is added above moves a finding, and leaves it
    the same. Of several with the same code, each has a number.
    """
    tickets = []
    seen: Counter[str] = Counter()
    for finding in findings:
        code = hashlib.sha256("\n".join(source_lines(finding["code"]).values()).encode()).hexdigest()[:12]
        identifier = f"{finding['test_id']}:{finding['filename']}:{code}"
        seen[identifier] += 1
        number = f":{seen[identifier]}" if seen[identifier] > 1 else ""
        tickets.append(ticket_from_finding(finding) | {"identifier": identifier + number})
    return tickets


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
    default_args={"retries": 3, "retry_delay": 10.0},
    params={
        "package": Param("sqlalchemy", type="string", description="An installed package to scan"),
        # Null, since Airflow's form takes an empty text for a parameter that is missing.
        "report": Param(None, type=["null", "string"], description="A report of Bandit (JSON) to read, not to scan"),
        "register": Param(
            str(AIRFLOW_HOME / "leen-register"),
            type="string",
            description="A folder that remembers which finding has which ticket",
        ),
    },
)
def leen_bandit_demo() -> None:
    @task
    def scan(package: str, report: str) -> list[dict[str, Any]]:
        return read_report(report) if report else scan_package(package)

    @task
    def to_tickets(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return tickets_from_findings(findings)

    reconcile = LeenReconcileTicketsOperator(
        task_id="reconcile",
        tickets=to_tickets(scan("{{ params.package }}", "{{ params.report or '' }}")),
        register="{{ params.register }}",
        scope="bandit/{{ params.package }}",
        ticket_defaults={"project_vendor_id": "SEC", "type": "Bug"},
        close_after=1,  # the demo has three days only; the default waits for a second list without the finding
        max_new=None,  # the first day files all of them
        poll_interval=1,
    )
    LeenTicketFailureSensor(task_id="gate", results=reconcile.output, max_failure_rate=0.05)


leen_bandit_demo()
