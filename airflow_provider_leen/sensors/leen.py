"""The gate: passes or fails a Dag run by the outcome of its tickets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias

from airflow.providers.common.compat.sdk import AirflowFailException, BaseSensorOperator, PokeReturnValue

from airflow_provider_leen.api.errors import LeenConfigError, LeenError, LeenThresholdError
from airflow_provider_leen.bulk.summary import (
    AnySummary,
    add_up,
    check_summary,
    counted,
    counts_by_status,
    first_errors,
    over_threshold,
    read_summaries,
)
from airflow_provider_leen.tasks.arguments import THRESHOLDS, Argument, check_literals
from airflow_provider_leen.tasks.gating import instance_name, names_of_summaries, states_of
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.watch import WatchedTask

__all__ = ["LeenTicketFailureSensor"]

_Judged: TypeAlias = tuple[str, AnySummary]
"""A summary, and the name of its task."""

VERDICT = "verdict"
"""The XCom that the tab reads."""

_MAX_ERRORS_NAMED = 5


class LeenTicketFailureSensor(RendersOnce, BaseSensorOperator):
    """Fail when too many tickets failed.

    With ``results`` it decides at once: it never waits, and needs neither ``mode`` nor ``poke_interval``. With
    ``task_ids`` it watches tasks of the same Dag run while they run, and fails as soon as a limit is exceeded; it
    passes when all of them, including every mapped instance, have ended. It fails with :class:`AirflowFailException`,
    so Airflow does not retry it; the message has the counts, the limit and the first errors, each as
    ``task_id[map_index] #row``. With ``soft_fail=True`` it is skipped instead, like every sensor. A missing or
    malformed summary fails it, too. A watched task that was skipped counts as having no tickets.

    Its verdict, and the names of the tasks that it judged, are in the XCom ``verdict``, which the tab shows.

    Keep the default trigger rule if it judges a mapped operator: a mapped instance that ends without a summary can't be
    counted.

    ::

        create = LeenBulkCreateTicketsOperator(task_id="create_tickets", tickets=scan())
        LeenTicketFailureSensor(task_id="gate", results=create.output, max_failure_rate=0.05)

    :param results: the summary that :class:`LeenBulkCreateTicketsOperator` or :class:`LeenUpdateTicketsOperator`
        returned (its ``.output``); for a mapped operator, those of all its instances, which are added up; or a list of
        several operators' outputs (templated). Either this or ``task_ids``
    :param task_ids: the id, or the ids, of bulk operators of this Dag to watch; the gate must not be downstream of them
    :param max_failures: fail when more tickets than this failed; a whole number. Default: no such limit
        (templated)
    :param max_failure_rate: fail when more than this share failed, 0 to 1: failed / (total - existing - pending), so
        that known tickets do not hide failures; 0 if there are none. Default: no such limit. With neither limit, any
        failure fails the gate; with both, exceeding either does (templated)
    :return: the counts (``total``, ``succeeded``, ``failed`` and one for each status), when the gate passes
    :raises LeenConfigError: in the Dag file, when a limit can't be used
    :raises AirflowFailException: from :class:`LeenThresholdError` when a limit is exceeded, from
        :class:`LeenConfigError` when there is no summary to judge
    """

    judges_tickets: ClassVar[bool] = True
    """Lets an operator find its gate."""

    argument_checks: ClassVar[dict[str, Argument]] = THRESHOLDS
    template_fields: Sequence[str] = ("results", *argument_checks)
    rendered_to_objects: ClassVar[frozenset[str]] = frozenset({"results"})

    def __init__(
        self,
        *,
        results: Any = None,
        task_ids: str | Sequence[str] | None = None,
        max_failures: int | str | None = None,
        max_failure_rate: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (results is None) == (task_ids is None):
            raise LeenConfigError("Pass exactly one of `results` and `task_ids`.")
        self.results = results
        # Each task once, in order, so that no ticket is counted twice.
        self.task_ids = (
            None if task_ids is None else list(dict.fromkeys([task_ids] if isinstance(task_ids, str) else task_ids))
        )
        if self.task_ids == []:
            raise LeenConfigError("`task_ids` is empty: name the bulk operators to watch.")
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        check_literals(self, self.argument_checks)

    def poke(self, context: Context) -> PokeReturnValue:
        """Judge the results, or the tasks that are watched; return the counts when all are there, or raise."""
        try:
            judged = self._given() if self.task_ids is None else self._watch(context, self.task_ids)
        except LeenThresholdError as error:
            self._publish(str(error), self.task_ids or (), context)
            _fail(error)
        except LeenConfigError as error:
            _fail(error)
        if judged is None:
            return PokeReturnValue(is_done=False)
        counts = add_up(summary for _, summary in judged)
        judged = self._named(judged, context)
        verdict = over_threshold(counts, *self._limits)
        failed = f"{counts['failed']} of {counted(counts['total'], 'ticket')} failed"
        self._publish(f"{verdict or failed}.", [name for name, _ in judged], context)
        if verdict:
            _fail(LeenThresholdError(_with_details(verdict, counts, judged), summary=counts))
        self.log.info("The gate passes: %s.", failed)
        return PokeReturnValue(is_done=True, xcom_value=counts)

    @property
    def _limits(self) -> tuple[int | None, float | None]:
        if self.max_failures is None and self.max_failure_rate is None:
            return 0, None
        return self.max_failures, self.max_failure_rate

    def _publish(self, verdict: str, judged: Iterable[str], context: Context) -> None:
        """Publish the verdict and the judged tasks for the tab. The gate does not depend on it."""
        tasks = list(dict.fromkeys(name.partition("[")[0] for name in judged if name))
        try:
            context["ti"].xcom_push(key=VERDICT, value={"verdict": verdict, "tasks": tasks})
        except Exception as error:  # Airflow's, a database's, a custom XCom backend's
            self.log.warning("The tab can't show the verdict: %s: %s", type(error).__name__, error)

    def _given(self) -> list[_Judged]:
        return [("", summary) for summary in read_summaries(self.results)]

    def _named(self, judged: list[_Judged], context: Context) -> list[_Judged]:
        """Name the tasks whose summaries were given; those that were watched have their names."""
        if self.task_ids is not None:
            return judged
        # From the Dag file: rendering has replaced the attribute.
        given = getattr(self, "_templates", {}).get("results")
        names = names_of_summaries(given, self.results, context)
        return [(name, summary) for name, (_, summary) in zip(names, judged, strict=True)]

    def _watch(self, context: Context, task_ids: Sequence[str]) -> list[_Judged] | None:
        """Return the summaries of the watched tasks once all have ended, else None."""
        from airflow_provider_leen.bulk.watch import over_threshold_already, without_summary

        tasks = [task for task_id in task_ids for task in _watched(context, task_id)]
        if silent := without_summary(tasks):
            raise LeenConfigError(silent)
        if all(task.has_ended for task in tasks):
            return [(task.name, task.summary) for task in tasks if task.summary is not None]
        if verdict := over_threshold_already(tasks, *self._limits):
            raise LeenThresholdError(f"{verdict}, while tasks are still running.")
        return None


def _watched(context: Context, task_id: str) -> list[WatchedTask]:
    """Return the states of the instances of a task in this Dag run."""
    from airflow_provider_leen.bulk.watch import WatchedTask

    ti = context["ti"]
    watched = []
    for map_index, state in states_of(context, task_id).items():
        task = WatchedTask(instance_name(task_id, map_index), state)
        key = "return_value" if task.has_ended else "progress"
        value = ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)
        if task.has_ended and value is not None:
            task = replace(task, summary=check_summary(value))
        elif value is not None:
            task = replace(task, progress=value)
        watched.append(task)
    if not watched:
        raise LeenConfigError(f"`task_ids` names {task_id!r}, but this Dag run has no such task.")
    return watched


def _with_details(verdict: str, counts: dict[str, int], judged: list[_Judged]) -> str:
    by_status = ", ".join(f"{count} {status}" for status, count in counts_by_status(counts).items() if count)
    lines = [f"{verdict} ({by_status})."]
    for task, summary in judged:
        lines += _first_errors(task, summary)
        if len(lines) > _MAX_ERRORS_NAMED:
            break
    return "\n  ".join(lines[: 1 + _MAX_ERRORS_NAMED])


def _first_errors(task: str, summary: AnySummary) -> list[str]:
    """Name the first failed tickets of a summary; if its results can't be read, only its counts are judged."""
    if not summary["failed"]:
        return []
    from airflow_provider_leen.tasks.files import results_of

    try:
        results = iter(results_of(summary))
        errors = first_errors(results, _MAX_ERRORS_NAMED, task)
        # Only at its end is it certain that the file belongs to this summary.
        deque(results, maxlen=0)
        return errors
    except LeenConfigError as error:
        return [f"{task}: {error}" if task else str(error)]


def _fail(error: LeenError) -> NoReturn:
    """Fail without retry: a retry would read the same results again."""
    raise AirflowFailException(str(error)) from error
