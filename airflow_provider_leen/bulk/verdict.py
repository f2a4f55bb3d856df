"""Chooses the error, if any, that a task ends with, after its results are published."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from airflow_provider_leen.api.errors import (
    FINAL,
    LeenError,
    LeenLedgerError,
    LeenOutcomeUnknownError,
    LeenStoppedError,
    LeenThresholdError,
)
from airflow_provider_leen.bulk.summary import (
    AnySummary,
    Summary,
    TicketResult,
    counted,
    first_errors,
    over_threshold,
)
from airflow_provider_leen.bulk.validation import Wording

_MAX_NAMED = 20


def final_error(
    summary: Summary,
    halted: LeenError | None,
    max_failures: int | None,
    max_failure_rate: float | None,
    *,
    can_be_settled: bool = False,
    row: Callable[[int], str] = Wording.row,
) -> LeenError | None:
    """Choose the error that a creating task ends with; see :func:`choose_error`.

    :param can_be_settled: whether a retry can determine unknown outcomes.
    :param row: names the row at a position.
    """
    results = [result for result in summary["results"] if result["status"] == "unknown"]
    unknown = None
    if results:
        identifiers = [str(result["identifier"]) for result in results]
        unknown = LeenOutcomeUnknownError(_named(results, row), identifiers=identifiers, can_be_settled=can_be_settled)
    return choose_error(summary, halted, unknown, max_failures, max_failure_rate)


def choose_error(
    summary: AnySummary,
    halted: LeenError | None,
    unknown: LeenOutcomeUnknownError | None,
    max_failures: int | None,
    max_failure_rate: float | None,
) -> LeenError | None:
    """Choose the error that a task ends with.

    In this order: key, connection or configuration refused, the ledger, a stop from outside; an unknown outcome; Leen
    unreachable or broken, or the request refused, with tickets left; an exceeded threshold, which is judged only if
    every outcome is known. Without a threshold, the gate judges failed tickets.

    :param summary: the outcome of all tickets.
    :param halted: the error that ended the sending early, if any.
    :param unknown: names the tickets with an unknown outcome, if there are any.
    :param max_failures: the most failures allowed; None for no such limit.
    :param max_failure_rate: the largest share of failures allowed, 0 to 1; None for no such limit.
    """
    if isinstance(halted, LeenLedgerError | LeenStoppedError) and not summary["unsent"] and not summary["unknown"]:
        # Every outcome is known and published: failing now would only cause a pointless retry.
        halted = None
    if isinstance(halted, FINAL):
        if unknown:
            halted.args = (f"{halted}\n{unknown}",)
        return halted
    if unknown:
        if halted is not None:
            unknown.args = (f"{unknown}\nThe task ended early: {halted}",)
        return unknown
    if halted is not None and summary["unsent"]:
        return halted
    passed = over_threshold(summary, max_failures, max_failure_rate)
    if passed:
        counts = {name: value for name, value in summary.items() if name != "results"}
        return LeenThresholdError("\n  ".join([f"{passed}.", *first_errors(summary["results"], 5)]), summary=counts)
    return None


def failures_that_nothing_judges(
    summary: AnySummary, max_failures: int | None, max_failure_rate: float | None, *, is_gated: bool
) -> str | None:
    """Return a warning if tickets failed and neither a threshold nor a gate judges them; else None."""
    if is_gated or not summary["failed"] or max_failures is not None or max_failure_rate is not None:
        return None
    return (
        f"{counted(summary['failed'], 'ticket')} failed, but the run continues: this task has no threshold, and no "
        "gate judges it. Set `max_failures` or `max_failure_rate`, or put a LeenTicketFailureSensor after it."
    )


def too_many_new(new: int, max_new: int, *, known: int, listed: int, register: str = "register") -> str:
    """Return the message of a run that would file more tickets than ``max_new``.

    :param known: how many findings of the list the register knows.
    :param listed: how many findings the list has.
    :param register: names the register, or its scope.
    """
    return (
        f"{counted(new, 'ticket')} would be filed, more than max_new={max_new} allows, so nothing was sent. The "
        f"{register} knows {known} of the list's {counted(listed, 'finding')}. Check `register` and `scope`, and that "
        "the identifiers are the same as in earlier runs. If the findings really are new, raise `max_new` and clear "
        "the task."
    )


def _named(unknown: list[TicketResult], row: Callable[[int], str]) -> str:
    """Name the tickets with an unknown outcome, with details of the first ones."""
    lines = [
        "The outcome of 1 ticket is unknown. Look for it in the tracker before anything sends it again:"
        if len(unknown) == 1
        else f"The outcome of {len(unknown)} tickets is unknown. Look for them in the tracker before anything sends "
        "them again:"
    ]
    for error, alike in groupby(unknown[:_MAX_NAMED], lambda result: result["error"]):
        named = [f"{row(one['request_index'])} {one['name']!r:.80} (identifier {one['identifier']})" for one in alike]
        lines += [f"{named[0]}: {error}"] if len(named) == 1 else [*named, f"Each of these {len(named)}: {error}"]
    if len(unknown) > _MAX_NAMED:
        rest = ", ".join(str(result["identifier"]) for result in unknown[_MAX_NAMED:])
        lines.append(f"… and these identifiers: {rest}")
    return "\n  ".join(lines)
