"""The trigger that waits for jobs: what it asks, when it stops, and that it changes nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.bulk.register_store import RegisterStore
from airflow_provider_leen.hooks.leen import LeenHook
from airflow_provider_leen.sandbox.server import SandboxServer
from airflow_provider_leen.triggers.leen import LeenJobsTrigger, sign_lease
from tests.operators.dags import connection
from tests.support.recorded import peak

TICKET = {"name": "finding", "project_vendor_id": "SEC", "type": "Task"}
JOBS = "/v1/jobs"
CARRIED = {"place": {"lease": 1, "token": "t", "values": 3}, "values": {}, "may_send_again": True}
DONE, TIMEOUT = ({"status": status, "carried": CARRIED} for status in ("done", "timeout"))


@pytest.fixture(autouse=True)
def _connection(sandbox: SandboxServer, airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"timeout": 20, "max_retries": 0, "max_retry_wait": 0.01}
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra=extra))


@pytest.fixture
def client() -> Iterator[LeenClient]:
    with LeenHook() as hook:
        yield hook.get_conn()


Submit = Callable[[int], list[str]]


@pytest.fixture
def submit(client: LeenClient) -> Submit:
    """Submits so many jobs of one ticket each."""
    return lambda count: [client.submit_bulk_create([TICKET | {"name": f"finding {n}"}]) for n in range(count)]


def trigger_for(job_ids: list[str], *, deadline: float | None = None, poll_interval: float = 0.05) -> LeenJobsTrigger:
    return LeenJobsTrigger("leen_default", None, job_ids, poll_interval, deadline, CARRIED)


def events_of(trigger: LeenJobsTrigger) -> list[dict[str, Any]]:
    async def go() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(go())


def test_a_trigger_is_rebuilt_from_its_stored_values() -> None:
    trigger = LeenJobsTrigger(
        "other", "1ee00000-0000-4000-8000-000000000009", ("a", "b"), 2.5, 1_800_000_000.5, CARRIED
    )
    path, arguments = trigger.serialize()
    again = resolve_name(path)(**json.loads(json.dumps(arguments)))
    assert type(again) is LeenJobsTrigger
    assert again.serialize() == trigger.serialize()


def test_jobs_that_have_ended_are_polled_once_each_and_nothing_is_changed(
    sandbox: SandboxServer, submit: Submit
) -> None:
    jobs = submit(20)
    posts = sandbox.count("POST")
    assert events_of(trigger_for(jobs)) == [DONE]
    asked = [request.path for request in sandbox.requests[posts:]]
    assert sorted(asked) == sorted(f"{JOBS}/{job}" for job in jobs)
    assert {request.method for request in sandbox.requests[posts:]} == {"GET"}


def test_it_asks_for_eight_jobs_at_a_time(sandbox: SandboxServer, submit: Submit) -> None:
    jobs = submit(20)
    sandbox.inject("latency", method="GET", path=JOBS, until=lambda: sandbox.count("GET") >= 8)
    events_of(trigger_for(jobs))
    assert peak([request for request in sandbox.requests if request.method == "GET"]) == 8


def test_it_polls_only_those_that_have_not_ended(sandbox: SandboxServer, submit: Submit) -> None:
    ended = submit(3)
    sandbox.plan_jobs(polls=2)
    (slow,) = submit(1)
    assert events_of(trigger_for([*ended, slow])) == [DONE]
    assert all(sandbox.count("GET", f"{JOBS}/{job}") == 1 for job in ended)
    assert sandbox.count("GET", f"{JOBS}/{slow}") == 3
    assert len(sandbox.tickets()) == 4


def test_a_trigger_that_runs_twice_creates_nothing_twice(sandbox: SandboxServer, submit: Submit) -> None:
    jobs = submit(2)
    posts = sandbox.count("POST")

    async def both() -> None:
        path, arguments = trigger_for(jobs).serialize()
        twins = [resolve_name(path)(**arguments) for _ in range(2)]
        await asyncio.gather(*(anext(twin.run()) for twin in twins))

    asyncio.run(both())
    assert sandbox.count("POST") == posts
    assert len(sandbox.tickets()) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500, "body": "html"},
        {"kind": "status", "status": 408},
        {"kind": "rate_limit", "retry_after": 0.02},
        {"kind": "lost"},
        {"kind": "cut"},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
def test_trouble_that_passes_is_waited_out(sandbox: SandboxServer, submit: Submit, fault: dict[str, Any]) -> None:
    jobs = submit(2)
    sandbox.inject(**fault, method="GET", path=JOBS, times=5)
    assert events_of(trigger_for(jobs)) == [DONE]
    assert sandbox.count("GET", JOBS) == 7


def test_it_stays_away_for_as_long_as_leen_asks(sandbox: SandboxServer, submit: Submit) -> None:
    jobs = submit(1)
    sandbox.inject("rate_limit", method="GET", path=JOBS, retry_after=0.6, times=1)
    events_of(trigger_for(jobs))
    first, second = [request for request in sandbox.requests if request.method == "GET"]
    assert second.started - first.started >= 0.6


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, "error_response"), (403, "empty"), (404, "html"), (422, "empty"), (410, "error_response"), (304, "empty")],
)
def test_where_leen_refuses_to_be_asked_it_says_why_and_stops(
    sandbox: SandboxServer, submit: Submit, status: int, body: str
) -> None:
    jobs = submit(3)
    sandbox.inject("status", status=status, body=body, method="GET", path=JOBS)
    (event,) = events_of(trigger_for(jobs))
    assert (event["status"], event["carried"]) == ("error", CARRIED)
    assert f"HTTP {status}" in event["message"]
    assert sandbox.api_key not in event["message"]
    assert sandbox.count("GET", JOBS) == 3


def test_a_job_that_leen_no_longer_knows_is_not_waited_for(sandbox: SandboxServer, submit: Submit) -> None:
    assert events_of(trigger_for([*submit(1), "no-such-job"])) == [DONE]


def test_a_job_of_which_no_reply_can_be_read_is_not_waited_for(sandbox: SandboxServer, submit: Submit) -> None:
    sandbox.inject("garbage", method="GET", path="/v1/jobs")
    assert events_of(trigger_for(submit(1))) == [DONE]


def test_a_connection_that_cannot_be_used_is_an_error(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", connection(sandbox, extra={"timeout": "soon"}))
    (event,) = events_of(trigger_for(["job"]))
    assert event["status"] == "error"
    assert "Timeout (s) is 'soon'" in event["message"]


def test_a_job_that_never_ends_meets_the_deadline(sandbox: SandboxServer, submit: Submit) -> None:
    sandbox.plan_jobs(stall="before")
    deadline = time.time() + 0.5
    assert events_of(trigger_for(submit(1), deadline=deadline)) == [TIMEOUT]
    assert time.time() >= deadline


def test_an_unanswered_request_ends_at_the_deadline(sandbox: SandboxServer, submit: Submit) -> None:
    jobs = submit(1)
    sandbox.inject("stall", method="GET", path=JOBS)
    deadline = time.time() + 0.5
    assert events_of(trigger_for(jobs, deadline=deadline)) == [TIMEOUT]


def test_a_trigger_that_is_rebuilt_after_its_deadline_ends_at_once(sandbox: SandboxServer, submit: Submit) -> None:
    sandbox.plan_jobs(stall="before")
    assert events_of(trigger_for(submit(1), deadline=time.time() - 60, poll_interval=60)) == [TIMEOUT]


def test_no_connection_is_looked_up_in_the_event_loop(
    sandbox: SandboxServer, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = BaseHook.get_connection

    def find_beside_the_loop(conn_id: str) -> Any:
        # Below Airflow 3.3.2 this is how it is looked up, in another thread.
        assert threading.current_thread() is not threading.main_thread(), "looked up without await"
        return find(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(find_beside_the_loop))
    assert events_of(trigger_for(submit(1))) == [DONE]


def test_a_poll_waits_for_its_interval(sandbox: SandboxServer, submit: Submit) -> None:
    sandbox.plan_jobs(polls=1)
    jobs = submit(1)
    events_of(trigger_for(jobs, poll_interval=0.5))
    first, second = [request for request in sandbox.requests if request.method == "GET"]
    assert second.started - first.started >= 0.5


# A register


def test_it_keeps_the_lease_of_a_register_signed_and_writes_nothing_else(tmp_path: Path) -> None:
    store = RegisterStore(tmp_path)
    lease = {"token": "a", "values": None, "signed": 1.0}
    store.create("lease/3", lease)

    async def go() -> None:
        carried = {"place": {"lease": 3, "token": "a", "values": 5}}
        signing = asyncio.create_task(
            LeenJobsTrigger("leen_default", None, [], 0.01, None, carried, str(tmp_path))._sign()
        )
        while store.get("lease/3") == lease:
            await asyncio.sleep(0.01)
        signing.cancel()

    asyncio.run(go())
    signed = store.get("lease/3")
    assert signed is not None
    assert signed | {"signed": 1.0} == lease
    assert signed["signed"] > 1_000_000
    store.delete("lease/3")
    sign_lease(str(tmp_path), 3, "a")
    sign_lease("unknown-store://bucket/r", 3, "a")
    assert store.names("lease") == [], "a lease that is gone stays gone"
