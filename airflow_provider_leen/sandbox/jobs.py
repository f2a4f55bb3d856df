"""The sandbox's asynchronous jobs: bulk creation and bulk update, ``QUEUED`` → ``RUNNING`` → ``SUCCESS`` | ``FAILED``.

A successful job does not list its tickets. If any ticket fails, the job ends as ``FAILED``, and its ``failure_reason``
lists all of them. Jobs are kept in memory, tickets in the store.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_leen.sandbox.routing import found
from airflow_provider_leen.sandbox.schemas import BulkBody, UpdateBody
from airflow_provider_leen.sandbox.store import Store
from airflow_provider_leen.sandbox.tickets import create_many, update_many

__all__ = ["JobPlan"]

Work = Callable[[int | None], dict[str, Any]]
"""Does a job's work for its first tickets, or for all, and returns the results."""


class JobPlan(BaseModel):
    """How later jobs run.

    :param seconds: the duration of a job, default 0. Its tickets are created at the end.
    :param polls: the job ends after this many polls instead of ``seconds``; None (default) for ``seconds``.
    :param reason: the form of a partial failure's ``failure_reason``: an ``object`` (default), ``json_text``, or
        ``plain_text`` without single tickets.
    :param stall: the job never ends, and its tickets are never created (``before``) or created in time (``after``).
    :param crash_after: the job ends as FAILED with a plain text after this many of its tickets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(default=0.0, ge=0)
    polls: int | None = Field(default=None, ge=1)
    reason: Literal["object", "json_text", "plain_text"] = "object"
    stall: Literal["before", "after"] | None = None
    crash_after: int | None = Field(default=None, ge=0)


@dataclass(slots=True)
class _Job:
    id: str
    connection_id: str
    status: str = "QUEUED"
    failure_reason: Any = None
    polls_left: int = 0
    end: Callable[[], None] | None = None


class Jobs:
    """The jobs of all connection IDs. Lives in the server's event loop.

    :param plan: how jobs run.
    """

    def __init__(self, plan: JobPlan | None = None) -> None:
        self.plan = plan or JobPlan()
        self._jobs: dict[str, _Job] = {}
        self._first_plan = self.plan

    def submit(self, connection_id: str, work: Work) -> str:
        """Start a job and return its id."""
        job = _Job(str(uuid.uuid4()), connection_id)
        self._jobs[job.id] = job
        plan = self.plan
        end = partial(self._end, job, work, plan)
        if plan.polls is not None:
            job.polls_left, job.end = plan.polls, end
        elif plan.seconds == 0:
            end()
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(plan.seconds / 2, self._begin, job)
            loop.call_later(plan.seconds, end)
        return job.id

    def get(self, connection_id: str, job_id: str) -> dict[str, Any] | None:
        """A job as Leen shows it, if the connection has one with this id."""
        job = self._jobs.get(job_id)
        if job is None or job.connection_id != connection_id:
            return None
        shown = {"id": job.id, "status": job.status, "failure_reason": job.failure_reason}
        job.polls_left -= 1
        if job.polls_left == 0 and job.end is not None:
            job.end()
        return shown

    def clear(self) -> None:
        """Delete all jobs and the plan; running jobs create no more tickets."""
        self._jobs.clear()
        self.plan = self._first_plan

    def _begin(self, job: _Job) -> None:
        job.status = "RUNNING"

    def _end(self, job: _Job, work: Work, plan: JobPlan) -> None:
        if job.id not in self._jobs:
            return
        job.status = "RUNNING"
        if plan.stall == "before":
            return
        outcome = work(plan.crash_after)
        if plan.stall == "after":
            return
        job.failure_reason = _failure_reason(outcome, plan)
        job.status = "SUCCESS" if job.failure_reason is None else "FAILED"


def _failure_reason(outcome: dict[str, Any], plan: JobPlan) -> Any:
    if plan.crash_after is not None:
        return "The worker was lost: connection reset by peer"
    if not outcome["failed"]:
        return None
    if plan.reason == "plain_text":
        return f"{outcome['failed']} of {outcome['total']} tickets failed"
    return json.dumps(outcome) if plan.reason == "json_text" else outcome


def add_job_routes(app: FastAPI, store: Store, jobs: Jobs, authenticated: Any) -> None:
    """Add the routes to the app."""

    @app.post("/v1/itsm/tickets/bulk", status_code=202)
    async def bulk_create(body: BulkBody, connection_id: str = authenticated) -> dict[str, str]:
        def work(count: int | None) -> dict[str, Any]:
            return _of_create(create_many(store, connection_id, body.tickets[:count], persist=True))

        return {"job_id": jobs.submit(connection_id, work)}

    @app.post("/v1/itsm/tickets/bulk/update", status_code=202)
    async def bulk_update(body: UpdateBody, connection_id: str = authenticated) -> dict[str, str]:
        updates = body.updates.model_dump(exclude_unset=True)

        def work(count: int | None) -> dict[str, Any]:
            return update_many(store, connection_id, body.ticket_ids[:count], updates)

        return {"job_id": jobs.submit(connection_id, work)}

    @app.get("/v1/jobs/{job_id}")
    async def get_job(job_id: str, connection_id: str = authenticated) -> JSONResponse:
        return JSONResponse(found(jobs.get(connection_id, job_id), "job"))


def _of_create(outcome: dict[str, Any]) -> dict[str, Any]:
    """The breakdown of a creation: without ids, as Leen describes it."""
    told = ("success", "error", "request_index", "identifier")
    return outcome | {"results": [{name: result[name] for name in told} for result in outcome["results"]]}
