from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import Post, ticket


@pytest.fixture
def control(sandbox: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{sandbox.url}/_sandbox", headers=CONTROL_HEADERS, trust_env=False) as client:
        yield client


def test_another_process_can_make_it_misbehave_and_end_that(control: httpx.Client, post: Post) -> None:
    added = control.post("/faults", json={"kind": "status", "status": 503, "times": 5})
    assert added.json() == [{"kind": "status", "status": 503, "times": 5, "seen": 0, "struck": 0}]
    assert post(ticket()).status_code == 503
    assert control.get("/faults").json()[0]["struck"] == 1
    assert control.delete("/faults").json() == []
    assert post(ticket()).status_code == 200


def test_a_rule_that_makes_no_sense_is_refused_with_a_reason(control: httpx.Client) -> None:
    reply = control.post("/faults", json={"kind": "poison"})
    assert reply.status_code == 422
    assert "text belongs to the kind poison" in reply.json()["message"]


def test_everything_is_counted(control: httpx.Client, post: Post, client: httpx.Client) -> None:
    post(ticket(identifier="a", name="x"), ticket(identifier="a"), ticket(identifier="b", project_vendor_id="APP"))
    client.get("/itsm/tickets/by-identifier/a%2Fb")
    client.get("/itsm/tickets/00000000-0000-4000-8000-000000000001")
    control.post("/faults", json={"kind": "lost"})
    with pytest.raises(httpx.RemoteProtocolError):
        post(ticket())
    assert control.get("/stats").json() == {
        "requests": {
            "POST /v1/itsm/tickets/bulk/sync": 2,
            "GET /v1/itsm/tickets/by-identifier/{identifier}": 1,
            "GET /v1/itsm/tickets/{ticket_id}": 1,
        },
        "peak_in_flight": 1,
        "faults": {"lost": 1},
        "tickets": 3,
        "tickets_by_project": {"APP": 1, "SEC": 2},
        "duplicates": {"by_identifier": 1, "by_content": 0},
    }
    assert control.get("/duplicates").json()["by_identifier"][0]["vendor_ticket_ids"] == ["SEC-101", "SEC-102"]


def test_requests_and_tickets_can_be_read(control: httpx.Client, post: Post, sandbox: SandboxServer) -> None:
    post(ticket(identifier="a"))
    (request,) = control.get("/requests").json()
    assert (request["path"], request["status"]) == ("/v1/itsm/tickets/bulk/sync", 200)
    assert request["headers"]["x-api-key"] == "***"
    assert control.get("/tickets").json() == sandbox.tickets()
    assert control.get("/tickets", params={"connection_id": sandbox.connection_id}).json() == sandbox.tickets()
    assert control.get("/tickets", params={"connection_id": "other"}).json() == []


def test_a_sync_and_a_reset_can_be_asked_for(control: httpx.Client, post: Post, sandbox: SandboxServer) -> None:
    post(ticket())
    assert control.post("/sync").json() == {"synced": 1}
    assert sandbox.tickets()[0]["in_leen"]
    control.post("/faults", json={"kind": "lost"})
    control.post("/reset")
    assert (sandbox.tickets(), sandbox.requests, control.get("/faults").json()) == ([], [], [])
