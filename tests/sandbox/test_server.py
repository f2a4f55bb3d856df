from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path

import httpx
import pytest

from airflow_provider_leen.sandbox.faults import FaultRule
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import BULK, ticket


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


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database, and long enough to be told from an empty one")
    with pytest.raises(sqlite3.Error):
        SandboxServer(db=other)


@pytest.mark.parametrize("rule", [FaultRule(kind="stall"), FaultRule(kind="latency", seconds=60)])
def test_it_stops_at_once_while_calls_wait(rule: FaultRule) -> None:
    outcome: list[Exception] = []
    with SandboxServer(faults=[rule]) as sandbox:

        def call() -> None:
            try:
                body = {"tickets": [ticket()]}
                httpx.post(sandbox.base_url + BULK, json=body, headers=sandbox.headers, timeout=30, trust_env=False)
            except httpx.TransportError as error:
                outcome.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        while not sandbox.requests:
            time.sleep(0.005)
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 2
    caller.join(5)
    assert isinstance(outcome[0], httpx.RemoteProtocolError)


def test_two_sandboxes_cant_share_a_port(sandbox: SandboxServer) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port)
