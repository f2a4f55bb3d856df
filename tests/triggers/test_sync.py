"""The trigger that waits for a sync, in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.triggers.sync import LeenTicketSyncTrigger

TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}


def trigger(*keys: str, identifiers: Sequence[str] = (), seconds: float = 20.0) -> LeenTicketSyncTrigger:
    now = time.time()
    return LeenTicketSyncTrigger("leen_default", None, keys, identifiers, now, 0.01, now + seconds)


def events_of(trigger: LeenTicketSyncTrigger) -> list[Any]:
    async def run() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(run())


def test_it_can_be_made_again_from_what_it_serializes_to() -> None:
    first = trigger("SEC-1", "SEC-2", identifiers=["scan-3"])
    path, arguments = first.serialize()
    module, _, name = path.rpartition(".")
    assert (module, name) == (LeenTicketSyncTrigger.__module__, LeenTicketSyncTrigger.__name__)
    assert LeenTicketSyncTrigger(**arguments).serialize() == (path, arguments)


def test_it_ends_when_leen_knows_every_ticket(airflow_db: None, sandbox: SandboxServer) -> None:
    with LeenHook() as hook:
        hook.create_ticket(TICKET)
        hook.create_ticket(TICKET)
    waiting = trigger("SEC-101", "SEC-102")
    assert events_of(waiting) == [{"status": "done", "deadline": waiting.deadline}]
    assert {request.method for request in sandbox.requests} == {"POST", "GET"}
    assert sandbox.count("POST") == 2


def test_it_looks_up_by_their_identifiers_what_has_no_id_of_the_tracker(
    airflow_db: None, sandbox: SandboxServer
) -> None:
    with LeenHook() as hook:
        hook.create_ticket(TICKET | {"identifier": "scan-1"})
    sandbox.inject("status", status=503, path="/v1/itsm/tickets/by-identifier", method="GET", times=5)
    assert events_of(trigger(identifiers=["scan-1"]))[0]["status"] == "done"
    assert sandbox.count("GET", "/v1/itsm/tickets/by-identifier") == 6
    assert sandbox.count("GET") == 6, "the list is not read for it"


def test_a_leen_that_does_not_answer_can_not_hold_it_over_its_deadline(
    airflow_db: None, sandbox: SandboxServer
) -> None:
    sandbox.inject("stall", path="/v1/itsm/tickets", method="GET", seconds=3600)
    waiting = trigger("SEC-101", seconds=0.3)
    assert events_of(waiting) == [{"status": "timeout", "deadline": waiting.deadline}]
    assert sandbox.count("GET", "/v1/itsm/tickets") <= 1


def test_its_deadline_ends_it(airflow_db: None, sandbox: SandboxServer) -> None:
    waiting = trigger("SEC-101", seconds=0.05)
    assert events_of(waiting) == [{"status": "timeout", "deadline": waiting.deadline}]


def test_an_outage_does_not_end_it(airflow_db: None, sandbox: SandboxServer) -> None:
    with LeenHook() as hook:
        hook.create_ticket(TICKET)
    sandbox.inject("rate_limit", path="/v1/itsm/tickets", method="GET", times=2, retry_after=900)
    assert events_of(trigger("SEC-101"))[0]["status"] == "done"


def test_a_refusal_ends_it_and_says_why(airflow_db: None, sandbox: SandboxServer) -> None:
    sandbox.inject("status", status=403, path="/v1/itsm/tickets", method="GET")
    [event] = events_of(trigger("SEC-101"))
    assert event["status"] == "error"
    assert "HTTP 403" in event["message"]
    assert sandbox.api_key not in event["message"]
