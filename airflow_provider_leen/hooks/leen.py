"""The hooks for Leen: they read Airflow's connection and offer Leen's endpoints, for tasks and for event loops."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_leen.api.errors import LeenConfigError, LeenError
from airflow_provider_leen.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_leen.api.client import AsyncLeenClient
    from airflow_provider_leen.api.models import BulkReply, Finding, Job, Project, Ticket, TicketCreate, User
    from airflow_provider_leen.api.settings import LeenSettings
    from airflow_provider_leen.api.sync_client import LeenClient

__all__ = ["LeenAsyncHook", "LeenHook"]

log = logging.getLogger(__name__)


class _ConnectedHook(BaseHook):
    """What both hooks share: their arguments and their names in Airflow."""

    conn_name_attr = "leen_conn_id"
    default_conn_name = "leen_default"
    conn_type = "leen"
    hook_name = "Leen"

    def __init__(
        self,
        leen_conn_id: str = default_conn_name,
        *,
        connection_id: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
    ) -> None:
        super().__init__()
        self.leen_conn_id = leen_conn_id
        self.connection_id = connection_id
        self.timeout = timeout
        self.max_retries = max_retries


class LeenHook(_ConnectedHook):
    """Leen's endpoints with the credentials of an Airflow connection.

    Nothing is looked up or connected before the first use. A context manager: leaving it closes the connections.

    ::

        with LeenHook() as hook:
            ticket = hook.create_ticket({"name": "Rotate the key", "project_vendor_id": "SEC", "type": "Task"})

    :param leen_conn_id: the Airflow connection, default ``leen_default``.
    :param connection_id: the Leen connection ID to use instead of the connection's login, default that login.
    :param timeout: seconds for a whole reply, default the connection's extra (120).
    :param max_retries: retries of one HTTP call, default the connection's extra (3).
    """

    _client: LeenClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # The connection

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow below 3.2; newer ones read them from the provider info."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import StringField

        return {
            name: StringField(
                spec["label"],
                widget=BS3TextFieldWidget(),
                description=spec["description"],
                default=None if spec["schema"].get("default") is None else str(spec["schema"]["default"]),
            )
            for name, spec in CONN_FIELDS.items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows Airflow's own fields, for Airflow below 3.2."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @cached_property
    def settings(self) -> LeenSettings:
        """The settings of the connection, checked.

        :raises LeenConfigError: the connection has a field that can't be used.
        """
        return _read_connection(self, self.get_connection(self.leen_conn_id))

    def get_conn(self) -> LeenClient:
        """Return the client for this connection; it connects at its first call."""
        from airflow_provider_leen.api.sync_client import LeenClient

        if self._client is None:
            self._client = LeenClient(self.settings)
        return self._client

    def close(self) -> None:
        """Close the connections; the hook can be used again afterwards."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def test_connection(self) -> tuple[bool, str]:
        """Ask Leen for one project, as the Test button of Airflow's connection form does.

        :return: whether Leen accepts key and connection, and a sentence on what was found or what is wrong.
        """
        try:
            with self:
                return True, self.get_conn().check()
        except LeenError as error:
            return False, str(error)

    # Leen's endpoints

    def bulk_create_tickets(self, tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> BulkReply:
        """Create 1 to 50 tickets in one call (``POST /itsm/tickets/bulk/sync``).

        Retried only when it certainly had no effect (no connection, 429). For longer lists, and for protection against
        duplicates when the task is retried, use
        :class:`~airflow_provider_leen.operators.leen.LeenBulkCreateTicketsOperator`.

        :param tickets: the tickets, by Leen's field names.
        :return: Leen's reply; ``failed`` counts the tickets that were refused one by one.
        :raises LeenOutcomeUnknownError: the reply was lost, or does not prove the outcome of every ticket.
        :raises LeenError: the call failed.
        """
        return self.get_conn().bulk_create_tickets(tickets)

    def create_ticket(self, ticket: TicketCreate | Mapping[str, Any]) -> Ticket:
        """Create one ticket (``POST /itsm/tickets``).

        :param ticket: the ticket, by Leen's field names.
        :return: the full record.
        :raises LeenError: the call failed.
        """
        return self.get_conn().create_ticket(ticket)

    def update_ticket(self, ticket_id: str, **fields: Any) -> Ticket | None:
        """Change fields of one ticket (``PATCH /itsm/tickets/{ticket_id}``).

        :param ticket_id: the Leen UUID.
        :param fields: what to change, by Leen's names, such as ``status`` or ``priority``.
        :return: the ticket if Leen answers with one (its reply is not documented), else None.
        :raises LeenError: the call failed.
        """
        return self.get_conn().update_ticket(ticket_id, **fields)

    def get_ticket(self, ticket_id: str) -> Ticket:
        """Fetch one ticket by its Leen UUID (``GET /itsm/tickets/{ticket_id}``).

        :param ticket_id: the Leen UUID.
        :raises LeenNotFoundError: Leen knows no such ticket.
        :raises LeenError: the call failed.
        """
        return self.get_conn().get_ticket(ticket_id)

    def get_ticket_by_identifier(self, identifier: str) -> Ticket | None:
        """Fetch one ticket by its identifier (``GET /itsm/tickets/by-identifier/{identifier}``).

        Leen does not find tickets that were created in bulk with vendor ids until its next sync.

        :param identifier: the identifier that the ticket was created with.
        :return: the ticket, or None if Leen says that there is none.
        :raises LeenError: the call failed: it is unknown whether the ticket exists.
        """
        return self.get_conn().get_ticket_by_identifier(identifier)

    def iter_tickets(self, **filters: Any) -> Iterator[Ticket]:
        """Iterate over the tickets that Leen knows (``GET /itsm/tickets``), page by page.

        :param filters: query parameters by Leen's names; ``limit`` is the size of a page. Others are not documented.
        :raises LeenError: a call failed.
        """
        return self.get_conn().iter_tickets(**filters)

    def search_tickets(self, jql: str) -> list[dict[str, Any]]:
        """Search the vendor itself (``GET /itsm/passthrough/tickets/search``).

        :param jql: the search in Jira's query language, at most 5000 characters.
        :return: what was found, as it came: the shape is not documented.
        :raises LeenError: a call failed.
        """
        return self.get_conn().search_tickets(jql)

    def iter_projects(self) -> Iterator[Project]:
        """Iterate over the projects that Leen knows (``GET /itsm/projects``), page by page.

        :raises LeenError: a call failed.
        """
        return self.get_conn().iter_projects()

    def iter_users(self, **filters: Any) -> Iterator[User]:
        """Iterate over the users that Leen knows (``GET /itsm/users``), page by page.

        :param filters: by Leen's names: ``name``, ``email``, ``status``, ``includeUserGroups``, ``projectId``,
            ``updatedSince``, ``limit``.
        :raises LeenError: a call failed.
        """
        return self.get_conn().iter_users(**filters)

    def submit_bulk_create(self, tickets: Sequence[TicketCreate | Mapping[str, Any]]) -> str:
        """Submit a job that creates 1 to 50 tickets (``POST /itsm/tickets/bulk``).

        Retried only when it certainly had no effect (no connection, 429).

        :param tickets: the tickets, by Leen's field names.
        :return: the job's id, for :meth:`get_job`.
        :raises LeenOutcomeUnknownError: the reply was lost or names no job, which may still run.
        :raises LeenError: the call failed.
        """
        return self.get_conn().submit_bulk_create(tickets)

    def submit_bulk_update(self, ticket_ids: Sequence[str], updates: Mapping[str, Any]) -> str:
        """Submit a job that changes 1 to 50 tickets alike (``POST /itsm/tickets/bulk/update``).

        Retried only when it certainly had no effect (no connection, 429).

        :param ticket_ids: Leen UUIDs.
        :param updates: any of ``status``, ``priority``, ``assigned_user_id``, ``name``, ``description``; other fields
            keep their values.
        :return: the job's id, for :meth:`get_job`.
        :raises LeenOutcomeUnknownError: the reply was lost or names no job, which may still run.
        :raises LeenError: the call failed.
        """
        return self.get_conn().submit_bulk_update(ticket_ids, updates)

    def get_job(self, job_id: str) -> Job:
        """Fetch the state of a job (``GET /jobs/{job_id}``).

        :param job_id: what a submission returned.
        :return: the job; ``status`` is QUEUED, RUNNING, SUCCESS or FAILED.
        :raises LeenNotFoundError: Leen knows no such job.
        :raises LeenError: the call failed.
        """
        return self.get_conn().get_job(job_id)

    def iter_vulnerability_findings(self, **filters: Any) -> Iterator[Finding]:
        """Iterate over vulnerability findings (``GET /v2/vulnerability_findings``), page by page.

        :param filters: by Leen's names: ``severity`` and ``state`` (a text, or a list of texts such as ``CRITICAL`` and
            ``OPEN``), ``has_fix`` (bool), ``first_seen_since``, ``last_seen_since``, ``state_updated_since`` (datetimes
            with a time zone), ``resourceId``, ``ids`` (at most 100 UUIDs), ``limit`` (the size of a page).
        :raises LeenConfigError: there is no such filter, or its value can't be used.
        :raises LeenError: a call failed.
        """
        return self.get_conn().iter_vulnerability_findings(**filters)


class LeenAsyncHook(_ConnectedHook):
    """The endpoints that triggers and notifiers need, for an event loop, which is never blocked.

    An asynchronous context manager: entering it reads the connection, leaving it closes what was opened.

    ::

        async with LeenAsyncHook() as hook:
            ticket = await hook.get_ticket_by_identifier("CVE-2026-0001/billing")

    :param leen_conn_id: the Airflow connection, default ``leen_default``.
    :param connection_id: the Leen connection ID to use instead of the connection's login, default that login.
    :param timeout: seconds for a whole reply, default the connection's extra (120).
    :param max_retries: retries of one HTTP call, default the connection's extra (3).
    """

    _client: AsyncLeenClient | None = None

    async def __aenter__(self) -> Self:
        await self.get_async_conn()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def get_async_conn(self) -> AsyncLeenClient:
        """Return the client for this connection; it connects at its first call.

        :raises LeenConfigError: the connection has a field that can't be used.
        """
        if self._client is None:
            from airflow.providers.common.compat.connection import get_async_connection

            connection = await get_async_connection(self.leen_conn_id, hook=self)
            # Imports and certificates are read from disk, which would block the event loop.
            client = await asyncio.to_thread(_open_client, self, connection)
            if self._client is None:
                self._client = client
            else:
                # Another call was first.
                await client.aclose()
        return self._client

    async def aclose(self) -> None:
        """Close the connections; the hook can be used again afterwards."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def create_ticket(self, ticket: TicketCreate | Mapping[str, Any]) -> Ticket:
        """Create one ticket (``POST /itsm/tickets``).

        :param ticket: the ticket, by Leen's field names.
        :return: the full record.
        :raises LeenError: the call failed.
        """
        return await (await self.get_async_conn()).create_ticket(ticket)

    async def get_ticket_by_identifier(self, identifier: str) -> Ticket | None:
        """Fetch one ticket by its identifier (``GET /itsm/tickets/by-identifier/{identifier}``).

        :param identifier: the identifier that the ticket was created with.
        :return: the ticket, or None if Leen says that there is none.
        :raises LeenError: the call failed: it is unknown whether the ticket exists.
        """
        return await (await self.get_async_conn()).get_ticket_by_identifier(identifier)

    async def get_job(self, job_id: str) -> Job:
        """Fetch the state of a job (``GET /jobs/{job_id}``).

        :param job_id: what a submission returned.
        :return: the job; ``status`` is QUEUED, RUNNING, SUCCESS or FAILED.
        :raises LeenNotFoundError: Leen knows no such job.
        :raises LeenError: the call failed.
        """
        return await (await self.get_async_conn()).get_job(job_id)


def _read_connection(hook: LeenHook | LeenAsyncHook, connection: Connection) -> LeenSettings:
    from airflow_provider_leen.api.settings import connection_url, read_settings, unknown_extras

    try:
        # Not extra_dejson: it treats an extra that is not JSON as missing.
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, Mapping):
        raise LeenConfigError(
            f'The extra of connection {hook.leen_conn_id!r} is not a JSON object: write one like {{"timeout": 60}}.'
        )
    for problem in unknown_extras(extra):
        _warn_once(f"Connection {hook.leen_conn_id!r}: {problem}")
    return read_settings(
        host=connection_url(connection.host, connection.port, connection.schema),
        login=connection.login,
        password=connection.password,
        extra=extra,
        connection_id=hook.connection_id,
        timeout=hook.timeout,
        max_retries=hook.max_retries,
    )


def _open_client(hook: LeenAsyncHook, connection: Connection) -> AsyncLeenClient:
    from airflow_provider_leen.api.client import AsyncLeenClient

    client = AsyncLeenClient(_read_connection(hook, connection))
    client.open()
    return client


@cache
def _warn_once(sentence: str) -> None:
    """Warn, once in a process: a sensor reads its connection at every poke."""
    log.warning("%s", sentence)
