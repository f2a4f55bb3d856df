from __future__ import annotations

import asyncio
import json
import ssl
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenAuthError, LeenConfigError
from airflow_provider_leen.hooks.leen import LeenAsyncHook, LeenHook
from airflow_provider_leen.sandbox.server import SandboxServer

TICKET = {"name": "SQL built from strings", "project_vendor_id": "SEC", "type": "Task", "identifier": "a/b"}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work, debug=True)


def test_a_ticket_is_created_and_found_again_by_its_identifier(sandbox: SandboxServer) -> None:
    async def work() -> None:
        async with LeenAsyncHook() as hook:
            created = await hook.create_ticket(TICKET)
            found = await hook.get_ticket_by_identifier("a/b")
            assert found is not None
            assert found.id == created.id
            assert await hook.get_ticket_by_identifier("c") is None

    run(work())
    assert len(sandbox.tickets()) == 1


def test_a_job_can_be_followed(sandbox: SandboxServer) -> None:
    with LeenHook() as hook:
        job_id = hook.submit_bulk_create([TICKET])

    async def work() -> str:
        async with LeenAsyncHook() as hook:
            return (await hook.get_job(job_id)).status

    assert run(work()) in ("QUEUED", "RUNNING", "SUCCESS")


def test_a_hook_that_was_closed_can_be_used_again(sandbox: SandboxServer) -> None:
    async def work() -> None:
        hook = LeenAsyncHook()
        for _ in range(2):
            assert await hook.get_ticket_by_identifier("nothing") is None
            await hook.aclose()

    run(work())


def test_first_calls_at_the_same_time_share_one_client(sandbox: SandboxServer, mocker: Any) -> None:
    closed = mocker.spy(AsyncLeenClient, "aclose")
    opened = mocker.spy(AsyncLeenClient, "open")

    async def work() -> None:
        hook = LeenAsyncHook()
        clients = await asyncio.gather(*(hook.get_async_conn() for _ in range(4)))
        assert len({id(client) for client in clients}) == 1
        await hook.get_ticket_by_identifier("nothing")
        await hook.aclose()
        assert closed.call_count == opened.call_count, "none stays open"

    run(work())


def test_its_arguments_override_the_connection(sandbox: SandboxServer) -> None:
    other = "1ee00000-0000-4000-8000-00000000000a"

    async def work() -> None:
        async with LeenAsyncHook(connection_id=other, timeout=7, max_retries=0) as hook:
            settings = (await hook.get_async_conn()).settings
            assert (settings.timeout, settings.max_retries) == (7, 0)
            await hook.create_ticket(TICKET)

    run(work())
    assert len(sandbox.tickets(connection_id=other)) == 1


def test_it_reads_the_connection_as_the_other_hook_does(sandbox: SandboxServer) -> None:
    async def work() -> Any:
        async with LeenAsyncHook() as hook:
            return (await hook.get_async_conn()).settings

    assert run(work()) == LeenHook().settings


def test_problems_of_the_connection_are_reported(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def enter(conn_id: str = "leen_default") -> None:
        async with LeenAsyncHook(conn_id) as hook:
            await hook.get_ticket_by_identifier("x")

    with pytest.raises(AirflowNotFoundException, match="no_such_connection"):
        run(enter("no_such_connection"))
    fields = json.loads(sandbox.airflow_conn)
    for wrong, error in [
        ({"extra": {"timeout": "soon"}}, LeenConfigError),
        ({"extra": {"verify": "/no/such/file"}, "host": "https://127.0.0.1:1/v1"}, LeenConfigError),
        ({"password": "wrong"}, LeenAuthError),
    ]:
        monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", json.dumps(fields | wrong))
        with pytest.raises(error):
            run(enter())


class _FilesOpened:
    """Which files a thread opens, by Python's audit events; a hook for these can't be removed, so it is made once."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.paths: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and threading.get_ident() == self.thread and not str(arguments[0]).endswith(".py"):
            # asyncio's debug mode reads sources to tell of what was slow: on a busy machine, anything.
            self.paths.append(str(arguments[0]))


FILES_OPENED = _FilesOpened()


def test_the_event_loop_reads_no_file_and_no_certificates(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading: list[int] = []
    load = ssl.SSLContext.load_verify_locations

    def load_verify_locations(*args: Any, **kwargs: Any) -> None:
        loading.append(threading.get_ident())
        load(*args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_verify_locations)

    async def work() -> None:
        async with LeenAsyncHook() as hook:
            await hook.create_ticket(TICKET)
        encrypted = json.loads(sandbox.airflow_conn) | {"host": "https://127.0.0.1:9/v1", "extra": {"max_retries": 0}}
        monkeypatch.setenv("AIRFLOW_CONN_LEEN_DEFAULT", json.dumps(encrypted))
        async with LeenAsyncHook() as hook:
            with pytest.raises(Exception, match="could not be reached"):
                await hook.get_ticket_by_identifier("x")

    FILES_OPENED.thread = threading.get_ident()
    try:
        run(work())
    finally:
        FILES_OPENED.thread = None
    assert loading
    assert threading.get_ident() not in loading
    assert FILES_OPENED.paths == []
