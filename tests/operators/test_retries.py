"""Each ticket once, on real Airflow: its retries, its clears, its task state store, its ways to stop a task."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowTaskTimeout

from airflow_provider_leen.api.errors import (
    LeenLedgerError,
    LeenLedgerLostError,
    LeenOutcomeUnknownError,
    LeenResponseError,
)
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import (
    DEFAULTS,
    REMEMBERING,
    AtCall,
    Connect,
    bulk_dag,
    counts,
    create,
    tickets,
    timeout_now,
)
from tests.support.airflow_run import AIRFLOW, AirflowRun, needs_state_store
from tests.support.recorded import bulk_calls, none_is_double

UUID = {"project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}
OTHER_CONNECTION = "1ee00000-0000-4000-8000-000000000002"
PATIENT = {"timeout": 30.0, "settle_time": 0.2, "max_retries": 0}


@pytest.fixture(autouse=True)
def _without_long_waits(connect: Connect) -> None:
    connect(extra=PATIENT)


@pytest.fixture
def clear(run_dag: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[AirflowRun, DAG], AirflowRun]:
    """Clears all tasks of a finished Dag run and runs them again in it, with the Dag as it is now."""
    from airflow.models import dagrun, taskinstance
    from airflow.serialization import serialized_objects
    from airflow.utils.state import DagRunState

    def clear(finished: AirflowRun, dag: DAG) -> AirflowRun:
        def cleared(*, session: Any, **new: Any) -> Any:
            dag_run = session.get(dagrun.DagRun, finished.dag_run.id)
            taskinstance.clear_task_instances(dag_run.get_task_instances(session=session), session)
            dag_run.dag = new["dag"]
            dag_run.state = DagRunState.RUNNING
            session.commit()
            return dag_run

        with monkeypatch.context() as instead_of_a_new_run:
            # Airflow's clear lets this process load no links of operators any more; the context puts that right.
            for name in ("DagSerialization", "OperatorSerialization"):
                if serialization := getattr(serialized_objects, name, None):
                    instead_of_a_new_run.setattr(serialization, "_load_operator_extra_links", True)
            if AIRFLOW < (3, 0):
                instead_of_a_new_run.setattr("airflow.models.dag._get_or_create_dagrun", cleared)
            else:
                instead_of_a_new_run.setattr(dagrun, "get_or_create_dagrun", cleared)
            again: AirflowRun = run_dag(dag)
        assert again.dag_run.run_id == finished.dag_run.run_id
        return again

    return clear


def names_sent(sandbox: SandboxServer) -> list[list[str]]:
    return [list(call.ticket_names) for call in bulk_calls(sandbox)]


def look_ups(sandbox: SandboxServer) -> int:
    return sandbox.count("GET")


def unknown_identifiers(run: AirflowRun) -> list[str | None]:
    return [result["identifier"] for result in run.summary()["results"] if result["status"] == "unknown"]


# Retries


def test_a_retry_sends_what_is_left_under_the_same_keys(
    sandbox: SandboxServer, run_dag: Any, ledger: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sandbox.inject("status", status=405, nth=2)
    run = run_dag(bulk_dag(tickets(12), batch_size=4, retries=1, **ledger))
    assert run.states == {"create": "success"}
    (error,) = run.exceptions
    assert isinstance(error, LeenResponseError)
    first, refused, again, last = bulk_calls(sandbox)
    assert refused.body == again.body
    assert [len(call.body["tickets"]) for call in (first, refused, again, last)] == [4, 4, 4, 4]
    assert counts(run.summary()) == {"created": 12}
    assert [result["name"] for result in run.summary()["results"]] == [ticket["name"] for ticket in tickets(12)]
    assert [result["vendor_ticket_id"] for result in run.summary()["results"]] == [
        ticket["vendor_ticket_id"] for ticket in sandbox.tickets()
    ]
    assert look_ups(sandbox) == 0
    assert "Taken over from an earlier try: 4 of 12 tickets." in caplog.text


def test_a_lost_reply_is_settled_by_the_retry_when_the_try_could_not(
    sandbox: SandboxServer, run_dag: Any, ledger: dict[str, Any]
) -> None:
    sandbox.inject("lost", nth=(1, 2), commit=True)
    ledger |= {"on_unknown": "{{ 'fail' if ti.try_number == 1 else 'lookup' }}"}
    run = run_dag(bulk_dag(tickets(9), batch_size=3, retries=1, embed_identifier=True, **ledger))
    assert run.states == {"create": "success"}
    (error,) = run.exceptions
    assert isinstance(error, LeenOutcomeUnknownError)
    assert len(error.identifiers) == 6
    assert counts(run.summary()) == {"created": 9}
    assert len(sandbox.tickets()) == 9
    assert none_is_double(sandbox)


@pytest.mark.smoke
def test_two_equal_tickets_are_two_tickets_also_over_a_retry(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("status", status=405, nth=2)
    run = run_dag(bulk_dag([{"name": "same"}] * 4, batch_size=2, retries=1))
    assert counts(run.summary()) == {"created": 4}
    assert len(sandbox.tickets()) == 4
    assert len({ticket["identifier"] for ticket in sandbox.tickets()}) == 4


def test_what_stays_unknown_is_named_in_log_results_and_exception(
    sandbox: SandboxServer, run_dag: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sandbox.inject("lost", nth=2, commit=True)
    run = run_dag(bulk_dag(tickets(6), batch_size=2, retries=1))
    assert run.states == {"create": "failed"}
    names = unknown_identifiers(run)
    assert len(names) == 2
    for error in run.exceptions:
        assert isinstance(error, LeenOutcomeUnknownError)
        assert error.identifiers == names
        assert all(str(name) in str(error) for name in names)
        assert "Looked up: Leen does not know its identifier" in str(error)
    results = [result for result in run.summary()["results"] if result["status"] == "unknown"]
    assert all("Looked up:" in str(result["error"]) for result in results)
    assert "Found: 0 of 2 tickets." in caplog.text
    assert run.xcom("create", "failed_tickets") == []
    assert len(bulk_calls(sandbox)) == 3


# Clears


def test_a_clear_after_the_list_has_changed_sends_what_is_new_only(
    sandbox: SandboxServer, run_dag: Any, clear: Any, ledger: dict[str, Any]
) -> None:
    first = run_dag(bulk_dag(tickets(5), **ledger))
    second = clear(first, bulk_dag([{"name": "new"}, *tickets(5)[1:]], **ledger))
    assert counts(second.summary()) == {"created": 5}
    assert names_sent(sandbox)[1:] == [["new"]]
    assert second.summary()["results"][1:] == first.summary()["results"][1:]


def mapped_dag(connection_ids: list[str]) -> DAG:
    with DAG("leen_mapped", schedule=None) as dag:
        LeenBulkCreateTicketsOperator.partial(
            task_id="create", tickets=tickets(2), ticket_defaults=DEFAULTS, retry_delay=timedelta(0), **REMEMBERING
        ).expand(connection_id=connection_ids)
    return dag


def test_a_mapped_instance_that_serves_another_connection_takes_nothing_over(
    sandbox: SandboxServer, run_dag: Any, clear: Any
) -> None:
    first = run_dag(mapped_dag([SandboxServer.connection_id, OTHER_CONNECTION]))
    assert len(sandbox.tickets(SandboxServer.connection_id)) == len(sandbox.tickets(OTHER_CONNECTION)) == 2
    third = "1ee00000-0000-4000-8000-000000000003"
    second = clear(first, mapped_dag([SandboxServer.connection_id, third]))
    assert counts(second.summary(map_index=0)) == counts(second.summary(map_index=1)) == {"created": 2}
    assert len(sandbox.tickets(third)) == 2
    assert len(sandbox.tickets()) == 6
    assert len(bulk_calls(sandbox)) == 3


def test_each_mapped_instance_has_its_own_folder(sandbox: SandboxServer, run_dag: Any, tmp_path: Path) -> None:
    with DAG("leen_mapped", schedule=None) as dag:
        LeenBulkCreateTicketsOperator.partial(
            task_id="create", ticket_defaults=DEFAULTS, ledger_path=f"file://{tmp_path}/{{{{ dag.dag_id }}}}"
        ).expand(tickets=[tickets(1), tickets(2)])
        create(tickets(1), task_id="another", ledger_path=f"file://{tmp_path}/leen_mapped")
    run_dag(dag)
    run_dag(dag)
    assert len(list((tmp_path / "leen_mapped").iterdir())) == 6
    assert len(sandbox.tickets()) == 8


def _lose(part: Path) -> None:
    part.unlink()


def _damage(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-20])


def _age(part: Path) -> None:
    part.write_text(json.dumps(json.loads(part.read_text()) | {"v": 1}))


@pytest.mark.parametrize("harm", [_lose, _damage, _age])
def test_a_part_of_the_ledger_that_is_lost_fails_the_task_without_retry_and_the_message_says_what_to_do(
    sandbox: SandboxServer, run_dag: Any, clear: Any, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    def dag() -> DAG:
        return bulk_dag(tickets(3), ledger_path=f"file://{tmp_path}", embed_identifier=True)

    first = run_dag(dag())
    harm(next(tmp_path.glob("*/j/*/1.json")))
    second = clear(first, dag())
    (error,) = second.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenLedgerLostError
    assert all(exit in str(error) for exit in ("Look into the tracker", "start a new Dag run", "clear the task"))
    assert len(bulk_calls(sandbox)) == 1
    # The second exit.
    shutil.rmtree(tmp_path)
    assert counts(clear(second, dag()).summary()) == {"created": 3}
    assert len(sandbox.tickets()) == 3


# Without a memory


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As below Airflow 3.3: the context has no task state store."""
    if AIRFLOW < (3, 3):
        return
    whole = LeenBulkCreateTicketsOperator.execute

    def execute(self: LeenBulkCreateTicketsOperator, context: Any) -> Any:
        without: Any = {name: context[name] for name in context if name != "task_state_store"}
        return whole(self, without)

    monkeypatch.setattr(LeenBulkCreateTicketsOperator, "execute", execute)


def test_without_a_store_a_retry_takes_every_ticket_for_sent_and_names_ledger_path(
    sandbox: SandboxServer, run_dag: Any, no_store: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sandbox.inject("status", status=405, nth=2)
    run = run_dag(bulk_dag(tickets(4), batch_size=2, retries=1, ticket_defaults=UUID, ledger_path=None))
    assert caplog.text.count("There is no durable ledger") == 2, "once a try"
    assert run.states == {"create": "failed"}
    assert counts(run.summary()) == {"created": 2, "unknown": 2}
    assert isinstance(run.exceptions[-1], LeenOutcomeUnknownError)
    assert "or set ledger_path" in str(run.exceptions[-1])
    assert len(bulk_calls(sandbox)) == 2


@needs_state_store
def test_a_store_that_airflow_clears_counts_as_memory_when_it_is_empty(
    sandbox: SandboxServer, run_dag: Any, clear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    first = run_dag(bulk_dag(tickets(2)))
    second = clear(first, bulk_dag(tickets(2), retries=1))
    assert counts(second.summary()) == {"unknown": 2}
    assert len(bulk_calls(sandbox)) == 1


def test_what_is_not_durable_is_neither_read_nor_written_and_a_retry_sends_everything_again(
    sandbox: SandboxServer, run_dag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    if AIRFLOW >= (3, 3):
        from airflow.sdk.execution_time.context import TaskStateStoreAccessor

        for name in ("get", "set"):
            monkeypatch.setattr(TaskStateStoreAccessor, name, lambda *_, name=name, **__: touched.append(name))
    sandbox.inject("status", status=405, nth=2)
    run = run_dag(bulk_dag(tickets(4), batch_size=2, retries=1, durable=False, ledger_path=f"file://{tmp_path}"))
    assert counts(run.summary()) == {"created": 4}
    assert len(sandbox.tickets()) == 6
    assert touched == []
    assert list(tmp_path.iterdir()) == []


# A ledger that breaks


@needs_state_store
def test_if_airflows_store_breaks_the_task_stops_sending_and_a_retry_continues(
    sandbox: SandboxServer, run_dag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

    whole = TaskStateStoreAccessor.set
    writes = 0

    def breaking(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal writes
        writes += 1
        if 2 <= writes < 100:
            raise RuntimeError("the API server is gone")
        whole(self, *args, **kwargs)

    def mend(_: Any) -> None:
        nonlocal writes
        writes = 100

    monkeypatch.setattr(TaskStateStoreAccessor, "set", breaking)
    run = run_dag(bulk_dag(tickets(40), batch_size=5, retries=1, on_retry_callback=mend))
    error = run.exceptions[0]
    assert isinstance(error, LeenLedgerError)
    assert "the API server is gone" in str(error)
    summary = run.summary()
    assert summary["unsent"] == 0
    assert summary["created"] + summary["unknown"] == 40
    assert summary["created"] <= len(sandbox.tickets())
    assert none_is_double(sandbox)
    assert {str(name) for name in unknown_identifiers(run)}.isdisjoint(
        ticket["identifier"] for ticket in sandbox.tickets()[summary["created"] :]
    )


# Stopping


def test_a_retry_after_a_timeout_continues_where_it_stopped(
    sandbox: SandboxServer, run_dag: Any, ledger: dict[str, Any], at_call: AtCall
) -> None:
    sandbox.inject("stall", nth=3, commit=True)
    at_call(3, timeout_now)
    run = run_dag(
        bulk_dag(
            tickets(20),
            batch_size=5,
            retries=1,
            embed_identifier=True,
            execution_timeout=timedelta(seconds=1000),
            **ledger,
        )
    )
    assert run.states == {"create": "success"}
    assert [type(error) for error in run.exceptions] == [AirflowTaskTimeout]
    assert counts(run.summary()) == {"created": 20}
    assert len(sandbox.tickets()) == 20
    assert none_is_double(sandbox)
