"""What one call's outcome means for its tickets: every row of the table, counted on the wire."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenResponseError,
)
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, bulk_dag, counts, tickets


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# Nothing was sent


def test_where_nobody_listens_all_tickets_are_unsent_and_airflow_may_retry(run_dag: Any, connect: Connect) -> None:
    connect(host=f"http://127.0.0.1:{free_port()}/v1", extra={"max_retries": 2, "max_retry_wait": 0.01})
    run = run_dag(bulk_dag(tickets(3), retries=1))
    assert run.states == {"create": "failed"}
    assert [type(error) for error in run.exceptions] == [LeenConnectError, LeenConnectError]
    assert counts(run.summary()) == {"unsent": 3}
    assert "nothing was sent" in run.summary()["results"][0]["error"]
    assert run.xcom("create", "failed_tickets") == tickets(3)


def test_a_retry_creates_what_an_unreachable_leen_did_not_get(run_dag: Any, connect: Connect) -> None:
    port = free_port()
    connect(host=f"http://127.0.0.1:{port}/v1", extra={"max_retries": 0})
    server: list[SandboxServer] = []

    def start_leen(_: Any) -> None:
        server.append(SandboxServer(port=port).__enter__())

    try:
        run = run_dag(bulk_dag(tickets(3), retries=1, on_retry_callback=start_leen))
        assert run.states == {"create": "success"}
        assert [type(error) for error in run.exceptions] == [LeenConnectError]
        assert server[0].count("POST") == 1
        assert len(server[0].tickets()) == 3
    finally:
        for started in server:
            started.__exit__(None, None, None)


# Refused for good


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, LeenAuthError), (403, LeenAuthError), (404, LeenNotFoundError), (302, LeenConfigError)],
)
def test_a_refusal_that_no_retry_mends_fails_at_once_and_sends_nothing_more(
    sandbox: SandboxServer, run_dag: Any, status: int, kind: type[LeenError]
) -> None:
    sandbox.inject("status", status=status, body="html")
    run = run_dag(bulk_dag(tickets(6), batch_size=2, retries=2))
    assert run.states == {"create": "failed"}
    assert sandbox.count() == 1
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is kind
    assert str(status) in str(error)
    assert counts(run.summary()) == {"unsent": 6}


def test_a_refused_method_stops_the_try_and_airflow_may_retry(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("status", status=405, nth=1)
    run = run_dag(bulk_dag(tickets(6), batch_size=2, retries=1))
    assert run.states == {"create": "success"}
    (error,) = run.exceptions
    assert type(error) is LeenResponseError
    assert error.status == 405
    assert sandbox.count("POST") == 1 + 3
    assert len(sandbox.tickets()) == 6


def test_batches_in_flight_end_when_another_is_refused_and_none_follows(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("status", status=401, nth=1)
    sandbox.inject("latency", seconds=0.3, nth=1)
    sandbox.inject("latency", seconds=0.6, nth=(2, 3, 4))
    run = run_dag(bulk_dag(tickets(20), batch_size=2, max_concurrent_batches=4))
    assert sandbox.count("POST") == 4
    assert counts(run.summary()) == {"created": 6, "unsent": 14}
    assert len(sandbox.tickets()) == 6


# Two hundreds that say too little


def test_results_counted_from_one_are_read_like_those_from_zero(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("one_based")
    given = tickets(3)
    given[1]["name"] = "x" * 300
    run = run_dag(bulk_dag(given))
    assert run.states == {"create": "success"}
    assert [result["status"] for result in run.summary()["results"]] == ["created", "rejected", "created"]
    assert [result["request_index"] for result in run.summary()["results"]] == [0, 1, 2]


def test_a_result_that_contradicts_itself_is_unknown_and_the_others_are_not(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("failed_with_id")
    run = run_dag(bulk_dag(tickets(4), on_unknown="fail"))
    assert run.states == {"create": "failed"}
    results = run.summary()["results"]
    assert [result["status"] for result in results] == ["unknown", "created", "created", "created"]
    (error,) = run.exceptions
    assert type(error) is LeenOutcomeUnknownError
    assert error.identifiers == [results[0]["identifier"]]
    assert f"it names the ticket {sandbox.tickets()[0]['vendor_ticket_id']}" in str(error)
    assert sandbox.count("POST") == 1


UNANSWERED = {
    "unreadable": {"kind": "garbage"},
    "409 after": {"kind": "status", "status": 409, "commit": True},
    "202": {"kind": "status", "status": 202},
    "204": {"kind": "status", "status": 204},
    "408": {"kind": "status", "status": 408},
    "500": {"kind": "status", "status": 500},
    "502 as a page": {"kind": "status", "status": 502, "body": "html"},
    "503": {"kind": "status", "status": 503, "retry_after": 0},
    "504 after": {"kind": "status", "status": 504, "commit": True},
    "lost before": {"kind": "lost"},
    "lost after": {"kind": "lost", "commit": True},
    "stall before": {"kind": "stall"},
    "stall after": {"kind": "stall", "commit": True},
    "cut": {"kind": "cut"},
    "trickle": {"kind": "trickle", "seconds": 0.02},
}


@pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED)
def test_a_batch_without_an_answer_is_unknown_and_is_not_sent_again(
    sandbox: SandboxServer, run_dag: Any, connect: Connect, fault: dict[str, Any]
) -> None:
    connect(extra={"timeout": 1, "max_retry_wait": 0.01})
    sandbox.inject(**fault, nth=2)
    run = run_dag(bulk_dag(tickets(6), batch_size=2))
    assert run.states == {"create": "failed"}
    assert sandbox.count("POST") == 3, "each batch left once"
    assert counts(run.summary()) == {"created": 4, "unknown": 2}
    assert sandbox.duplicates() == {"by_identifier": [], "by_content": []}
    (error,) = run.exceptions
    assert type(error) is LeenOutcomeUnknownError
    assert error.identifiers == [result["identifier"] for result in run.summary()["results"][2:4]]
    assert run.xcom("create", "failed_tickets") == []


@pytest.mark.parametrize(("fault", "created"), [("wrong_index", 6), ("short", 5)])
def test_a_reply_that_proves_nothing_is_settled_as_far_as_it_names_tickets(
    sandbox: SandboxServer, run_dag: Any, fault: str, created: int
) -> None:
    sandbox.inject(fault, nth=2)
    run = run_dag(bulk_dag(tickets(6), batch_size=2))
    assert sandbox.count("POST") == 3, "each batch left once"
    assert run.summary()["created"] == created
    assert run.summary()["unknown"] == 6 - created == len(run.exceptions)


def test_leen_that_answers_three_batches_in_a_row_with_nothing_gets_no_more(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("status", status=503)
    run = run_dag(bulk_dag(tickets(10), batch_size=2))
    assert sandbox.count("POST") == 3
    assert counts(run.summary()) == {"unknown": 6, "unsent": 4}
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError]


def test_a_ticket_given_by_leens_uuids_is_never_doubled_when_its_reply_is_lost(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("lost", commit=True)
    given = [{"name": "finding", "project_id": "5ec00000-0000-4000-8000-000000000001", "type": "Task"}]
    run = run_dag(bulk_dag(given, ticket_defaults=None))
    assert sandbox.count("POST") == 1
    assert len(sandbox.tickets()) == 1
    # Leen knows such a ticket, so that it may be looked up.
    assert run.summary()["results"][0]["status"] in ("unknown", "created")
