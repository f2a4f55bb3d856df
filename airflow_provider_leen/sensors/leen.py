"""The gate: it lets a Dag run pass, or fails it, by what became of its tickets."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

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
from airflow_provider_leen.tasks.templates import RendersOnce

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.bulk.watch import WatchedTask

_MAX_ERRORS_NAMED = 5


class LeenTicketFailureSensor(RendersOnce, BaseSensorOperator):
    """Fail when too many tickets failed.

    With ``results`` it judges at once: it never waits, and needs neither ``mode`` nor ``poke_interval``. With
    ``task_ids`` it watches tasks of the same Dag run while they are at work, and fails as soon as a limit is passed;
    it is done when all of them, every mapped instance included, have ended. It fails with
    :class:`AirflowFailException`, so that Airflow does not retry it. With ``soft_fail=True`` it is skipped instead, as
    every sensor is in Airflow. A missing or malformed summary fails it too: it is never taken for a pass. A watched
    task that was skipped had nothing to do, as an operator that is mapped over an empty list: it counts as no tickets.

    The gate sees the summaries it is given. Keep the default trigger rule where it judges a mapped operator: a mapped
    instance that ended without a summary has none to be counted.

    :param results: the summary that :class:`LeenBulkCreateTicketsOperator` or :class:`LeenUpdateTicketsOperator`
        returned (its ``.output``), or, where the operator is mapped, those of all its instances, which are added up
        (templated). Either this or ``task_ids``
    :param task_ids: the id, or the ids, of bulk operators of this Dag to watch; the gate must not be downstream of them
    :param max_failures: fail when more tickets than this failed; a whole number. Default: no such limit
        (templated)
    :param max_failure_rate: fail when more than this share of the tickets failed, 0 to 1; of no tickets, none failed.
        Default: no such limit. With neither limit, any failure fails the gate; with both, either does (templated)
    :return: the counts (``total``, ``succeeded``, ``failed`` and one for each status), when the gate lets pass
    :raises LeenConfigError: in the Dag file, when a limit makes no sense
    :raises AirflowFailException: from :class:`LeenThresholdError` when a limit was passed, from
        :class:`LeenConfigError` when there is no summary to judge
    """

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
            raise LeenConfigError("Write either `results` or `task_ids`, one of the two.")
        self.results = results
        # Each task once, in order: named twice, its tickets would count twice.
        self.task_ids = (
            None if task_ids is None else list(dict.fromkeys([task_ids] if isinstance(task_ids, str) else task_ids))
        )
        if self.task_ids == []:
            raise LeenConfigError("`task_ids` is empty: name the bulk operators to watch.")
        self.max_failures: Any = max_failures
        self.max_failure_rate: Any = max_failure_rate
        check_literals(self, self.argument_checks)

    def poke(self, context: Context) -> PokeReturnValue:
        """Judge the results, or the tasks that are watched; return the counts once there are all, or raise."""
        try:
            summaries = read_summaries(self.results) if self.task_ids is None else self._watch(context, self.task_ids)
        except (LeenConfigError, LeenThresholdError) as error:
            _fail(error)
        if summaries is None:
            return PokeReturnValue(is_done=False)
        counts = add_up(summaries)
        verdict = over_threshold(counts["failed"], counts["total"], *self._limits)
        if verdict:
            _fail(LeenThresholdError(_with_details(verdict, counts, summaries), summary=counts))
        self.log.info("The gate lets pass: %s of %s failed.", counts["failed"], counted(counts["total"], "ticket"))
        return PokeReturnValue(is_done=True, xcom_value=counts)

    @property
    def _limits(self) -> tuple[int | None, float | None]:
        if self.max_failures is None and self.max_failure_rate is None:
            return 0, None
        return self.max_failures, self.max_failure_rate

    def _watch(self, context: Context, task_ids: Sequence[str]) -> list[AnySummary] | None:
        """Return the summaries of the tasks that are watched once all have ended, else None."""
        from airflow_provider_leen.bulk.watch import over_threshold_already, without_summary

        tasks = [task for task_id in task_ids for task in _watched(context, task_id)]
        if silent := without_summary(tasks):
            raise LeenConfigError(silent)
        if all(task.has_ended for task in tasks):
            return [task.summary for task in tasks if task.summary is not None]
        if verdict := over_threshold_already(tasks, *self._limits):
            raise LeenThresholdError(f"{verdict}, while tasks are still at work.")
        return None


def _watched(context: Context, task_id: str) -> list[WatchedTask]:
    """Read how the instances of a task of this Dag run are doing."""
    from airflow_provider_leen.bulk.watch import WatchedTask

    ti = context["ti"]
    watched = []
    for map_index, state in sorted(_states(context, task_id).items()):
        name = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        task = WatchedTask(name, state)
        key = "return_value" if task.has_ended else "progress"
        value = ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)
        if task.has_ended and value is not None:
            task = replace(task, summary=check_summary(value))
        elif value is not None:
            task = replace(task, progress=value)
        watched.append(task)
    if not watched:
        raise LeenConfigError(f"`task_ids` names {task_id!r}, and this Dag run has no such task.")
    return watched


def _states(context: Context, task_id: str) -> dict[int, str | None]:
    """Return the states of a task's instances by map index, -1 where the task is not mapped."""
    ti = context["ti"]
    if not hasattr(ti, "get_task_states"):  # Airflow 2
        instances = context["dag_run"].get_task_instances()  # type: ignore[attr-defined]
        return {other.map_index: other.state for other in instances if other.task_id == task_id}
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id]).get(ti.run_id, {})
    return {int(name.removeprefix(task_id)[1:] or -1): state for name, state in states.items()}


def _with_details(verdict: str, counts: dict[str, int], summaries: Sequence[AnySummary]) -> str:
    by_status = ", ".join(f"{count} {status}" for status, count in counts_by_status(counts).items() if count)
    lines = [f"{verdict} ({by_status})."]
    for number, summary in enumerate(summaries, 1):
        of_which = f"summary {number}: " if len(summaries) > 1 else ""
        lines += [f"{of_which}{error}" for error in _first_errors(summary)]
    return "\n  ".join(lines[: 1 + _MAX_ERRORS_NAMED])


def _first_errors(summary: AnySummary) -> list[str]:
    """Name the first failed tickets of a summary; where its results can't be read, its counts are judged alone."""
    if not summary["failed"]:
        return []
    from airflow_provider_leen.tasks.files import results_of

    try:
        results = iter(results_of(summary))
        errors = first_errors(results, _MAX_ERRORS_NAMED)
        # Only at its end is it known whether a file is this summary's.
        deque(results, maxlen=0)
        return errors
    except LeenConfigError as error:
        return [str(error)]


def _fail(error: LeenError) -> NoReturn:
    """Fail for good: a retry reads the same results again."""
    raise AirflowFailException(str(error)) from error
