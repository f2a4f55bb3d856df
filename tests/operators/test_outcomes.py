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
    LeenRateLimitError,
    LeenResponseError,
    LeenValidationError,
)
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import Connect, bulk_dag, counts, tickets


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# Nothing was sent


def test_if_no_server_listens_all_tickets_are_unsent_and_airflow_may_retry(run_dag: Any, connect: Connect) -> None:
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
def test_a_refusal_that_no_retry_can_fix_fails_at_once_and_sends_nothing_more(
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


# Two hundreds that say too little


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
    "503": {"kind": "status", "status": 503, "retry_after": 0},
    "lost after": {"kind": "lost", "commit": True},
}


@pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED)
def test_a_batch_without_an_answer_is_unknown_and_is_not_sent_again(
    sandbox: SandboxServer, run_dag: Any, fault: dict[str, Any]
) -> None:
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


# A 429


def test_a_wait_that_is_too_long_is_left_to_airflow(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("rate_limit", retry_after=3600, times=1)
    run = run_dag(bulk_dag(tickets(6), batch_size=2, retries=1))
    assert run.states == {"create": "success"}
    (error,) = run.exceptions
    assert type(error) is LeenRateLimitError
    assert error.retry_after == 3600
    assert sandbox.count("POST") == 1 + 3
    assert len(sandbox.tickets()) == 6


def test_a_sandbox_that_takes_few_calls_a_second_gets_each_ticket_once(
    sandbox: SandboxServer, run_dag: Any, connect: Connect
) -> None:
    connect(extra={"max_retries": 20})
    sandbox.inject("rate_limit", rate=0.4, retry_after=0.05)
    run = run_dag(bulk_dag(tickets(40), batch_size=2, max_concurrent_batches=4))
    assert counts(run.summary()) == {"created": 40}
    assert sorted(ticket["name"] for ticket in sandbox.tickets()) == sorted(row["name"] for row in tickets(40))
    assert sandbox.faults["rate_limit"] == sandbox.count("POST") - 20 > 0


# A batch that is refused as a whole


def with_poison(count: int, *positions: int) -> list[dict[str, Any]]:
    given = tickets(count)
    for position in positions:
        given[position]["name"] = f"poison {position}"
    return given


@pytest.mark.parametrize(("status", "body", "calls"), [(422, "located", 2), (400, "detail_list", 2), (413, "html", 33)])
def test_tickets_that_are_refused_are_rejected_and_the_others_are_created(
    sandbox: SandboxServer, run_dag: Any, status: int, body: str, calls: int
) -> None:
    sandbox.inject("poison", text="poison", status=status, body=body, message="no such thing")
    given = with_poison(50, 0, 17, 49)
    run = run_dag(bulk_dag(given, max_concurrent_batches=4))
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 47, "rejected": 3}
    results = run.summary()["results"]
    said = "name: no such thing" if calls == 2 else "HTTP 413"
    assert all(said in results[position]["error"] for position in (0, 17, 49))
    assert run.xcom("create", "failed_tickets") == [given[position] for position in (0, 17, 49)]
    assert sandbox.count("POST") <= calls
    assert len(sandbox.tickets()) == 47


def test_a_request_that_is_wrong_whatever_it_carries_is_stopped_early(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("status", status=422, message="the connection can't write")
    run = run_dag(bulk_dag(tickets(120), retries=2))
    assert run.states == {"create": "failed"}
    assert sandbox.count("POST") <= 15
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenValidationError
    assert "the connection can't write" in str(error)
    assert counts(run.summary()) == {"rejected": 4, "unsent": 116}
    assert len(run.xcom("create", "failed_tickets")) == 120


def test_a_list_of_which_every_ticket_is_refused_has_a_reason_for_each(sandbox: SandboxServer, run_dag: Any) -> None:
    refused = [{"name": f"finding {number}", "priority": "SHINY"} for number in range(60)]
    run = run_dag(bulk_dag([*refused, *({"title": f"finding {number}"} for number in range(60))]))
    assert run.states == {"create": "success"}, "the gate decides"
    assert counts(run.summary()) == {"rejected": 60, "invalid": 60}
    errors = [result["error"] for result in run.summary()["results"]]
    assert all("SHINY" in error for error in errors[:60])
    assert all("`name` is missing" in error for error in errors[60:])
    assert sandbox.count("POST") == 2
