"""What the page shows of the tasks: sums over them, remarks, and their tickets as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_leen.api.errors import LeenConfigError
from airflow_provider_leen.bulk.results_file import read_results
from airflow_provider_leen.bulk.whole_file import local_path
from airflow_provider_leen.plugins.rows import Row, row_of
from airflow_provider_leen.plugins.tasks import STATUSES, TaskTickets

NOTHING_IN_TASK = (
    "This task has filed no tickets: it is none of Leen's operators. "
    "The tab on the Dag run shows the tickets of all its tasks."
)
NOTHING_IN_RUN = "No Leen operator is part of this Dag run, or none has been scheduled yet."


class TicketReader:
    """Reads the tickets of tasks, one at a time.

    :param strict: raise when a file with results can't be read, instead of telling so in ``unreadable``.
    """

    def __init__(self, tasks: Sequence[TaskTickets], *, strict: bool = False) -> None:
        self._tasks = tasks
        self._strict = strict
        self.unreadable: dict[str, str] = {}
        """Which tasks' results could not be read, or not to their end, and why."""

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all tasks, in the order of their input.

        :raises LeenConfigError: when strict.
        """
        for task in self._tasks:
            try:
                for result in _results(task):
                    yield row_of(task, result)
            except LeenConfigError as error:
                if self._strict:
                    raise
                self.unreadable[task.name] = str(error)


def what_is_shown(tasks: Sequence[TaskTickets], *, is_run: bool, unreadable: dict[str, str]) -> dict[str, Any]:
    """Return all that the page shows beside the rows, as plain JSON types.

    :param is_run: whether these are the tasks of a whole Dag run.
    :param unreadable: what :class:`TicketReader` could not read.
    """
    counts: Counter[str] = Counter()
    progress: Counter[str] = Counter()
    for task in tasks:
        counts.update(task.counts)
        progress.update(task.progress or {})
    return {
        "message": None if tasks else (NOTHING_IN_RUN if is_run else NOTHING_IN_TASK),
        "may_change": any(task.may_change for task in tasks),
        "total": counts.total(),
        "counts": {status: counts[status] for status in STATUSES if counts[status]},
        "progress": dict(progress) if progress else None,
        "tasks": [
            {
                "name": task.name,
                "state": task.state,
                "total": sum(task.counts.values()),
                "remark": unreadable.get(task.name) or task.remark,
            }
            for task in tasks
        ],
    }


def _results(task: TaskTickets) -> Iterator[Any]:
    if task.results_path is None:
        yield from task.results
        return
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(task.results_path)
    except Exception as error:  # each store has errors of its own, a missing provider's among them
        raise LeenConfigError(f"The results in {task.results_path} can't be read: {error}") from None
    local = local_path(path)
    if local is not None and local.exists() and not local.is_file():
        # A pipe or a device may never end, and this server reads for all.
        raise LeenConfigError(f"The results in {task.results_path} can't be read: that is no file.")
    yield from read_results(path, Counter(task.counts))
