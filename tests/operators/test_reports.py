"""What scanners write, turned into tickets by the one line that a user would write, and judged by a gate at 0 %."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from tests.operators.dags import create

LONG = (
    "Untrusted input reaches a query that is built from strings, and whoever sends it reads the whole database.\n" * 3
)

CODEQL = {
    "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
    "version": "2.1.0",
    "runs": [{"tool": {"driver": {"name": "CodeQL"}}, "results": [{"ruleId": "py/sql", "message": {"text": LONG}}]}],
}
SEMGREP = {
    "version": "1.140.0",
    "errors": [],
    "paths": {"scanned": ["app.py"]},
    "results": [
        {"check_id": "sqli", "path": "app.py", "extra": {"message": LONG, "severity": "ERROR", "fingerprint": "a"}},
        {"check_id": "sqli", "path": "app.py", "extra": {"message": LONG, "severity": "ERROR", "fingerprint": "a"}},
        {
            "check_id": "debug",
            "path": "app.py",
            "extra": {"message": "Debugging", "severity": "INFO", "fingerprint": "b"},
        },
    ],
}
TRIVY_FINDING = {
    "VulnerabilityID": "CVE-2019-14234",
    "PkgName": "Django",
    "Title": "Django: SQL injection possibility\r\nin key transforms",
    "Description": "x" * 40_000,
    "Severity": "CRITICAL",
}
TRIVY = {
    "SchemaVersion": 2,
    "ArtifactName": "app:1",
    "Results": [{"Target": "requirements.txt", "Vulnerabilities": [TRIVY_FINDING, TRIVY_FINDING]}],
}
GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "GHSA-1", "severity": "Negligible", "description": LONG},
            "artifact": {"name": "zlib"},
        },
        {"vulnerability": {"id": "GHSA-2", "severity": "High"}, "artifact": {"name": "curl"}},
    ],
    "source": {},
    "distro": {},
    "descriptor": {},
}
NUCLEI = [
    {
        "template-id": "x",
        "type": "http",
        "matched-at": "https://a",
        "info": {"name": "Panel\tfound", "severity": "info"},
    },
    {"template-id": "y", "type": "http", "matched-at": "https://b", "info": {"name": "No TLS", "severity": "medium"}},
]
GITLEAKS = [
    {"RuleID": "aws", "Description": "AWS key", "Secret": "AKIA", "File": "a", "Fingerprint": "c:a:aws:1", "Tags": []},
    {"RuleID": "aws", "Description": "AWS key", "Secret": "AKIA", "File": "a", "Fingerprint": "c:a:aws:1", "Tags": []},
]
BANDIT = {
    "errors": [],
    "generated_at": "",
    "metrics": {},
    "results": [{"issue_text": "Use of assert.\n", "issue_severity": "LOW", "code": "1 assert x\n2 \x1b[0m\n"}],
}
OSV = {
    "results": [
        {"packages": [{"package": {"name": "jinja2"}, "vulnerabilities": [{"id": "GHSA-3", "summary": "x" * 300}]}]}
    ],
    "experimental_config": {},
}

CONVERSIONS: dict[str, tuple[Any, Callable[[Any], list[dict[str, Any]]]]] = {
    "CodeQL": (
        CODEQL,
        lambda report: [
            {"name": r["message"]["text"], "identifier": r["ruleId"]} for r in report["runs"][0]["results"]
        ],
    ),
    "Semgrep": (
        SEMGREP,
        lambda report: [
            {"name": r["extra"]["message"], "priority": r["extra"]["severity"], "identifier": r["extra"]["fingerprint"]}
            for r in report["results"]
        ],
    ),
    "Trivy": (
        TRIVY,
        lambda report: [
            {
                "name": v["Title"],
                "description": v["Description"],
                "priority": v["Severity"],
                "identifier": f"{v['VulnerabilityID']} {v['PkgName']}",
            }
            for result in report["Results"]
            for v in result["Vulnerabilities"]
        ],
    ),
    "grype": (
        GRYPE,
        lambda report: [
            {
                "name": f"{m['vulnerability']['id']} in {m['artifact']['name']}",
                "priority": m["vulnerability"]["severity"],
                "description": m["vulnerability"].get("description"),
            }
            for m in report["matches"]
        ],
    ),
    "Nuclei": (
        NUCLEI,
        lambda report: [
            {"name": n["info"]["name"], "priority": n["info"]["severity"], "description": n["matched-at"]}
            for n in report
        ],
    ),
    "gitleaks": (
        GITLEAKS,
        lambda report: [{"name": g["Description"], "identifier": g["Fingerprint"]} for g in report],
    ),
    "Bandit": (
        BANDIT,
        lambda report: [
            {"name": b["issue_text"], "priority": b["issue_severity"], "description": b["code"]}
            for b in report["results"]
        ],
    ),
    "OSV-Scanner": (
        OSV,
        lambda report: [
            {"name": v["summary"], "identifier": v["id"]}
            for result in report["results"]
            for package in result["packages"]
            for v in package["vulnerabilities"]
        ],
    ),
}
PRIORITIES = {"ERROR": "HIGH", "WARNING": "MEDIUM", "INFO": "INFORMATIONAL", "negligible": "INFORMATIONAL"}


def test_the_findings_of_eight_scanners_pass_a_gate_at_nothing(sandbox: SandboxServer, run_dag: Any) -> None:
    sources = [convert(report) for report, convert in CONVERSIONS.values()]
    with DAG("leen_test", schedule=None) as dag:
        operator = create(sources, priority_map=PRIORITIES, embed_identifier=True)
        LeenTicketFailureSensor(task_id="gate", results=operator.output, max_failure_rate=0)
    run = run_dag(dag)
    assert run.states == {"create": "success", "gate": "success"}
    summary = run.summary()
    assert summary["total"] == sum(map(len, sources)) == 14
    assert (summary["created"], summary["existing"]) == (11, 3)
    assert len(sandbox.tickets()) == 11
