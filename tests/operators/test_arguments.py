"""A bad argument gives one sentence that names it and says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.operators.leen import LeenBulkCreateTicketsOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, bulk_dag, tickets

IN_THE_DAG_FILE = {
    "neither": ({}, "exactly one of `tickets` and `tickets_path`"),
    "both": ({"tickets": [], "tickets_path": "a.json"}, "exactly one of `tickets` and `tickets_path`"),
    "batch_size 0": ({"tickets": [], "batch_size": 0}, "`batch_size` is 0: write a whole number from 1 to 50"),
    "batch_size 51": ({"tickets": [], "batch_size": 51}, "`batch_size` is 51: write a whole number from 1 to 50"),
    "batch_size text": ({"tickets": [], "batch_size": "50"}, "`batch_size` is '50': write a whole number"),
    "batch_size True": ({"tickets": [], "batch_size": True}, "`batch_size` is True: write a whole number"),
    "concurrency": (
        {"tickets": [], "max_concurrent_batches": 0},
        "`max_concurrent_batches` is 0: write a whole number of 1 or more",
    ),
    "on_unknown": ({"tickets": [], "on_unknown": "look"}, "`on_unknown` is 'look': write 'lookup', 'fail' or 'resend'"),
    "on_invalid": ({"tickets": [], "on_invalid": "skip"}, "`on_invalid` is 'skip': write 'report' or 'fail'"),
    "max_failures": ({"tickets": [], "max_failures": -1}, "`max_failures` is -1: write a whole number from 0"),
    "max_failure_rate": ({"tickets": [], "max_failure_rate": 5}, "`max_failure_rate` is 5: write a number from 0 to 1"),
}


@pytest.mark.parametrize(("arguments", "says"), IN_THE_DAG_FILE.values(), ids=IN_THE_DAG_FILE)
def test_a_bad_argument_breaks_the_dag_file(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(LeenConfigError) as caught:
        LeenBulkCreateTicketsOperator(task_id="create", **arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_argument_is_refused_by_airflow() -> None:
    with pytest.raises((TypeError, AirflowException), match="on_invlaid"):
        LeenBulkCreateTicketsOperator(task_id="create", tickets=[], on_invlaid="fail")


def test_templates_are_not_looked_at_in_the_dag_file() -> None:
    template = "{{ not_there.at_all }}"
    fields: dict[str, Any] = {
        name: template for name in LeenBulkCreateTicketsOperator.template_fields if name != "tickets"
    }
    operator = LeenBulkCreateTicketsOperator(task_id="create", **fields)
    assert [getattr(operator, name) for name in fields] == [template] * len(fields)


AT_RUN_TIME = {
    "defaults, unknown field": ({"ticket_defaults": {"projct": "SEC"}}, "`ticket_defaults` can't be used"),
    "defaults, a shared identifier": ({"ticket_defaults": {"identifier": "x"}}, "give each ticket its own"),
    "connection_id": ({"connection_id": "two words"}, "connection_id 'two words' can't be used"),
}


@pytest.mark.parametrize(("arguments", "says"), AT_RUN_TIME.values(), ids=AT_RUN_TIME)
def test_a_template_that_renders_to_nonsense_fails_the_task_at_once(
    sandbox: SandboxServer, run_dag: Any, arguments: dict[str, Any], says: str
) -> None:
    run = run_dag(bulk_dag(tickets(2), retries=2, **arguments))
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
    assert says in str(error)
    assert "\n" not in str(error)
    assert sandbox.requests == []


CONNECTIONS = {
    "no connection ID": ({"login": None}, "fill the field 'Leen connection ID' (login)"),
    "no version": ({"host": "https://api.leen.dev"}, "write https://api.leen.dev/v1"),
    "max_retries": ({"extra": {"max_retries": -1}}, "Max retries is -1: write a whole number"),
    "verify": ({"extra": {"verify": "/no/such/bundle"}}, "Verify TLS"),
}


@pytest.mark.parametrize(("fields", "says"), CONNECTIONS.values(), ids=CONNECTIONS)
def test_a_connection_that_can_not_be_used_fails_the_task_at_once(
    sandbox: SandboxServer, run_dag: Any, connect: Connect, fields: dict[str, Any], says: str
) -> None:
    connect(**fields)
    run = run_dag(bulk_dag(tickets(2), retries=2))
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenConfigError
    assert says in str(error)
    assert sandbox.requests == []


def test_connection_id_overrides_the_login_of_the_connection(sandbox: SandboxServer, run_dag: Any) -> None:
    other = "1ee00000-0000-4000-8000-000000000002"
    run = run_dag(bulk_dag(tickets(1), connection_id=other))
    assert run.states == {"create": "success"}
    assert [request.connection_id for request in sandbox.requests] == [other]
