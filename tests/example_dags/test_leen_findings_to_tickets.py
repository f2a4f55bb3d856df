"""The findings that matter become tickets, once, however often the Dag runs."""

from __future__ import annotations

from typing import Any

from airflow_provider_leen.sandbox.findings import findings
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.example_dags.test_runs import RunDag, load

EVERY_TASK = {"find_project": "success", "find_tickets": "success", "create_tickets": "success", "gate": "success"}


def wanted() -> list[dict[str, Any]]:
    return [
        dict(finding.record)
        for finding in findings()
        if finding.record["severity"] in ("CRITICAL", "HIGH")
        and finding.record["state"] in ("OPEN", "REOPENED")
        and finding.record["ticket"] is None
    ]


def test_severe_open_findings_without_a_ticket_become_tickets_once(run_dag: RunDag, sandbox: SandboxServer) -> None:
    run = run_dag(load("leen_findings_to_tickets"))
    assert run.states == EVERY_TASK
    held = {ticket["identifier"]: ticket["name"] for ticket in sandbox.tickets()}
    assert held == {f"finding-{finding['id']}": finding["title"] for finding in wanted()}
    assert run.summary("create_tickets")["created"] == len(sandbox.tickets()) == len(held) > 50
    used = {(request.path.startswith("/v2"), request.connection_id) for request in sandbox.requests}
    assert used == {(True, sandbox.scanner_connection_id), (False, sandbox.connection_id)}

    again = run_dag(load("leen_findings_to_tickets"))
    assert again.states == EVERY_TASK
    assert again.summary("create_tickets")["existing"] == len(held) == len(sandbox.tickets())


def test_a_project_that_leen_does_not_see_fails_the_run_before_anything_is_created(
    run_dag: RunDag, sandbox: SandboxServer, monkeypatch: Any
) -> None:
    dag = load("leen_findings_to_tickets")
    task = dag.get_task("find_project")
    monkeypatch.setitem(task.python_callable.__globals__, "PROJECT", "Nowhere")
    run = run_dag(dag)
    assert run.states["find_project"] == "failed"
    assert "no project named 'Nowhere'" in str(run.exceptions[0])
    assert sandbox.tickets() == []
