"""The client for synchronous code: its thread, its end, and signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_leen.api.errors import LeenOutcomeUnknownError, LeenStoppedError
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.sync_client import LeenClient
from airflow_provider_leen.sandbox.server import SandboxServer
from tests.api.wire import RawServer

TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task"}


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[LeenClient]:
    with LeenClient(settings_of(sandbox.base_url)) as client:
        yield client


def settings_of(base_url: str, **changes: Any) -> LeenSettings:
    connection_id = SandboxServer.connection_id
    return LeenSettings(base_url=base_url, api_key="sandbox-key", connection_id=connection_id, **changes)


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "leen-client"]


def test_a_client_that_was_never_used_has_no_thread_and_can_be_closed() -> None:
    client = LeenClient(settings_of("http://127.0.0.1:1/v1"))
    client.close()
    assert client_threads() == []


def test_after_closing_no_thread_and_no_connection_is_left_and_the_client_can_be_used_again(
    client: LeenClient, sandbox: SandboxServer
) -> None:
    for _ in range(2):
        assert len(list(client.iter_projects())) == 2
        assert len(client_threads()) == 1
        client.close()
        client.close()
        assert client_threads() == []
    gc.collect()  # a socket or a loop that was left open would warn now, and warnings are errors


def test_an_unfinished_iterator_continues_after_the_client_was_closed(client: LeenClient) -> None:
    projects = client.iter_projects(limit=1)
    first = next(projects)
    client.close()
    assert [project.id for project in projects] != [first.id]
    half = client.iter_projects(limit=1)
    next(half)
    client.close()
    kept = weakref.ref(half)
    del half
    gc.collect()
    assert kept() is None


def test_several_threads_share_one_client(client: LeenClient, sandbox: SandboxServer) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> bool:
        start.wait()
        return client.bulk_create_tickets([TICKET | {"name": f"finding {number}"}]).results[0].success

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8
    assert len(client_threads()) == 1
    assert {ticket["name"] for ticket in sandbox.tickets()} == {f"finding {number}" for number in range(8)}


def test_it_works_inside_of_a_running_event_loop(client: LeenClient) -> None:
    async def main() -> int:
        return len(list(client.iter_projects()))

    assert asyncio.run(main()) == 2


def test_it_works_in_a_loop_that_debugs(client: LeenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    assert len(list(client.iter_projects())) == 2


class Stalling(RawServer):
    """Reads a request, calls ``then``, and never answers; ``left`` is set when the client gives up."""

    def __init__(self, then: Any) -> None:
        super().__init__(lambda server, connection: self._stall(connection, then))
        self.left = threading.Event()

    def _stall(self, connection: socket.socket, then: Any) -> None:
        self.read(connection)
        then()
        with contextlib.suppress(ConnectionResetError):  # that is how a call is given up
            connection.recv(1)
        self.left.set()


def interrupt() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts also where the tests were started in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_waiting_cancels_the_call_and_leaves_the_client_usable() -> None:
    with Stalling(interrupt) as server, LeenClient(settings_of(f"http://127.0.0.1:{server.port}/v1")) as client:
        for _ in range(2):
            server.left.clear()
            with pytest.raises(KeyboardInterrupt):
                client.bulk_create_tickets([TICKET])
            assert server.left.wait(60)
        assert len(server.requests) == 2
    assert client_threads() == []


def test_an_interrupt_before_the_wait_has_begun_cancels_the_call() -> None:
    arrived = threading.Event()

    class Interrupted(LeenClient):
        def start(self, work: Any) -> Any:
            super().start(work)
            assert arrived.wait(60)
            raise KeyboardInterrupt

    with Stalling(arrived.set) as server, Interrupted(settings_of(f"http://127.0.0.1:{server.port}/v1")) as client:
        with pytest.raises(KeyboardInterrupt):
            client.bulk_create_tickets([TICKET])
        assert server.left.wait(60)


def test_a_call_that_is_under_way_when_another_thread_closes_the_client_ends_at_once() -> None:
    arrived = threading.Event()
    with Stalling(arrived.set) as server, ThreadPoolExecutor(1) as pool:
        client = LeenClient(settings_of(f"http://127.0.0.1:{server.port}/v1"))
        call = pool.submit(client.bulk_create_tickets, [TICKET])
        assert arrived.wait(60)
        client.close()
        with pytest.raises(LeenStoppedError, match="closed before Leen answered"):
            call.result(60)
        assert server.left.wait(60)
    assert client_threads() == []


def test_a_timeout_of_leen_does_not_spoil_the_client(sandbox: SandboxServer) -> None:
    sandbox.inject("stall", nth=1)
    with LeenClient(settings_of(sandbox.base_url, timeout=2.0)) as client:
        with pytest.raises(LeenOutcomeUnknownError):
            client.bulk_create_tickets([TICKET])
        assert client.bulk_create_tickets([TICKET]).succeeded == 1
