from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS
from airflow_provider_leen.sandbox.jira import PROJECTS, USERS
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import ticket

BULK = "/itsm/tickets/bulk"
UPDATE = "/itsm/tickets/bulk/update"
NOBODY = "00000000-0000-4000-8000-000000000000"


def submit(client: httpx.Client, *tickets: dict[str, Any]) -> str:
    reply = client.post(BULK, json={"tickets": tickets})
    assert reply.status_code == 202
    assert list(reply.json()) == ["job_id"]
    return str(reply.json()["job_id"])


def update(client: httpx.Client, ticket_ids: list[str], **updates: Any) -> dict[str, Any]:
    reply = client.post(UPDATE, json={"ticket_ids": ticket_ids, "updates": updates})
    assert reply.status_code == 202
    return job_of(client, reply.json()["job_id"])


def job_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
    return job


def made(client: httpx.Client, count: int) -> list[str]:
    return [client.post("/itsm/tickets", json=ticket(identifier=f"t{n}")).json()["id"] for n in range(count)]


def test_a_job_goes_from_queued_over_running_to_success_and_creates_its_tickets_at_the_end(
    client: httpx.Client, sandbox: SandboxServer
) -> None:
    sandbox.plan_jobs(seconds=0.2)
    job_id = submit(client, ticket(), ticket())
    seen: list[str] = []
    while "SUCCESS" not in seen:
        held = len(sandbox.tickets())
        job = job_of(client, job_id)
        seen += [job["status"]] if job["status"] not in seen else []
        assert held == 0 or job["status"] == "SUCCESS"
    # On a slow machine, nobody may have looked at the right moment.
    assert seen == [status for status in ("QUEUED", "RUNNING", "SUCCESS") if status in seen]
    assert job == {"id": job_id, "status": "SUCCESS", "failure_reason": None}
    assert len(sandbox.tickets()) == 2


def test_a_job_stores_tickets_made_with_vendor_ids_in_leen(client: httpx.Client) -> None:
    submit(client, ticket(identifier="by-key"))
    found = client.get("/itsm/tickets/by-identifier/by-key").json()
    assert (found["identifier"], found["url"]) == ("by-key", "https://jira.example.com/browse/SEC-101")


@pytest.mark.parametrize("reason", ["object", "json_text"])
def test_a_partial_success_ends_as_failed_with_a_reason_that_reports_each_ticket(
    client: httpx.Client, sandbox: SandboxServer, reason: str
) -> None:
    sandbox.plan_jobs(reason=reason)
    job = job_of(client, submit(client, ticket(identifier="good"), ticket(identifier="bad", priority="urgent")))
    assert job["status"] == "FAILED"
    told = job["failure_reason"] if reason == "object" else json.loads(job["failure_reason"])
    error = told["results"][1].pop("error")
    assert error.startswith("There is no priority 'urgent'")
    assert told == {
        "total": 2,
        "succeeded": 1,
        "failed": 1,
        "results": [
            {"success": True, "error": None, "request_index": 0, "identifier": "good"},
            {"success": False, "request_index": 1, "identifier": "bad"},
        ],
    }
    assert [held["identifier"] for held in sandbox.tickets()] == ["good"]


@pytest.mark.parametrize(
    ("plan", "said", "held"),
    [({"reason": "plain_text"}, "1 of 3 tickets failed", 2), ({"crash_after": 1}, "The worker was lost", 1)],
)
def test_a_reason_may_be_plain_text(
    client: httpx.Client, sandbox: SandboxServer, plan: dict[str, Any], said: str, held: int
) -> None:
    sandbox.plan_jobs(**plan)
    job = job_of(client, submit(client, ticket(), ticket(), ticket(type="Wish")))
    assert job["status"] == "FAILED"
    assert job["failure_reason"].startswith(said)
    assert len(sandbox.tickets()) == held


@pytest.mark.parametrize(("stall", "held"), [("before", 0), ("after", 1)])
def test_a_job_can_run_for_ever(client: httpx.Client, sandbox: SandboxServer, stall: str, held: int) -> None:
    sandbox.plan_jobs(stall=stall)
    assert job_of(client, submit(client, ticket()))["status"] == "RUNNING"
    assert len(sandbox.tickets()) == held


def test_a_job_can_take_until_it_was_asked_for_often_enough(client: httpx.Client, sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(polls=2)
    job_id = submit(client, ticket())
    assert [job_of(client, job_id)["status"] for _ in range(4)] == ["QUEUED", "QUEUED", "SUCCESS", "SUCCESS"]
    assert len(sandbox.tickets()) == 1


def test_a_job_that_is_forgotten_creates_no_tickets(client: httpx.Client, sandbox: SandboxServer) -> None:
    sandbox.plan_jobs(seconds=0.05)
    forgotten = submit(client, ticket(name="forgotten"))
    sandbox.reset()
    sandbox.plan_jobs(seconds=0.1)
    job_id = submit(client, ticket(name="kept"))
    while job_of(client, job_id)["status"] != "SUCCESS":
        time.sleep(0.01)
    assert [held["name"] for held in sandbox.tickets()] == ["kept"]
    assert client.get(f"/jobs/{forgotten}").status_code == 404


def test_another_connection_does_not_see_a_job(client: httpx.Client) -> None:
    job_id = submit(client, ticket())
    client.headers["X-CONNECTION-ID"] = NOBODY
    reply = client.get(f"/jobs/{job_id}")
    assert (reply.status_code, reply.json()["message"]) == (404, "Leen knows no such job.")


def test_an_update_changes_all_tickets_in_the_same_way(client: httpx.Client) -> None:
    ids = made(client, 2)
    job = update(client, ids, status="IN_PROGRESS", priority="LOW", assigned_user_id=USERS[0].id)
    assert job["status"] == "SUCCESS"
    for ticket_id in ids:
        changed = client.get(f"/itsm/tickets/{ticket_id}").json()
        assert (changed["status"], changed["priority"]) == ("IN_PROGRESS", "LOW")
        assert changed["assigned_user_id"] == USERS[0].id


def test_an_update_reports_which_tickets_it_could_not_change(client: httpx.Client) -> None:
    [known] = made(client, 1)
    told = update(client, [NOBODY, known], status="CLOSED")["failure_reason"]
    assert (told["total"], told["succeeded"], told["failed"]) == (2, 1, 1)
    assert told["results"] == [
        {"success": False, "request_index": 0, "ticket_id": NOBODY, "error": "Leen knows no such ticket."},
        {"success": True, "request_index": 1, "ticket_id": known, "error": None},
    ]
    assert client.get(f"/itsm/tickets/{known}").json()["status"] == "CLOSED"


def test_a_status_that_cant_be_set_keeps_the_other_fields_as_they_are_but_not_the_other_way_round(
    client: httpx.Client,
) -> None:
    [known] = made(client, 1)
    assert update(client, [known], status="GONE", priority="LOW")["status"] == "FAILED"
    assert client.get(f"/itsm/tickets/{known}").json()["priority"] == "MEDIUM"
    assert update(client, [known], status="CLOSED", name="")["status"] == "FAILED"
    assert client.get(f"/itsm/tickets/{known}").json()["status"] == "CLOSED"


@pytest.mark.parametrize(
    "body",
    [
        {"ticket_ids": [], "updates": {"status": "CLOSED"}},
        {"ticket_ids": [NOBODY] * 51, "updates": {"status": "CLOSED"}},
        {"ticket_ids": ["SEC-101"], "updates": {"status": "CLOSED"}},
        {"ticket_ids": [NOBODY], "updates": {"project_id": PROJECTS[0].id}},
        {"ticket_ids": [NOBODY]},
    ],
)
def test_an_update_that_is_not_well_formed_is_refused_whole(client: httpx.Client, body: Any) -> None:
    assert client.post(UPDATE, json=body).status_code == 422


def test_another_process_can_say_how_jobs_run(client: httpx.Client, sandbox: SandboxServer) -> None:
    with httpx.Client(base_url=f"{sandbox.url}/_sandbox", headers=CONTROL_HEADERS, trust_env=False) as control:
        assert control.get("/jobs").json()["stall"] is None
        assert control.post("/jobs", json={"stall": "before"}).json()["stall"] == "before"
        assert control.post("/jobs", json={"stall": "sometimes"}).status_code == 422
    assert job_of(client, submit(client, ticket()))["status"] == "RUNNING"
