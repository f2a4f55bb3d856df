"""The endpoints of the Leen API. :mod:`airflow_provider_leen.api.sync_client` offers them to synchronous code.

A write is retried only when it certainly had no effect. :mod:`airflow_provider_leen.api.retry` decides what each reply
means, and :mod:`airflow_provider_leen.api.wire` makes the calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_leen.api import retry
from airflow_provider_leen.api.content import (
    Model,
    bulk_reply,
    created_ticket,
    encode,
    finding_filters,
    names_of,
    path_segment,
    query_value,
    read,
    read_job,
    read_job_id,
    read_page,
    ticket_bodies,
    ticket_body,
    ticket_by_id,
    ticket_by_identifier,
    updated_ticket,
)
from airflow_provider_leen.api.errors import (
    LeenConfigError,
    LeenConnectError,
    LeenError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenResponseError,
)
from airflow_provider_leen.api.models import (
    MAX_TICKETS_PER_CALL,
    BulkReply,
    Finding,
    Job,
    Project,
    Ticket,
    TicketCreate,
    User,
)
from airflow_provider_leen.api.replies import Reply, Safe, parse
from airflow_provider_leen.api.results import Claim, results_of_reply
from airflow_provider_leen.api.settings import LeenSettings
from airflow_provider_leen.api.wire import Wire

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncLeenClient"]

Result = TypeVar("Result")

MAX_PAGES = 10_000
"""The most pages of one listing that are fetched: a million entries with Leen's page size."""

MAX_SEARCH_PAGES = 100
"""The same for a search of the vendor."""

MAX_EMPTY_PAGES = 20
"""After this many consecutive empty pages that each promise another one, the listing counts as endless."""

_JOB_ACCEPTED = (200, 201, 202)
"""Leen documents 202. If a reply names a job, the job shows the rest."""

_FINDINGS = "/v2/vulnerability_findings"
_SEARCH = "/itsm/passthrough/tickets/search"


class AsyncLeenClient:
    """The Leen API for asynchronous code.

    ::

        async with AsyncLeenClient(settings) as client:
            projects = [project.name async for project in client.iter_projects()]

    :param settings: where Leen is and how patient to be.
    :param transport: replaces the network in tests.
    """

    def __init__(self, settings: LeenSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.settings = settings
        self._wire = Wire(settings, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def open(self) -> None:
        """Load the certificates now instead of at the first call: this reads files, which would block an event loop."""
        self._wire.open()

    async def aclose(self) -> None:
        """Close the connections; the client can be used again afterwards."""
        await self._wire.close()

    # Tickets

    async def send_bulk_create(
        self, tickets: Sequence[Mapping[str, Any]], *, leaves_by: float | None = None
    ) -> list[Claim]:
        """Send one ``POST /itsm/tickets/bulk/sync``, once, without retries: the caller decides what is sent again.

        :param tickets: 1 to 50 request bodies of tickets.
        :param leaves_by: seconds since the epoch; a process that was suspended sends nothing long after this time.
        :return: what the reply proves about each ticket, in order.
        :raises LeenError: the call failed; :func:`airflow_provider_leen.api.retry.effect_of_write` returns its effect.
        """
        path = "/itsm/tickets/bulk/sync"
        reply = await self._write("POST", path, {"tickets": tickets}, done=(200,), leaves_by=leaves_by)
        return results_of_reply(reply, [ticket.get("identifier") for ticket in tickets])

    async def bulk_create_tickets(self, tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> BulkReply:
        """Create 1 to 50 tickets in one call, ``POST /itsm/tickets/bulk/sync``.

        Retried only when it certainly had no effect (no connection, 429).

        :param tickets: the tickets.
        :return: Leen's reply, in the order of the tickets; ``failed`` counts those that were refused one by one.
        :raises LeenConfigError: no ticket, or more than 50.
        :raises LeenOutcomeUnknownError: the reply was lost, or does not prove the outcome of every ticket.
        :raises LeenError: the call failed.
        """
        bodies = ticket_bodies(tickets)
        names = names_of(bodies)
        return bulk_reply(names, await self._repeat_write(partial(self.send_bulk_create, bodies), names))

    async def create_ticket(self, ticket: TicketCreate | Mapping[str, Any]) -> Ticket:
        """Create one ticket, ``POST /itsm/tickets``; Leen stores it and returns the full record."""
        body = ticket_body(ticket, "ticket")

        async def send() -> Ticket:
            return created_ticket(await self._write("POST", "/itsm/tickets", body, done=(200,)), body)

        return await self._repeat_write(send, names_of([body]))

    async def update_ticket(self, ticket_id: str, **fields: Any) -> Ticket | None:
        """Change fields of one ticket, ``PATCH /itsm/tickets/{ticket_id}``.

        :param ticket_id: the Leen UUID.
        :param fields: what to change, by Leen's names (status, priority, description, …); Leen does not document the
            body, its demo app sends these.
        :return: the ticket if Leen answers with one (not documented), else None.
        """
        path = f"/itsm/tickets/{path_segment(ticket_id)}"

        async def send() -> Ticket | None:
            return updated_ticket(await self._write("PATCH", path, fields, done=(200, 204)), ticket_id)

        return await self._repeat_write(send, [ticket_id])

    async def get_ticket(self, ticket_id: str) -> Ticket:
        """Fetch one ticket by its Leen UUID, ``GET /itsm/tickets/{ticket_id}``."""
        return ticket_by_id(await self._read(f"/itsm/tickets/{path_segment(ticket_id)}"), ticket_id)

    async def get_ticket_by_identifier(self, identifier: str) -> Ticket | None:
        """Fetch one ticket by its identifier, ``GET /itsm/tickets/by-identifier/{identifier}``.

        The endpoint is known from Leen's demo app only.

        :param identifier: the identifier, as it was given when the ticket was created.
        :return: the ticket, or None if Leen itself says that there is none.
        :raises LeenNotFoundError: a 404 that is not Leen's own: it is unknown whether the ticket exists.
        :raises LeenResponseError: the reply is another ticket, or contradicts itself: likewise.
        """
        try:
            answer = await self._read(f"/itsm/tickets/by-identifier/{path_segment(identifier)}")
        except LeenNotFoundError as error:
            if retry.is_unknown_to_leen(error):
                return None
            raise
        return ticket_by_identifier(answer, identifier)

    def iter_tickets(self, *, max_pages: int = MAX_PAGES, **filters: Any) -> AsyncIterator[Ticket]:
        """Iterate over ``GET /itsm/tickets``, page by page; the filters go into the query by Leen's names.

        :param max_pages: the most pages.
        :raises LeenResponseError: there are more.
        """
        return self._iter(Ticket, "/itsm/tickets", filters, max_pages)

    async def search_tickets(self, jql: str) -> list[dict[str, Any]]:
        """Search the vendor itself, ``GET /itsm/passthrough/tickets/search``.

        :param jql: the search in Jira's query language, at most 5000 characters.
        :return: what was found, as it came: Leen does not document whether these are Jira's issues or its own tickets.
        :raises LeenResponseError: the pages of the reply don't end.
        """
        return [hit async for hit in self._iter_raw(_SEARCH, {"jql": jql}, MAX_SEARCH_PAGES)]

    async def search_page(self, jql: str) -> Any:
        """Search the vendor itself, and return one page of the reply as it came, with everything that it says."""
        return await self._read(_SEARCH, {"jql": jql})

    # Jobs

    async def send_bulk_job(self, tickets: Sequence[Mapping[str, Any]], *, leaves_by: float | None = None) -> str:
        """Send one ``POST /itsm/tickets/bulk``, once, without retries: the caller decides what is sent again.

        :param tickets: 1 to 50 request bodies of tickets.
        :param leaves_by: seconds since the epoch; a process that was suspended sends nothing long after this time.
        :return: the job's id.
        :raises LeenOutcomeUnknownError: the reply was lost or names no job, which may still run.
        :raises LeenError: the call failed.
        """
        path = "/itsm/tickets/bulk"
        body = {"tickets": tickets}
        return read_job_id(path, await self._write("POST", path, body, done=_JOB_ACCEPTED, leaves_by=leaves_by))

    async def submit_bulk_create(self, tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> str:
        """Submit a job that creates 1 to 50 tickets, ``POST /itsm/tickets/bulk``.

        Retried only when it certainly had no effect (no connection, 429).

        :param tickets: the tickets.
        :return: the job's id, for :meth:`get_job`.
        :raises LeenConfigError: no ticket, or more than 50.
        :raises LeenOutcomeUnknownError: the reply was lost or names no job, which may still run.
        :raises LeenError: the call failed.
        """
        bodies = ticket_bodies(tickets)
        return await self._repeat_write(partial(self.send_bulk_job, bodies), names_of(bodies))

    async def send_bulk_update(
        self, ticket_ids: Sequence[str], updates: Mapping[str, Any], *, leaves_by: float | None = None
    ) -> str:
        """Send one ``POST /itsm/tickets/bulk/update``, once, without retries: the caller decides what is sent again.

        :param ticket_ids: 1 to 50 Leen UUIDs.
        :param updates: what to set on each of them.
        :param leaves_by: seconds since the epoch; a process that was suspended sends nothing long after this time.
        :return: the job's id.
        :raises LeenOutcomeUnknownError: the reply was lost or names no job, which may still run.
        :raises LeenError: the call failed.
        """
        path = "/itsm/tickets/bulk/update"
        body = {"ticket_ids": list(ticket_ids), "updates": dict(updates)}
        return read_job_id(path, await self._write("POST", path, body, done=_JOB_ACCEPTED, leaves_by=leaves_by))

    async def submit_bulk_update(self, ticket_ids: Sequence[str], updates: Mapping[str, Any]) -> str:
        """Submit a job that changes 1 to 50 tickets alike, ``POST /itsm/tickets/bulk/update``.

        Retried only when it certainly had no effect (no connection, 429).

        :param ticket_ids: Leen UUIDs.
        :param updates: any of ``status``, ``priority``, ``assigned_user_id``, ``name``, ``description``; other fields
            keep their values.
        :return: the job's id, for :meth:`get_job`.
        :raises LeenConfigError: no ticket, or more than 50.
        :raises LeenOutcomeUnknownError: the reply was lost or names no job, which may still run.
        :raises LeenError: the call failed.
        """
        if isinstance(ticket_ids, str) or not 1 <= len(ticket_ids) <= MAX_TICKETS_PER_CALL:
            given = "a text" if isinstance(ticket_ids, str) else str(len(ticket_ids))
            raise LeenConfigError(
                f"One bulk update takes a list of 1 to {MAX_TICKETS_PER_CALL} ticket ids, not {given}: split the list, "
                "or use LeenUpdateTicketsOperator, which does."
            )
        return await self._repeat_write(partial(self.send_bulk_update, ticket_ids, updates), list(ticket_ids))

    async def get_job(self, job_id: str) -> Job:
        """Fetch the state of a job, ``GET /jobs/{job_id}``; :mod:`airflow_provider_leen.api.jobs` reads it."""
        content = await self._read(f"/jobs/{path_segment(job_id)}")
        return read_job(_with_reason_parsed(content, self._wire.safe), job_id)

    # Findings

    def iter_vulnerability_findings(self, **filters: Any) -> AsyncIterator[Finding]:
        """Iterate over ``GET /v2/vulnerability_findings``, page by page. V2 is at ``/v2`` on the same host as ``/v1``.

        :param filters: Leen's names: ``severity`` and ``state`` (a text, or a list of texts), ``has_fix``,
            ``first_seen_since``, ``last_seen_since``, ``state_updated_since`` (datetimes), ``resourceId``, ``ids`` (at
            most 100 UUIDs), and ``limit``, the size of a page.
        :raises LeenConfigError: there is no such filter, or its value can't be used.
        """
        return self._iter(Finding, _FINDINGS, finding_filters(filters))

    # Projects and users

    def iter_projects(self, **filters: Any) -> AsyncIterator[Project]:
        """Iterate over ``GET /itsm/projects``, page by page."""
        return self._iter(Project, "/itsm/projects", filters)

    def iter_users(self, **filters: Any) -> AsyncIterator[User]:
        """Iterate over ``GET /itsm/users``, page by page.

        :param filters: Leen's names: name, email, status, includeUserGroups, projectId, updatedSince, limit.
        """
        return self._iter(User, "/itsm/users", filters)

    async def check(self) -> str:
        """Ask for one project, ``GET /itsm/projects?limit=1``, and return the result as a sentence."""
        items, _cursor = read_page(await self._read("/itsm/projects", {"limit": 1}))
        if items and isinstance(items[0], dict) and items[0].get("name"):
            return f"Leen accepts the key and the connection; it sees projects such as {items[0]['name']!r}."
        return "Leen accepts the key and the connection; it sees no project yet (the connection may not have synced)."

    # One call

    async def _iter(
        self, model: type[Model], path: str, filters: Mapping[str, Any], max_pages: int = MAX_PAGES
    ) -> AsyncIterator[Model]:
        async for item in self._iter_raw(path, filters, max_pages):
            yield read(model, item)

    async def _iter_raw(self, path: str, filters: Mapping[str, Any], max_pages: int) -> AsyncIterator[dict[str, Any]]:
        params = {name: query_value(value) for name, value in filters.items() if value is not None}
        seen: set[str] = set()
        empty = 0
        while True:
            items, cursor = read_page(await self._read(path, params))
            for item in items:
                yield item
            if cursor is None:
                return
            empty = 0 if items else empty + 1
            if cursor in seen or empty == MAX_EMPTY_PAGES or len(seen) + 1 == max_pages:
                # The list is incomplete: to end here would silently drop the rest.
                raise LeenResponseError(_endless(path, repeats=cursor in seen, empty=empty), status=200)
            seen.add(cursor)
            # Leen answers 422 to updatedSince together with a cursor.
            params = {name: value for name, value in params.items() if name != "updatedSince"} | {"cursor": cursor}

    async def _read(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Make a request that changes nothing, with retries if they may help, and return the JSON of the reply."""

        async def send() -> Any:
            reply = await self._wire.send("GET", path, params=params)
            if reply.status != 200:
                # Accepted, partial, without content: none of these proves anything.
                raise LeenResponseError(
                    f"GET {path} was answered with HTTP {reply.status}, which is not a complete answer.",
                    status=reply.status,
                )
            if reply.problem is None:
                return reply.content
            raise LeenConnectError(_no_json("GET", path, reply), unreadable=True)

        return await self._repeat(send, read_only=True)

    async def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        done: Sequence[int],
        leaves_by: float | None = None,
    ) -> Any:
        """Send a write once, and return the JSON of the reply.

        :param done: the statuses that mean that it was done or accepted.
        :param leaves_by: see :meth:`send_bulk_create`.
        """
        reply = await self._wire.send(method, path, content=encode(body), leaves_by=leaves_by)
        if reply.status not in done:
            raise LeenOutcomeUnknownError(
                f"{method} {path} was answered with HTTP {reply.status}, which does not say what was done."
            )
        if reply.problem is not None:
            raise LeenOutcomeUnknownError(_no_json(method, path, reply))
        return reply.content

    async def _repeat_write(self, send: Callable[[], Awaitable[Result]], identifiers: list[str]) -> Result:
        """Make a write, with retries if it certainly had no effect. An unknown outcome names its tickets."""
        try:
            return await self._repeat(send, read_only=False)
        except LeenOutcomeUnknownError as error:
            error.identifiers = identifiers
            raise

    async def _repeat(self, send: Callable[[], Awaitable[Result]], *, read_only: bool) -> Result:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await send()
            except LeenError as error:
                wait = retry.retry_wait(
                    error,
                    attempt,
                    read_only=read_only,
                    max_retries=self.settings.max_retries,
                    max_retry_wait=self.settings.max_retry_wait,
                    jitter=random.random(),
                )
                if wait is None:
                    raise
            await asyncio.sleep(wait)


def _no_json(method: str, path: str, reply: Reply) -> str:
    return f"{method} {path} was answered with HTTP {reply.status}, but the reply is not JSON ({reply.problem})."


def _endless(path: str, *, repeats: bool, empty: int) -> str:
    why = "a cursor came twice" if repeats else f"{empty} empty pages in a row" if empty else "there are too many"
    return f"The pages of GET {path} don't end ({why}), so the listing can't be completed."


def _with_reason_parsed(job: Any, safe: Safe) -> Any:
    """Parse a job's reason that is JSON text; the API key is removed from it."""
    reason = job.get("failure_reason") if isinstance(job, dict) else None
    if isinstance(reason, str):
        with suppress(ValueError):
            return job | {"failure_reason": parse(reason, safe)}
    return job
