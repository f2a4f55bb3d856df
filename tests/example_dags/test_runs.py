"""Each example Dag runs with real Airflow against the sandbox, as a reader would run it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.findings import tickets_from_sarif
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.support.airflow_run import AirflowRun
from tests.support.modules import module_at

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
RunDag = Callable[..., AirflowRun]


def load(dag_id: str) -> Any:
    return getattr(module_at(EXAMPLES / f"{dag_id}.py"), dag_id)()


@pytest.mark.smoke
def test_the_smallest_dag_creates_its_two_tickets(run_dag: RunDag, sandbox: SandboxServer) -> None:
    run = run_dag(load("leen_smallest"))
    assert run.states == {"create_tickets": "success", "gate": "success"}
    names = [ticket["name"] for ticket in sandbox.tickets()]
    assert names == ["Rotate the deploy key", "Remove the unused admin account"]


def test_the_file_dag_creates_a_ticket_for_each_line(run_dag: RunDag, sandbox: SandboxServer) -> None:
    lines = [json.loads(line) for line in (EXAMPLES / "tickets.jsonl").read_text().splitlines()]
    run = run_dag(load("leen_tickets_from_file"))
    assert run.states == {"create_tickets": "success", "gate": "success"}
    assert [ticket["name"] for ticket in sandbox.tickets()] == [line["name"] for line in lines]


def test_the_sarif_dag_files_each_finding_once_however_often_it_runs(run_dag: RunDag, sandbox: SandboxServer) -> None:
    tickets = tickets_from_sarif(json.loads((EXAMPLES / "scan.sarif").read_text()))
    first, second = run_dag(load("leen_sarif")), run_dag(load("leen_sarif"))
    assert first.states == second.states == {"create_tickets": "success", "gate": "success"}
    assert [ticket["name"] for ticket in sandbox.tickets()] == [ticket["name"] for ticket in tickets]
    assert second.summary("create_tickets")["existing"] == len(tickets) == 5


def test_the_fan_out_dag_creates_the_list_under_each_leen_connection_id(
    run_dag: RunDag, sandbox: SandboxServer
) -> None:
    run = run_dag(load("leen_fan_out"))
    assert run.states["create_tickets"] == "success success success"
    assert run.xcom("gate")["created"] == 9
    assert sorted(Counter(request.connection_id for request in sandbox.requests).values()) == [1, 1, 1]


def test_the_bandit_dag_files_each_finding_once_and_closes_what_the_next_report_no_longer_has(
    run_dag: RunDag, sandbox: SandboxServer, tmp_path: Path
) -> None:
    register = str(tmp_path / "register")
    run = run_dag(load("leen_bandit_demo"), package="bandit", register=register)
    findings = run.xcom("scan")
    assert run.summary("reconcile")["created"] == run.xcom("gate")["total"] == len(findings) == len(sandbox.tickets())

    sandbox.sync()
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"results": [*findings[1:], findings[0] | {"filename": "bandit/other.py"}]}))
    again = run_dag(load("leen_bandit_demo"), package="bandit", register=register, report=str(report))
    counted = Counter(result["status"] for result in again.summary("reconcile")["results"])
    assert counted == Counter(existing=len(findings) - 1, created=1, closed=1) + Counter()
    assert Counter(ticket["status"] for ticket in sandbox.tickets()) == {"TODO": len(findings), "CLOSED": 1}


def test_every_folder_entry_is_a_dag_that_says_what_it_shows() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert load(path.stem).dag_id == path.stem
        assert path.read_text().startswith('"""')


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_no_example_needs_airflow_3(path: Path) -> None:
    assert "airflow.sdk" not in path.read_text(), "Airflow 2.11 has no airflow.sdk: use common.compat.sdk"
