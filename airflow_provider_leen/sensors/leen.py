"""The gate: it lets a Dag run pass, or fails it, by what became of its tickets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, BaseSensorOperator, PokeReturnValue

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenThresholdError
from airflow_provider_leen.bulk.summary import (
    Counts,
    Summary,
    add_up,
    check_thresholds,
    counts_by_status,
    first_errors,
    over_threshold,
    read_summaries,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_MAX_ERRORS_NAMED = 5


class LeenTicketFailureSensor(BaseSensorOperator):
    """Fail when too many tickets failed.

    The results are judged at once: the gate never waits, and needs neither ``mode`` nor ``poke_interval``. It fails
    with :class:`AirflowFailException`, so that Airflow does not retry it. With ``soft_fail=True`` it is skipped
    instead, as every sensor is in Airflow. A missing or malformed summary fails it too: it is never taken for a pass.

    The gate sees the summaries it is given. Keep the default trigger rule where it judges a mapped operator: a mapped
    instance that ended without a summary has none to be counted.

    :param results: the summary that :class:`LeenBulkCreateTicketsOperator` returned (its ``.output``), or, where the
        operator is mapped, those of all its instances, which are added up (templated)
    :param max_failures: fail when more tickets than this failed; a whole number. Default: no such limit
    :param max_failure_rate: fail when more than this share of the tickets failed, 0 to 1; of no tickets, none failed.
        Default: no such limit. With neither limit, any failure fails the gate; with both, either does
    :return: the counts (``total``, ``succeeded``, ``failed`` and one for each status), when the gate lets pass
    :raises LeenConfigError: in the Dag file, when a limit makes no sense
    :raises AirflowFailException: from :class:`LeenThresholdError` when a limit was passed, from
        :class:`LeenConfigError` when there is no summary to judge
    """

    template_fields: Sequence[str] = ("results",)

    def __init__(
        self,
        *,
        results: Any,
        max_failures: int | None = None,
        max_failure_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_thresholds(max_failures, max_failure_rate)
        self.results = results
        self.max_failures = max_failures
        self.max_failure_rate = max_failure_rate

    def poke(self, context: Context) -> PokeReturnValue:
        """Judge the results; return the counts, or raise."""
        try:
            summaries = read_summaries(self.results)
        except LeenConfigError as error:
            _fail(error)
        counts = add_up(summaries)
        verdict = self._verdict(counts)
        if verdict:
            _fail(LeenThresholdError(_with_details(verdict, counts, summaries), summary=counts))
        self.log.info("The gate lets pass: %s of %s tickets failed.", counts["failed"], counts["total"])
        return PokeReturnValue(is_done=True, xcom_value=counts)

    def _verdict(self, counts: Counts) -> str | None:
        max_failures = self.max_failures
        if max_failures is None and self.max_failure_rate is None:
            max_failures = 0
        return over_threshold(counts["failed"], counts["total"], max_failures, self.max_failure_rate)


def _with_details(verdict: str, counts: Counts, summaries: Sequence[Summary]) -> str:
    by_status = ", ".join(f"{count} {status}" for status, count in counts_by_status(counts).items() if count)
    lines = [f"{verdict} ({by_status})."]
    for number, summary in enumerate(summaries, 1):
        of_which = f"summary {number}: " if len(summaries) > 1 else ""
        lines += [f"{of_which}{error}" for error in first_errors(summary["results"], _MAX_ERRORS_NAMED)]
    return "\n  ".join(lines[: 1 + _MAX_ERRORS_NAMED])


def _fail(error: LeenError) -> NoReturn:
    """Fail for good: a retry reads the same results again."""
    raise AirflowFailException(str(error)) from error
