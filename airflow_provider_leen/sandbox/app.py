"""The sandbox's Leen API: the routes under ``/v1`` and ``/v2``.

``POST /itsm/tickets/bulk/sync`` behaves as Leen's OpenAPI document says. :data:`ASSUMPTIONS` lists the sandbox's
behaviour where nothing is documented; the page at ``/`` shows it, too.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI
from fastapi.responses import JSONResponse

from airflow_provider_leen.sandbox import jira
from airflow_provider_leen.sandbox.connections import SCANNER_ID, authenticate
from airflow_provider_leen.sandbox.findings import add_finding_routes
from airflow_provider_leen.sandbox.jobs import Jobs, add_job_routes
from airflow_provider_leen.sandbox.jql import JQLError, compile_jql
from airflow_provider_leen.sandbox.records import jira_issue, leen_project, leen_ticket, leen_user
from airflow_provider_leen.sandbox.routing import APIError, Page, Since, add_error_handlers, found, refusal
from airflow_provider_leen.sandbox.schemas import BulkBody, TicketBody
from airflow_provider_leen.sandbox.store import Store
from airflow_provider_leen.sandbox.tickets import create_many, update_one

ASSUMPTIONS = {
    "API key missing or wrong": "401 with an ErrorResponse",
    "X-CONNECTION-ID missing": "401 with an ErrorResponse",
    "X-CONNECTION-ID is not a UUID": "404 with an ErrorResponse",
    "Kinds of connections": f"{SCANNER_ID} is a scanner's, any other UUID a tracker's with its own tickets",
    "A connection of the wrong kind": "404 with an ErrorResponse: a scanner's has no tickets, a tracker's no findings",
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
    "updatedSince": "by when Leen wrote its copy: at a creation, a change through Leen, a sync. Times shown are Jira's",
    "What people do in Jira": "seen by the search at once, by Leen after its next sync",
    "A ticket moved in Jira": "keeps Leen's id; the search finds it by its old key, too, and shows the new one",
    "A ticket deleted in Jira": "a 404 after the next sync; before that, Leen shows it, and a change is refused",
    "Changing the status": "any status can follow any, unless a workflow is set; else a 422, or that ticket's error",
    "Statuses in Jira": "To Do, In Progress, Done and the like, with Jira's three categories",
    "A job": "takes the same headers; {id, status, failure_reason}, the latter an object, JSON text or plain text",
    "A job's tickets": "made at its end, all of them stored in Leen, those with vendor ids as well",
    "Bulk update": "the documented fields only; what fails after the status changed leaves that changed",
    "Vulnerability findings": "a few hundred, the same at every start; filters go into each page's request",
    "A finding's state, type": "OPEN, REOPENED, RESOLVED; DEPENDENCY (documented), CONTAINER, NETWORK, CODE",
    "A finding's fields": "all are there, null where they don't apply; vulnerabilities is then an empty list",
    "resourceId": "Leen's id of a repository, which no field of a finding names; several, separated by commas",
    "JQL search": "Jira's issues under 'issues', pages by 'cursor' and 'next_cursor'; bad JQL is a 400",
    "JQL that names a key that Jira doesn't have": "a 400, as from Jira",
}
"""Undocumented behaviour of Leen, and what the sandbox does."""


def create_app(store: Store, *, api_key: str, jobs: Jobs | None = None) -> FastAPI:
    """Build the API.

    :param store: stores the tickets.
    :param api_key: the only accepted key.
    :param jobs: runs asynchronous jobs, default at once.
    """
    app = FastAPI(title="Leen sandbox", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    add_error_handlers(app)

    tracker = Depends(authenticate(api_key, scanner=False))
    _add_ticket_routes(app, store, tracker)
    _add_list_routes(app, store, tracker)
    add_job_routes(app, store, jobs or Jobs(), tracker)
    add_finding_routes(app, Depends(authenticate(api_key, scanner=True)))
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
            raise refusal(refused) from None
        created = store.add(connection_id, [(body, accepted)], persist=True)[0]
        return JSONResponse(leen_ticket(found(store.leen.get(connection_id, created.ticket_id))))

    # Before the route by UUID. ``:path``, since a quoted slash arrives here unquoted.
    @app.get("/v1/itsm/tickets/by-identifier/{identifier:path}")
    async def by_identifier(identifier: str, connection_id: str = authenticated) -> JSONResponse:
        return JSONResponse(leen_ticket(found(store.leen.get_by_identifier(connection_id, identifier))))

    @app.get("/v1/itsm/tickets/{ticket_id}")
    async def get(ticket_id: str, connection_id: str = authenticated) -> JSONResponse:
        return JSONResponse(leen_ticket(found(store.leen.get(connection_id, ticket_id.lower()))))

    @app.patch("/v1/itsm/tickets/{ticket_id}")
    async def patch(
        ticket_id: str, body: Annotated[dict[str, Any], Body()], connection_id: str = authenticated
    ) -> JSONResponse:
        update_one(store, connection_id, ticket_id, body)
        return JSONResponse(leen_ticket(found(store.leen.get(connection_id, ticket_id.lower()))))


def _add_list_routes(app: FastAPI, store: Store, authenticated: Any) -> None:
    @app.get("/v1/itsm/tickets")
    async def tickets(
        page: Annotated[Page, Depends()], updated_since: Since = None, connection_id: str = authenticated
    ) -> JSONResponse:
        page.start(updated_since)
        rows = store.leen.page(connection_id, since=page.since or 0.0, limit=page.limit + 1, offset=page.offset)
        return JSONResponse(page.of([leen_ticket(row) for row in rows]))

    @app.get("/v1/itsm/projects")
    async def projects(
        page: Annotated[Page, Depends()], updated_since: Since = None, connection_id: str = authenticated
    ) -> JSONResponse:
        page.start(updated_since)
        return JSONResponse(page.of([leen_project(project) for project in jira.PROJECTS][page.offset :]))

    @app.get("/v1/itsm/users")
    async def users(
        page: Annotated[Page, Depends()],
        updated_since: Since = None,
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
    async def search(jql: str, page: Annotated[Page, Depends()], connection_id: str = authenticated) -> JSONResponse:
        try:
            condition = compile_jql(jql)
        except JQLError as error:
            raise APIError(422 if len(jql) > 5000 else 400, "invalid_jql", str(error)) from None
        for key in condition.keys:
            if store.find(connection_id, key) is None:
                raise APIError(400, "invalid_jql", f"An issue with key '{key}' does not exist for field 'key'.")
        rows = store.search(
            connection_id, condition.sql, condition.parameters, limit=page.limit + 1, offset=page.offset
        )
        result = page.of([jira_issue(row) for row in rows])
        return JSONResponse({"issues": result.pop("items"), **result})
