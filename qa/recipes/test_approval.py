"""The recipe of ``docs/reconcile.md`` that waits for a person, under a scheduler: approved, rejected, overtaken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_leen.cli import main
from airflow_provider_leen.sandbox.server import SandboxServer
from qa.chaos.scheduler import SchedulerAirflow
from tests.docs.pages import text_of_dag
from tests.support.airflow_run import AIRFLOW

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(AIRFLOW < (3, 3), reason="below Airflow 3.3 an approval waits in a triggerer"),
]

DAG = "leen_approved"

PATIENCE = {
    # A machine that is busy with other tests takes its time, and is not dead.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "600",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "5",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
}


class Recipe:
    """The Dag of the recipe in an Airflow of its own, and the person who answers it."""

    def __init__(self, airflow: SchedulerAirflow, register: Path) -> None:
        self.airflow = airflow
        self.register = register

    def answer(self, run: str, option: str, before: Callable[[], None] = lambda: None) -> str | None:
        """Start a run, answer it once it has asked, and return how its last task ended."""
        self.airflow.trigger(DAG, run, {})
        wait_for(lambda: self.is_asking(run) or self.has_ended(run))
        assert self.is_asking(run), self.log(run)
        before()
        # Where an answer is quicker than Airflow's own note that the task waits, it is tried again, and asks once more.
        while not self.has_ended(run):
            if self.is_asking(run):
                self.say(run, option)
            time.sleep(1)
        return self.state(run, "reconcile")

    def say(self, run: str, option: str) -> None:
        with httpx.Client(base_url=self.airflow.url, timeout=120) as person:
            token = person.get("/auth/token").raise_for_status().json()["access_token"]
            question = f"/api/v2/dags/{DAG}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
            said = {"chosen_options": [option], "params_input": {}}
            person.patch(question, json=said, headers={"Authorization": f"Bearer {token}"})

    def is_asking(self, run: str) -> bool:
        return self.state(run, "approve") == "awaiting_input"

    def state(self, run: str, task_id: str) -> str | None:
        return self.airflow.look(DAG, run, task_id).task

    def has_ended(self, run: str) -> bool:
        return self.airflow.look(DAG, run).ended

    def log(self, run: str) -> str:
        logs = [*self.airflow.task_logs(DAG, run), self.airflow.home / "scheduler.log"]
        return "\n".join(path.read_text() for path in logs)

    def forget(self, identifier: str) -> None:
        arguments = ["--register", str(self.register), "--scope", "bandit/repo-b"]
        assert main(["register", "forget", identifier, *arguments]) == 0


@pytest.fixture
def recipe(sandbox_server: SandboxServer, migrated_database: Path, tmp_path: Path) -> Iterator[Recipe]:
    sandbox_server.reset()
    (dags := tmp_path / "dags").mkdir()
    text = text_of_dag(DAG)
    assert 'schedule="@daily"' in text
    (dags / "leen_approved.py").write_text(text.replace('schedule="@daily"', "schedule=None"))
    connections, settings = {"leen_default": sandbox_server.airflow_conn}, {"AIRFLOW_VAR_LEEN_FOLDER": str(tmp_path)}
    with SchedulerAirflow(connections, database=migrated_database, dags=dags, settings=settings | PATIENCE) as airflow:
        # A task that starts before it fails.
        wait_for(lambda: answers(airflow.url))
        yield Recipe(airflow, tmp_path / "register")


def answers(url: str) -> bool:
    """Return whether Airflow's API server is up."""
    try:
        return httpx.get(f"{url}/api/v2/version", timeout=30).is_success
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something has happened; the time limit of the test says for how long."""
    while not condition():
        time.sleep(0.5)


def test_a_plan_is_carried_out_where_it_is_approved_and_still_the_same(
    recipe: Recipe, sandbox_server: SandboxServer
) -> None:
    assert recipe.answer("rejected", "Reject") == "skipped", recipe.log("rejected")
    assert sandbox_server.tickets() == []

    assert recipe.answer("approved", "Approve") == "success", recipe.log("approved")
    assert len(sandbox_server.tickets()) == 2

    moves = lambda: recipe.forget("repo-b/app.py:B608")  # noqa: E731
    assert recipe.answer("overtaken", "Approve", before=moves) == "failed", recipe.log("overtaken")
    assert "`expected_plan`" in recipe.log("overtaken")
    assert len(sandbox_server.tickets()) == 2
