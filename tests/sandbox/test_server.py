from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from airflow_provider_leen.sandbox.faults import FaultRule
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import BULK, Post, ticket
from tests.support.waiting import until


def test_the_connection_for_airflow_leads_to_the_sandbox(sandbox: SandboxServer) -> None:
    connection = json.loads(sandbox.airflow_conn)
    headers = {"X-CONNECTION-ID": connection["login"], "X-API-KEY": connection["password"]}
    assert connection["conn_type"] == "leen"
    assert httpx.get(f"{connection['host']}/itsm/projects", headers=headers, trust_env=False).status_code == 200


def test_tickets_outlive_the_sandbox_in_a_file(tmp_path: Path) -> None:
    database = tmp_path / "tickets.db"
    keys = []
    for _ in range(2):
        with SandboxServer(db=database) as sandbox:
            body = {"tickets": [ticket()]}
            reply = httpx.post(sandbox.base_url + BULK, json=body, headers=sandbox.headers, trust_env=False)
            keys.append(reply.json()["results"][0]["vendor_ticket_id"])
            held = [held["vendor_ticket_id"] for held in sandbox.tickets()]
    assert keys == held == ["SEC-101", "SEC-102"]


def test_it_can_hold_what_another_run_created(sandbox: SandboxServer) -> None:
    other = ticket(identifier="CVE-1")
    assert sandbox.hold(other, ago=3600.0) == "SEC-101"
    url = f"{sandbox.base_url}/itsm/tickets/by-identifier/CVE-1"
    known = httpx.get(url, headers=sandbox.headers, trust_env=False).json()
    assert known["vendor_attributes"]["id"] == "SEC-101"
    assert 3590 < time.time() - datetime.fromisoformat(known["ticket_created_at"]).timestamp() < 3700


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database, and long enough to be told from an empty one")
    with pytest.raises(sqlite3.Error):
        SandboxServer(db=other)


@pytest.mark.parametrize("rule", [FaultRule(kind="stall"), FaultRule(kind="latency", seconds=3600)])
def test_it_stops_at_once_while_calls_wait(rule: FaultRule) -> None:
    outcome: list[Exception] = []
    with SandboxServer(faults=[rule]) as sandbox:

        def call() -> None:
            try:
                body = {"tickets": [ticket()]}
                httpx.post(sandbox.base_url + BULK, json=body, headers=sandbox.headers, timeout=200, trust_env=False)
            except httpx.TransportError as error:
                outcome.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        until(lambda: sandbox.requests)
    caller.join(60)
    assert isinstance(outcome[0], httpx.RemoteProtocolError)


def test_a_call_that_waits_at_a_reset_ends_and_leaves_nothing(
    sandbox: SandboxServer, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.inject("latency", seconds=3600)
    with caplog.at_level(logging.DEBUG, "uvicorn"), ThreadPoolExecutor() as threads:
        cut_off = threads.submit(post, ticket(name="late"))
        until(lambda: sandbox.requests)
        sandbox.reset()
        with pytest.raises(httpx.TransportError):
            cut_off.result(60)
        held = names_after_a_while(sandbox, post)
    assert held == ["after"]
    assert (sandbox.count("POST"), sandbox.peak_in_flight) == (1, 1)
    assert [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 10] == []


def test_calls_sent_before_a_reset_leave_nothing_though_they_may_be_read_after_it(
    sandbox: SandboxServer, post: Post
) -> None:
    body = json.dumps({"tickets": [ticket(name="late")]})
    headers = sandbox.headers | {"Content-Type": "application/json"}
    with ExitStack() as open_connections:
        for _ in range(100):
            connection = HTTPConnection(sandbox.url.removeprefix("http://"))
            open_connections.enter_context(closing(connection))
            connection.request("POST", "/v1/itsm/tickets/bulk/sync", body, headers)
        sandbox.reset()
        held = names_after_a_while(sandbox, post)
    assert held == ["after"]
    assert sandbox.count() == 1


def names_after_a_while(sandbox: SandboxServer, post: Post) -> list[str]:
    """The names of the tickets held after one more call, which ends after all that is still under way."""
    sandbox.inject("latency", seconds=0.3)
    post(ticket(name="after"))
    return [held["name"] for held in sandbox.tickets()]


def test_two_sandboxes_cant_share_a_port(sandbox: SandboxServer) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port)
