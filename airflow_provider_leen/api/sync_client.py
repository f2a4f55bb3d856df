"""The Leen API for synchronous code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_leen.api.client import AsyncLeenClient
from airflow_provider_leen.api.errors import LeenStoppedError
from airflow_provider_leen.api.models import BulkReply, Finding, Job, Project, Ticket, TicketCreate, User
from airflow_provider_leen.api.settings import LeenSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["LeenClient"]

Result = TypeVar("Result")


class LeenClient:
    """The Leen API for synchronous code: the same calls, run by an :class:`AsyncLeenClient` in its own thread.

    Airflow's signals (a task's timeout, SIGTERM) reach only the main thread, which waits, so they can't interrupt a
    call.

    ::

        with LeenClient(settings) as client:
            projects = [project.name for project in client.iter_projects()]

    :param settings: where Leen is and how patient to be.
    :param transport: replaces the network in tests.
    """

    def __init__(self, settings: LeenSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.settings = settings
        self.aio = AsyncLeenClient(settings, transport=transport)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel running calls, close the connections and end the thread; the client can be used again."""
        with self._lock:
            if self._loop is None or self._thread is None:
                return
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._thread = None

    async def _end(self) -> None:
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self.aio.aclose()

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start a coroutine on the client's event loop and return at once."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="leen-client", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the client's event loop and wait for what it returns."""
        # An interrupt may come before start() has returned, so the means to cancel the call exist before the call.
        left: Future[None] = Future()
        try:
            return self.start(_until(left, work)).result()
        except CancelledError:
            raise LeenStoppedError("The client was closed before Leen answered.") from None
        finally:
            left.cancel()

    def bulk_create_tickets(self, tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> BulkReply:
        """See :meth:`AsyncLeenClient.bulk_create_tickets`."""
        return self.run(self.aio.bulk_create_tickets(tickets))

    def create_ticket(self, ticket: TicketCreate | Mapping[str, Any]) -> Ticket:
        """See :meth:`AsyncLeenClient.create_ticket`."""
        return self.run(self.aio.create_ticket(ticket))

    def update_ticket(self, ticket_id: str, **fields: Any) -> Ticket | None:
        """See :meth:`AsyncLeenClient.update_ticket`."""
        return self.run(self.aio.update_ticket(ticket_id, **fields))

    def get_ticket(self, ticket_id: str) -> Ticket:
        """See :meth:`AsyncLeenClient.get_ticket`."""
        return self.run(self.aio.get_ticket(ticket_id))

    def get_ticket_by_identifier(self, identifier: str) -> Ticket | None:
        """See :meth:`AsyncLeenClient.get_ticket_by_identifier`."""
        return self.run(self.aio.get_ticket_by_identifier(identifier))

    def iter_tickets(self, **filters: Any) -> Iterator[Ticket]:
        """See :meth:`AsyncLeenClient.iter_tickets`."""
        return self._iterate(self.aio.iter_tickets(**filters))

    def search_tickets(self, jql: str) -> list[dict[str, Any]]:
        """See :meth:`AsyncLeenClient.search_tickets`."""
        return self.run(self.aio.search_tickets(jql))

    def submit_bulk_create(self, tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> str:
        """See :meth:`AsyncLeenClient.submit_bulk_create`."""
        return self.run(self.aio.submit_bulk_create(tickets))

    def submit_bulk_update(self, ticket_ids: Sequence[str], updates: Mapping[str, Any]) -> str:
        """See :meth:`AsyncLeenClient.submit_bulk_update`."""
        return self.run(self.aio.submit_bulk_update(ticket_ids, updates))

    def get_job(self, job_id: str) -> Job:
        """See :meth:`AsyncLeenClient.get_job`."""
        return self.run(self.aio.get_job(job_id))

    def iter_vulnerability_findings(self, **filters: Any) -> Iterator[Finding]:
        """See :meth:`AsyncLeenClient.iter_vulnerability_findings`."""
        return self._iterate(self.aio.iter_vulnerability_findings(**filters))

    def iter_projects(self, **filters: Any) -> Iterator[Project]:
        """See :meth:`AsyncLeenClient.iter_projects`."""
        return self._iterate(self.aio.iter_projects(**filters))

    def iter_users(self, **filters: Any) -> Iterator[User]:
        """See :meth:`AsyncLeenClient.iter_users`."""
        return self._iterate(self.aio.iter_users(**filters))

    def check(self) -> str:
        """See :meth:`AsyncLeenClient.check`."""
        return self.run(self.aio.check())

    def _iterate(self, items: AsyncIterator[Result]) -> Iterator[Result]:
        end = object()

        async def following() -> Any:
            return await anext(items, end)

        while (item := self.run(following())) is not end:
            yield item


async def _until(left: Future[None], work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work``, and cancel it when ``left`` is cancelled, which may have happened already."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)

    def cancel(_: Future[None]) -> None:
        if not task.done():
            loop.call_soon_threadsafe(task.cancel)

    left.add_done_callback(cancel)
    return await task
