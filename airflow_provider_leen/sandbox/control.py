"""The sandbox's control routes, under ``/_sandbox``, for other processes: faults, counts, contents.

Each call needs the header ``X-Leen-Sandbox: 1`` (:mod:`~.guard` explains why).

- ``GET /_sandbox/faults``, ``POST`` (a :class:`~.faults.FaultRule` as JSON), ``DELETE`` (all of them)
- ``GET /_sandbox/stats``: counts of requests by method and route, faults by kind, tickets, duplicates; peak in flight
- ``GET /_sandbox/requests``, ``GET /_sandbox/tickets`` (``?connection_id=``), ``GET /_sandbox/duplicates``
- ``GET /_sandbox/jobs``, ``POST``: how jobs run (a :class:`~.jobs.JobPlan` as JSON)
- ``POST /_sandbox/sync``: Leen sees all tickets of the vendor as they are
- ``POST /_sandbox/people``: what a person does to a ticket in Jira (a :class:`~.people.Deed` as JSON)
- ``GET /_sandbox/workflow``, ``POST``: which changes of status exist (a :class:`~.jira.Workflow` as JSON)
- ``POST /_sandbox/reset``: deletes tickets, jobs, rules and records, and cuts off running calls
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from airflow_provider_leen.sandbox.faults import FaultRule, Faults
from airflow_provider_leen.sandbox.jira import Workflow
from airflow_provider_leen.sandbox.jobs import JobPlan, Jobs
from airflow_provider_leen.sandbox.people import Deed, People
from airflow_provider_leen.sandbox.recorder import Recorder
from airflow_provider_leen.sandbox.records import held_ticket
from airflow_provider_leen.sandbox.routing import APIError
from airflow_provider_leen.sandbox.store import Store


def stats(store: Store, faults: Faults, recorder: Recorder) -> dict[str, Any]:
    """Return all counts. Duplicates are tickets beyond the first of their kind."""
    repeated = store.duplicates()
    counts = store.counts()
    return {
        "requests": dict(recorder.counts),
        "peak_in_flight": recorder.peak_in_flight,
        "faults": dict(faults.struck),
        "tickets": sum(counts.values()),
        "tickets_by_project": counts,
        "duplicates": {kind: sum(group["count"] - 1 for group in groups) for kind, groups in repeated.items()},
    }


def add_control_routes(
    app: FastAPI,
    store: Store,
    faults: Faults,
    recorder: Recorder,
    jobs: Jobs,
    people: People,
    forget: Callable[[Any], None],
) -> None:
    """Add the routes to the app.

    :param forget: resets the sandbox; gets the address of the requesting client.
    """
    _add_settings(app, store, jobs)
    _add_people(app, people)

    @app.get("/_sandbox/faults")
    async def list_faults() -> JSONResponse:
        return JSONResponse(faults.describe())

    @app.post("/_sandbox/faults")
    async def add_fault(rule: FaultRule) -> JSONResponse:
        faults.add(rule)
        return JSONResponse(faults.describe())

    @app.delete("/_sandbox/faults")
    async def remove_faults() -> JSONResponse:
        faults.remove_all()
        return JSONResponse([])

    @app.get("/_sandbox/stats")
    async def get_stats() -> JSONResponse:
        return JSONResponse(stats(store, faults, recorder))

    @app.get("/_sandbox/requests")
    async def get_requests() -> JSONResponse:
        return JSONResponse([record.as_json() for record in recorder.requests])

    @app.get("/_sandbox/tickets")
    async def get_tickets(connection_id: str | None = None) -> JSONResponse:
        return JSONResponse([held_ticket(row) for row in store.all(connection_id)])

    @app.get("/_sandbox/duplicates")
    async def get_duplicates() -> JSONResponse:
        return JSONResponse(store.duplicates())

    @app.post("/_sandbox/sync")
    async def sync() -> JSONResponse:
        return JSONResponse({"synced": store.leen.sync()})

    @app.post("/_sandbox/reset")
    async def reset(request: Request) -> JSONResponse:
        forget(request.scope["client"])
        # Close the cut-off connections now rather than after the reply, so that no client sends a call on them.
        await asyncio.sleep(0)
        return JSONResponse({})


def _add_settings(app: FastAPI, store: Store, jobs: Jobs) -> None:
    @app.get("/_sandbox/jobs")
    async def get_plan() -> JobPlan:
        return jobs.plan

    @app.post("/_sandbox/jobs")
    async def set_plan(plan: JobPlan) -> JobPlan:
        jobs.plan = plan
        return plan

    @app.get("/_sandbox/workflow")
    async def get_workflow() -> Workflow:
        return store.workflow

    @app.post("/_sandbox/workflow")
    async def set_workflow(workflow: Workflow) -> Workflow:
        store.workflow = workflow
        return workflow


def _add_people(app: FastAPI, people: People) -> None:
    @app.post("/_sandbox/people")
    async def do(deed: Deed) -> JSONResponse:
        try:
            return JSONResponse({"vendor_ticket_id": people.do(deed)})
        except LookupError as error:
            raise APIError(404, "not_found", str(error)) from None
