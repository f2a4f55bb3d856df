"""Pure decisions about Leen's asynchronous jobs: whether one has ended, and what it proves about each ticket.

A job goes from QUEUED and RUNNING to SUCCESS or FAILED. SUCCESS means that every ticket succeeded; it names none.
FAILED may be a partial success: its ``failure_reason`` has a result for each ticket, as an object or as JSON text (Leen
does not document which). Any other reason, for example after a crash, proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow_provider_leen.api.models import Job
from airflow_provider_leen.api.replies import parse
from airflow_provider_leen.api.results import (
    Claim,
    Sent,
    nothing_proved,
    results_of_breakdown,
    speaks_against_success,
)
from airflow_provider_leen.api.text import one_line

_SHOWN = 300


def has_ended(job: Job) -> bool:
    """Return whether a job has ended. Undocumented statuses count as running: the deadline ends the wait."""
    return _status(job) in ("SUCCESS", "FAILED")


def results_of_create(job: Job, sent: Sent) -> list[Claim]:
    """Read what a finished bulk-create job proves about each ticket.

    :param job: the job.
    :param sent: the identifiers of the tickets that were submitted.
    :return: one claim a ticket, in order. Claims of a SUCCESS have no ids, and Leen documents none for the others.
    """
    return _results(job, sent, "identifier")


def results_of_update(job: Job, ticket_ids: Sequence[str]) -> list[Claim]:
    """Read what a finished bulk-update job proves about each ticket.

    :param job: the job.
    :param ticket_ids: the Leen UUIDs that were submitted.
    :return: one claim a ticket, in order.
    """
    return _results(job, ticket_ids, "ticket_id")


def describe(job: Job) -> str:
    """Return a sentence on how a job ended, with its reason unless that is a list of results."""
    reason = _reason(job)
    if reason is None or (isinstance(reason, dict) and isinstance(reason.get("results"), list)):
        return f"status {job.status}"
    text = reason if isinstance(reason, str) else json.dumps(reason, default=str)
    return f"status {job.status}: {one_line(text, _SHOWN)}"


def _results(job: Job, sent: Sent, field: str) -> list[Claim]:
    reason = _reason(job)
    if _status(job) != "SUCCESS":
        return results_of_breakdown(reason, sent, field=field)
    if any(speaks_against_success(said, len(sent)) for said in (reason, job.model_extra)):
        return nothing_proved("It ended with SUCCESS, but its other fields contradict that", reason, sent, field=field)
    return [Claim("succeeded")] * len(sent)


def _status(job: Job) -> str:
    return job.status.strip().upper()


def _reason(job: Job) -> Any:
    if isinstance(job.failure_reason, str):
        try:
            return parse(job.failure_reason)
        except ValueError:
            return job.failure_reason
    return job.failure_reason
