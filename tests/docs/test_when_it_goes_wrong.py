"""The pages' Dags if something goes wrong: they wait, retry, fail and report as the page says."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_leen.api.errors import (
    LeenOutcomeUnknownError,
    LeenRateLimitError,
    LeenThresholdError,
)
from airflow_provider_leen.links.leen import LeenTicketsLink
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.triggers.leen import LeenJobsTrigger
from airflow_provider_leen.triggers.sync import LeenTicketSyncTrigger
from tests.docs.pages import DOCS, load_dag, text_of_dag
from tests.operators.dags import connection
from tests.support.airflow_run import AirflowRun
from tests.support.waiting import until

SUBMISSION, JOBS = "/v1/itsm/tickets/bulk", "/v1/jobs/"
LIST = "/v1/itsm/tickets"

RunPage = Callable[..., AirflowRun]


@pytest.fixture
def run_page(run_dag: Callable[..., AirflowRun], tmp_path: Path) -> RunPage:
    """Runs a Dag of the pages, with other values for what is named: ``run_page("leen_x", gate={"timeout": 1})``."""

    def run_page(name: str, **settings: dict[str, Any]) -> AirflowRun:
        dag = load_dag(text_of_dag(name), tmp_path)
        for task_id, attributes in settings.items():
            for attribute, value in attributes.items():
                assert hasattr(dag.get_task(task_id), attribute)
                setattr(dag.get_task(task_id), attribute, value)
        return run_dag(dag)

    return run_page


@pytest.fixture
def connect(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets extras of the connection: ``connect(max_retries=0)``."""

    def connect(**extra: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra=extra))

    return connect


def names(sandbox: SandboxServer) -> list[str]:
    return [ticket["name"] for ticket in sandbox.tickets()]


def asked(sandbox: SandboxServer, path: str) -> int:
    return sum(request.method == "GET" and request.path.startswith(path) for request in sandbox.requests)


# The gate


def refuse(sandbox: SandboxServer, *numbers: int) -> None:
    """Refuse the tickets whose names begin like these."""
    for number in numbers:
        sandbox.inject("poison", text=f"Rotate key {number}", status=422, body="located")


def test_the_gate_fails_the_run_when_a_limit_is_passed_and_the_other_tickets_exist(
    sandbox: SandboxServer, run_page: RunPage
) -> None:
    refuse(sandbox, 7, 8, 9)
    run = run_page("leen_gate")
    assert run.states == {"find": "success", "create_tickets": "success", "gate": "failed"}
    (error,) = run.exceptions
    assert type(error) is AirflowFailException
    assert type(error.__cause__) is LeenThresholdError
    assert "3 of 20 tickets failed" in str(error)
    assert names(sandbox) == [f"Rotate key {number}" for number in range(20) if number not in (7, 8, 9)]


def test_below_its_limits_the_gate_succeeds_and_returns_the_counts(sandbox: SandboxServer, run_page: RunPage) -> None:
    refuse(sandbox, 7, 8)
    run = run_page("leen_gate")
    assert run.states["gate"] == "success"
    assert (run.xcom("gate")["total"], run.xcom("gate")["failed"]) == (20, 2)


def test_the_watching_gate_fails_while_the_operator_waits_for_its_retry(
    sandbox: SandboxServer, run_page: RunPage, connect: Callable[..., None]
) -> None:
    connect(max_retry_wait=0)
    refuse(sandbox, 4)  # and 40 to 49
    # After a refused call, what is left of its batch and another one, Leen asks for more patience than a try has.
    sandbox.inject("rate_limit", retry_after=30, nth=4)
    run = run_page(
        "leen_watching_gate",
        create_tickets={"retry_delay": timedelta(seconds=10)},
        gate={"poke_interval": 0.2},
    )
    assert run.states == {"find": "success", "create_tickets": "success", "gate": "failed"}
    first, second = run.exceptions
    assert type(first) is LeenRateLimitError
    assert type(second.__cause__) is LeenThresholdError
    assert "still running" in str(second)
    assert "11 of 120 tickets failed" in str(second)
    assert len(sandbox.tickets()) == 109
    assert not any(sandbox.duplicates().values())


# Retries


def test_the_policy_waits_as_long_as_leen_asked_and_then_creates_each_ticket_once(
    sandbox: SandboxServer, run_page: RunPage, connect: Callable[..., None]
) -> None:
    connect(max_retry_wait=1)
    sandbox.inject("rate_limit", retry_after=2, times=1)
    # The task's own delay is five minutes: only the policy lets it come back so soon.
    run = run_page("leen_patient")
    assert run.states == {"create_tickets": "success"}
    assert [type(error) for error in run.exceptions] == [LeenRateLimitError]
    refused, accepted = [request for request in sandbox.requests if request.method == "POST"]
    assert accepted.started - (refused.finished or 0) >= 2
    assert len(sandbox.tickets()) == 1


def test_the_policy_fails_a_task_at_once_where_a_retry_can_not_know_more(
    sandbox: SandboxServer, run_page: RunPage
) -> None:
    sandbox.inject("lost")
    run = run_page("leen_patient", create_tickets={"embed_identifier": False})
    assert run.states == {"create_tickets": "failed"}
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError]
    assert sandbox.count("POST") == 1


# Telling people


def test_a_gate_that_fails_the_run_creates_one_ticket_about_the_run(sandbox: SandboxServer, run_page: RunPage) -> None:
    sandbox.inject("poison", text="unused admin", status=422, body="located")
    run = run_page("leen_failed_run")
    assert run.states == {"create_tickets": "success", "gate": "failed"}
    *_, told = sandbox.tickets()
    assert names(sandbox) == ["Rotate the deploy key", "The nightly scan did not pass"]
    assert told["description"].startswith(f"Run {run.dag_run.run_id} of leen_failed_run failed.")


def test_while_that_ticket_is_open_the_next_run_makes_no_other(sandbox: SandboxServer, run_page: RunPage) -> None:
    sandbox.inject("status", status=401)
    for _ in range(2):
        assert run_page("leen_failed_run").states["create_tickets"] == "failed"
    assert names(sandbox) == ["The nightly scan did not pass"]


# Waiting


def sync_when_asked_in_vain(sandbox: SandboxServer) -> None:
    until(lambda: any(request.path == LIST and request.finished for request in sandbox.requests))
    sandbox.sync()


@pytest.mark.parametrize("name", ["leen_wait_for_sync", "leen_wait_in_the_triggerer"])
def test_the_sync_is_waited_for_and_its_ids_are_handed_on(name: str, sandbox: SandboxServer, run_page: RunPage) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(sync_when_asked_in_vain, sandbox)
        run = run_page(name, synced={"poke_interval": 0.2})
    assert set(run.states.values()) == {"success"}
    assert [result["ticket_id"] for result in run.summary("create_tickets")["results"]] == [None, None]
    held = {ticket["ticket_id"] for ticket in sandbox.tickets()}
    assert {result["ticket_id"] for result in run.summary("synced")["results"]} == held
    assert asked(sandbox, LIST) >= 2
    if name == "leen_wait_for_sync":
        assert {ticket["status"] for ticket in sandbox.tickets()} == {"IN_PROGRESS"}


@pytest.mark.parametrize("name", ["leen_wait_for_sync", "leen_wait_in_the_triggerer"])
def test_a_sync_that_never_comes_fails_the_sensor_and_the_tickets_are_named(
    name: str, sandbox: SandboxServer, run_page: RunPage
) -> None:
    run = run_page(name, synced={"poke_interval": 0.1, "timeout": 0.5})
    assert run.states["synced"] == "failed"
    assert [type(error) for error in run.exceptions] == [AirflowSensorTimeout]
    assert len(sandbox.tickets()) == 2


def test_jobs_are_polled_until_they_have_ended_and_each_ticket_is_created_once(
    sandbox: SandboxServer, run_page: RunPage
) -> None:
    sandbox.plan_jobs(polls=2)
    run = run_page("leen_deferrable", create_tickets={"poll_interval": 0.2})
    assert run.states == {"find": "success", "create_tickets": "success", "gate": "success"}
    assert sandbox.count("POST") == sandbox.count("POST", SUBMISSION) == 3
    assert asked(sandbox, JOBS) == 3 * (3 + 1), "the trigger until it has ended, and the task once"
    assert len(sandbox.tickets()) == run.xcom("gate")["created"] == 120


@pytest.mark.parametrize(
    ("page", "trigger"), [("deferrable.md", LeenJobsTrigger), ("sync-sensor.md", LeenTicketSyncTrigger)]
)
def test_the_table_of_what_a_trigger_carries_names_all_of_it(page: str, trigger: type) -> None:
    [table] = re.findall(r"carries \| that is \|\n\|---\|---\|\n((?:\|.*\n)+)", (DOCS / page).read_text())
    cells = [row.split("|")[1] for row in table.splitlines()]
    assert re.findall(r"`(\w+)`", " ".join(cells)) == list(inspect.signature(trigger).parameters)


# The rest


def test_the_task_has_a_link_to_its_tickets(
    sandbox: SandboxServer, run_page: RunPage, connect: Callable[..., None]
) -> None:
    connect(search_url="https://acme.atlassian.net/issues/?jql=key in ({vendor_ticket_ids})")
    run = run_page("leen_from_a_list")
    link = run.xcom("create_tickets", LeenTicketsLink.xcom_key)
    assert link == "https://acme.atlassian.net/issues/?jql=key%20in%20(SEC-101%2CSEC-102)"


def test_a_very_large_list_is_in_files_and_not_in_xcom(
    sandbox: SandboxServer, run_page: RunPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_LEEN_FOLDER", str(tmp_path))
    sandbox.inject("poison", text="Rotate key 299", status=422, body="located")
    run = run_page("leen_very_large")
    assert run.states["gate"] == "failed"
    summary = run.xcom("create_tickets")
    assert (summary["created"], summary["rejected"], summary["results"]) == (299, 1, [])
    results = Path(summary["results_path"]).read_text().splitlines()
    assert [json.loads(line)["request_index"] for line in results] == list(range(300))
    failed = Path(run.xcom("create_tickets", "failed_tickets"))
    assert json.loads(failed.read_text()) == {"name": "Rotate key 299"}
    assert failed.name.endswith(".failed.jsonl")


def test_failed_rows_are_fixed_and_sent_by_the_second_operator(sandbox: SandboxServer, run_page: RunPage) -> None:
    run = run_page("leen_second_attempt")
    assert run.xcom("gate")["total"] == 1
    assert [result["status"] for result in run.summary("create_tickets")["results"]] == ["created", "rejected"]
    assert [held["type"] for held in sandbox.tickets()] == ["Task", "Bug"]


def test_each_customer_gets_the_tickets_that_are_its_own(sandbox: SandboxServer, run_page: RunPage) -> None:
    assert run_page("leen_customers").xcom("gate")["created"] == 3
    held = {
        customer: [ticket["name"] for ticket in sandbox.tickets(connection_id=customer)]
        for customer in ("0b7c9a52-6c1e-4f0d-9f63-5d2f6f0f4a01", "3f9d1c84-2a57-4c3b-8e0a-9b1d7c6e5f02")
    }
    assert list(held.values()) == [["Update libxml2 in billing", "Update libxml2 in login"], ["Update libxml2 in shop"]]


def test_the_async_hook_s_dag_creates_what_is_missing_and_nothing_twice(
    sandbox: SandboxServer, run_page: RunPage
) -> None:
    for _ in range(2):
        found = run_page("leen_async_hook").xcom("certificates")
        assert sorted(found) == sorted(ticket["ticket_id"] for ticket in sandbox.tickets())
    assert len(sandbox.tickets()) == 2


@pytest.mark.parametrize("name", ["leen_hook", "leen_client"])
def test_a_lost_reply_fails_a_task_with_a_hook_and_nothing_is_sent_again(
    name: str, sandbox: SandboxServer, run_page: RunPage
) -> None:
    sandbox.inject("lost", path=LIST, commit=True)
    run = run_page(name)
    assert [type(error) for error in run.exceptions] == [LeenOutcomeUnknownError]
    assert sandbox.count("POST") == len(sandbox.tickets()) == 1
