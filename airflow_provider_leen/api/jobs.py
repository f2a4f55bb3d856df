"""Pure decisions about Leen's asynchronous jobs: whether one has ended, and what became of each of its tickets.

A job goes from QUEUED and RUNNING to SUCCESS or FAILED. SUCCESS means that every ticket worked, and tells nothing of
each. FAILED may be a partial success: its ``failure_reason`` tells of each ticket, as an object or as JSON text (Leen
does not document which). A reason that is neither, after a crash say, tells of none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airflow_provider_leen.api.models import BulkResult, Job
from airflow_provider_leen.api.replies import parse
from airflow_provider_leen.api.retry import match_results

_SHOWN = 300


def has_ended(job: Job) -> bool:
    """Tell whether a job is over. A status that Leen does not document counts as under way: the deadline ends it."""
    return job.status.upper() in ("SUCCESS", "FAILED")


def results_of_create(job: Job, count: int) -> list[BulkResult | None]:
    """Read what became of each ticket of a bulk-create job that has ended.

    :param job: the job.
    :param count: how many tickets were submitted.
    :return: one entry a ticket, in order; None where the job doesn't say. No entry has a ``vendor_ticket_id``, and
        those of a SUCCESS have no ids at all.
    """
    if _succeeded(job):
        return [BulkResult(success=True, request_index=position) for position in range(count)]
    return match_results(_entries(job), count)


def results_of_update(job: Job, ticket_ids: Sequence[str]) -> list[BulkResult | None]:
    """Read what became of each ticket of a bulk-update job that has ended.

    :param job: the job.
    :param ticket_ids: the Leen UUIDs that were submitted.
    :return: one entry a ticket, in order; None where the job doesn't say.
    """
    if _succeeded(job):
        return [BulkResult(success=True, request_index=n, ticket_id=i) for n, i in enumerate(ticket_ids)]
    entries = _entries(job)
    # Each result names its ticket, which says more than its position.
    named = match_results(entries, len(entries)) if isinstance(entries, list) else []
    by_id = {result.ticket_id.lower(): result for result in named if result is not None and result.ticket_id}
    return [by_id.get(ticket_id.lower()) for ticket_id in ticket_ids]


def describe(job: Job) -> str:
    """Say how a job ended, in words, with the reason where it has one that tells of no single ticket."""
    reason = job.failure_reason
    if reason is None or _entries(job) is not None:
        return f"status {job.status}"
    text = " ".join((reason if isinstance(reason, str) else json.dumps(reason, default=str)).split())
    return f"status {job.status}: {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}"


def _succeeded(job: Job) -> bool:
    return job.status.upper() == "SUCCESS"


def _entries(job: Job) -> Any:
    """The ``results`` of a failed job's breakdown; None when there are none."""
    reason = job.failure_reason
    if isinstance(reason, str):
        try:
            reason = parse(reason)
        except ValueError:
            return None
    return reason.get("results") if isinstance(reason, dict) else None
