"""The sandbox's Leen API: the routes under ``/v1``.

``POST /itsm/tickets/bulk/sync`` behaves as Leen's OpenAPI document says. Where nothing is documented,
:data:`ASSUMPTIONS` says what is assumed here; the page at ``/`` shows it too.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_leen.sandbox import jira
from airflow_provider_leen.sandbox.jql import JQLError, compile_jql
from airflow_provider_leen.sandbox.records import jira_issue, leen_project, leen_ticket, leen_user
from airflow_provider_leen.sandbox.replies import error_body
from airflow_provider_leen.sandbox.schemas import UUID_PATTERN, BulkBody, TicketBody, TicketPatch
from airflow_provider_leen.sandbox.store import Store

ASSUMPTIONS = {
    "API key missing or wrong": "401 with an ErrorResponse",
    "X-CONNECTION-ID missing": "401 with an ErrorResponse",
    "X-CONNECTION-ID is no UUID": "404 with an ErrorResponse; any UUID is a connection, with tickets of its own",
    "A route that doesn't exist": '404 with {"detail": "Not Found"}, while Leen\'s own 404 is an ErrorResponse',
    "request_index": "counts from 0",
    "Unknown UUID, both forms of a field, no project, no type": "in a bulk call an error of that ticket, in a 200",
    "UUID forms and vendor ids in one bulk call": "each ticket is judged by itself",
    "type_vendor_id or type_id alone": "counts as a vendor id: no row in Leen",
    "An identifier that was used before": "accepted: a second ticket",
    "An identifier that was not given": "project, type and a few random digits",
    "The identifier in Jira": "never written there; a ticket that only a sync brings into Leen has none",
    "By identifier, several tickets": "the newest",
    "Priorities": "Leen's normalised ones and Jira's own names, in exactly that spelling",
    "Single create refused": "404 for an unknown UUID, else 422, with an ErrorResponse",
    "PATCH": "name, description, status, priority, assignee; answers with the ticket",
    "Lists of tickets, projects and users": "cursor pages; updatedSince together with cursor is a 422",
    "JQL search": "Jira's issues under 'issues', pages by 'cursor' and 'next_cursor'; bad JQL is a 400",
}
"""Behaviour of Leen that no document tells, and what the sandbox does instead."""

UPDATABLE = tuple(TicketPatch.model_fields)


class APIError(Exception):
    """Ends a request with an ``ErrorResponse``."""

    def __init__(self, status: int, type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = error_body(type, type.upper(), message)


def create_app(store: Store, *, api_key: str) -> FastAPI:
    """Build the API.

    :param store: where tickets go.
    :param api_key: the one key that is accepted.
    """
    app = FastAPI(title="Leen sandbox", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_exception_handler(APIError, _api_error)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(400, _unreadable)

    def authenticated(
        x_api_key: Annotated[str | None, Header()] = None, x_connection_id: Annotated[str | None, Header()] = None
    ) -> str:
        if x_api_key != api_key:
            raise APIError(401, "unauthorized", "The API key is missing or not valid.")
        if x_connection_id is None:
            raise APIError(401, "unauthorized", "The header X-CONNECTION-ID is missing.")
        if not re.match(UUID_PATTERN, x_connection_id):
            raise APIError(404, "connection_not_found", "There is no connection with the ID in X-CONNECTION-ID.")
        return x_connection_id.lower()

    _add_ticket_routes(app, store, Depends(authenticated))
    _add_list_routes(app, store, Depends(authenticated))
    return app


def _add_ticket_routes(app: FastAPI, store: Store, authenticated: Any) -> None:
    @app.post("/v1/itsm/tickets/bulk/sync")
    async def bulk_sync(body: BulkBody, connection_id: str = authenticated) -> JSONResponse:
        return JSONResponse(create_many(store, connection_id, body.tickets))

    @app.post("/v1/itsm/tickets")
    async def create(body: TicketBody, connection_id: str = authenticated) -> JSONResponse:
        try:
            accepted = jira.examine(body, store.parents(connection_id, [body]))
        except jira.Refused as refused:
            raise _refusal(refused) from None
        created = store.add(connection_id, [(body, accepted)], persist=True)[0]
        return JSONResponse(leen_ticket(_found(store.get(connection_id, created.ticket_id))))

    # Before the route by UUID. ``:path``, since a quoted slash arrives here unquoted.
    @app.get("/v1/itsm/tickets/by-identifier/{identifier:path}")
    async def by_identifier(identifier: str, connection_id: str = authenticated) -> JSONResponse:
        return JSONResponse(leen_ticket(_found(store.get_by_identifier(connection_id, identifier))))

    @app.get("/v1/itsm/tickets/{ticket_id}")
    async def get(ticket_id: str, connection_id: str = authenticated) -> JSONResponse:
        return JSONResponse(leen_ticket(_found(store.get(connection_id, ticket_id.lower()))))

    @app.patch("/v1/itsm/tickets/{ticket_id}")
    async def patch(
        ticket_id: str, body: Annotated[dict[str, Any], Body()], connection_id: str = authenticated
    ) -> JSONResponse:
        row = _found(store.get(connection_id, ticket_id.lower()))
        store.update(row["ticket_id"], _changes(body))
        return JSONResponse(leen_ticket(_found(store.get(connection_id, row["ticket_id"]))))


def _add_list_routes(app: FastAPI, store: Store, authenticated: Any) -> None:
    @app.get("/v1/itsm/tickets")
    async def tickets(
        page: Annotated[_Page, Depends()], updated_since: _Since = None, connection_id: str = authenticated
    ) -> JSONResponse:
        page.start(updated_since)
        rows = store.page(connection_id, since=page.since or 0.0, limit=page.limit + 1, offset=page.offset)
        return JSONResponse(page.of([leen_ticket(row) for row in rows]))

    @app.get("/v1/itsm/projects")
    async def projects(
        page: Annotated[_Page, Depends()], updated_since: _Since = None, connection_id: str = authenticated
    ) -> JSONResponse:
        page.start(updated_since)
        return JSONResponse(page.of([leen_project(project) for project in jira.PROJECTS][page.offset :]))

    @app.get("/v1/itsm/users")
    async def users(
        page: Annotated[_Page, Depends()],
        updated_since: _Since = None,
        name: str | None = None,
        email: str | None = None,
        status: str | None = None,
        connection_id: str = authenticated,
    ) -> JSONResponse:
        page.start(updated_since)
        wanted = {field: value for field, value in (("name", name), ("email", email), ("status", status)) if value}
        records = [leen_user(user) for user in jira.USERS]
        chosen = [record for record in records if all(record[field] == value for field, value in wanted.items())]
        return JSONResponse(page.of(chosen[page.offset :]))

    @app.get("/v1/itsm/passthrough/tickets/search")
    async def search(jql: str, page: Annotated[_Page, Depends()], connection_id: str = authenticated) -> JSONResponse:
        try:
            condition = compile_jql(jql)
        except JQLError as error:
            raise APIError(422 if len(jql) > 5000 else 400, "invalid_jql", str(error)) from None
        rows = store.search(
            connection_id, condition.sql, condition.parameters, limit=page.limit + 1, offset=page.offset
        )
        result = page.of([jira_issue(row) for row in rows])
        return JSONResponse({"issues": result.pop("items"), **result})


def create_many(store: Store, connection_id: str, tickets: list[TicketBody]) -> dict[str, Any]:
    """Create what Jira accepts of a bulk call's tickets, and give the call's reply."""
    parents = store.parents(connection_id, tickets)
    accepted: list[tuple[TicketBody, jira.Accepted]] = []
    results: list[dict[str, Any]] = []
    for index, ticket in enumerate(tickets):
        result = {
            "success": False,
            "request_index": index,
            "identifier": ticket.identifier,
            "ticket_id": None,
            "vendor_ticket_id": None,
            "error": None,
        }
        try:
            accepted.append((ticket, jira.examine(ticket, parents)))
            result["success"] = True
        except jira.Refused as refused:
            result["error"] = str(refused)
        results.append(result)
    successes = [result for result in results if result["success"]]
    for result, created, (_, placed) in zip(successes, store.add(connection_id, accepted), accepted, strict=True):
        result["identifier"] = created.identifier
        result["vendor_ticket_id"] = created.vendor_key
        result["ticket_id"] = None if placed.by_vendor_id else created.ticket_id
    failed = len(results) - len(successes)
    return {"total": len(results), "succeeded": len(successes), "failed": failed, "results": results}


def _changes(body: dict[str, Any]) -> dict[str, Any]:
    """What a PATCH changes, as columns of the store."""
    unknown = sorted(body.keys() - set(UPDATABLE))
    if unknown:
        raise APIError(422, "validation_error", f"{', '.join(unknown)} can't be updated; {', '.join(UPDATABLE)} can.")
    try:
        patch = TicketPatch.model_validate(body)
    except ValueError:
        raise APIError(422, "validation_error", "The fields of a ticket are texts, and user IDs are UUIDs.") from None
    changes: dict[str, Any] = {}
    try:
        if patch.name is not None:
            jira.check_summary(patch.name)
            changes["name"] = patch.name
        if "description" in body:
            jira.check_description(patch.description)
            changes["description"] = patch.description
        if patch.priority is not None:
            changes["priority"] = jira.find_priority(patch.priority)
        if "assigned_user_id" in body or "assigned_user_vendor_id" in body:
            user = jira.find_assignee(patch.assigned_user_id, patch.assigned_user_vendor_id)
            changes["assignee_id"] = user and user.id
    except jira.Refused as refused:
        raise _refusal(refused) from None
    if patch.status is not None:
        if patch.status not in jira.STATUSES:
            raise APIError(422, "validation_error", f"There is no status '{patch.status}'.")
        changes["status"] = patch.status
    return changes


def _refusal(refused: jira.Refused) -> APIError:
    return APIError(404 if refused.not_found else 422, "not_found" if refused.not_found else "refused", str(refused))


def _found(row: Any) -> Any:
    if row is None:
        raise APIError(404, "not_found", "Leen knows no such ticket.")
    return row


_Since = Annotated[datetime | None, Query(alias="updatedSince")]


class _Page:
    """One cursor page: where it starts and how long it is."""

    def __init__(self, limit: Annotated[int, Query(ge=0, le=1_000_000)] = 100, cursor: str | None = None) -> None:
        self.limit = limit
        self.offset = 0
        self.since: float | None = None
        self._cursor = cursor
        if cursor is not None:
            try:
                offset, self.since = json.loads(base64.urlsafe_b64decode(cursor))
                self.offset = int(offset)
            except (ValueError, TypeError, binascii.Error):
                raise APIError(422, "validation_error", "The cursor can't be read.") from None

    def start(self, updated_since: datetime | None) -> None:
        """Take the filter of a first request; the cursor carries it on."""
        if updated_since is not None and self._cursor is not None:
            raise APIError(422, "validation_error", "updatedSince belongs to the first request, without a cursor.")
        if updated_since is not None:
            self.since = updated_since.timestamp()

    def of(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The page's reply.

        :param items: everything from the page's start, or at least one more than fits.
        """
        more = self.limit > 0 and len(items) > self.limit
        return {
            "items": items[: self.limit],
            "next_cursor": self._at(self.offset + self.limit) if more else None,
            "previous_cursor": self._at(max(0, self.offset - self.limit)) if self.offset else None,
        }

    def _at(self, offset: int) -> str:
        return base64.urlsafe_b64encode(json.dumps([offset, self.since]).encode()).decode()


async def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, APIError)
    return JSONResponse(error.content, status_code=error.status)


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's 400 for a body that is not even text; Leen's document knows only 422."""
    assert isinstance(error, HTTPException)
    message = f"The request is not well-formed: {error.detail}"
    return JSONResponse(error_body("validation_error", "VALIDATION_ERROR", message), status_code=422)


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Without what was sent: it may be long, or no valid text at all.
    detail = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in error.errors()]
    message = f"The request is not well-formed: {detail[0]['msg']}" if detail else "The request is not well-formed."
    return JSONResponse(error_body("validation_error", "VALIDATION_ERROR", message, detail), status_code=422)
