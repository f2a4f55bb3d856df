"""What becomes of tickets that are changed alike: reading their ids, results, counts, and the error a task ends with.

Everything here is pure, and everything that goes into XCom is of plain JSON types. Setting the same values twice does
no harm, so that nothing has to be remembered over retries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict, cast, get_args
from uuid import UUID

from airflow_provider_leen.api import jobs
from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenStoppedError,
    LeenThresholdError,
    LeenValidationError,
)
from airflow_provider_leen.api.models import Job
from airflow_provider_leen.bulk.summary import over_threshold
from airflow_provider_leen.bulk.tickets import parse_text
from airflow_provider_leen.bulk.validation import excerpt

UpdateStatus = Literal["updated", "rejected", "invalid", "unknown", "unsent"]
"""What became of a ticket: ``updated`` (succeeded), or one of the four ways to fail."""

STATUSES: tuple[UpdateStatus, ...] = get_args(UpdateStatus)

UPDATABLE = ("status", "priority", "assigned_user_id", "name", "description")
"""The fields that Leen's bulk update documents."""

_MAX_SHOWN = 20
_FIRST = (LeenAuthError, LeenConfigError, LeenNotFoundError, LeenValidationError, LeenStoppedError)
"""What comes before everything else: it, and not the tickets, is why the task did not do its work."""


class UpdateResult(TypedDict):
    """What became of one ticket; ``request_index`` is its position in the whole input, from 0."""

    request_index: int
    success: bool
    status: UpdateStatus
    ticket_id: str | None
    error: str | None


class UpdateSummary(TypedDict):
    """The counts, and exactly one result per id, in input order; ``succeeded + failed == total``, always."""

    total: int
    succeeded: int
    failed: int
    updated: int
    rejected: int
    invalid: int
    unknown: int
    unsent: int
    results: list[UpdateResult]


class Outcome(NamedTuple):
    """What became of one ticket."""

    status: UpdateStatus
    error: str | None = None


# Reading


def read_ticket_ids(value: Any) -> list[Any]:
    """Return the ids in what the operator's ``ticket_ids`` was rendered to, as they came.

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
    return given


def is_uuid(value: Any) -> bool:
    """Tell whether a value is a UUID, or a text in the form of one."""
    try:
        return isinstance(value, UUID) or str(UUID(value)) == value.lower()
    except (ValueError, AttributeError, TypeError):
        return False


def in_batches(ids: Iterable[Any], size: int) -> list[list[str]]:
    """Divide the valid ids, each of them once, among jobs."""
    unique = list(dict.fromkeys(str(ticket_id).lower() for ticket_id in ids if is_uuid(ticket_id)))
    return [unique[start : start + size] for start in range(0, len(unique), size)]


# Outcomes


def outcomes_of(job: Job, ticket_ids: Sequence[str]) -> dict[str, Outcome]:
    """Say what became of each ticket of a job, ended or not."""
    if not jobs.has_ended(job):
        return dict.fromkeys(ticket_ids, Outcome("unknown", f"its job has not ended ({jobs.describe(job)})"))
    outcomes = {}
    for ticket_id, result in zip(ticket_ids, jobs.results_of_update(job, ticket_ids), strict=True):
        if result is None:
            outcomes[ticket_id] = Outcome("unknown", f"its job ended without telling of it ({jobs.describe(job)})")
        elif result.success:
            outcomes[ticket_id] = Outcome("updated")
        else:
            outcomes[ticket_id] = Outcome("rejected", result.error or "refused without a reason")
    return outcomes


def summarise(ids: Sequence[Any], outcomes: Mapping[str, Outcome]) -> UpdateSummary:
    """Return the summary of all ids; a valid one without an outcome was not sent, an id given twice counts twice.

    :param ids: what :func:`read_ticket_ids` returned.
    :param outcomes: by id, in lower case.
    """
    results = [_result(index, ticket_id, outcomes) for index, ticket_id in enumerate(ids)]
    by_status = Counter(result["status"] for result in results)
    counts = {status: by_status[status] for status in STATUSES}
    total, succeeded = len(results), counts["updated"]
    return cast(
        UpdateSummary,
        {"total": total, "succeeded": succeeded, "failed": total - succeeded, **counts, "results": results},
    )


def _result(index: int, ticket_id: Any, outcomes: Mapping[str, Outcome]) -> UpdateResult:
    if is_uuid(ticket_id):
        shown: str | None = str(ticket_id)
        outcome = outcomes.get(str(ticket_id).lower(), Outcome("unsent", "the task ended before it"))
    else:
        shown = ticket_id if isinstance(ticket_id, str) else None
        outcome = Outcome("invalid", f"{excerpt(ticket_id)} is no UUID: write Leen's id of the ticket")
    return {
        "request_index": index,
        "success": outcome.status == "updated",
        "status": outcome.status,
        "ticket_id": shown,
        "error": outcome.error,
    }


# The end


def final_error(
    summary: UpdateSummary, halted: LeenError | None, max_failures: int | None, max_failure_rate: float | None
) -> LeenError | None:
    """Choose the error that a task ends with.

    In this order: the request, the key or the connection refused, a stop from outside; an outcome that nobody knows;
    Leen unreachable with tickets left; a threshold passed. Without a threshold, any failure is one too many.

    :param summary: what became of all tickets.
    :param halted: what ended the sending early, if anything did.
    :param max_failures: the most failures allowed; None for no such limit.
    :param max_failure_rate: the largest share of failures allowed, 0 to 1; None for no such limit.
    """
    if isinstance(halted, _FIRST):
        return halted
    if summary["unknown"]:
        unknown = [result for result in summary["results"] if result["status"] == "unknown"]
        lines = [
            f"{len(unknown)} tickets were to be changed and nobody can say whether they were. Setting the same values "
            "again does no harm: a retry does.",
            *errors_of(unknown),
        ]
        identifiers = [str(result["ticket_id"]) for result in unknown]
        return LeenOutcomeUnknownError("\n  ".join(lines), identifiers=identifiers, can_be_settled=True)
    if halted is not None:
        return halted
    if max_failures is None and max_failure_rate is None:
        max_failures = 0
    passed = over_threshold(summary["failed"], summary["total"], max_failures, max_failure_rate)
    if passed is None:
        return None
    counts = {name: value for name, value in summary.items() if name != "results"}
    return LeenThresholdError("\n  ".join([f"{passed}.", *errors_of(summary["results"])]), summary=counts)


def errors_of(results: Iterable[UpdateResult]) -> Iterator[str]:
    """Return the first failed tickets, one line each."""
    failed = [result for result in results if not result["success"]]
    for result in failed[:_MAX_SHOWN]:
        yield f"#{result['request_index']} {result['ticket_id'] or '(no id)'}: {result['error']}"
    if len(failed) > _MAX_SHOWN:
        yield f"… and {len(failed) - _MAX_SHOWN} more"


def closing_table(summary: UpdateSummary) -> str:
    """Return the counts as a small table, and the first errors under it, for the log."""
    counts: dict[str, int] = {status: summary[status] for status in STATUSES}
    counts["total"] = summary["total"]
    width = len(str(summary["total"]))
    return "\n".join(
        [*(f"{name:<10}{count:>{width}}" for name, count in counts.items()), *errors_of(summary["results"])]
    )
