"""What one call's outcome means for its tickets: every row of the table, counted on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenNotFoundError,
    LeenValidationError,
)
from airflow_provider_leen.sandbox.server import SandboxServer
from qa.support.processes import free_port
from tests.operators.dags import Connect, bulk_dag, counts, tickets

# Nothing was sent


def test_if_no_server_listens_all_tickets_are_unsent_and_airflow_may_retry(run_dag: Any, connect: Connect) -> None:
    connect(host=f"http://127.0.0.1:{free_port()}/v1", extra={"max_retries": 2, "max_retry_wait": 0.01})
    run = run_dag(bulk_dag(tickets(3), retries=1))
    assert run.states == {"create": "failed"}
    assert [type(error) for error in run.exceptions] == [LeenConnectError, LeenConnectError]
    assert counts(run.summary()) == {"unsent": 3}
    assert "nothing was sent" in run.summary()["results"][0]["error"]
    assert run.xcom("create", "failed_tickets") == tickets(3)


# Refused without retry


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


def test_a_request_that_is_refused_with_any_tickets_is_stopped_early(sandbox: SandboxServer, run_dag: Any) -> None:
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
