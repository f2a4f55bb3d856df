"""Changing many tickets alike, on real Airflow against the sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowTaskTimeout, task
from airflow.triggers.base import TriggerEvent

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenThresholdError,
)
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.operators.update import LeenUpdateTicketsOperator
from airflow_provider_leen.sandbox.recorder import RecordedRequest
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.leen import LeenTicketFailureSensor
from airflow_provider_leen.triggers.leen import LeenJobsTrigger
from tests.operators.dags import AtCall, timeout_now, update_dag
from tests.support.airflow_run import AIRFLOW
from tests.support.waiting import until

NOBODY = "00000000-0000-4000-8000-000000000000"
UPDATE = "/v1/itsm/tickets/bulk/update"


def made(count: int) -> list[str]:
    """The ids of tickets that Leen knows."""
    ticket = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}
    with LeenHook() as hook:
        return [hook.create_ticket(ticket).id for _ in range(count)]


def statuses(run: Any) -> dict[str, int]:
    summary = run.xcom("update")
    counted = Counter(result["status"] for result in summary["results"])
    assert summary["total"] == len(summary["results"]) == summary["succeeded"] + summary["failed"]
    assert all(summary[status] == count for status, count in counted.items())
    return dict(counted)


def closed(sandbox: SandboxServer) -> int:
    return sum(ticket["status"] == "CLOSED" for ticket in sandbox.tickets())


MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


@MODES
def test_all_tickets_are_changed_in_jobs_of_at_most_fifty(
    run_dag: Any, sandbox: SandboxServer, deferrable: bool
) -> None:
    sandbox.plan_jobs(seconds=0.05)
    run = run_dag(update_dag(made(7), batch_size=3, deferrable=deferrable))
    assert run.states == {"update": "success"}
    assert statuses(run) == {"updated": 7}
    assert closed(sandbox) == 7
    assert [len(r.body["ticket_ids"]) for r in sandbox.requests if r.path == UPDATE] == [3, 3, 1]


@MODES
def test_each_ticket_has_its_result_and_a_passed_threshold_fails_the_task(
    run_dag: Any, sandbox: SandboxServer, deferrable: bool
) -> None:
    known = made(2)
    ids = [known[0], NOBODY, "SEC-101", known[1]]
    run = run_dag(update_dag(ids, deferrable=deferrable, retries=1, max_failures=1))
    assert run.states == {"update": "failed"}
    assert [result["status"] for result in run.xcom("update")["results"]] == [
        "updated",
        "rejected",
        "invalid",
        "updated",
    ]
    assert run.xcom("update")["results"][1]["error"] == "Leen knows no such ticket."
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenThresholdError
    assert closed(sandbox) == 2


@MODES
def test_without_a_threshold_failures_are_left_to_the_gate(
    run_dag: Any, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, deferrable: bool
) -> None:
    with update_dag([*made(1), NOBODY], deferrable=deferrable) as dag:
        LeenTicketFailureSensor(task_id="gate", results=dag.get_task("update").output)
    run = run_dag(dag)
    assert run.states == {"update": "success", "gate": "failed"}
    assert "1 of 2 tickets failed (50 %)" in str(run.exceptions[0])
    assert f"(1 updated, 1 rejected).\n  update #1 {NOBODY}: Leen knows no such ticket." in str(run.exceptions[0])
    assert "no gate judges it" not in caplog.text


def test_failures_that_neither_a_threshold_nor_a_gate_judges_are_warned_of(
    run_dag: Any, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_dag(update_dag([NOBODY])).states == {"update": "success"}
    assert "1 ticket failed, but the run continues: this task has no threshold, and no gate judges it." in caplog.text


@MODES
def test_it_publishes_its_progress_for_the_gate(run_dag: Any, sandbox: SandboxServer, deferrable: bool) -> None:
    run = run_dag(update_dag([*made(1), NOBODY, "SEC-101"], deferrable=deferrable))
    # Deferred, it is told before the wait only.
    done, failed = (1, 1) if deferrable else (3, 2)
    assert run.xcom("update", "progress") == {"total": 3, "done": done, "failed": failed}


@pytest.mark.smoke
def test_ids_and_updates_may_come_from_tasks_and_templates(run_dag: Any, sandbox: SandboxServer) -> None:
    with DAG("leen_update", schedule=None) as dag:

        @task
        def find() -> list[str]:
            return made(2)

        @task
        def settings() -> dict[str, str]:
            return {"priority": "LOW"}

        settings()
        LeenUpdateTicketsOperator(task_id="update", ticket_ids=find(), updates="{{ ti.xcom_pull('settings') }}")
        dag.get_task("settings") >> dag.get_task("update")
    run = run_dag(dag)
    assert run.states["update"] == "success"
    assert {ticket["priority"] for ticket in sandbox.tickets()} == {"Low"}


# What goes wrong


def test_a_lost_202_is_an_unknown_outcome_that_a_retry_fixes(run_dag: Any, sandbox: SandboxServer) -> None:
    ids = made(4)
    sandbox.inject("lost", path=UPDATE, nth=2, commit=True)
    run = run_dag(update_dag(ids, batch_size=2, retries=1))
    assert run.states == {"update": "success"}
    (error,) = run.exceptions
    assert type(error) is LeenOutcomeUnknownError
    assert error.identifiers == ids[2:]
    # One lost, no second one in that try; both again in the next.
    assert sandbox.count("POST", UPDATE) == 4


@pytest.mark.parametrize(("status", "cause"), [(401, LeenAuthError), (404, LeenNotFoundError)])
def test_a_refused_key_or_address_ends_the_sending_and_is_not_retried(
    run_dag: Any, sandbox: SandboxServer, status: int, cause: type
) -> None:
    ids = made(3)
    sandbox.inject("status", path=UPDATE, nth=2, status=status, body="html")
    run = run_dag(update_dag(ids, batch_size=1, retries=1))
    (error,) = run.exceptions
    assert (type(error), type(error.__cause__)) == (AirflowFailException, cause)
    assert statuses(run) == {"updated": 1, "unsent": 2}
    assert sandbox.count("POST", UPDATE) == 2


def named_as_going_on(run: Any, sandbox: SandboxServer) -> bool:
    """Whether the task failed with its timeout, naming the job that goes on, and told that its ticket is unknown."""
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout]
    [result] = run.xcom("update")["results"]
    [job_id] = {request.path.rpartition("/")[2] for request in sandbox.requests if request.method == "GET"}
    assert result["status"] == "unknown"
    assert result["error"] == f"It was submitted in job {job_id}, which has not ended (status RUNNING)."
    return str(run.exceptions[0]) == (
        "1 of Leen's jobs had not ended shortly before the task's execution_timeout of 0:16:40: "
        f"{job_id}. A retry sets the same values again, which does no harm."
    )


def test_a_job_that_never_ends_meets_the_tasks_timeout(run_dag: Any, sandbox: SandboxServer, at_call: AtCall) -> None:
    ids = made(1)
    sandbox.plan_jobs(stall="before")
    # By the third question the answer to the first is known.
    at_call(3, timeout_now, "GET")
    run = run_dag(update_dag(ids, execution_timeout=timedelta(seconds=1000)))
    assert named_as_going_on(run, sandbox)


def test_a_job_that_never_ends_meets_the_triggers_deadline(
    run_dag: Any, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_late(trigger: LeenJobsTrigger) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent({"status": "timeout", "carried": trigger.carried})

    monkeypatch.setattr(LeenJobsTrigger, "run", too_late)
    ids = made(1)
    sandbox.plan_jobs(stall="before")
    run = run_dag(update_dag(ids, deferrable=True, execution_timeout=timedelta(seconds=1000)))
    assert named_as_going_on(run, sandbox)


@MODES
def test_a_job_that_leen_no_longer_knows_leaves_its_tickets_unknown_and_a_retry_fixes_it(
    run_dag: Any, sandbox: SandboxServer, deferrable: bool
) -> None:
    ids = made(2)
    # The trigger asks first.
    times = 2 if deferrable else 1
    sandbox.inject("status", status=404, path="/v1/jobs", method="GET", times=times)
    run = run_dag(update_dag(ids, batch_size=1 if not deferrable else 50, deferrable=deferrable, retries=1))
    assert run.states == {"update": "success"}
    (error,) = run.exceptions
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.can_be_settled
    assert "Leen no longer knows job" in str(error)


@MODES
def test_a_404_that_is_not_leens_own_fails_the_task(run_dag: Any, sandbox: SandboxServer, deferrable: bool) -> None:
    ids = made(1)
    sandbox.inject("status", status=404, body="html", path="/v1/jobs", method="GET")
    run = run_dag(update_dag(ids, deferrable=deferrable, retries=1))
    (error,) = run.exceptions
    assert (type(error), type(error.__cause__)) == (AirflowFailException, LeenNotFoundError)
    assert "\nIt is unknown whether 1 ticket was changed." in str(error)


def test_jobs_that_keep_running_are_waited_for_again(run_dag: Any, sandbox: SandboxServer) -> None:
    ids = made(2)
    sandbox.plan_jobs(polls=3)
    # The trigger takes the job for gone, the task finds it at work.
    sandbox.inject("status", status=404, path="/v1/jobs", method="GET", nth=1)
    run = run_dag(update_dag([*ids, "SEC-101"], deferrable=True, max_failures=1))
    assert run.states == {"update": "success"}
    assert statuses(run) == {"updated": 2, "invalid": 1}
    assert sandbox.count("POST", UPDATE) == 1


def test_jobs_that_still_run_when_the_trigger_was_refused_are_named(run_dag: Any, sandbox: SandboxServer) -> None:
    ids = made(1)
    sandbox.plan_jobs(stall="before")
    sandbox.inject("status", status=401, path="/v1/jobs", method="GET", nth=1)
    run = run_dag(update_dag(ids, deferrable=True))
    (error,) = run.exceptions
    assert isinstance(error, LeenOutcomeUnknownError)
    assert error.identifiers == ids
    assert "could not poll them any more" in str(error)
    assert statuses(run) == {"unknown": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"ticket_ids": "SEC-101"}, "neither JSON"),
        ({"ticket_ids": [NOBODY], "updates": {"state": "CLOSED"}}, "names state"),
        ({"ticket_ids": [NOBODY], "leen_conn_id": "nobody"}, "isn't defined"),
    ],
)
def test_what_cant_be_used_is_refused_before_anything_is_sent(
    run_dag: Any, sandbox: SandboxServer, arguments: dict[str, Any], said: str
) -> None:
    ids = arguments.pop("ticket_ids")
    run = run_dag(update_dag(ids, **arguments))
    (error,) = run.exceptions
    assert said in str(error)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 51}, "from 1 to 50"),
        ({"batch_size": True}, "from 1 to 50"),
        ({"max_concurrent_batches": 0}, "of 1 or more"),
        ({"max_failures": -1}, "max_failures"),
        ({"max_failure_rate": 2}, "max_failure_rate"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_in_the_dag_file(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(LeenConfigError, match=said):
        update_dag([], **arguments)


# Being stopped


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="dag.test() of Airflow 2 ends with the task that is killed")
def test_a_process_that_gets_sigterm_gives_a_hanging_call_up_before_airflow_kills_it_and_publishes(
    sandbox: SandboxServer, airflow_home: Path
) -> None:
    ids = made(2)
    submitting, asking = ("POST", UPDATE), ("GET", "/v1/jobs")
    sandbox.inject("stall", method="POST", path=UPDATE, nth=1)
    sandbox.inject("stall", method="GET", path="/v1/jobs")
    file = airflow_home / "told.json"

    def stalled(method: str, path: str) -> list[RecordedRequest]:
        called = (r for r in sandbox.requests if r.method == method and r.path.startswith(path))
        return [request for request in called if request.status in (None, "lost")]

    process = subprocess.Popen(
        [sys.executable, "-m", "tests.operators.killed_run", str(file), *ids],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"AIRFLOW_HOME": str(airflow_home), "AIRFLOW__CORE__DAGS_FOLDER": str(airflow_home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killed_at: list[float] = []
    try:
        for call in (submitting, asking):
            while not stalled(*call):
                assert process.poll() is None, process.communicate()[0][-5000:]
                time.sleep(0.01)
            killed_at.append(time.time())
            process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    assert file.exists(), output[-5000:]
    told = json.loads(file.read_text())
    assert told["errors"] == ["LeenStoppedError"] * 2
    while_submitting, while_asking = (
        [f"{result['status']}: {result['error']}" for result in results] for results in told["results"]
    )
    assert while_submitting[0].startswith("unknown: The task was stopped before Leen answered.")
    assert while_submitting[1].startswith("unsent: the task ended before it")
    assert all(said.startswith("unknown: It was submitted in job") for said in while_asking)
    # Not when it was published: on a busy machine, that is a question of the other processes.
    until(lambda: all(request.finished is not None for request in sandbox.requests))
    for call, at in zip((submitting, asking), killed_at, strict=True):
        # Leen's own patience is 120 s.
        assert max(request.finished or 0 for request in stalled(*call)) - at < 60


def test_a_timeout_at_the_very_end_loses_nothing(run_dag: Any, sandbox: SandboxServer, mocker: Any) -> None:
    ids = made(2)
    # What the timer behind execution_timeout does, when there is only the log left to write.
    table = mocker.patch("airflow_provider_leen.tasks.running.closing_table")
    table.side_effect = lambda summary: os.kill(os.getpid(), signal.SIGALRM)
    run = run_dag(update_dag(ids, execution_timeout=timedelta(seconds=1000)))
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout]
    assert statuses(run) == {"updated": 2}


def test_a_trigger_that_was_refused_leaves_the_asking_to_the_task(run_dag: Any, sandbox: SandboxServer) -> None:
    ids = made(1)
    sandbox.inject("status", status=401, path="/v1/jobs", method="GET", nth=1)
    run = run_dag(update_dag(ids, deferrable=True))
    assert run.states == {"update": "success"}
    assert sandbox.count("GET", "/v1/jobs") == 2
