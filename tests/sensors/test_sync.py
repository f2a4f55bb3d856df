"""Waiting for the connector's sync, on real Airflow against the sandbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSensorTimeout, TaskDeferred

from airflow_provider_leen.api.errors import LeenConfigError, LeenOutcomeUnknownError
from airflow_provider_leen.bulk.summary import summarise
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.sensors.sync import LeenTicketSyncSensor, _begin
from tests.operators.dags import connection, create, tickets
from tests.support.results import result

LIST = "/v1/itsm/tickets"


def sync_dag(given: Any = None, **arguments: Any) -> DAG:
    usual: dict[str, Any] = {"poke_interval": 0.02, "timeout": 200, "mode": "poke"}
    with DAG("leen_sync", schedule=None) as dag:
        created = create(tickets(3) if given is None else given)
        LeenTicketSyncSensor(task_id="synced", results=created.output, **usual | arguments)
    return dag


def lists(sandbox: SandboxServer) -> int:
    return sum(request.method == "GET" and request.path == LIST for request in sandbox.requests)


@pytest.fixture
def syncing(sandbox: SandboxServer) -> Iterator[SandboxServer]:
    """A sandbox whose connector syncs when it is looked into for the second time."""
    done = threading.Event()

    def sync() -> None:
        while lists(sandbox) < 2 and not done.wait(0.005):
            pass
        sandbox.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    yield sandbox
    done.set()
    thread.join()


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_it_waits_until_leen_knows_the_tickets_and_returns_their_ids(
    run_dag: Any, syncing: SandboxServer, deferrable: bool
) -> None:
    run = run_dag(sync_dag(deferrable=deferrable))
    assert run.states == {"create": "success", "synced": "success"}
    before, after = run.summary("create"), run.summary("synced")
    assert [result["ticket_id"] for result in before["results"]] == [None] * 3
    ids = {ticket["vendor_ticket_id"]: ticket["ticket_id"] for ticket in syncing.tickets()}
    assert [result["ticket_id"] for result in after["results"]] == list(ids.values())
    assert [result["vendor_ticket_id"] for result in after["results"]] == list(ids)
    assert lists(syncing) >= 2


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_results_in_a_file_are_filled_in_there(
    run_dag: Any, syncing: SandboxServer, tmp_path: Path, deferrable: bool
) -> None:
    with DAG("leen_sync", schedule=None) as dag:
        created = create(tickets(3), results_path=f"{tmp_path}/r.jsonl")
        LeenTicketSyncSensor(task_id="synced", results=created.output, poke_interval=0.02, deferrable=deferrable)
    run = run_dag(dag)
    assert run.states == {"create": "success", "synced": "success"}
    assert run.summary("synced") == run.summary("create")
    results = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [result["ticket_id"] for result in results] == [ticket["ticket_id"] for ticket in syncing.tickets()]


def test_results_in_a_file_that_is_gone_can_not_be_waited_for(sandbox: SandboxServer, tmp_path: Path) -> None:
    summary = {**summarise([]), "results_path": f"{tmp_path}/gone.jsonl"}
    with pytest.raises(AirflowFailException, match="there is no such file"):
        LeenTicketSyncSensor(task_id="synced", results=summary).poke({})


@pytest.mark.smoke
def test_between_two_looks_it_is_rescheduled_by_default(run_dag: Any, syncing: SandboxServer) -> None:
    sensor = LeenTicketSyncSensor(task_id="synced", results=[])
    assert (sensor.mode, sensor.poke_interval, sensor.timeout) == ("reschedule", 1800, 86400)
    run = run_dag(sync_dag(mode="reschedule"))
    assert run.states == {"create": "success", "synced": "success"}
    assert all(result["ticket_id"] for result in run.summary("synced")["results"])


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_what_has_an_id_already_or_failed_is_not_waited_for(
    run_dag: Any, sandbox: SandboxServer, deferrable: bool
) -> None:
    given = [
        {"name": "by UUID", "project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"},
        {"name": "refused", "priority": "SHINY"},
    ]
    run = run_dag(sync_dag(given, deferrable=deferrable))
    assert run.states == {"create": "success", "synced": "success"}
    assert run.summary("synced") == run.summary("create")
    assert lists(sandbox) == 0


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_when_the_time_is_up_it_fails(run_dag: Any, sandbox: SandboxServer, deferrable: bool) -> None:
    run = run_dag(sync_dag(deferrable=deferrable, timeout=0.2))
    assert run.states == {"create": "success", "synced": "failed"}
    (error,) = run.exceptions
    assert type(error) is AirflowSensorTimeout
    if deferrable:
        assert "Leen did not know 3 tickets within 0.2 s: SEC-101, SEC-102, SEC-103. Does the connector" in str(error)


def test_with_soft_fail_it_is_skipped_when_the_time_is_up(run_dag: Any, sandbox: SandboxServer) -> None:
    for deferrable in (False, True):
        run = run_dag(sync_dag(deferrable=deferrable, timeout=0.1, soft_fail=True))
        assert run.states == {"create": "success", "synced": "skipped"}


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_an_outage_is_waited_out(
    run_dag: Any, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra={"max_retries": 0}))
    sandbox.inject("status", status=503, path=LIST, method="GET", times=2)
    sandbox.inject("rate_limit", path=LIST, method="GET", times=1, retry_after=900)

    def sync_after_creation(*_: Any, **__: Any) -> None:
        sandbox.sync()

    dag = sync_dag(deferrable=deferrable)
    vars(dag.get_task("create"))["post_execute"] = sync_after_creation
    run = run_dag(dag)
    assert run.states == {"create": "success", "synced": "success"}
    assert lists(sandbox) >= 4


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_what_waiting_cannot_fix_fails_at_once(run_dag: Any, sandbox: SandboxServer, deferrable: bool) -> None:
    # The second look of a deferred sensor is the trigger's.
    sandbox.inject("status", status=401, path=LIST, method="GET", nth=2)
    run = run_dag(sync_dag(deferrable=deferrable, retries=1))
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert "HTTP 401" in str(error)
    assert lists(sandbox) == 2


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
@pytest.mark.parametrize("look", [1, 2])
def test_with_soft_fail_it_is_skipped_whenever_leen_refuses_to_be_asked(
    run_dag: Any, sandbox: SandboxServer, deferrable: bool, look: int
) -> None:
    sandbox.inject("status", status=401, path=LIST, method="GET", nth=look)
    run = run_dag(sync_dag(deferrable=deferrable, soft_fail=True))
    assert run.states == {"create": "success", "synced": "skipped"}
    assert lists(sandbox) == look


def test_a_missing_summary_fails_it(run_dag: Any, sandbox: SandboxServer) -> None:
    with DAG("leen_sync", schedule=None) as dag:
        LeenTicketSyncSensor(task_id="synced", results="{{ ti.xcom_pull('nobody') }}")
    (error,) = run_dag(dag).exceptions
    assert (type(error), type(error.__cause__)) == (AirflowFailException, LeenConfigError)


@pytest.mark.parametrize("event", [None, "done", {}, {"status": "perhaps"}, [{"status": "done"}]])
def test_an_event_that_cant_be_read_is_never_a_success(event: Any) -> None:
    sensor = LeenTicketSyncSensor(task_id="synced", results=[])
    with pytest.raises(LeenOutcomeUnknownError, match="an unusable event"):
        sensor.execute_complete({}, event)


def test_what_leen_knew_a_moment_ago_is_waited_for_until_the_same_deadline(
    airflow_db: None, sandbox: SandboxServer
) -> None:
    sensor = LeenTicketSyncSensor(task_id="synced", results=summarise([result(vendor_ticket_id="SEC-999")]))
    context: Any = {"dag_run": SimpleNamespace(start_date=datetime.now(UTC))}
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute_complete(context, {"status": "done", "deadline": 123.0})
    assert deferred.value.trigger.deadline == 123.0
    assert deferred.value.trigger.vendor_ticket_ids == ["SEC-999"]


def test_a_run_that_was_cleared_has_begun_when_it_was_due() -> None:
    due = datetime(2026, 1, 5, tzinfo=UTC)
    cleared = SimpleNamespace(start_date=due + timedelta(days=3), run_after=due)
    on_airflow_2 = SimpleNamespace(start_date=due + timedelta(days=3), data_interval_end=due)
    for run in (cleared, on_airflow_2):
        context: Any = {"dag_run": run}
        assert _begin(context) == due
