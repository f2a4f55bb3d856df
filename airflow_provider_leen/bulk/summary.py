"""The outcome of a list of tickets: results, counts, thresholds, and how they are shown.

Everything here is pure, and everything that goes into XCom is of plain JSON types.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, TypeGuard, cast

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.api.text import clean, cut, one_line
from airflow_provider_leen.bulk.statuses import (
    ALL_STATUSES,
    LEFT_OUT_OF_THE_RATE,
    STATUSES,
    SUCCEEDED,
    ReconcileStatus,
    UpdateStatus,
    statuses_of,
)

__all__ = ["Counts", "Progress", "ReconcileSummary", "Summary", "TicketResult", "UpdateResult", "UpdateSummary"]

MAX_ERROR = 2000
"""The most characters of a ticket's error that are published."""

_MAX_ERRORS_SHOWN = 20
_MAX_NAME_SHOWN = 80
_MAX_ERROR_SHOWN = 300


class TicketResult(TypedDict):
    """The outcome of one ticket; ``request_index`` is its position in the whole input, from 0."""

    request_index: int
    success: bool
    status: ReconcileStatus
    name: str | None
    identifier: str | None
    ticket_id: str | None
    vendor_ticket_id: str | None
    error: str | None


class _Totals(TypedDict):
    total: int
    succeeded: int
    failed: int
    rejected: int
    invalid: int
    unknown: int
    unsent: int


class Counts(_Totals):
    """The number of tickets by status; always ``succeeded + failed == total``."""

    created: int
    existing: int


class Summary(Counts):
    """The counts, and exactly one result per ticket, in input order."""

    results: list[TicketResult]
    earlier_unknown: NotRequired[int]
    """With a register: tickets with an unknown outcome whose findings are no longer in the list."""


class UpdateResult(TypedDict):
    """The outcome of one change of a ticket; ``request_index`` is its position in the input, from 0."""

    request_index: int
    success: bool
    status: UpdateStatus
    ticket_id: str | None
    error: str | None


class UpdateSummary(_Totals):
    """How many tickets were changed, and exactly one result per id, in input order; the gate can judge it, too."""

    updated: int
    results: list[UpdateResult]


class ReconcileSummary(Counts):
    """The outcome of a reconciliation, for the findings in the list and those that are gone.

    ``complete`` says whether the list was complete, ``waiting`` how many tickets of gone findings stay open because
    the list is empty, ``closed_by_people`` how many tickets were read and found closed by people.
    """

    closed: int
    reopened: int
    pending: int
    complete: bool
    waiting: int
    closed_by_people: int
    earlier_unknown: int
    dry_run: NotRequired[bool]
    plan: str | None
    results: list[TicketResult]


AnySummary = Summary | UpdateSummary | ReconcileSummary
"""The summaries that a gate can judge."""


class Progress(TypedDict):
    """The progress of a running task: ``done`` have an outcome, ``failed`` of them are rejected or invalid."""

    total: int
    done: int
    failed: int


def summarise(results: Sequence[TicketResult]) -> Summary:
    """Return the summary of all results of one task.

    :param results: one result per ticket, in input order.
    """
    return cast(Summary, {**counts_of((result["status"] for result in results), STATUSES), "results": list(results)})


def shown_error(error: str | None) -> str | None:
    """Return an error for a ticket's result: cleaned, with at most 2,000 characters."""
    return error and cut(clean(error), MAX_ERROR)


def counts_of(outcomes: Iterable[str], statuses: Iterable[str]) -> dict[str, int]:
    """Return the counts of a summary.

    :param outcomes: the status of each ticket.
    :param statuses: all possible statuses in this summary.
    """
    by_status = Counter(outcomes)
    return _counts({status: by_status[status] for status in statuses})


def add_up(summaries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the added counts of several summaries, for example of an operator's mapped instances.

    Summaries of created and of changed tickets can be added.
    """
    by_status: Counter[str] = Counter()
    for summary in summaries:
        by_status.update(counts_by_status(summary))
    return _counts(by_status or dict.fromkeys(STATUSES, 0))


def counts_by_status(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a summary by status."""
    return {status: summary[status] for status in ALL_STATUSES if status in summary}


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 ticket``, ``2 tickets``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def over_threshold(counts: Mapping[str, Any], max_failures: int | None, max_failure_rate: float | None) -> str | None:
    """Return which threshold was exceeded, or None.

    The rate refers to the tickets that did not exist before: hundreds of existing ones must not hide that all new ones
    failed. It is 0 if there are none.

    :param counts: the counts of a summary, or of several added up.
    :param max_failures: the most failures allowed; None for no such limit.
    :param max_failure_rate: the largest share of failures allowed, 0 to 1; None for no such limit.
    """
    failed, total = counts["failed"], counts["total"]
    known = sum(counts.get(status, 0) for status in LEFT_OUT_OF_THE_RATE)
    rate = failed / (total - known) if total > known else 0.0
    passed = []
    if max_failures is not None and failed > max_failures:
        passed.append(f"max_failures={max_failures}")
    if max_failure_rate is not None and rate > max_failure_rate:
        passed.append(f"max_failure_rate={max_failure_rate}")
    if not passed:
        return None
    share = f"{100 * rate:.3g} %" + (f" of the {total - known} that did not exist before" if known else "")
    return f"{failed} of {counted(total, 'ticket')} failed ({share}), more than {' and '.join(passed)} allows"


def check_summary(value: Any) -> AnySummary:
    """Check that a value from XCom is a summary, and return it.

    :param value: one summary, as the operator pushed it.
    :raises LeenConfigError: counts are missing, are not numbers, or don't add up with each other or with the results.
    """
    if not isinstance(value, Mapping):
        raise LeenConfigError(
            f"This is not a summary of tickets, but of type {type(value).__name__}: pass the operator's `.output`."
        )
    statuses = statuses_of(value)
    for field in ("total", "succeeded", "failed", *statuses):
        count = value.get(field)
        if not _is_whole(count) or count < 0:
            found = "missing" if count is None else f"{str(count)[:20]!r}, which is not a number"
            raise LeenConfigError(
                f"This is not a summary of tickets: `{field}` is {found}. Pass the operator's `.output`."
            )
    expected = _counts({status: value[status] for status in statuses})
    for field, count in expected.items():
        if value[field] != count:
            raise LeenConfigError(
                f"This summary doesn't add up: `{field}` is {value[field]}, its statuses make {count}."
            )
    _check_results(value, statuses)
    return cast(AnySummary, value)


def read_summaries(value: Any) -> list[AnySummary]:
    """Return the summaries in the rendered value of the gate's ``results``.

    :param value: one summary; a sequence of them (a mapped operator's lazy sequence); or a text that holds one of
        these as JSON or as a Python literal.
    :return: one summary or more.
    :raises LeenConfigError: there is none, or one of them is malformed.
    """
    if isinstance(value, str):
        # Imported here, since the import is slow for Dag files.
        from airflow_provider_leen.bulk.reading import parse_text

        value = parse_text(value, "results")
    if value is None:
        raise LeenConfigError(
            "`results` is None: the operator published no summary, or the template names a task or key that doesn't "
            "exist. Pass the operator's `.output`."
        )
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return [check_summary(value)]
    summaries = [summary for item in value for summary in read_summaries(item)]
    if not summaries:
        raise LeenConfigError("`results` is an empty list: no operator published a summary.")
    return summaries


def first_errors(results: Iterable[TicketResult | UpdateResult], limit: int, task: str = "") -> list[str]:
    """Return the first failed tickets, one line each: ``#17 SQL built from strings: the priority is unknown``.

    Results of changes have no name; the ticket's id is shown instead.

    :param results: results in input order.
    :param limit: the most lines.
    :param task: the task's name, for the beginning of each line: ``create[2] #17 …``.
    """
    of_task = f"{task} " if task else ""
    lines: list[str] = []
    for result in results:
        if len(lines) == limit:
            break
        if result["status"] not in SUCCEEDED:
            name = one_line(str(result.get("name") or result.get("ticket_id") or "(no name)"), _MAX_NAME_SHOWN)
            error = one_line(result.get("error") or result["status"], _MAX_ERROR_SHOWN)
            lines.append(f"{of_task}#{result['request_index']} {name}: {error}")
    return lines


def closing_table(summary: AnySummary) -> str:
    """Return the counts as a small table, and at most 20 errors under it, for the log."""
    width = len(str(summary["total"]))
    lines = [f"{field:<10}{count:>{width}}" for field, count in counts_by_status(summary).items()]
    lines += ["-" * (10 + width), f"{'total':<10}{summary['total']:>{width}}"]
    errors = first_errors(summary["results"], _MAX_ERRORS_SHOWN)
    if errors:
        shown = f"first {len(errors)} of {summary['failed']}" if len(errors) < summary["failed"] else "all"
        lines += [f"errors ({shown}):", *(f"  {error}" for error in errors)]
    return "\n".join(lines)


def _check_results(summary: Mapping[str, Any], statuses: Collection[str]) -> None:
    results = summary.get("results")
    if not isinstance(results, list):
        raise LeenConfigError(
            f"This is not a summary of tickets: `results` is of type {type(results).__name__}, not a list."
        )
    if not results and isinstance(summary.get("results_path"), str):
        return
    if len(results) != summary["total"]:
        raise LeenConfigError(f"This summary has {len(results)} results for {summary['total']} tickets.")
    for position, result in enumerate(results):
        if not is_result(result, statuses):
            raise LeenConfigError(
                f"This summary is malformed: entry {position} of its `results` is not a ticket's result."
            )
    by_status = Counter(result["status"] for result in results)
    for status in statuses:
        if by_status[status] != summary[status]:
            raise LeenConfigError(
                f"This summary doesn't add up: `{status}` is {summary[status]}, its results have {by_status[status]}."
            )


def is_result(value: Any, statuses: Collection[str]) -> bool:
    """Return whether a value can be one ticket's result."""
    return (
        isinstance(value, Mapping)
        and _is_whole(value.get("request_index"))
        and value.get("status") in statuses
        and value.get("success") is (value["status"] in SUCCEEDED)
    )


def _counts(by_status: Mapping[str, int]) -> dict[str, int]:
    succeeded = sum(by_status.get(status, 0) for status in SUCCEEDED)
    total = sum(by_status.values())
    return {"total": total, "succeeded": succeeded, "failed": total - succeeded, **by_status}


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
