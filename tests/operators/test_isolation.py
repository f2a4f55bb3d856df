"""A batch that is refused as a whole is taken apart: one bad ticket never sinks the others."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_leen.api.errors import LeenValidationError
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.operators.dags import bulk_dag, counts, tickets


def with_poison(count: int, *positions: int) -> list[dict[str, Any]]:
    given = tickets(count)
    for position in positions:
        given[position]["name"] = f"poison {position}"
    return given


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("body", ["located", "detail_list"])
def test_tickets_that_leen_locates_are_rejected_and_the_rest_is_sent_again_once(
    sandbox: SandboxServer, run_dag: Any, status: int, body: str
) -> None:
    sandbox.inject("poison", text="poison", status=status, body=body, message="no such thing")
    run = run_dag(bulk_dag(with_poison(50, 0, 17, 49)))
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 47, "rejected": 3}
    results = run.summary()["results"]
    assert {results[position]["error"] for position in (0, 17, 49)} == {"name: no such thing"}
    assert sandbox.count("POST") == 2
    assert len(sandbox.tickets()) == 47


@pytest.mark.parametrize(("status", "body"), [(400, "detail_text"), (413, "html"), (422, "error_response")])
def test_one_poisonous_ticket_is_found_by_halving_and_the_others_are_created(
    sandbox: SandboxServer, run_dag: Any, status: int, body: str
) -> None:
    sandbox.inject("poison", text="poison", status=status, body=body)
    run = run_dag(bulk_dag(with_poison(120, 77), max_concurrent_batches=4))
    assert run.states == {"create": "success"}
    assert counts(run.summary()) == {"created": 119, "rejected": 1}
    rejected = run.summary()["results"][77]
    assert rejected["status"] == "rejected"
    assert str(status) in rejected["error"]
    assert run.xcom("create", "failed_tickets") == [{"name": "poison 77"}]
    assert sorted(ticket["name"] for ticket in sandbox.tickets()) == sorted(
        row["name"] for row in with_poison(120, 77) if row["name"] != "poison 77"
    )
    # Three batches, and two calls for each of the six times that 50 can be halved.
    assert sandbox.count("POST") <= 3 + 12


def test_several_poisonous_tickets_in_one_batch_are_told_apart(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("poison", text="poison")
    run = run_dag(bulk_dag(with_poison(50, 3, 4, 20, 41, 48)))
    assert run.states == {"create": "success"}
    rejected = [r["request_index"] for r in run.summary()["results"] if r["status"] == "rejected"]
    assert rejected == [3, 4, 20, 41, 48]
    assert counts(run.summary()) == {"created": 45, "rejected": 5}
    assert sandbox.duplicates() == {"by_identifier": [], "by_content": []}


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


def test_a_list_of_which_the_vendor_refuses_every_ticket_has_a_reason_for_each(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    given = [{"name": f"finding {number}", "priority": "SHINY"} for number in range(120)]
    run = run_dag(bulk_dag(given))
    assert run.states == {"create": "success"}, "the gate decides"
    assert counts(run.summary()) == {"rejected": 120}
    assert all("SHINY" in result["error"] for result in run.summary()["results"])
    assert sandbox.count("POST") == 3


def test_a_list_of_which_every_ticket_is_refused_here_costs_no_request(sandbox: SandboxServer, run_dag: Any) -> None:
    run = run_dag(bulk_dag([{"title": f"finding {number}"} for number in range(120)]))
    assert run.states == {"create": "success"}, "the gate decides"
    assert counts(run.summary()) == {"invalid": 120}
    assert all("`name` is missing" in result["error"] for result in run.summary()["results"])
    assert sandbox.requests == []


def test_everything_that_leaves_in_parts_is_created_once_when_a_part_is_rate_limited(
    sandbox: SandboxServer, run_dag: Any
) -> None:
    sandbox.inject("rate_limit", nth=(2, 5), retry_after=0.02)
    sandbox.inject("poison", text="poison")
    run = run_dag(bulk_dag(with_poison(20, 6)))
    assert counts(run.summary()) == {"created": 19, "rejected": 1}
    assert len(sandbox.tickets()) == 19


def test_a_part_whose_reply_is_lost_is_unknown_and_its_siblings_are_not(sandbox: SandboxServer, run_dag: Any) -> None:
    sandbox.inject("lost", commit=True, nth=2)
    sandbox.inject("poison", text="poison")
    run = run_dag(bulk_dag(with_poison(8, 7)))
    assert [result["status"] for result in run.summary()["results"]] == [
        *["unknown"] * 4,
        *["created"] * 3,
        "rejected",
    ]
    assert len(sandbox.tickets()) == 7
