"""The client's calls on jobs and findings: what goes out, what comes back, what is never sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import (
    LeenConfigError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenResponseError,
    LeenServerError,
)
from airflow_provider_leen.api.jobs import results_of_create
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.sandbox.findings import findings
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.api.test_client import TICKET, settings_of

BULK, UPDATE = "/v1/itsm/tickets/bulk", "/v1/itsm/tickets/bulk/update"
ID = "aaaaaaaa-0000-4000-8000-000000000001"


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[LeenClient]:
    with LeenClient(settings_of(sandbox)) as client:
        yield client


def sent(sandbox: SandboxServer, path: str = BULK) -> int:
    return sandbox.count("POST", path)


Submit = Callable[[LeenClient], str]
SUBMISSIONS = pytest.mark.parametrize(
    ("submit", "path", "names"),
    [
        (lambda c: c.submit_bulk_create([TICKET | {"identifier": "one"}, TICKET]), BULK, ["one", TICKET["name"]]),
        (lambda c: c.submit_bulk_update([ID], {"status": "CLOSED"}), UPDATE, [ID]),
    ],
    ids=["create", "update"],
)


def test_a_create_job_creates_its_tickets_and_reports_each(client: LeenClient, sandbox: SandboxServer) -> None:
    job_id = client.submit_bulk_create([TICKET | {"identifier": "one"}, TICKET | {"priority": "urgent"}])
    job = client.get_job(job_id)
    assert job.status == "FAILED"
    assert [claim.status for claim in results_of_create(job, ["one", None])] == ["succeeded", "rejected"]
    assert [held["identifier"] for held in sandbox.tickets()] == ["one"]


def test_an_update_job_changes_its_tickets(client: LeenClient, sandbox: SandboxServer) -> None:
    ticket_id = client.create_ticket(TICKET).id
    job = client.get_job(client.submit_bulk_update([ticket_id], {"status": "CLOSED", "priority": "LOW"}))
    assert (job.status, job.failure_reason) == ("SUCCESS", None)
    assert client.get_ticket(ticket_id).status == "CLOSED"
    [request] = [request for request in sandbox.requests if request.path == UPDATE]
    assert request.body == {"ticket_ids": [ticket_id], "updates": {"status": "CLOSED", "priority": "LOW"}}


def test_a_job_that_leen_does_not_know_is_not_found(client: LeenClient) -> None:
    with pytest.raises(LeenNotFoundError, match="no such job"):
        client.get_job(ID)


ACCEPTED: dict[str, Any] = {"kind": "status", "status": 202}
UNUSABLE = [
    ({"kind": "lost"}, "its reply was lost"),
    ({"kind": "garbage"}, "the reply is not JSON"),
    *(
        (ACCEPTED | {"content": {"job_id": job_id}}, "names no job; the job may still run")
        for job_id in (None, "", 7, ["j"], ".", "..", "j" * 256)
    ),
    *(
        (ACCEPTED | {"content": {"job_id": "j-1"} | besides}, "as the job j-1, but the reply also reports an error")
        for besides in ({"error": "the queue is full"}, {"success": False})
    ),
]


@SUBMISSIONS
@pytest.mark.parametrize(("fault", "said"), UNUSABLE, ids=range(len(UNUSABLE)))
def test_a_submission_whose_job_cant_be_asked_for_is_an_unknown_outcome_and_not_sent_again(
    client: LeenClient,
    sandbox: SandboxServer,
    submit: Submit,
    path: str,
    names: list[str],
    fault: dict[str, Any],
    said: str,
) -> None:
    sandbox.inject(**fault, path=path, commit=True)
    with pytest.raises(LeenOutcomeUnknownError, match=said) as caught:
        submit(client)
    assert caught.value.identifiers == names
    assert sent(sandbox, path) == 1


@SUBMISSIONS
def test_a_submission_goes_out_again_only_when_nothing_was_done(
    client: LeenClient, sandbox: SandboxServer, submit: Submit, path: str, names: list[str]
) -> None:
    sandbox.inject("rate_limit", path=path, times=2)
    assert client.get_job(submit(client)).status
    assert sent(sandbox, path) == 3
    sandbox.inject("status", status=503, path=path)
    with pytest.raises(LeenServerError):
        submit(client)
    assert sent(sandbox, path) == 4


@pytest.mark.parametrize(
    ("submit", "said"),
    [
        (lambda c: c.submit_bulk_create([]), "1 to 50 tickets, not 0"),
        (lambda c: c.submit_bulk_create([TICKET] * 51), "1 to 50 tickets, not 51"),
        (lambda c: c.submit_bulk_update([], {}), "1 to 50 ticket ids, not 0"),
        (lambda c: c.submit_bulk_update([ID] * 51, {}), "1 to 50 ticket ids, not 51"),
        (lambda c: c.submit_bulk_update(ID, {}), "not a text"),
    ],
)
def test_a_job_takes_one_to_fifty_tickets(
    client: LeenClient, sandbox: SandboxServer, submit: Submit, said: str
) -> None:
    with pytest.raises(LeenConfigError, match=said):
        submit(client)
    assert sandbox.requests == []


@pytest.mark.parametrize("content", [{}, {"status": None}, [], {"state": "RUNNING"}])
def test_a_reply_without_a_status_is_no_job(content: Any) -> None:
    settings = LeenSettings(base_url="https://leen.test/v1", api_key="k", connection_id="c", max_retries=0)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=content))
    with LeenClient(settings, transport=transport) as client, pytest.raises(LeenResponseError, match="not a job"):
        client.get_job("1")


# Findings


@pytest.fixture
def scanner(sandbox: SandboxServer) -> Iterator[LeenClient]:
    settings = settings_of(sandbox)
    with LeenClient(replace(settings, connection_id=sandbox.scanner_connection_id)) as client:
        yield client


def test_findings_come_page_by_page(scanner: LeenClient, sandbox: SandboxServer) -> None:
    read = list(scanner.iter_vulnerability_findings(limit=100))
    assert [finding.id for finding in read] == [finding.record["id"] for finding in findings()]
    assert sandbox.count("GET", "/v2/vulnerability_findings") == 4


def test_a_finding_says_whether_it_has_a_ticket(scanner: LeenClient) -> None:
    read = list(scanner.iter_vulnerability_findings(severity=["CRITICAL", "HIGH"], state=("OPEN", "REOPENED")))
    assert {finding.has_ticket for finding in read} == {True, False}
    assert all(finding.has_ticket == (finding.ticket is not None) for finding in read)
    assert {finding.severity for finding in read} == {"CRITICAL", "HIGH"}
    assert {finding.state for finding in read} == {"OPEN", "REOPENED"}


SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({"severity": "CRITICAL,HIGH"}, {"severity": ["CRITICAL,HIGH"]}),
        ({"state": ["OPEN", "REOPENED"]}, {"state": ["OPEN,REOPENED"]}),
        ({"has_fix": True}, {"has_fix": ["true"]}),
        ({"first_seen_since": SINCE}, {"first_seen_since": ["2026-01-01T00:00:00+00:00"]}),
        ({"ids": [ID], "resourceId": None}, {"ids": [ID]}),
        ({}, {}),
    ],
)
def test_filters_are_written_as_leen_reads_them(
    scanner: LeenClient, sandbox: SandboxServer, filters: dict[str, Any], query: dict[str, list[str]]
) -> None:
    list(scanner.iter_vulnerability_findings(**filters, limit=1000))
    [request] = sandbox.requests
    assert parse_qs(request.query) == query | {"limit": ["1000"]}


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"severities": "HIGH"}, "can't be filtered by severities: use severity, state"),
        ({"severity": []}, "severity is an empty list: leave it out to get every finding"),
        ({"ids": [ID] * 101}, "at most 100 ids, not 101"),
    ],
)
def test_a_filter_without_effect_is_refused(
    client: LeenClient, sandbox: SandboxServer, filters: dict[str, Any], said: str
) -> None:
    with pytest.raises(LeenConfigError, match=said):
        client.iter_vulnerability_findings(**filters)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("base_url", "asked"),
    [
        ("https://api.leen.dev/v1", "https://api.leen.dev/v2/vulnerability_findings"),
        ("https://gateway.test/v1/leen/v1", "https://gateway.test/v1/leen/v2/vulnerability_findings"),
        ("https://gateway.test/v1/leen", "https://gateway.test/v2/vulnerability_findings"),
    ],
)
def test_v2_lives_beside_v1(base_url: str, asked: str) -> None:
    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        return httpx.Response(200, json={"items": [{"id": "1", "novel": True}], "next_cursor": None})

    settings = LeenSettings(base_url=base_url, api_key="k", connection_id="c")

    async def read() -> list[str]:
        async with AsyncLeenClient(settings, transport=httpx.MockTransport(answer)) as client:
            return [finding.id async for finding in client.iter_vulnerability_findings()]

    assert asyncio.run(read()) == ["1"]
    assert urls == [asked]
