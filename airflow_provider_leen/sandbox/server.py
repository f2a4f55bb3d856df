"""Runs the sandbox: :class:`SandboxServer` is a context manager for tests, the demo and the command line."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from airflow_provider_leen.sandbox.app import create_app
from airflow_provider_leen.sandbox.connections import SCANNER_ID, TRACKER_ID
from airflow_provider_leen.sandbox.control import add_control_routes
from airflow_provider_leen.sandbox.faults import FaultRule, Faults
from airflow_provider_leen.sandbox.gate import Gate
from airflow_provider_leen.sandbox.guard import CONTROL_HEADERS
from airflow_provider_leen.sandbox.jira import Workflow, examine
from airflow_provider_leen.sandbox.jobs import JobPlan, Jobs
from airflow_provider_leen.sandbox.page import add_page
from airflow_provider_leen.sandbox.people import People
from airflow_provider_leen.sandbox.recorder import RecordedRequest, Recorder
from airflow_provider_leen.sandbox.records import held_ticket
from airflow_provider_leen.sandbox.schemas import TicketBody
from airflow_provider_leen.sandbox.store import Store

__all__ = ["SandboxServer"]

API_KEY = "sandbox-key"


class SandboxServer:
    """The sandbox in its own thread, while the context is open.

    ::

        with SandboxServer() as sandbox:
            sandbox.inject("rate_limit", retry_after=1, times=1)
            settings = LeenSettings(
                base_url=sandbox.base_url, api_key=sandbox.api_key, connection_id=sandbox.connection_id
            )

    :param host: address to listen on, default loopback.
    :param port: 0 (default) for a free one.
    :param db: SQLite file that stores the tickets; None (default) for memory.
    :param api_key: the accepted key, default ``sandbox-key``.
    :param seed: seed of the random faults; None for different faults each time.
    :param latency: the least seconds of each call, default 0.
    :param calls_per_second: more calls in a second get a 429; None (default) for no limit.
    :param search_lag: seconds until the vendor's search finds a new ticket, default 0.
    :param sync_after: seconds until Leen knows a ticket created with vendor ids, or a person's change; None (default)
        for a sync on demand only.
    :param job_time: seconds that an asynchronous job takes, default 0.
    :param faults: rules in force from the start.
    :raises OSError: the port is in use, or the host has no address.
    :raises sqlite3.Error: the file can't be used.
    """

    connection_id = TRACKER_ID
    """The tracker's connection ID; any other UUID except the scanner's works too, with its own tickets."""

    scanner_connection_id = SCANNER_ID
    """The scanner's connection ID, for reading findings."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        db: str | Path | None = None,
        api_key: str = API_KEY,
        seed: int | None = None,
        latency: float = 0.0,
        calls_per_second: int | None = None,
        search_lag: float = 0.0,
        sync_after: float | None = None,
        job_time: float = 0.0,
        faults: Iterable[FaultRule] = (),
    ) -> None:
        self.api_key = api_key
        self._sync_after = sync_after
        self._faults = Faults(seed)
        for rule in faults:
            self._faults.add(rule)
        self._recorder = Recorder()
        try:
            self._socket = socket.create_server((host, port), backlog=1024)
        except TypeError:
            raise OSError("this can't be the name of a host") from None
        self._host = host
        self._port: int = self._socket.getsockname()[1]
        try:
            self._store = Store(db, sync_after=sync_after, search_lag=search_lag)
        except BaseException:
            self._socket.close()
            raise
        self._jobs = Jobs(JobPlan(seconds=job_time))
        self.people = People(self._store)
        """People's changes in Jira, which Leen learns at its next sync."""
        app = create_app(self._store, api_key=api_key, jobs=self._jobs)
        add_control_routes(app, self._store, self._faults, self._recorder, self._jobs, self.people, self._forget)
        add_page(app, self._store)
        gate = Gate(
            app,
            host=host,
            recorder=self._recorder,
            faults=self._faults,
            calls_per_second=calls_per_second,
            latency=latency,
        )
        self._server = _Server(gate)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server.up.wait()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._store.close()

    @property
    def url(self) -> str:
        """The address of the page, and of ``/_sandbox``."""
        return f"http://{self._host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The Base URL of the Leen API."""
        return f"{self.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """The two headers that a call needs."""
        return {"X-API-KEY": self.api_key, "X-CONNECTION-ID": self.connection_id}

    @property
    def airflow_conn(self) -> str:
        """The connection as JSON, for ``AIRFLOW_CONN_LEEN_DEFAULT``."""
        # With these, the tab and the extra link open the sandbox's page.
        pages = {
            "ticket_url": f"{self.url}/?ticket={{vendor_ticket_id}}",
            "search_url": f"{self.url}/?tickets={{vendor_ticket_ids}}",
        }
        connection = {"conn_type": "leen", "login": self.connection_id, "password": self.api_key, "host": self.base_url}
        return json.dumps(connection | {"extra": pages})

    def inject(self, kind: str, **options: Any) -> None:
        """Add a fault.

        :param kind: a kind of :class:`~airflow_provider_leen.sandbox.faults.FaultRule`.
        :param options: its other fields.
        """
        self._faults.add(FaultRule(kind=kind, **options))  # type: ignore[arg-type]  # pydantic checks it

    def end_faults(self) -> None:
        """Remove all faults."""
        self._faults.remove_all()

    def sync_after(self, seconds: float | None) -> None:
        """Set after how many seconds Leen learns of changes in Jira; None for only at :meth:`sync`."""
        self._store.sync_after = seconds

    def workflow(self, transitions: Mapping[str, Sequence[str]]) -> None:
        """Set the changes of status that Leen can make.

        :param transitions: by status, the statuses that can follow; a status that is left out can be followed by all.
        """
        self._store.workflow = Workflow.model_validate({"transitions": transitions})

    def plan_jobs(self, **options: Any) -> None:
        """Set how jobs run.

        :param options: the fields of a :class:`~airflow_provider_leen.sandbox.jobs.JobPlan`.
        """
        self._jobs.plan = JobPlan(**options)

    @property
    def faults(self) -> dict[str, int]:
        """How often each kind of fault occurred."""
        return dict(self._faults.struck)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests to Leen's API, in order of arrival."""
        return self._recorder.requests

    def count(self, method: str | None = None, path_prefix: str | None = None) -> int:
        """Return how many requests had this method and a path with this beginning (from ``/v1`` on)."""
        return self._recorder.count(method, path_prefix)

    @property
    def peak_in_flight(self) -> int:
        """The most bulk calls that were in flight at one time."""
        return self._recorder.peak_in_flight

    def tickets(self, connection_id: str | None = None) -> list[dict[str, Any]]:
        """Return the vendor's tickets, oldest first, of one connection ID or of all."""
        return [held_ticket(row) for row in self._store.all(connection_id)]

    def hold(self, ticket: Mapping[str, Any], *, ago: float = 0.0) -> str:
        """Add a ticket that another run created and that Leen knows; return its Jira key.

        :param ago: how many seconds ago it was created.
        """
        body = TicketBody.model_validate(ticket)
        accepted = examine(body)
        [created] = self._store.add(self.connection_id, [(body, accepted)], persist=True, ago=ago)
        return created.vendor_key

    def duplicates(self) -> dict[str, list[dict[str, Any]]]:
        """Return tickets that exist more than once under one connection ID: ``by_identifier`` and ``by_content``."""
        return self._store.duplicates()

    def sync(self) -> int:
        """Sync Leen with the vendor, and return how many tickets were new, changed or gone."""
        return self._store.leen.sync()

    def reset(self) -> None:
        """Delete tickets, jobs, faults and records. A call sent before is cut off, and has no effect."""
        # By a call, which is accepted after every call that was sent before it.
        with closing(HTTPConnection(self._host, self._port)) as connection:
            connection.request("POST", "/_sandbox/reset", headers=CONTROL_HEADERS)
            connection.getresponse().read()

    def _forget(self, client: Any) -> None:
        self._server.cut_off(client)
        self._jobs.clear()
        self._store.clear()
        self._store.sync_after = self._sync_after
        self._store.workflow = Workflow()
        self._faults.reset()
        self._recorder.reset()


class _Server(uvicorn.Server):
    """A quiet uvicorn that sets an event when it is up, and ends all waits when it stops."""

    def __init__(self, gate: Gate) -> None:
        # A client that keeps a connection open between two tries must not find it closed.
        super().__init__(
            uvicorn.Config(
                gate,
                log_config=None,
                log_level="error",
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_keep_alive=120,
            )
        )
        self.up = threading.Event()
        self._gate = gate

    def cut_off(self, spared: Any) -> None:
        """End all calls but the current one, and all connections but that of one client, unread data included."""
        for task in self.server_state.tasks - {asyncio.current_task()}:
            task.cancel()
        for connection in self.server_state.connections:
            peer = connection.transport.get_extra_info("peername") or ()
            if peer[:2] != spared:
                connection.transport.abort()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gate.stopping.set()
        await super().shutdown(sockets)
