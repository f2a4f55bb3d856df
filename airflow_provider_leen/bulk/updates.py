"""Bulk updates as pure functions: reading ids, results, counts, and the error that a task ends with.

Everything that goes into XCom is of plain JSON types. Setting the same values twice does no harm, so no ledger is kept
for retries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from airflow_provider_leen.api.content import is_uuid
from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenOutcomeUnknownError
from airflow_provider_leen.api.text import clean
from airflow_provider_leen.bulk.reading import parse_text
from airflow_provider_leen.bulk.statuses import SUCCEEDED, UPDATE_STATUSES, UpdateStatus
from airflow_provider_leen.bulk.summary import (
    Progress,
    UpdateResult,
    UpdateSummary,
    counted,
    counts_of,
    first_errors,
    shown_error,
)
from airflow_provider_leen.bulk.table import TicketTable
from airflow_provider_leen.bulk.validation import excerpt
from airflow_provider_leen.bulk.verdict import choose_error

UPDATABLE = ("status", "priority", "assigned_user_id", "name", "description")
"""The fields that Leen's bulk update documents."""

SAME_VALUES_AGAIN = "A retry sets the same values again, which does no harm."

_MAX_NAMED = 20


# Reading


def read_ticket_ids(value: Any) -> list[Any]:
    """Return the ids in the rendered value of the operator's ``ticket_ids``, as they came.

    :param value: a list of ids, or of lists of ids; a mapped upstream's lazy sequence of either; one id; or a text that
        holds one of these as JSON or as a Python literal.
    :raises LeenConfigError: it holds no list of ids.
    """
    if isinstance(value, str) and not is_uuid(value):
        value = parse_text(value, "ticket_ids")
    if isinstance(value, str | UUID):
        return [value]
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray | memoryview):
        raise LeenConfigError(
            f"`ticket_ids` is of type {type(value).__name__} ({excerpt(value)}): write a list of Leen's ticket ids "
            "(UUIDs), such as the ticket_id of each of a summary's results."
        )
    ids: list[Any] = []
    for item in value:
        ids += item if isinstance(item, list | tuple) else [item]
    return ids


def read_updates(value: Any) -> dict[str, str]:
    """Return the operator's ``updates``, checked, with nulls dropped.

    :param value: a mapping of fields to texts, or a text that holds one as JSON or as a Python literal.
    :raises LeenConfigError: it changes nothing, or something that Leen can't change in bulk.
    """
    if isinstance(value, str):
        value = parse_text(value, "updates")
    if not isinstance(value, Mapping):
        raise LeenConfigError(f"`updates` is of type {type(value).__name__}: write a dict like {{'status': 'CLOSED'}}.")
    given = {name: setting for name, setting in value.items() if setting is not None}
    unknown = [str(name) for name in given if name not in UPDATABLE]
    if unknown or not given:
        what = f"names {', '.join(unknown)}" if unknown else "changes nothing"
        raise LeenConfigError(f"`updates` {what}: write one or more of {', '.join(UPDATABLE)}.")
    for name, setting in given.items():
        if not isinstance(setting, str):
            raise LeenConfigError(f"`updates` holds {excerpt(setting)} for {name}: write a text.")
    return {name: clean(setting) for name, setting in given.items()}


def unique_ids(ids: Iterable[Any]) -> list[str]:
    """Return the valid ids, each once, in lower case."""
    return list(dict.fromkeys(str(ticket_id).lower() for ticket_id in ids if is_uuid(ticket_id)))


# Results


def summarise(ids: Sequence[Any], table: TicketTable) -> UpdateSummary:
    """Return the summary of all ids. A valid id without facts was not sent; one given twice counts twice.

    :param ids: the result of :func:`read_ticket_ids`.
    :param table: the facts, by id in lower case.
    """
    results = [_result(index, ticket_id, table) for index, ticket_id in enumerate(ids)]
    counts = counts_of((result["status"] for result in results), UPDATE_STATUSES)
    return cast(UpdateSummary, {**counts, "results": results})


def progress_of(summary: UpdateSummary) -> Progress:
    """Return the progress of a task, for the gate that watches it."""
    return {
        "total": summary["total"],
        "done": summary["total"] - summary["unknown"] - summary["unsent"],
        "failed": summary["rejected"] + summary["invalid"],
    }


def _result(index: int, ticket_id: Any, table: TicketTable) -> UpdateResult:
    status: UpdateStatus = "invalid"
    if is_uuid(ticket_id):
        shown: str | None = str(ticket_id)
        ticket = table[str(ticket_id).lower()]
        status = cast(UpdateStatus, ticket.status)
        error = "the task ended before it was changed" if status == "unsent" else ticket.error
    else:
        shown = clean(ticket_id) if isinstance(ticket_id, str) else None
        error = f"{excerpt(ticket_id)} is not a UUID: write Leen's id of the ticket"
    return {
        "request_index": index,
        "success": status in SUCCEEDED,
        "status": status,
        "ticket_id": shown,
        "error": shown_error(error),
    }


# The end


def final_error(
    summary: UpdateSummary, halted: LeenError | None, max_failures: int | None, max_failure_rate: float | None
) -> LeenError | None:
    """Choose the error that an update task ends with; see :func:`~.verdict.choose_error`."""
    unknown = [result for result in summary["results"] if result["status"] == "unknown"]
    error = None
    if unknown:
        identifiers = [str(result["ticket_id"]) for result in unknown]
        error = LeenOutcomeUnknownError(_named(unknown), identifiers=identifiers, can_be_settled=True)
    return choose_error(summary, halted, error, max_failures, max_failure_rate)


def _named(unknown: Sequence[UpdateResult]) -> str:
    """Name the tickets with an unknown outcome."""
    were = "was" if len(unknown) == 1 else "were"
    lines = [
        f"It is unknown whether {counted(len(unknown), 'ticket')} {were} changed. {SAME_VALUES_AGAIN}",
        *first_errors(unknown, _MAX_NAMED),
    ]
    if len(unknown) > _MAX_NAMED:
        lines.append(f"… and {len(unknown) - _MAX_NAMED} more")
    return "\n  ".join(lines)
