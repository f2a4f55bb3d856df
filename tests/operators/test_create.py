"""Creating one ticket, on real Airflow against the sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenResponseError,
    LeenValidationError,
)
from airflow_provider_leen.api.models import Ticket
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.operators.create import LeenCreateTicketOperator
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.tasks.creating_one import _is_this, _record
from tests.bulk.runs import rows_of
from tests.operators.dags import Connect

TICKETS = "/v1/itsm/tickets"
TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}


def create_dag(ticket: Any = TICKET, **arguments: Any) -> DAG:
    usual: dict[str, Any] = {"retry_delay": timedelta(0)}
    with DAG("leen_create", schedule=None) as dag:
        LeenCreateTicketOperator(task_id="create", ticket=ticket, **usual | arguments)
    return dag


def posts(sandbox: SandboxServer) -> int:
    return sandbox.count("POST", TICKETS)


@pytest.mark.smoke
def test_a_ticket_is_created_and_its_record_and_url_returned(run_dag: Any, sandbox: SandboxServer) -> None:
    run = run_dag(create_dag(TICKET | {"priority": "HIGH"}))
    assert run.states == {"create": "success"}
    record = run.xcom("create")
    [held] = sandbox.tickets()
    assert (record["id"], record["priority"]) == (held["ticket_id"], "HIGH")
    assert record["url"] == "https://jira.example.com/browse/SEC-101"
    assert record["identifier"].startswith("airflow-")
    assert json.loads(json.dumps(record)) == record


def test_the_ticket_may_come_from_a_task_or_a_template(run_dag: Any, sandbox: SandboxServer) -> None:
    with DAG("leen_create", schedule=None) as dag:

        @task
        def write() -> dict[str, Any]:
            return TICKET | {"identifier": "own"}

        written = write()
        LeenCreateTicketOperator(task_id="direct", ticket=written)
        LeenCreateTicketOperator(task_id="text", ticket="{{ ti.xcom_pull('write') | tojson }}")
        dag.get_task("write") >> dag.get_task("text")
    run = run_dag(dag)
    assert set(run.states.values()) == {"success"}
    assert [ticket["identifier"] for ticket in sandbox.tickets()] == ["own", "own"]


@pytest.mark.parametrize("commit", [True, False], ids=["after the ticket was made", "before"])
def test_a_lost_reply_is_settled_within_the_try_or_by_the_next_and_the_ticket_is_created_once(
    run_dag: Any, sandbox: SandboxServer, connect: Connect, commit: bool
) -> None:
    connect(extra={"timeout": 60 if commit else 0.5})
    sandbox.inject("lost", path=TICKETS, times=1, commit=commit)
    run = run_dag(create_dag(retries=1, on_retry_callback=lambda _: connect()))
    assert run.states == {"create": "success"}
    assert len(sandbox.tickets()) == 1
    assert posts(sandbox) == (1 if commit else 2)
    assert [type(error) for error in run.exceptions] == ([] if commit else [LeenOutcomeUnknownError])


def test_a_ticket_that_the_first_look_up_does_not_find_is_looked_up_again(
    run_dag: Any, sandbox: SandboxServer, connect: Connect
) -> None:
    # Its double is how long it is looked for.
    connect(extra={"timeout": 2})
    sandbox.inject("lost", path=TICKETS, commit=True)
    sandbox.inject("status", status=404, path=TICKETS, method="GET", times=1)
    run = run_dag(create_dag())
    assert run.states == {"create": "success"}
    assert len(sandbox.tickets()) == posts(sandbox) == 1
    assert sandbox.count("GET") > 1


def test_a_worker_that_died_after_sending_leaves_a_ticket_that_the_retry_finds(
    run_dag: Any, sandbox: SandboxServer, mocker: Any
) -> None:
    create = LeenHook.create_ticket

    def die(hook: LeenHook, ticket: Any) -> Ticket:
        create(hook, ticket)
        raise MemoryError("the worker dies here")

    mocker.patch.object(LeenHook, "create_ticket", die)
    run = run_dag(create_dag(retries=1))
    assert run.states == {"create": "success"}
    assert posts(sandbox) == 1
    assert run.xcom("create")["id"] == sandbox.tickets()[0]["ticket_id"]


def test_an_outcome_that_stays_unknown_names_the_ticket_and_says_what_to_do(
    run_dag: Any, sandbox: SandboxServer, connect: Connect
) -> None:
    connect(extra={"timeout": 1, "max_retries": 0})
    sandbox.inject("status", status=503, path=TICKETS, method=None)
    run = run_dag(create_dag(TICKET | {"identifier": "own"}))
    (error,) = run.exceptions
    assert type(error) is LeenOutcomeUnknownError
    assert error.identifiers == ["own"]
    assert "(identifier own) was sent, and its outcome is unknown. POST /itsm/tickets" in str(error)
    assert "HTTP 503" in str(error)
    assert "a retry looks it up again" in str(error)


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        pytest.param({"identifier": "own"}, LeenOutcomeUnknownError, id="created nobody knows when"),
        pytest.param({"identifier": "another"}, LeenResponseError, id="another ticket"),
        pytest.param({"identifier": "own", "errors": ["stale"]}, LeenResponseError, id="contradicts itself"),
    ],
)
def test_a_retry_creates_nothing_beside_a_ticket_that_may_be_the_one_it_created(
    run_dag: Any, sandbox: SandboxServer, connect: Connect, shown: dict[str, Any], kind: type
) -> None:
    connect(extra={"timeout": 0.5, "max_retries": 0})
    sandbox.inject("lost", path=TICKETS, times=1, commit=True)
    sandbox.inject("status", status=200, content={"id": "t"} | shown, path=TICKETS, method="GET")
    patient: dict[str, Any] = {"on_retry_callback": lambda _: connect()}
    run = run_dag(create_dag(TICKET | {"identifier": "own"}, retries=1, **patient))
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError, kind]
    assert posts(sandbox) == len(sandbox.tickets()) == 1


@pytest.mark.parametrize(
    ("fault", "cause"),
    [({"status": 401}, LeenAuthError), ({"status": 422}, LeenValidationError)],
)
def test_a_refusal_is_not_retried(run_dag: Any, sandbox: SandboxServer, fault: dict[str, Any], cause: type) -> None:
    sandbox.inject("status", path=TICKETS, **fault)
    run = run_dag(create_dag(retries=1))
    (error,) = run.exceptions
    assert (type(error), type(error.__cause__)) == (AirflowFailException, cause)
    assert posts(sandbox) == 1


def test_tickets_that_were_certainly_not_created_are_retried_by_airflow(
    run_dag: Any, sandbox: SandboxServer, connect: Connect
) -> None:
    connect(extra={"max_retries": 0})
    sandbox.inject("rate_limit", path=TICKETS, times=1)
    run = run_dag(create_dag(retries=1))
    assert run.states == {"create": "success"}
    assert [type(error) for error in run.exceptions] == [LeenRateLimitError]
    connect(host="http://127.0.0.1:9/v1", extra={"max_retries": 0})
    assert [type(error) for error in run_dag(create_dag()).exceptions] == [LeenConnectError]


# Identifiers of one's own


@pytest.mark.parametrize(("if_exists", "held"), [("create", 2), ("skip", 1)])
def test_a_ticket_of_another_run_is_accepted_only_if_configured(
    run_dag: Any, sandbox: SandboxServer, if_exists: str, held: int
) -> None:
    ticket = TICKET | {"identifier": "own"}
    first = run_dag(create_dag(ticket)).xcom("create")
    run = run_dag(create_dag(ticket, if_exists=if_exists))
    assert run.states == {"create": "success"}
    assert len(sandbox.tickets()) == held
    assert (run.xcom("create")["id"] == first["id"]) is (if_exists == "skip")


def test_without_its_own_identifier_nothing_is_asked_in_the_first_try(run_dag: Any, sandbox: SandboxServer) -> None:
    run_dag(create_dag(if_exists="skip"))
    assert [request.method for request in sandbox.requests] == ["POST"]


def test_yesterdays_ticket_does_not_settle_todays(run_dag: Any, sandbox: SandboxServer, connect: Connect) -> None:
    connect(extra={"timeout": 0.5})
    sandbox.inject("lost", path=TICKETS, times=1)
    long_ago: dict[str, Any] = {"id": "1", "identifier": "own", "ticket_created_at": "2020-01-01T00:00:00+00:00"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LeenHook, "get_ticket_by_identifier", lambda hook, identifier: Ticket(**long_ago))
        patient: dict[str, Any] = {"on_retry_callback": lambda _: connect()}
        run = run_dag(create_dag(TICKET | {"identifier": "own"}, retries=1, **patient))
    assert run.states == {"create": "success"}
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError]
    assert run.xcom("create")["id"] == sandbox.tickets()[0]["ticket_id"]


@pytest.mark.parametrize(
    ("shown", "is_this"),
    [
        ({}, True),
        ({"name": "another"}, False),
        ({"project_id": "5ec00000-0000-4000-8000-0000000000ff"}, False),
        ({"ticket_created_at": "2026-03-01T11:58:00Z"}, False),
        ({"ticket_created_at": "2026-03-01T12:03:01Z"}, False),
    ],
    ids=["it is", "another name", "another project", "earlier", "later"],
)
def test_what_leen_has_under_the_identifier_is_proved_by_name_and_time(shown: dict[str, Any], is_this: bool) -> None:
    (row,) = rows_of([{"name": "one", "project_id": "5ec00000-0000-4000-8000-000000000001"}])
    ticket = {"id": "1", "identifier": row.identifier, "name": "one", "project_id": row.source[0]["project_id"]}
    ticket |= {"ticket_created_at": "2026-03-01T12:00:30Z"} | shown
    sent_at = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    assert _is_this(Ticket(**ticket), row, sent_at, sent_at + 120) is is_this


# What can't be used


@pytest.mark.parametrize(
    ("ticket", "said"),
    [
        ({"name": "x"}, "`ticket` can't be sent: "),
        (TICKET | {"prority": "HIGH"}, "priority"),
        ([TICKET], "the row is of type list"),
        ("SEC-101", "`ticket` is a text that is neither JSON"),
        (None, "the row is of type NoneType"),
    ],
)
def test_a_ticket_that_cant_be_sent_is_refused(run_dag: Any, sandbox: SandboxServer, ticket: Any, said: str) -> None:
    run = run_dag(create_dag(ticket))
    (error,) = run.exceptions
    assert (type(error), type(error.__cause__)) == (AirflowFailException, LeenConfigError)
    assert said in str(error)
    assert sandbox.requests == []


def test_an_argument_that_makes_no_sense_is_refused_in_the_dag_file() -> None:
    with pytest.raises(LeenConfigError, match="write 'create' or 'skip'"):
        create_dag(if_exists="perhaps")


def test_a_kill_ends_the_look_ups(run_dag: Any, sandbox: SandboxServer, mocker: Any) -> None:
    running: list[Any] = []
    mocker.patch.object(LeenCreateTicketOperator, "pre_execute", lambda self, context: running.append(self))
    look_up = LeenHook.get_ticket_by_identifier

    def killed(hook: LeenHook, identifier: str) -> Any:
        # What the signal handler does, while the main thread is waiting for Leen.
        running[-1].on_kill()
        return look_up(hook, identifier)

    mocker.patch.object(LeenHook, "get_ticket_by_identifier", killed)
    sandbox.inject("lost", path=TICKETS)
    run = run_dag(create_dag())
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError]
    assert sandbox.count("GET") == 1


@pytest.mark.parametrize(
    ("ticket", "url"),
    [
        ({"id": "1", "vendor_attributes": {"id": "SEC-7"}}, "https://jira.test/browse/SEC-7"),
        ({"id": "1", "vendor_attributes": {"id": "a/b"}}, "https://jira.test/browse/a%2Fb"),
        ({"id": "1", "url": "https://elsewhere.test/SEC-7"}, "https://elsewhere.test/SEC-7"),
        ({"id": "1"}, None),
    ],
)
def test_the_url_is_leens_or_made_from_the_connections(ticket: dict[str, Any], url: str | None) -> None:
    assert _record(Ticket(**ticket), "https://jira.test/browse/{vendor_ticket_id}")["url"] == url
    if "url" not in ticket:
        assert _record(Ticket(**ticket), None)["url"] is None
