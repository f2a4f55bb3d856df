"""Which error, if any, a task ends with, once all that is known has been published."""

from __future__ import annotations

from airflow_provider_leen.api.errors import (
    LeenAuthError,
    LeenConfigError,
    LeenError,
    LeenLedgerError,
    LeenNotFoundError,
    LeenOutcomeUnknownError,
    LeenStoppedError,
    LeenThresholdError,
)
from airflow_provider_leen.bulk.summary import Summary, TicketResult, first_errors, over_threshold

_FIRST = (LeenAuthError, LeenConfigError, LeenNotFoundError, LeenLedgerError, LeenStoppedError)
"""What comes before everything else: it, and not the tickets, is why the task did not do its work."""

_MAX_NAMED = 20


def final_error(
    summary: Summary,
    halted: LeenError | None,
    max_failures: int | None,
    max_failure_rate: float | None,
    *,
    can_be_settled: bool = False,
) -> LeenError | None:
    """Choose the error that a task ends with.

    In this order: key, connection or configuration refused, the ledger, a stop from outside; an outcome that nobody
    knows; Leen unreachable or broken with tickets left; a threshold passed, which is judged only when every ticket's
    fate is known.

    :param summary: what became of all tickets.
    :param halted: what ended the sending early, if anything did.
    :param max_failures: the most failures allowed; None for no such limit.
    :param max_failure_rate: the largest share of failures allowed, 0 to 1; None for no such limit.
    :param can_be_settled: whether a retry can find out what became of tickets with an unknown outcome.
    """
    if isinstance(halted, LeenLedgerError | LeenStoppedError) and not summary["unsent"] and not summary["unknown"]:
        # Every ticket's fate is known and told: failing now would only make a retry doubt it.
        halted = None
    unknown = [result for result in summary["results"] if result["status"] == "unknown"]
    if isinstance(halted, _FIRST):
        if unknown:
            halted.args = (f"{halted}\nBesides, {_named(unknown)}",)
        return halted
    if unknown:
        identifiers = [str(result["identifier"]) for result in unknown]
        return LeenOutcomeUnknownError(_named(unknown), identifiers=identifiers, can_be_settled=can_be_settled)
    if halted is not None and summary["unsent"]:
        return halted
    passed = over_threshold(summary["failed"], summary["total"], max_failures, max_failure_rate)
    if passed:
        counts = {name: value for name, value in summary.items() if name != "results"}
        return LeenThresholdError("\n  ".join([f"{passed}.", *first_errors(summary["results"], 5)]), summary=counts)
    return None


def _named(unknown: list[TicketResult]) -> str:
    """Name the tickets whose outcome nobody knows, with what was found out about the first of them."""
    lines = [
        "1 ticket was sent and nobody can say whether it exists. Look for it in the tracker before anything sends it "
        "again:"
        if len(unknown) == 1
        else f"{len(unknown)} tickets were sent and nobody can say whether they exist. Look for them in the tracker "
        "before anything sends them again:"
    ]
    lines += [
        f"#{result['request_index']} {result['name']!r:.80} (identifier {result['identifier']}): {result['error']}"
        for result in unknown[:_MAX_NAMED]
    ]
    if len(unknown) > _MAX_NAMED:
        rest = ", ".join(str(result["identifier"]) for result in unknown[_MAX_NAMED:])
        lines.append(f"… and these identifiers: {rest}")
    return "\n  ".join(lines)
