"""The sandbox misbehaves on a real socket, as told."""

from __future__ import annotations

import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from airflow_provider_leen.sandbox.server import SandboxServer
from tests.sandbox.conftest import BULK, Post, ticket
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("fault", "error", "made"),
    [
        ({"kind": "lost"}, httpx.RemoteProtocolError, 0),
        ({"kind": "lost", "commit": True}, httpx.RemoteProtocolError, 1),
        ({"kind": "cut"}, httpx.RemoteProtocolError, 1),
        ({"kind": "stall"}, httpx.ReadTimeout, 0),
        ({"kind": "stall", "commit": True}, httpx.ReadTimeout, 1),
        ({"kind": "stall", "seconds": 0.05, "commit": True}, httpx.RemoteProtocolError, 1),
    ],
)
def test_a_reply_can_be_withheld_before_and_after_the_tickets_are_made(
    client: httpx.Client,
    post: Post,
    sandbox: SandboxServer,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    error: type[Exception],
    made: int,
) -> None:
    sandbox.inject(**fault, times=1)
    patience = httpx.Timeout(60, read=0.3) if error is httpx.ReadTimeout else 60
    with caplog.at_level(logging.DEBUG, "uvicorn"), pytest.raises(error):
        client.post(BULK, json={"tickets": [ticket()]}, timeout=patience)
    until(lambda: len(sandbox.tickets()) == made)
    assert post(ticket()).status_code == 200, "the next call is served"
    # A client may read the reply before the sandbox has noted that it was sent.
    until(lambda: [record.status for record in sandbox.requests] == ["lost", 200])
    assert [record for record in caplog.records if record.name.startswith("uvicorn") and record.levelno > 10] == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 418, 422, 429, 500, 502, 503, 504, 301, 202, 204])
@pytest.mark.parametrize("commit", [False, True])
def test_any_status_can_be_answered_before_and_after_the_tickets_are_made(
    post: Post, sandbox: SandboxServer, status: int, commit: bool
) -> None:
    sandbox.inject("status", status=status, commit=commit)
    assert post(ticket()).status_code == status
    assert len(sandbox.tickets()) == commit


def test_the_reply_to_the_request_before_can_come_again(post: Post, sandbox: SandboxServer) -> None:
    sandbox.inject("previous", nth=2)
    replies = [post(ticket()).json() for _ in range(3)]
    assert replies[1] == replies[0]
    assert replies[2] != replies[0]
    assert len(sandbox.tickets()) == 3


def test_a_reply_can_unpack_to_much_more_than_comes(post: Post, sandbox: SandboxServer) -> None:
    sandbox.inject("bomb", megabytes=1)
    assert len(post(ticket()).content) == 1 << 20
    assert len(sandbox.tickets()) == 1


def test_a_reply_can_trickle_for_ever(client: httpx.Client, sandbox: SandboxServer) -> None:
    sandbox.inject("trickle", seconds=0.0005)
    got = b""
    with client.stream("POST", BULK, json={"tickets": [ticket()]}) as reply:
        for chunk in reply.iter_raw():
            got += chunk
            if got.endswith(b"    "):
                break
    assert reply.status_code == 200
    assert got.startswith(b'{"total":1')


def test_a_late_call_is_processed_though_its_client_has_left(sandbox: SandboxServer, client: httpx.Client) -> None:
    left = threading.Event()
    sandbox.inject("latency", until=left.is_set)
    with closing(HTTPConnection(sandbox.url.removeprefix("http://"))) as leaving:
        headers = sandbox.headers | {"Content-Type": "application/json"}
        leaving.request("POST", f"/v1{BULK}", json.dumps({"tickets": [ticket()]}), headers)
        until(lambda: sandbox.requests)
    # By now the sandbox has read that it left.
    client.get("/itsm/projects")
    left.set()
    until(lambda: sandbox.requests[0].status is not None)
    assert sandbox.requests[0].status == "lost"
    assert len(sandbox.tickets()) == 1


def test_a_call_whose_client_leaves_in_the_middle_of_it_has_no_effect(sandbox: SandboxServer, post: Post) -> None:
    host, _, port = sandbox.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(b"POST /v1/itsm/tickets/bulk/sync HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    assert post(ticket()).status_code == 200
    assert sandbox.count() == 1


def test_one_bad_ticket_fails_the_call_without_being_located(post: Post, sandbox: SandboxServer) -> None:
    sandbox.inject("poison", text="bad apple")
    refused = post(ticket(), ticket(name="A bad apple"))
    assert (refused.status_code, refused.json()["detail"]) == (422, [])
    assert sandbox.tickets() == []
    assert post(ticket()).status_code == 200


def test_a_fault_affects_the_bulk_call_by_default(client: httpx.Client, sandbox: SandboxServer) -> None:
    sandbox.inject("status", status=500)
    assert client.get("/itsm/projects").status_code == 200
    sandbox.inject("status", status=502, method=None, path="/v1/itsm/projects")
    assert client.get("/itsm/projects").status_code == 502
    sandbox.end_faults()
    assert client.get("/itsm/projects").status_code == 200
    assert sandbox.faults == {"status": 1}


def test_requests_are_recorded_without_the_key(post: Post, client: httpx.Client, sandbox: SandboxServer) -> None:
    post(ticket(identifier="one"))
    client.get("/itsm/tickets/by-identifier/one", params={"x": "1"})
    first, second = sandbox.requests
    assert (first.method, first.path, first.status) == ("POST", "/v1" + BULK, 200)
    assert first.body == {"tickets": [ticket(identifier="one")]}
    assert first.connection_id == sandbox.connection_id
    assert first.finished is not None
    assert first.started <= first.finished <= second.started
    assert (second.query, second.body) == ("x=1", None)
    assert "sandbox-key" not in repr(sandbox.requests)
    assert (sandbox.count(), sandbox.count("post"), sandbox.count(path_prefix="/v1/itsm/tickets/by")) == (2, 1, 1)


def test_the_peak_of_calls_in_flight_is_known(post: Post, sandbox: SandboxServer) -> None:
    sandbox.inject("latency", until=lambda: sandbox.count() == 3)
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda _: post(ticket()), range(3)))
    assert [reply.status_code for reply in replies] == [200] * 3
    assert sandbox.peak_in_flight == 3


def test_more_calls_than_allowed_in_a_second_get_a_429() -> None:
    with SandboxServer(calls_per_second=1) as sandbox:
        url = f"{sandbox.base_url}/itsm/projects"
        replies = [httpx.get(url, headers=sandbox.headers, trust_env=False)]
        assert replies[0].status_code == 200
        while (reply := httpx.get(url, headers=sandbox.headers, trust_env=False)).status_code != 429:
            pass
        assert reply.headers["Retry-After"] == "1"
        assert sandbox.faults == {"calls_per_second": 1}
