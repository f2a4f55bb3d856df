"""Each example Dag runs with real Airflow against the sandbox, as a reader would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_leen.sandbox.server import SandboxServer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "example_dags").glob("*.py"))


class Runner:
    """Runs example Dags against one sandbox, with an Airflow home of their own."""

    def __init__(self, home: Path, sandbox: SandboxServer) -> None:
        self.home = home
        self.sandbox = sandbox
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.environment = inherited | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_LEEN_DEFAULT": sandbox.airflow_conn,
        }
        self._python("-m", "airflow", "db", "migrate")

    def run(self, dag_id: str, **conf: Any) -> dict[str, Any]:
        self.sandbox.reset()
        outcome = self.home / "outcome.json"
        self._python(str(ROOT / "scripts" / "run_dag.py"), dag_id, str(outcome), json.dumps(conf))
        read: dict[str, Any] = json.loads(outcome.read_text())
        return read

    def _python(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with SandboxServer() as sandbox:
        yield Runner(tmp_path_factory.mktemp("airflow"), sandbox)


def test_the_smallest_dag_creates_its_two_tickets(runner: Runner) -> None:
    outcome = runner.run("leen_smallest")
    assert outcome["run"] == "success"
    assert [ticket["name"] for ticket in runner.sandbox.tickets()] == [
        "Rotate the deploy key",
        "Remove the unused admin account",
    ]


def test_the_file_dag_creates_a_ticket_for_each_line(runner: Runner) -> None:
    lines = [json.loads(line) for line in (ROOT / "example_dags" / "tickets.jsonl").read_text().splitlines()]
    outcome = runner.run("leen_tickets_from_file")
    assert outcome["returned"]["gate"]["created"] == len(lines)
    assert [ticket["name"] for ticket in runner.sandbox.tickets()] == [line["name"] for line in lines]


def test_the_fan_out_dag_creates_the_list_under_each_leen_connection_id(runner: Runner) -> None:
    outcome = runner.run("leen_fan_out")
    assert Counter(task_id for task_id, _ in outcome["states"])["create_tickets"] == 3
    assert outcome["returned"]["gate"] | {"total": 9, "created": 9} == outcome["returned"]["gate"]
    calls = Counter(request.connection_id for request in runner.sandbox.requests)
    assert list(calls.values()) == [1, 1, 1]


def test_the_bandit_dag_files_every_finding_of_the_package_it_is_told_to_scan(runner: Runner) -> None:
    outcome = runner.run("leen_bandit_demo", package="bandit")
    findings = outcome["returned"]["scan"]
    assert findings
    assert outcome["returned"]["gate"]["total"] == len(findings)
    assert len(runner.sandbox.tickets()) == outcome["returned"]["create_tickets"]["created"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_says_what_it_shows_and_is_named_like_its_dag(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('"""')
    assert f"\n{path.stem}()\n" in text
