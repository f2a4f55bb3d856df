"""An XCom that Airflow refuses: the others are still published, and the task keeps its error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_leen.api.errors import LeenAuthError, LeenConfigError, LeenError
from airflow_provider_leen.operators.create import LeenCreateTicketOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import DEFAULTS, bulk_dag, counts, tickets, update_dag
from tests.support.airflow_run import AIRFLOW

Refuse = Callable[..., list[str]]

RETRIED: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(0)}


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Lets Airflow refuse XComs by their keys, without end or so many times; returns the keys that were asked for."""
    if AIRFLOW >= (3, 0):
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance as TaskInstance
    else:
        from airflow.models.taskinstance import TaskInstance  # type: ignore[assignment,unused-ignore]

    def refuse(*keys: str, times: int = 1_000) -> list[str]:
        push, asked = TaskInstance.xcom_push, []

        def xcom_push(self: Any, key: str, value: Any, **kwargs: Any) -> None:
            asked.append(key)
            if key in keys and sum(map(asked.count, keys)) <= times:
                raise RuntimeError("the database takes no\x00such value")
            push(self, key, value, **kwargs)

        monkeypatch.setattr(TaskInstance, "xcom_push", xcom_push)
        return asked

    return refuse


@pytest.mark.parametrize("key", ["return_value", "failed_tickets"])
def test_a_refused_xcom_stops_no_other_and_hides_no_403(
    sandbox: SandboxServer, run_dag: Any, refuse: Refuse, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    sandbox.inject("status", status=403)
    asked = refuse(key)
    run = run_dag(bulk_dag(tickets(3), **RETRIED))
    assert [(type(error), type(error.__cause__)) for error in run.exceptions] == [(AirflowFailException, LeenAuthError)]
    assert run.states == {"create": "failed"}
    assert asked.count(key) == 1
    other = {"return_value", "failed_tickets"} - {key}
    assert [bool(run.xcom("create", name)) for name in other] == [True]
    assert run.xcom("create", key) is None
    (message,) = (text for text in caplog.messages if "could not be published" in text)
    assert f"{key} (RuntimeError: the database takes nosuch value)" in message


def test_with_a_durable_ledger_a_retry_publishes_and_sends_nothing_again(
    sandbox: SandboxServer, run_dag: Any, refuse: Refuse
) -> None:
    refuse("failed_tickets", times=1)
    run = run_dag(bulk_dag(tickets(3), **RETRIED))
    (error,) = run.exceptions
    assert type(error) is LeenError
    assert "could not be published: failed_tickets" in str(error)
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 3}
    assert run.xcom("create", "failed_tickets") == []
    assert len(sandbox.tickets()) == 3


def test_without_a_durable_ledger_it_is_not_retried(sandbox: SandboxServer, run_dag: Any, refuse: Refuse) -> None:
    refuse("return_value")
    run = run_dag(bulk_dag(tickets(3), durable=False, **RETRIED))
    (error,) = run.exceptions
    assert (type(error), type(error.__cause__)) == (AirflowFailException, LeenConfigError)
    assert "don't clear the task" in str(error)
    assert run.xcom("create", "failed_tickets") == []
    assert len(sandbox.tickets()) == 3


def test_a_task_that_cannot_keep_what_it_knows_does_not_wait_for_its_jobs(
    sandbox: SandboxServer, run_dag: Any, refuse: Refuse
) -> None:
    refuse("return_value", times=1)
    run = run_dag(bulk_dag(tickets(3), deferrable=True, poll_interval=0.1, **RETRIED))
    assert "return_value (RuntimeError" in str(run.exceptions[0])
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 3}
    assert len(sandbox.tickets()) == 3


def test_a_single_ticket_is_not_created_again_by_the_retry_that_publishes_it(
    sandbox: SandboxServer, run_dag: Any, refuse: Refuse
) -> None:
    refuse("return_value", times=1)
    with DAG("leen_test", schedule=None) as dag:
        LeenCreateTicketOperator(task_id="create", ticket={"name": "a", **DEFAULTS}, **RETRIED)
    run = run_dag(dag)
    (error,) = run.exceptions
    assert type(error) is LeenError
    assert "A retry finds the ticket by its identifier" in str(error)
    assert run.xcom("create")["name"] == "a"
    assert len(sandbox.tickets()) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_update_whose_summary_is_refused_is_retried(
    sandbox: SandboxServer, run_dag: Any, refuse: Refuse, deferrable: bool
) -> None:
    refuse("return_value", times=1)
    unknown = "5ec00000-0000-4000-8000-000000000099"
    run = run_dag(update_dag([unknown], deferrable=deferrable, **RETRIED))
    assert "return_value (RuntimeError" in str(run.exceptions[0])
    assert run.states == {"update": "success"}
    assert run.xcom("update")["total"] == 1
